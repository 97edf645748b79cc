/**
 * The one place where keys are spelled. What is written here is on disk: it never changes meaning.
 * The tenant is the first component of every partition (I8), except of the `due` index, which holds no content.
 */
import { createHash } from "node:crypto";
import { sha256 } from "../core/ids.ts";
import type { TenantId, ThreadId } from "../core/ids.ts";
import type { Key } from "./table.ts";

/** DynamoDB's sort keys end at 1,024 bytes; a longer part is replaced by its hash and kept whole in the item. */
const MAX_PART_BYTES = 200;

/** One component of a key: `#` and `%` are escaped, what is too long becomes `%~` and its SHA-256. */
export function part(text: string): string {
  const escaped = text.replaceAll("%", "%25").replaceAll("#", "%23");
  if (Buffer.byteLength(escaped) <= MAX_PART_BYTES) return escaped;
  return `%~${hashOf(text)}`;
}

const padded =
  (width: number) =>
  (n: number): string => {
    const text = String(n);
    if (!Number.isInteger(n) || n < 0 || text.length > width) throw new RangeError(`${n} does not fit ${width} digits`);
    return text.padStart(width, "0");
  };
export const generationPart = padded(6);
export const seqPart = padded(12);
export const fencePart = padded(10);
const wide = padded(16);
/** The number of a frame. What twelve digits do not hold sorts behind what they do. */
export const framePart = (n: number): string => (n < 1e12 ? seqPart(n) : `:${wide(n)}`);
const timeDigits = padded(13);
export const timePart = (ms: number): string => timeDigits(Math.floor(ms));

export interface ThreadRef {
  readonly tenant: TenantId;
  readonly threadId: ThreadId;
}

const threadPartition = (t: ThreadRef): string => `${part(t.tenant)}#t#${part(t.threadId)}`;

/** A thread's collection: header, runs, log, task writes, segments, holds. */
export const threadKeys = {
  partition: threadPartition,
  header: (t: ThreadRef): Key => ({ pk: threadPartition(t), sk: "H" }),
  metadata: (t: ThreadRef, id: string): Key => ({ pk: threadPartition(t), sk: `${threadKeys.metadataPrefix}${id}` }),
  metadataPrefix: "M#",
  run: (t: ThreadRef, runId: string): Key => ({ pk: threadPartition(t), sk: `R#${runId}` }),
  runPrefix: "R#",
  /** The request body of a run, when it is too long for the run item. */
  runBody: (t: ThreadRef, runId: string): Key => ({ pk: threadPartition(t), sk: `I#${runId}` }),
  hold: (t: ThreadRef, holdId: string): Key => ({ pk: threadPartition(t), sk: `A#${holdId}` }),
  holdPrefix: "A#",
  log: (t: ThreadRef, generation: number, ns: string, seq: number): Key => ({
    pk: threadPartition(t),
    sk: `C#${generationPart(generation)}#${part(ns)}#${seqPart(seq)}`,
  }),
  logPrefix: (generation: number, ns: string): string => `C#${generationPart(generation)}#${part(ns)}#`,
  segment: (t: ThreadRef, { generation, ns, id, n }: SegmentAt): Key => ({
    pk: threadPartition(t),
    sk: `${threadKeys.segmentPrefix(generation, ns)}${id}.${n}`,
  }),
  segmentPrefix: (generation: number, ns: string): string => `S#${generationPart(generation)}#${part(ns)}#`,
  /** Regular writes of one task under one fence, or, with `special`, one of its negative-index writes. */
  taskWrites: (t: ThreadRef, at: TaskWritesAt): Key => ({
    pk: threadPartition(t),
    sk:
      taskWritesPrefix(at.generation, at.ns, at.checkpointId) +
      `${part(at.taskId)}#${fencePart(at.fence)}${at.special === undefined ? "" : `#${at.special}`}`,
  }),
  taskWritesPrefix,
  /** One piece of a blob kept as items; without a generation where older versions wrote. */
  blob: (t: ThreadRef & { readonly generation?: number }, name: string, n: number): Key => ({
    pk: threadPartition(t),
    sk: `B#${t.generation === undefined ? "" : `${generationPart(t.generation)}#`}${name}.${n}`,
  }),
  blobPrefix: "B#",
} as const;

