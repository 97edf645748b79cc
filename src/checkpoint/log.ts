/**
 * The log of one namespace: an append-only list of records whose positions are never reused.
 * I2: an append is one conditional put at the position above the head; whoever finds another record there has lost it.
 * I3: a record is data and commit point in one; segments are written before it.
 */
import { HoldpointError } from "../core/errors.ts";
import { threadKeys } from "../storage/keys.ts";
import type { Draft, Item, Table } from "../storage/table.ts";
import type { Bodies } from "./bodies.ts";
import type { NamespaceRef } from "./segments.ts";
import { readRecord, recordDraft } from "./record.ts";
import type { CheckpointRecord, LogRecord, Mark } from "./record.ts";

/** One page holds a whole chain and the barriers above it, in all but rare cases. */
const HEAD_PAGE = 36;
const WALK_PAGE = 50;
/** How many ids of read records are kept as shortcuts to their positions. */
const REMEMBERED = 5_000;

export interface Head {
  /** The highest record, of whatever kind; position 0 and fence 0 when there is none. */
  readonly top: { readonly seq: number; readonly fence: number };
  readonly latest: CheckpointRecord | undefined;
  /** Barriers and resets above `latest`, oldest first. */
  readonly marks: readonly Mark[];
  /** From the base to `latest`. */
  readonly chain: readonly CheckpointRecord[];
}

export type AppendResult = { readonly won: true } | { readonly won: false; readonly current: LogRecord };

export interface Log {
  readonly at: NamespaceRef;
  head(): Promise<Head>;
  /** Visible records, newest first, from `below` (exclusive) or the head. */
  walk(below?: number): AsyncGenerator<LogRecord>;
  find(checkpointId: string): Promise<CheckpointRecord | undefined>;
  /** The records from the base of `record` up to it. */
  chain(record: CheckpointRecord): Promise<readonly CheckpointRecord[]>;
  /** The barriers between this position and the next checkpoint record, oldest first. */
  marksAfter(seq: number): Promise<readonly Mark[]>;
  /** `index` makes the item findable without its thread. */
  append(record: LogRecord, index?: Draft["index"]): Promise<AppendResult>;
}

export interface LogDeps {
  readonly table: Table;
  readonly bodies: Bodies;
}

