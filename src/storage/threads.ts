import { parse as parseUuid, stringify as stringifyUuid } from "uuid";
import { HoldpointError } from "../core/errors.ts";
import { runId } from "../core/ids.ts";
import type { TenantId, ThreadId } from "../core/ids.ts";
import type { JsonObject } from "../core/json.ts";
import { MAX_LANES, entriesOf, laneOf } from "../core/queue-room.ts";
import { tombstone } from "../core/thread-changes.ts";
import { isExpired, threadDue } from "../core/thread.ts";
import type { Due, QueueEntry, Thread, ThreadMetadata, ThreadTtl } from "../core/thread.ts";
import {
  SEALED,
  itemPlace,
  openSealed,
  refusePlain,
  sealedAttributes,
  sealedBytesOf,
  sealedFor,
} from "./encryption/sealed-content.ts";
import { plainSealers } from "./encryption/sealer.ts";
import type { Sealers } from "./encryption/sealer.ts";
import {
  duePartition,
  expirySort,
  futureSort,
  leaseSort,
  listPartition,
  readySort,
  threadKeys,
  timePart,
} from "./keys.ts";
import type { DueSort, ThreadRef } from "./keys.ts";
import { createRecords, newestWith, numberOf, readable, textOf, update } from "./records.ts";
import type { Codec, Records, Stored, Written } from "./records.ts";
import type { IndexEntries, Item, Key, Page, Range, Table, Value } from "./table.ts";

const ENTRY_BYTES = 18;
const KIND = { continuation: 1, interrupt: 2, rollback: 4 } as const;
/** The header of a deleted thread outlives any writer that may still be on its way. */
const TOMBSTONE_MS = 7 * 24 * 3_600_000;
/** What leaves room for the longest queue in 4 KB, and holds what most threads say of themselves. */
const INLINE_METADATA_BYTES = 200;

/** Thread headers: the item whose conditional writes decide what runs (I2). */
export interface Threads {
  /** One that has expired is deleted before it is shown: whoever reads it finds it so. */
  get(ref: ThreadRef): Promise<Stored<Thread> | undefined>;
  put(thread: Thread, when: "absent" | { readonly version: number }): Promise<Written<Thread>>;
  /** See `update` in records.ts. */
  update(
    ref: ThreadRef,
    change: (thread: Thread) => Thread | undefined,
    known?: Stored<Thread>,
  ): Promise<Stored<Thread> | undefined>;
  /** Stores metadata where the header of this generation can name it; write the header with the result afterwards. */
  keepMetadata(of: InGeneration, metadata: JsonObject, itemId: string): Promise<ThreadMetadata>;
  /** Has metadata expire that this header named, or was to name, and none does any more; who still holds one that did finds it for an hour. */
  dropMetadata(thread: Thread): Promise<void>;
  metadata(thread: Thread): Promise<JsonObject>;
  /** Threads of a tenant by the time of their creation; confirmed on the base items. Without those that cannot be read here. */
  list(tenant: TenantId, range: Range): Promise<Page<Thread>>;
}

export interface InGeneration extends ThreadRef {
  readonly generation: number;
}

/** A reader that still holds the header of before finds the metadata it names for this long. */
const OLD_METADATA_KEPT_MS = 3_600_000;

export interface ThreadsOptions {
  readonly table: Table;
  readonly shards: number;
  /** What encrypts metadata; nothing by default. */
  readonly sealers?: Sealers;
  /** Of threads that have none of their own. */
  readonly ttl?: ThreadTtl;
}

