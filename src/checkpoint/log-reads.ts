/** What is read of a log besides its head. */
import { HoldpointError } from "../core/errors.ts";
import type { Item } from "../storage/table.ts";
import type { LogItems } from "./log-items.ts";
import type { CheckpointRecord, LogRecord, Mark } from "./record.ts";

export interface Reading {
  readonly items: LogItems;
  readonly read: (item: Item) => Promise<LogRecord>;
}

/** Records that a search by halves looks at together, to find a checkpoint among marks. */
const PROBE = 4;
const MARKS_PAGE = 36;

/** The records from the base of one up to it. @throws HoldpointError `corrupt` when one is missing */
export async function readChain(
  { items, read }: Reading,
  record: CheckpointRecord,
  known: readonly CheckpointRecord[],
): Promise<readonly CheckpointRecord[]> {
  const bySeq = new Map(known.map((one) => [one.seq, one]));
  const chain = [record];
  for (let first = record; first.seq !== first.baseSeq;) {
    const seq = first.parentSeq;
    if (seq === undefined) throw new HoldpointError("corrupt", `record ${first.seq} names no parent`);
    if (!bySeq.has(seq)) {
      for await (const item of items.itemsOf(items.downTo(seq, record.baseSeq))) {
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
}

/** The highest checkpoint between two positions, of which some may be empty. */
export async function lastCheckpoint(
  { items, read }: Reading,
  low: number,
  high: number,
): Promise<CheckpointRecord | undefined> {
  for await (const item of items.itemsOf({ ...items.downTo(high, low), limit: PROBE })) {
    const record = await read(item);
    if (record.kind === "checkpoint") return record;
  }
  return undefined;
}

/**
 * The marks that stand above a position on the branch as it is now, or as it was when it last came by there; oldest first.
 * A reset may have gone back to it, and what was executed from there stands behind marks that are not next to it. Reads
 * everything above.
 */
export async function standingMarks({ items, read }: Reading, seq: number): Promise<readonly Mark[]> {
  let [last, below]: [Above, number] = [{ marks: [], isOpen: true }, seq];
  const states = new Map([[seq, last]]);
  for await (const item of items.itemsOf({ ...items.upFrom(seq + 1), limit: MARKS_PAGE })) {
    const record = await read(item);
    const before = states.get(record.kind === "reset" ? record.targetSeq : below);
    below = record.seq;
    if (before === undefined) continue;
    const isMark = record.kind === "barrier" || record.kind === "reset";
    last = isMark && before.isOpen ? { marks: [...before.marks, record], isOpen: true } : { ...before, isOpen: false };
    states.set(below, last);
  }
  return last.marks;
}

/** What stands between a position and one above it. */
interface Above {
  readonly marks: readonly Mark[];
  /** Nothing but them. */
  readonly isOpen: boolean;
}

/** The marks between a position and the next checkpoint record, or where one was; oldest first. */
export async function marksAfter({ items, read }: Reading, seq: number): Promise<readonly Mark[]> {
  const marks: Mark[] = [];
  for await (const item of items.itemsOf({ ...items.upFrom(seq + 1), limit: MARKS_PAGE })) {
    const record = await read(item);
    if (record.kind === "checkpoint" || record.kind === "removed") return marks;
    marks.push(record);
  }
  return marks;
}