export function createLog({ table, bodies }: LogDeps, at: NamespaceRef): Log {
  const pk = threadKeys.partition(at.thread);
  const prefix = threadKeys.logPrefix(at.generation, at.ns);
  const keyOf = (seq: number) => threadKeys.log(at.thread, at.generation, at.ns, seq);
  const positions = new Map<string, number>();

  const learn = (record: LogRecord): LogRecord => {
    if (record.kind !== "checkpoint") return record;
    positions.set(record.checkpointId, record.seq);
    if (record.parentId !== undefined && record.parentSeq !== undefined)
      positions.set(record.parentId, record.parentSeq);
    for (const oldest of positions.keys()) {
      if (positions.size <= REMEMBERED) break;
      positions.delete(oldest);
    }
    return record;
  };
  const read = async (item: Item): Promise<LogRecord> => {
    const record = readRecord(item);
    if (record.kind !== "checkpoint") return record;
    return learn({ ...record, body: await bodies.opened(at.thread, item.sk, record.body) });
  };
  const sealed = async (record: LogRecord): Promise<LogRecord> =>
    record.kind === "checkpoint"
      ? { ...record, body: await bodies.sealed(at.thread, keyOf(record.seq).sk, record.body) }
      : record;
  const get = async (seq: number): Promise<LogRecord | undefined> => {
    const item = await table.get(keyOf(seq));
    return item && (await read(item));
  };

  async function* descend(below: number | undefined, pageSize: number): AsyncGenerator<LogRecord> {
    let upTo = below === undefined ? Infinity : below - 1;
    for (let after: string | undefined; upTo >= 1;) {
      const range = upTo === Infinity ? { prefix } : { from: keyOf(1).sk, to: keyOf(upTo).sk };
      const page = await table.query(pk, {
        ...range,
        descending: true,
        limit: pageSize,
        ...(after === undefined ? {} : { after }),
      });
      for (const item of page.items) {
        const record = await read(item);
        if (record.seq > upTo) continue;
        yield record;
        upTo = record.kind === "reset" ? record.targetSeq : record.seq - 1;
      }
      if (page.next === undefined) return;
      after = page.items.length === 0 ? page.next : undefined;
    }
  }

  const chainBetween = async (
    record: CheckpointRecord,
    known: readonly CheckpointRecord[],
  ): Promise<readonly CheckpointRecord[]> => {
    const bySeq = new Map(known.map((r) => [r.seq, r]));
    const chain = [record];
    for (let first = record; first.seq !== first.baseSeq;) {
      const seq = first.parentSeq;
      if (seq === undefined) throw new HoldpointError("corrupt", `record ${first.seq} names no parent`);
      if (!bySeq.has(seq)) {
        const range = { from: keyOf(record.baseSeq).sk, to: keyOf(seq).sk, descending: true };
        for (const item of (await table.query(pk, range)).items) {
          const found = await read(item);
          if (found.kind === "checkpoint") bySeq.set(found.seq, found);
        }
      }
      const parent = bySeq.get(seq);
      if (parent === undefined)
        throw new HoldpointError("corrupt", `record ${seq} of the chain of ${record.seq} is missing`);
      chain.unshift(parent);
      first = parent;
    }
    return chain;
  };

  const bisect = async (id: string, top: number): Promise<CheckpointRecord | undefined> => {
    let [low, high] = [1, top];
    while (low <= high) {
      const middle = Math.floor((low + high) / 2);
      let probe = await get(middle);
      for (let seq = middle - 1; probe?.kind !== "checkpoint" && seq >= low; seq--) probe = await get(seq);
      if (probe?.kind !== "checkpoint") low = middle + 1;
      else if (probe.checkpointId === id) return probe;
      else if (probe.checkpointId < id) low = middle + 1;
      else high = probe.seq - 1;
    }
    return undefined;
  };

  const find = async (id: string): Promise<CheckpointRecord | undefined> => {
    const remembered = async (): Promise<CheckpointRecord | undefined> => {
      const seq = positions.get(id);
      const record = seq === undefined ? undefined : await get(seq);
      return record?.kind === "checkpoint" && record.checkpointId === id ? record : undefined;
    };
    const known = await remembered();
    if (known !== undefined) return known;
    const { top } = await head();
    // Ids are ordered by time, and so nearly always by position; where a clock was wrong, every record is looked at.
    const found = (await remembered()) ?? (await bisect(id, top.seq));
    if (found !== undefined) return found;
    for await (const record of descend(undefined, WALK_PAGE)) {
      if (record.kind === "checkpoint" && record.checkpointId === id) return record;
    }
    return undefined;
  };

  const head = async (): Promise<Head> => {
    let top: Head["top"] | undefined;
    const marks: Mark[] = [];
    const seen: CheckpointRecord[] = [];
    for await (const record of descend(undefined, HEAD_PAGE)) {
      top ??= { seq: record.seq, fence: record.fence };
      if (record.kind === "checkpoint") seen.push(record);
      else if (seen.length === 0) marks.unshift(record);
      if (seen[0] !== undefined && record.seq <= seen[0].baseSeq) break;
    }
    const [latest] = seen;
    const chain = latest === undefined ? [] : await chainBetween(latest, seen);
    return { top: top ?? { seq: 0, fence: 0 }, latest, marks, chain };
  };

  return {
    at,
    head,
    walk: (below) => descend(below, WALK_PAGE),
    find,
    chain: (record) => chainBetween(record, []),
    marksAfter: async (seq) => {
      const marks: Mark[] = [];
      for (let from = seq + 1; ;) {
        // Every key of this log lies below one more digit than a position has.
        const page = await table.query(pk, { from: keyOf(from).sk, to: `${prefix}:`, limit: HEAD_PAGE });
        for (const item of page.items) {
          const record = await read(item);
          if (record.kind === "checkpoint") return marks;
          marks.push(record);
          from = record.seq + 1;
        }
        if (page.next === undefined) return marks;
      }
    },
    append: async (record, index) => {
      const draft = recordDraft(at, await sealed(record));
      for (;;) {
        const result = await table.put(index === undefined ? draft : { ...draft, index }, "absent");
        if (result.won) {
          learn(record);
          return { won: true };
        }
        if (result.current !== undefined) return { won: false, current: await read(result.current) };
      }
    },
  };
}