export function createThreads({ table, shards, sealers = plainSealers, ttl }: ThreadsOptions): Threads {
  const limited = (thread: Thread): Thread =>
    ttl === undefined || thread.ttl !== undefined || thread.deleted ? thread : { ...thread, ttl };
  const expired = (thread: Thread): Thread | undefined =>
    isExpired(thread, table.now()) ? tombstone(thread, table.now()) : undefined;
  const codec: Codec<Thread> = {
    names: ["t", "i", "g", "q", "p", "d", SEALED],
    key: (thread: Thread) => threadKeys.header(thread),
    encode: (thread) => encode(limited(thread)),
    decode,
    index: (thread) => indexEntries(limited(thread), shards),
    expiresAt: (thread) => (thread.deleted ? thread.updatedAt + TOMBSTONE_MS : undefined),
  };
  const records: Records<Thread> = createRecords(table, codec, sealers);
  /** Of an item of its own. */
  const longMetadata = async (ref: ThreadRef, key: Key): Promise<string> => {
    const item = readable(await table.get(key), newestWith(sealers));
    if (!item) throw new HoldpointError("corrupt", `metadata of thread ${ref.threadId} is missing`);
    const [sealer, place] = [sealers(ref.tenant), itemPlace(ref.tenant, key)];
    const sealed = sealedBytesOf(item);
    if (sealed) return textIn(await openSealed(sealer, sealed, place));
    await refusePlain(sealer, place);
    return textOf(item, "d");
  };
  return {
    async get(ref) {
      const key = threadKeys.header(ref);
      const stored = await records.get(key);
      return stored && expired(stored.value) ? update(records, key, expired, stored) : stored;
    },
    put: (thread, when) => records.put(thread, when),
    update: (ref, change, known) => update(records, threadKeys.header(ref), change, known),
    async keepMetadata({ generation, ...ref }, metadata, itemId) {
      const text = JSON.stringify(metadata);
      const bytes = Buffer.from(text);
      const isShort = bytes.length <= INLINE_METADATA_BYTES;
      const sealer = sealers(ref.tenant);
      if (isShort && !sealer.encrypts) return { kind: "inline", value: metadata };
      const key = isShort ? threadKeys.header(ref) : threadKeys.metadata(ref, itemId);
      const sealed = sealer.encrypts && (await sealedFor(sealer, bytes, itemPlace(ref.tenant, key)));
      if (isShort && sealed) return { kind: "sealed", bytes: sealed };
      const attributes = { ...(sealed ? sealedAttributes(sealed) : { d: text }), g: generation };
      await table.put({ ...key, attributes }, "any");
      return { kind: "item", id: itemId };
    },
    async dropMetadata({ generation, metadata, ...ref }) {
      if (metadata.kind !== "item") return;
      const item = await table.get(threadKeys.metadata(ref, metadata.id));
      // One of the same name may have been written since, for a thread that was made again.
      if (!item || Number(item.attributes["g"] ?? 0) > generation) return;
      await table.put({ ...item, expiresAt: table.now() + OLD_METADATA_KEPT_MS }, { version: item.version });
    },
    async metadata({ metadata, ...ref }) {
      const [sealer, place] = [sealers(ref.tenant), itemPlace(ref.tenant, threadKeys.header(ref))];
      switch (metadata.kind) {
        case "inline":
          await refusePlain(sealer, place);
          return metadata.value;
        case "sealed":
          return jsonIn(textIn(await openSealed(sealer, metadata.bytes, place)));
        case "item":
          return jsonIn(await longMetadata(ref, threadKeys.metadata(ref, metadata.id)));
      }
    },
    async list(tenant, range) {
      const rows = await table.queryIndex("list", listPartition(tenant, "threads"), range);
      const found = await records.getMany(
        rows.items.map((row) => row.key),
        "skip",
      );
      const byPartition = new Map(found.map((stored) => [threadKeys.partition(stored.value), stored.value]));
      const items = rows.items
        .flatMap((row) => byPartition.get(row.key.pk) ?? [])
        .filter((thread) => !thread.deleted && expired(thread) === undefined);
      return { ...rows, items };
    },
  };
}

const textIn = (bytes: Uint8Array): string => Buffer.from(bytes).toString("utf8");
const jsonIn = (text: string): JsonObject => JSON.parse(text) as JsonObject; // as `keepMetadata` wrote it

type Body = Omit<Thread, "tenant" | "threadId" | "generation" | "queue" | "active" | "metadata"> & {
  readonly active?: { readonly kind: "run" | "update" };
  /** What is sealed stands beside it, as bytes. */
  readonly metadata: Exclude<ThreadMetadata, { readonly kind: "sealed" }> | { readonly kind: "sealed" };
};

function encode(thread: Thread): Record<string, Value> {
  const { tenant, threadId, generation, queue: _, active, ...rest } = thread;
  const { metadata } = rest;
  const entries = entriesOf(thread);
  const lanes = [...new Set(entries.map(laneOf))];
  if (lanes.length > MAX_LANES) throw new HoldpointError("limit", `a thread's queue spans at most ${MAX_LANES} graphs`);
  const isSealed = metadata.kind === "sealed";
  const body: Body = {
    ...rest,
    metadata: isSealed ? { kind: "sealed" } : metadata,
    ...(active === undefined ? {} : { active: { kind: active.kind } }),
  };
  return {
    t: tenant,
    i: threadId,
    g: generation,
    ...(entries.length === 0 ? {} : { q: encodeQueue(entries, lanes), p: lanes }),
    d: JSON.stringify(body),
    ...(isSealed ? sealedAttributes(metadata.bytes) : {}),
  };
}