export interface SegmentAt {
  readonly generation: number;
  readonly ns: string;
  readonly id: string;
  readonly n: number;
}

export interface TaskWritesAt {
  readonly generation: number;
  readonly ns: string;
  readonly checkpointId: string;
  readonly taskId: string;
  readonly fence: number;
  readonly special?: number;
}

function taskWritesPrefix(generation: number, ns: string, checkpointId: string): string {
  return `W#${generationPart(generation)}#${part(ns)}#${part(checkpointId)}#`;
}

export const eventKeys = {
  partition: (t: ThreadRef): string => `${part(t.tenant)}#e#${part(t.threadId)}`,
  batch: (t: ThreadRef, generation: number, first: number): Key => ({
    pk: eventKeys.partition(t),
    sk: `${eventKeys.prefix(generation)}${framePart(first)}`,
  }),
  prefix: (generation: number): string => `E#${generationPart(generation)}#`,
} as const;

/** The effect journal of a lineage; not touched by the deletion of threads. */
export const effectKeys = {
  entry: (tenant: TenantId, root: string, token: string): Key => ({
    pk: `${part(tenant)}#x#${part(root)}`,
    sk: `X#${token}`,
  }),
  prefix: "X#",
} as const;

/** The audit log: an entry is alone in its partition, so that none waits for another; the links of a tenant's chain. */
export const auditKeys = {
  entry: (tenant: TenantId, id: string): Key => ({ pk: `${part(tenant)}#u#${part(id)}`, sk: "E" }),
  chain: (tenant: TenantId): string => `${part(tenant)}#u`,
  link: (tenant: TenantId, n: number): Key => ({
    pk: auditKeys.chain(tenant),
    sk: `${auditKeys.linkPrefix}${seqPart(n)}`,
  }),
  linkPrefix: "C#",
} as const;

/** Takes the key of an audit entry apart again; undefined for any other. */
export function parseAuditKey({ pk, sk }: Key): { readonly tenant: string; readonly id: string } | undefined {
  const parts = pk.split("#");
  if (parts.length !== 3 || parts[1] !== "u" || sk !== "E") return undefined;
  return { tenant: unpart(parts[0] ?? ""), id: unpart(parts[2] ?? "") };
}

/** Finds the thread of a run id. */
export const runMapKey = (tenant: TenantId, runId: string): Key => ({
  pk: `${part(tenant)}#r#${part(runId)}`,
  sk: "M",
});

export const idempotencyKey = (tenant: TenantId, use: "runs" | "decisions", key: string): Key => ({
  pk: `${part(tenant)}#i#${use}#${part(key)}`,
  sk: "I",
});

export const assistantKey = (tenant: TenantId, assistantId: string): Key => ({
  pk: `${part(tenant)}#a`,
  sk: part(assistantId),
});

/** A tenant's wrapped data keys, and which of them seals now. Never sealed themselves. */
export const dataKeyKeys = {
  partition: (tenant: TenantId): string => `${part(tenant)}#k`,
  current: (tenant: TenantId): Key => ({ pk: dataKeyKeys.partition(tenant), sk: "C" }),
  key: (tenant: TenantId, id: string): Key => ({ pk: dataKeyKeys.partition(tenant), sk: `K#${id}` }),
  prefix: "K#",
} as const;

/** Webhook endpoints of a tenant in one partition, and the deliveries to each in one of its own, in the order of events. */
export const hookKeys = {
  endpoints: (tenant: TenantId): string => `${part(tenant)}#wh`,
  endpoint: (tenant: TenantId, id: string): Key => ({ pk: hookKeys.endpoints(tenant), sk: `E#${part(id)}` }),
  endpointPrefix: "E#",
  deliveries: (tenant: TenantId, endpoint: string): string => `${part(tenant)}#wh#${part(endpoint)}`,
  delivery: (tenant: TenantId, endpoint: string, at: { readonly ms: number; readonly id: string }): Key => ({
    pk: hookKeys.deliveries(tenant, endpoint),
    sk: `${hookKeys.deliveryPrefix}${timePart(at.ms)}#${at.id}`,
  }),
  deliveryPrefix: "D#",
} as const;

