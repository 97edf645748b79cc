import type { SegmentCache } from "../checkpoint/segment-cache.ts";
import type { TableStore } from "../checkpoint/store/store.ts";
import type { Clock } from "../core/clock.ts";
import type { IdSource, TenantId } from "../core/ids.ts";
import type { Limits } from "../core/limits.ts";
import type { SnsCertificates, SnsSignatures } from "../core/sns-signature.ts";
import type { GraphRegistry } from "../langgraph/registry.ts";
import type { Audit } from "../storage/audit.ts";
import type { Blobs } from "../storage/blobs.ts";
import type { CallbackTokens } from "../storage/callback-tokens.ts";
import type { Effects } from "../storage/effects.ts";
import type { Sealers } from "../storage/encryption/sealer.ts";
import type { Events } from "../storage/events.ts";
import type { Holds } from "../storage/holds.ts";
import type { Policies } from "../storage/policies.ts";
import type { Runs } from "../storage/runs.ts";
import type { Schedules } from "../storage/schedules.ts";
import type { Table } from "../storage/table.ts";
import type { Threads } from "../storage/threads.ts";
import type { Webhooks } from "../storage/webhooks.ts";
import type { Telemetry } from "../telemetry/open-telemetry.ts";
import type { Hints } from "./hints.ts";
import type { Interests } from "./webhooks/interests.ts";
import type { ValueCache } from "./value-cache.ts";

/** One line per state change. `fields` are safe to log: never content, never secrets. */
export interface Log {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void;
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
}

export interface Settings {
  /** Length of a lease: how long a dead worker's thread waits for the next one. */
  readonly leaseMs: number;
  /** Runs that one worker executes at once. */
  readonly concurrency: number;
  readonly pool: string;
  /** Partitions of the `due` index per pool; the same in every process on one table. */
  readonly shards: number;
  readonly limits: Limits;
  /** `<host>/<boot>/<pid namespace>/<pid>/<start>/<random>` of this process. */
  readonly owner: string;
  /** Hosts that webhooks may reach wherever they are, without TLS as well; none by default. */
  readonly webhookHosts?: readonly string[];
}

/** How messages of Amazon SNS are looked at. */
export interface SnsSettings {
  readonly signatures: Exclude<SnsSignatures, "ignored">;
  readonly certificates: SnsCertificates;
}

/** What every use case is made of. */
export interface Deps {
  readonly table: Table;
  /** Encrypted already, where anything is. */
  readonly blobs: Blobs;
  readonly sealers: Sealers;
  /** Of all savers of this process. */
  readonly segments: SegmentCache;
  readonly threads: Threads;
  readonly runs: Runs;
  readonly holds: Holds;
  readonly events: Events;
  readonly effects: Effects;
  /** Who decided and did what: `record` is awaited before what it records is acknowledged. */
  readonly audit: Audit;
  /** The long-term memory of each tenant. */
  readonly stores: (tenant: TenantId) => TableStore;
  readonly callbacks: CallbackTokens;
  /** Without it, nobody asks whether messages of Amazon SNS are signed. */
  readonly sns?: SnsSettings;
  readonly graphs: GraphRegistry;
  readonly webhooks: Webhooks;
  /** Which tenants want to be told of what. */
  readonly interests: Interests;
  readonly schedules: Schedules;
  readonly policies: Policies;
  readonly hints: Hints;
  readonly values: ValueCache;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly log: Log;
  readonly telemetry: Telemetry;
  readonly settings: Settings;
}