function decode(item: Item): Thread {
  const { active, metadata, ...body } = JSON.parse(textOf(item, "d")) as Body;
  const entries = decodeQueue(item);
  const [first, ...others] = entries;
  const ref: ThreadRef = { tenant: textOf(item, "t") as TenantId, threadId: textOf(item, "i") as ThreadId };
  // Metadata are opened for whom the header names.
  if (threadKeys.partition(ref) !== item.pk)
    throw new HoldpointError("corrupt", `item ${item.sk} of partition ${item.pk} is that of another thread`);
  return {
    ...body,
    ...ref,
    generation: numberOf(item, "g"),
    metadata: metadata.kind === "sealed" ? { kind: "sealed", bytes: sealedBytesIn(item) } : metadata,
    ...(active?.kind === "run" && first ? { active: { kind: "run", entry: first } } : {}),
    ...(active?.kind === "update" ? { active: { kind: "update" } } : {}),
    queue: active?.kind === "run" ? others : entries,
  };
}

/** None where they were taken away: the header can still be moved on, and who asks for metadata is told. */
const sealedBytesIn = ({ attributes: { [SEALED]: bytes } }: Item): Uint8Array =>
  bytes instanceof Uint8Array ? bytes : new Uint8Array();

/** The active run, if there is one, stands first; then the queue in its order. */
function encodeQueue(entries: readonly QueueEntry[], lanes: readonly string[]): Uint8Array {
  const bytes = new Uint8Array(entries.length * ENTRY_BYTES);
  entries.forEach((entry, i) => {
    bytes.set(parseUuid(entry.runId), i * ENTRY_BYTES);
    const stop = entry.stop === undefined ? 0 : KIND[entry.stop];
    bytes[i * ENTRY_BYTES + 16] = stop | (entry.kind === "continuation" ? KIND.continuation : 0);
    bytes[i * ENTRY_BYTES + 17] = lanes.indexOf(laneOf(entry));
  });
  return bytes;
}

function stopIn(kind: number): Pick<QueueEntry, "stop"> {
  if ((kind & KIND.rollback) !== 0) return { stop: "rollback" };
  return (kind & KIND.interrupt) !== 0 ? { stop: "interrupt" } : {};
}

function decodeQueue(item: Item): QueueEntry[] {
  const bytes = item.attributes["q"];
  const lanes = item.attributes["p"];
  if (!(bytes instanceof Uint8Array) || !Array.isArray(lanes)) return [];
  return Array.from({ length: bytes.length / ENTRY_BYTES }, (_, i) => {
    const at = i * ENTRY_BYTES;
    const kind = bytes[at + 16] ?? 0;
    const lane = String(lanes[bytes[at + 17] ?? 0]);
    const hash = lane.lastIndexOf("#");
    return {
      runId: runId(stringifyUuid(bytes.subarray(at, at + 16))),
      kind: (kind & KIND.continuation) === 0 ? "input" : "continuation",
      pool: lane.slice(0, hash),
      graphId: lane.slice(hash + 1),
      ...stopIn(kind),
    };
  });
}

function indexEntries(thread: Thread, shards: number): IndexEntries {
  const list = { pk: listPartition(thread.tenant, "threads"), sk: `${timePart(thread.createdAt)}#${thread.threadId}` };
  const listed = thread.deleted ? {} : { list };
  const due = threadDue(thread);
  if (!due || (thread.deleted && due.kind !== "removal")) return listed;
  const at = { tenant: thread.tenant, priority: thread.priority, dueAt: due.at, subject: thread.threadId };
  const sk = sortOf(due, at);
  return { ...listed, due: { pk: duePartition(due.pool, thread.tenant, shards), sk } };
}

function sortOf({ kind }: Due, at: DueSort): string {
  switch (kind) {
    case "ready":
      return readySort(at);
    case "expiry":
      return expirySort(at);
    case "lease":
      return leaseSort(at);
    case "timer":
    case "removal":
      return futureSort(at);
  }
}
