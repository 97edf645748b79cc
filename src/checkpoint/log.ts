/**
 * The log of one namespace: an append-only list of records whose positions are never reused.
 * I2: an append is one conditional put at the position above the head; whoever finds another record there has lost it.
 * I3: a record is data and commit point in one; segments are written before it.
 */
import { threadKeys } from "../storage/keys.ts";
import type { Draft, Item } from "../storage/table.ts";
import { isHidden } from "./cuts.ts";
import { findCheckpoint } from "./find-checkpoint.ts";
import { createLogItems } from "./log-items.ts";
import type { LogDeps, LogItems } from "./log-items.ts";
import { lastCheckpoint, marksAfter, readChain, standingMarks } from "./log-reads.ts";
import type { NamespaceRef } from "./segments.ts";
import { isCut, readRecord } from "./record.ts";
import type { CheckpointRecord, CutRecord, LogRecord, Mark } from "./record.ts";

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
  /** Position of the last cut; 0 where there is none. */
  readonly cutSeq: number;
}

/** A checkpoint that counts, with the barriers and resets above it, oldest first. */
export interface Standing {
  readonly record: CheckpointRecord;
  readonly marks: readonly Mark[];
}

export type AppendResult = { readonly won: true } | { readonly won: false; readonly current: LogRecord };

export interface Log {
  readonly at: NamespaceRef;
  head(): Promise<Head>;
  /** Position of the last cut that was seen here. */
  readonly lastCut: number;
  /** Checkpoints that count, newest first, from `below` (exclusive) or the head. */
  walk(below?: number): AsyncGenerator<Standing>;
  find(checkpointId: string): Promise<CheckpointRecord | undefined>;
  /** The records from the base of `record` up to it. */
  chain(record: CheckpointRecord): Promise<readonly CheckpointRecord[]>;
  /** The barriers between this position and the next checkpoint record, oldest first. */
  marksAfter(seq: number): Promise<readonly Mark[]>;
  /** Those above this position on the branch as it stands, wherever a reset went back to it: reads all that is above. */
  standingMarks(seq: number): Promise<readonly Mark[]>;
  /** `index` makes the item findable without its thread. */
  append(record: LogRecord, index?: Draft["index"]): Promise<AppendResult>;
  /** The cut at a position; undefined when a later one has removed it. */
  cutAt(seq: number): Promise<CutRecord | undefined>;
  /** Notes on a cut that what it hides has been removed. */
  settle(seq: number): Promise<void>;
  readonly items: LogItems;
}

export function createLog(deps: LogDeps, at: NamespaceRef): Log {
  const { table } = deps;
  const pk = threadKeys.partition(at.thread);
  const items = createLogItems(deps, at);
  const keyOf = (seq: number) => items.keyOf(seq);
  const positions = new Map<string, number>();
  const cuts = new Map<number, CutRecord>();
  let lastCut = 0;

  const learn = (record: LogRecord): LogRecord => {
    lastCut = Math.max(lastCut, record.cutSeq ?? 0);
    if (isCut(record)) cuts.set(record.seq, record);
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
    return learn(record.kind === "checkpoint" ? await items.opened(record) : record);
  };
  const get = async (seq: number): Promise<LogRecord | undefined> => {
    const item = await table.get(keyOf(seq));
    return item && (await read(item));
  };

  const cutAt = async (seq: number): Promise<CutRecord | undefined> => {
    const found = seq === 0 ? undefined : (cuts.get(seq) ?? (await get(seq)));
    return found !== undefined && isCut(found) ? found : undefined;
  };
  /** Whether a record counts, as far as cuts are concerned. */
  const stands = async (record: LogRecord, cutSeq = lastCut): Promise<boolean> => {
    const cut = record.seq < cutSeq ? await cutAt(cutSeq) : undefined;
    return cut === undefined || !isHidden(cut, record);
  };

  /** Along the branch, newest first, down to the floor of the last cut: what `counts`, and what ends the marks above it. */
  async function* descend(
    below: number | undefined,
    pageSize: number,
  ): AsyncGenerator<LogRecord & { counts: boolean }> {
    let upTo = below === undefined ? Infinity : below - 1;
    let cutSeq = below === undefined ? 0 : lastCut;
    for (let after: string | undefined; upTo >= 1;) {
      const range = items.downTo(upTo);
      const page = await table.query(pk, { ...range, limit: pageSize, ...(after === undefined ? {} : { after }) });
      for (const item of page.items) {
        const record = await read(item);
        if (record.seq > upTo) continue;
        cutSeq = Math.max(cutSeq, record.cutSeq ?? 0);
        const cut = record.seq < cutSeq ? await cutAt(cutSeq) : undefined;
        if (cut !== undefined && record.seq < cut.cut.floor) return;
        yield { ...record, counts: cut === undefined || !isHidden(cut, record) };
        upTo = record.kind === "reset" ? record.targetSeq : record.seq - 1;
      }
      if (page.next === undefined) return;
      after = page.items.length === 0 ? page.next : undefined;
    }
  }

  const chainBetween = (record: CheckpointRecord, known: readonly CheckpointRecord[]) =>
    readChain({ items, read }, record, known);
  async function* walk(below?: number): AsyncGenerator<Standing> {
    let marks: Mark[] = [];
    for await (const { counts, ...record } of descend(below, WALK_PAGE)) {
      if (record.kind === "barrier" || record.kind === "reset") {
        marks.unshift(record);
        continue;
      }
      if (counts && record.kind === "checkpoint") yield { record, marks };
      marks = [];
    }
  }

  const head = async (): Promise<Head> => {
    let top: LogRecord | undefined;
    let marks: Mark[] = [];
    const seen: CheckpointRecord[] = [];
    for await (const { counts, ...record } of descend(undefined, HEAD_PAGE)) {
      top ??= record;
      if (record.kind === "checkpoint" && counts) seen.push(record);
      else if (seen.length > 0) continue;
      else if (record.kind === "barrier" || record.kind === "reset") marks.unshift(record);
      else marks = [];
      if (seen[0] !== undefined && record.seq <= seen[0].baseSeq) break;
    }
    const [latest] = seen;
    const chain = latest === undefined ? [] : await chainBetween(latest, seen);
    const { seq = 0, fence = 0 } = top ?? {};
    return { top: { seq, fence }, latest, marks, chain, cutSeq: lastCut };
  };

  return {
    at,
    head,
    get lastCut() {
      return lastCut;
    },
    walk,
    find: (id) =>
      findCheckpoint(id, {
        remembered: async () => {
          const seq = positions.get(id);
          return seq === undefined ? undefined : get(seq);
        },
        stands,
        span: async () => {
          const { top } = await head();
          return [(await cutAt(lastCut))?.cut.floor ?? 1, top.seq];
        },
        lastCheckpoint: (low, high) => lastCheckpoint({ items, read }, low, high),
        walk,
      }),
    chain: (record) => chainBetween(record, []),
    marksAfter: (seq) => marksAfter({ items, read }, seq),
    standingMarks: (seq) => standingMarks({ items, read }, seq),
    append: async (record, index) => {
      const draft = await items.draftOf(record);
      for (;;) {
        const result = await table.put(index === undefined ? draft : { ...draft, index }, "absent");
        if (result.won) {
          learn(record);
          return { won: true };
        }
        if (result.current !== undefined) return { won: false, current: await read(result.current) };
      }
    },
    cutAt,
    settle: async (seq) => {
      await items.settle(seq);
      cuts.delete(seq);
    },
    items,
  };
}