/** A tenant's auto-approval policies, and the versions of each that were replaced. */
export const policyKeys = {
  partition: (tenant: TenantId): string => `${part(tenant)}#ap`,
  head: (tenant: TenantId, name: string): Key => ({ pk: policyKeys.partition(tenant), sk: `P#${part(name)}` }),
  headPrefix: "P#",
  version: (tenant: TenantId, name: string, version: number): Key => ({
    pk: policyKeys.partition(tenant),
    sk: `${policyKeys.versionPrefix(name)}${seqPart(version)}`,
  }),
  versionPrefix: (name: string): string => `V#${part(name)}#`,
} as const;

export const scheduleKeys = {
  partition: (tenant: TenantId): string => `${part(tenant)}#cr`,
  schedule: (tenant: TenantId, id: string): Key => ({ pk: scheduleKeys.partition(tenant), sk: `C#${part(id)}` }),
  prefix: "C#",
} as const;

/** The tenant, and the endpoint of a delivery; undefined for any other partition. */
export function parseHookPartition(
  pk: string,
): { readonly tenant: string; readonly endpoint: string | undefined } | undefined {
  const [tenant = "", kind, endpoint, ...rest] = pk.split("#");
  if (kind === "cr" && endpoint === undefined) return { tenant: unpart(tenant), endpoint };
  if (kind !== "wh" || endpoint === undefined || rest.length > 0) return undefined;
  return { tenant: unpart(tenant), endpoint: unpart(endpoint) };
}
/**
 * Deliveries and schedules stand in a part of the `due` index of their own, which no pool can be named after: whoever
 * looks for runs does not read them.
 */
export const hookShard = (shard: number): string => `#hooks#${shard}`;
export const hookPartition = (tenant: TenantId, shards: number): string => hookShard(shardOf(tenant, shards));

/** Long-term memory: the items of one namespace in one partition, and the namespaces of a tenant in another. */
export const storeKeys = {
  items: (tenant: TenantId, namespace: readonly string[]): string => `${part(tenant)}#s#n#${labelPath(namespace)}`,
  item: (tenant: TenantId, namespace: readonly string[], key: string): Key => ({
    pk: storeKeys.items(tenant, namespace),
    sk: `I#${exactPart(key)}`,
  }),
  itemPrefix: "I#",
  namespaces: (tenant: TenantId): string => `${part(tenant)}#s#r`,
  namespace: (tenant: TenantId, namespace: readonly string[]): Key => ({
    pk: storeKeys.namespaces(tenant),
    sk: `N#${labelPath(namespace)}`,
  }),
  /** What the keys of all namespaces under a prefix begin with; of a very long prefix, also those of others. */
  namespacePrefix: (prefix: readonly string[]): string => `N#${fitting(prefix.map(closedLabel)).join("")}`,
} as const;

/** Leaves room for the tenant, and for the hash, in a sort key. */
const MAX_PATH_BYTES = 700;

/** `exactPart` of each label, closed by a separator, so that no label is the beginning of another. */
function labelPath(labels: readonly string[]): string {
  const closed = labels.map(closedLabel);
  const leading = fitting(closed);
  if (leading.length === closed.length) return leading.join("");
  return `${leading.join("")}%~=${hashOf(JSON.stringify(labels))}#`;
}

const closedLabel = (label: string): string => `${exactPart(label)}#`;

function fitting(parts: readonly string[]): readonly string[] {
  let bytes = 0;
  const end = parts.findIndex((text) => (bytes += Buffer.byteLength(text)) > MAX_PATH_BYTES);
  return end < 0 ? parts : parts.slice(0, end);
}

/** `part` for what may be no Unicode text: UTF-8 has one and the same replacement for every lone surrogate. */
const exactPart = (text: string): string => (text.isWellFormed() ? part(text) : `%~!${hashOf(JSON.stringify(text))}`);

const hashOf = (text: string): string => createHash("sha256").update(text).digest("base64url");

/** Facts about the table itself, such as its number of shards. */
export const tableKey = (name: string): Key => ({ pk: "#table", sk: name });

