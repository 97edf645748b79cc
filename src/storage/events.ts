import { deflateRawSync, inflateRawSync } from "node:zlib";
import type { EventBatch, Frame, NumberedFrame } from "../core/event.ts";
import { numbered } from "../core/event.ts";
import type { RunId } from "../core/ids.ts";
import type { Place } from "./encryption/envelope.ts";
import { plainSealers } from "./encryption/sealer.ts";
import type { Sealers } from "./encryption/sealer.ts";
import { eventKeys, framePart } from "./keys.ts";
import type { ThreadRef } from "./keys.ts";
import { numberOf, orCorrupt, readable, textOf } from "./records.ts";
import type { Item, Key, Table, Value } from "./table.ts";
import { createWeakCache } from "./weak-cache.ts";

/** A batch never holds more frames. */
export const MAX_BATCH_FRAMES = 100;
/** Batches of one page: what a reader holds who takes its time. */
const PAGE_BATCHES = 8;
/** Below this a batch is kept as text; above it, frames of one stream are so alike that a fifth of it is left. */
const COMPRESS_FROM_BYTES = 512;

export type AppendResult = { readonly won: true } | { readonly won: false; readonly current: EventBatch | undefined };

/** Where a thread's log ends. */
export interface EventsEnd {
  /** The number after the last frame. */
  readonly next: number;
  /** The fence and the run that wrote the last batch, and what the log holds of that run. No run: the log is empty. */
  readonly fence: number;
  readonly runId: RunId | undefined;
  readonly usedBytes: number;
}

/** The event log of a thread: batches of numbered frames, appended with `absent` at the next number. */
export interface Events {
  append(ref: ThreadRef, generation: number, batch: EventBatch): Promise<AppendResult>;
  end(ref: ThreadRef, generation: number): Promise<EventsEnd>;
  /** Frames with a number of at least `from`, oldest first; at most one page. */
  read(
    ref: ThreadRef,
    generation: number,
    from: number,
  ): Promise<{ readonly frames: readonly NumberedFrame[]; readonly more: boolean }>;
  /** Of an item that was read together with others. */
  of(ref: ThreadRef, item: Item): Promise<EventBatch>;
  /** Key of the batch that begins with this frame: it is there as soon as the frame is. */
  batchKey(ref: ThreadRef, generation: number, first: number): Key;
}

export interface EventsOptions {
  /** Batches expire so many milliseconds after they were written. */
  readonly retentionMs: number;
  /** What encrypts frames; nothing by default. */
  readonly sealers?: Sealers;
}

export function createEvents(table: Table, { retentionMs, sealers = plainSealers }: EventsOptions): Events {
  const placeOf = ({ tenant, threadId }: ThreadRef, { sk }: Pick<Key, "sk">): Place => ({
    tenant,
    threadId,
    ns: "",
    checkpointId: "",
    part: `events ${sk}`,
  });
  const encode = async (ref: ThreadRef, key: Key, batch: EventBatch): Promise<Record<string, Value>> => {
    const common = { r: batch.runId, f: batch.fence, n: batch.first, u: batch.usedBytes };
    const text = JSON.stringify(batch.frames);
    const sealer = sealers(ref.tenant);
    if (text.length < COMPRESS_FROM_BYTES && !sealer.encrypts) return { ...common, d: text };
    if (sealer.encrypts) await sealer.ready();
    return { ...common, z: sealer.seal(deflated(text), placeOf(ref, key)) };
  };
  // Batches never change, and thousands of readers who take their time hold much the same ones: each is held once.
  const held = createWeakCache<EventBatch>();
  const batchOf = async (ref: ThreadRef, item: Item): Promise<EventBatch> => {
    // With what was written last: damage is seen as soon as it is there.
    const name = `${item.pk} ${item.sk} ${item.writeId}`;
    return held.get(name) ?? held.put(name, await decode(ref, item));
  };
  const decode = async (ref: ThreadRef, item: Item): Promise<EventBatch> => {
    const { z, u } = readable(item).attributes;
    const sealer = sealers(ref.tenant);
    const opened = (bytes: Uint8Array) => sealer.open(bytes, placeOf(ref, item));
    const short = z instanceof Uint8Array ? "" : orCorrupt(item, () => textOf(item, "d"));
    // Text in the clear goes the same way where anything is encrypted: it may be refused.
    const text =
      z instanceof Uint8Array
        ? inflated(item, await opened(z))
        : sealer.encrypts
          ? Buffer.from(await opened(Buffer.from(short))).toString("utf8")
          : short;
    return orCorrupt(item, () => ({
      first: numberOf(item, "n"),
      runId: textOf(item, "r") as RunId,
      fence: numberOf(item, "f"),
      frames: JSON.parse(text) as Frame[],
      usedBytes: typeof u === "number" ? u : 0,
    }));
  };
  const decodeAll = (ref: ThreadRef, items: readonly Item[]): Promise<readonly EventBatch[]> =>
    Promise.all(items.map((item) => batchOf(ref, item)));
  return {
    async append(ref, generation, batch) {
      const key = eventKeys.batch(ref, generation, batch.first);
      const draft = { ...key, attributes: await encode(ref, key, batch) };
      const result = await table.put({ ...draft, expiresAt: table.now() + retentionMs }, "absent");
      return result.won
        ? { won: true }
        : { won: false, current: result.current && (await batchOf(ref, result.current)) };
    },
    async end(ref, generation) {
      const page = await table.query(eventKeys.partition(ref), {
        prefix: eventKeys.prefix(generation),
        descending: true,
        limit: 1,
      });
      const last = page.items[0] && (await batchOf(ref, page.items[0]));
      return last ? endOf(last) : { next: 0, fence: 0, runId: undefined, usedBytes: 0 };
    },
    async read(ref, generation, from) {
      const prefix = eventKeys.prefix(generation);
      const pk = eventKeys.partition(ref);
      const page = await table.query(pk, { from: prefix + framePart(from), to: `${prefix}~`, limit: PAGE_BATCHES });
      const batches = await decodeAll(ref, page.items);
      // Readers come back at the start of a batch. Only where none starts here may an earlier one reach beyond it.
      const isBetween = from > 0 && batches[0]?.first !== from;
      const before = isBetween
        ? await table.query(pk, { from: prefix, to: prefix + framePart(from), descending: true, limit: 1 })
        : undefined;
      const earlier = (await decodeAll(ref, before?.items ?? [])).filter(({ first }) => first < from);
      const frames = [...earlier, ...batches].flatMap(numbered).filter((frame) => frame.number >= from);
      return { frames, more: page.next !== undefined };
    },
    of: batchOf,
    batchKey: (ref, generation, first) => eventKeys.batch(ref, generation, first),
  };
}

/** Where the log ends that ends with this batch. */
export const endOf = ({ first, frames, fence, runId, usedBytes }: EventBatch): EventsEnd => ({
  next: first + frames.length,
  fence,
  runId,
  usedBytes,
});

const inflated = (item: Key, bytes: Uint8Array): string =>
  orCorrupt(item, () => inflateRawSync(bytes).toString("utf8"));

function deflated(text: string): Uint8Array {
  const bytes = Buffer.from(text);
  return deflateRawSync(bytes, { chunkSize: Math.min(16_384, Math.max(64, bytes.length)) });
}
