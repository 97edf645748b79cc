import type { ThreadTtl } from "../core/thread.ts";
import { waitingFor } from "../core/waiting-for.ts";
import { createStores } from "../checkpoint/store/store.ts";
import type { StoreSettings } from "../langgraph/store-config.ts";
import { createAudit } from "../storage/audit.ts";
import { createEffects } from "../storage/effects.ts";
import { createSegmentCache } from "../checkpoint/segment-cache.ts";
import { plainSealers } from "../storage/encryption/sealer.ts";
import { createCallbackTokens } from "../storage/callback-tokens.ts";
import { createEvents } from "../storage/events.ts";
import { createHolds } from "../storage/holds.ts";
import { createPolicies } from "../storage/policies.ts";
import { createRuns } from "../storage/runs.ts";
import { createSchedules } from "../storage/schedules.ts";
import { createThreads } from "../storage/threads.ts";
import { createWebhooks } from "../storage/webhooks.ts";
import { noTelemetry } from "../telemetry/open-telemetry.ts";
import { threadNotFound } from "./accept/accept-answer.ts";
import { accept, threadOfRun } from "./accept/accept.ts";
import { createAuditUseCases } from "./audit/audit-log.ts";
import { createAssistants } from "./assistants.ts";
import type { Assistants } from "./assistants.ts";
import { createCallbacks } from "./decisions/callback.ts";
import type { Deps } from "./deps.ts";
import { createEffectUseCases } from "./effects/effects.ts";
import { langGraphEngine } from "./engine.ts";
import type { Engine } from "./engine.ts";
import { cancelMany } from "./cancel/cancel-many.ts";
import { cancelRun } from "./cancel/cancel.ts";
import { findRun, follow, waitForRun } from "./events/follow.ts";
import type { FollowDeps } from "./events/follow.ts";
import { createLinks } from "./reviews/links.ts";
import { createReviews } from "./reviews/reviews.ts";
import type { Runtime, RunUseCases } from "./runtime.ts";
import { createHints } from "./hints.ts";
import { createOperators } from "./operators/operators.ts";
import { createPolicyUseCases } from "./policies/policies.ts";
import { createStateReader } from "./state-reader.ts";
import { createTails } from "./events/tails.ts";
import { createThreadUseCases } from "./threads/threads.ts";
import { createStoreUseCases } from "./store.ts";
import { createValueCache } from "./value-cache.ts";
import { createWebhookUseCases } from "./webhooks/endpoints.ts";
import { createInterests } from "./webhooks/interests.ts";
import { createScheduleUseCases } from "./schedules/schedules.ts";

/** Everything that is made from the adapters and the settings, and not chosen. */
export type GivenDeps = Pick<Deps, "table" | "blobs" | "graphs" | "clock" | "ids" | "log" | "settings"> &
  Partial<Pick<Deps, "sealers" | "telemetry" | "sns">> & {
    /** How the stores of graphs search, and how long they keep what they are given. */
    readonly store?: StoreSettings;
    /** Of threads that are given none of their own. */
    readonly threadTtl?: ThreadTtl;
    /** What signs the tokens of callbacks, newest first; one that is kept in the table, when there is none. */
    readonly callbackKeys?: readonly string[];
  };

/** What every use case is made of, on the given adapters. */
export function createDeps({ store, threadTtl, callbackKeys = [], ...given }: GivenDeps): Deps {
  const { table, blobs, ids, clock, settings, sealers = plainSealers, telemetry = noTelemetry } = given;
  const { shards } = settings;
  const webhooks = createWebhooks(table, shards);
  return {
    ...given,
    sealers,
    telemetry,
    segments: createSegmentCache(),
    threads: createThreads({ table, shards, sealers, ...(threadTtl === undefined ? {} : { ttl: threadTtl }) }),
    runs: createRuns({ table, blobs, shards, sealers }),
    holds: createHolds(table, shards, sealers),
    events: createEvents(table, { retentionMs: settings.limits.eventRetentionMs, sealers }),
    effects: createEffects({ table, blobs, shards, sealers }),
    audit: createAudit({ table, shards, sealers }),
    stores: createStores({ table, blobs, ids, sealers, ...store }),
    callbacks: createCallbackTokens({ table, ids, secrets: callbackKeys }),
    webhooks,
    interests: createInterests(webhooks, clock),
    schedules: createSchedules(table, shards, sealers),
    policies: createPolicies(table),
    hints: createHints(),
    values: createValueCache(),
  };
}

/** The use cases on one set of dependencies. `assistants` is shared with the worker of the same process. */
export function createRuntime(
  deps: Deps,
  engine: Pick<Engine, "missingNodes"> = langGraphEngine,
): Runtime & { readonly assistants: Assistants } {
  const assistants = createAssistants(deps);
  const host: FollowDeps = { deps, tails: createTails(deps), states: createStateReader(deps) };
  return {
    assistants,
    runs: createRunUseCases(host, assistants),
    threads: createThreadUseCases(deps),
    reviews: createReviews(deps),
    links: createLinks(deps),
    callbacks: createCallbacks(deps),
    effects: createEffectUseCases({ deps, assistants, engine }),
    audit: createAuditUseCases(deps),
    policies: createPolicyUseCases(deps),
    operators: createOperators({ ...host, assistants, engine }),
    store: createStoreUseCases(deps),
    webhooks: createWebhookUseCases(deps),
    schedules: createScheduleUseCases(deps, assistants),
  };
}

function createRunUseCases(host: FollowDeps, assistants: Assistants): RunUseCases {
  const { deps } = host;
  return {
    accept: (principal, request) => accept(deps, assistants, principal, request),
    get: (principal, threadId, runId) => findRun(deps, principal, threadId, runId),
    payload: (run) => deps.runs.payload(run),
    async waitingFor(run) {
      const header = run.status === "pending" ? await deps.threads.get(run) : undefined;
      return header && waitingFor(run, header.value, deps.table.now());
    },
    threadOf: (principal, runId) => threadOfRun(deps, principal, runId),
    async list(principal, threadId) {
      const ref = { tenant: principal.tenant, threadId };
      const header = await deps.threads.get(ref);
      if (!header || header.value.deleted) throw threadNotFound(ref);
      const runs = await deps.runs.list(ref, header.value.generation);
      return runs.filter((run) => run.rolledBack === undefined);
    },
    cancel: (principal, request) => cancelRun(host, principal, request),
    cancelMany: (principal, request) => cancelMany(host, principal, request),
    wait: (principal, threadId, runId, signal) => waitForRun(host, principal, { threadId, runId, signal }),
    follow: (principal, request) => follow(host, principal, request),
  };
}