/** Partitions of the `list` index, one a tenant and kind. */
export const listPartition = (
  tenant: TenantId,
  kind: "threads" | "reviews" | "waits" | "assistants" | "checkpoints" | "effects" | "audit" | "runs" | "errors",
): string => `${part(tenant)}#${kind}`;

/** The partition of the `due` index in which a tenant's work of one pool stands. */
export function duePartition(pool: string, tenant: TenantId, shards: number): string {
  return dueShard(pool, shardOf(tenant, shards));
}
const shardOf = (tenant: TenantId, shards: number): number =>
  createHash("sha256").update(tenant).digest().readUInt32BE(0) % shards;
export const dueShard = (pool: string, shard: number): string => `${part(pool)}#${shard}`;

export interface DueSort {
  readonly tenant: TenantId;
  readonly priority: number;
  /** Table time; of a ready row, when it became ready: it only orders. */
  readonly dueAt: number;
  /** What tells rows of the same instant apart: the thread, and the item within it where there are several. */
  readonly subject: string;
}
export const readySort = (d: DueSort): string =>
  `r#${part(d.tenant)}#${d.priority}#${timePart(d.dueAt)}#${part(d.subject)}`;
export const futureSort = (d: DueSort): string =>
  `t#${timePart(d.dueAt)}#${part(d.tenant)}#${d.priority}#${part(d.subject)}`;
/** Before the ready rows: only who watches leases reads it, whatever else is still to come. */
export const leaseSort = (d: DueSort): string => `l#${timePart(d.dueAt)}#${part(d.tenant)}#${part(d.subject)}`;
/** Beyond the future rows: only who asks for what has expired reads it. */
export const expirySort = (d: DueSort): string => `x#${timePart(d.dueAt)}#${part(d.tenant)}#${part(d.subject)}`;
/** What a ready row says of its turn; undefined for any other. */
export function readyTurn(sort: string): { readonly priority: number; readonly dueAt: number } | undefined {
  const [kind, , priority, dueAt] = sort.split("#");
  return kind === "r" ? { priority: Number(priority), dueAt: Number(dueAt) } : undefined;
}
/** Table time of a future row; undefined for any other. */
export function futureTime(sort: string): number | undefined {
  const [kind, dueAt] = sort.split("#");
  return kind === "t" ? Number(dueAt) : undefined;
}
export const READY_PREFIX = "r#";
export const LEASE_PREFIX = "l#";
export const FUTURE_PREFIX = "t#";
export const EXPIRY_PREFIX = "x#";
/** Sorts after every row that has expired at this time or before. */
export const expiryUntil = (ms: number): string => `x#${timePart(ms)}$`;
/** Sorts after every lease that ends at this time or before. */
export const leaseUntil = (ms: number): string => `l#${timePart(ms)}$`;
/** Sorts after every future row that is due at this time or before. */
export const futureUntil = (ms: number): string => `t#${timePart(ms)}$`;
/** Sorts after every ready row of the tenant of this one, and before those of the next: `$` follows `#`. */
export const afterTenant = (sort: string): string => `${sort.split("#", 2).join("#")}$`;

/** Takes a thread's partition apart again; undefined for any other partition. */
export function parseThreadPartition(pk: string): { readonly tenant: string; readonly threadId: string } | undefined {
  const parts = pk.split("#");
  if (parts.length !== 3 || parts[1] !== "t") return undefined;
  return { tenant: unpart(parts[0] ?? ""), threadId: unpart(parts[2] ?? "") };
}
/** Takes an entry of the effect journal apart again; undefined for any other item. */
export function parseEffectKey({ pk, sk }: Key): EffectKeyParts | undefined {
  const parts = pk.split("#");
  if (parts.length !== 3 || parts[1] !== "x" || !sk.startsWith(effectKeys.prefix)) return undefined;
  return { tenant: unpart(parts[0] ?? ""), root: unpart(parts[2] ?? ""), token: sk.slice(effectKeys.prefix.length) };
}
interface EffectKeyParts {
  readonly tenant: string;
  readonly root: string;
  readonly token: string;
}
export const unpart = (text: string): string => text.replaceAll("%23", "#").replaceAll("%25", "%");

/** Name of a body by its content. */
export const contentName = (bytes: Uint8Array): string => sha256(bytes);
