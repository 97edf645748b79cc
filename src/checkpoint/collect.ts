/**
 * Removes what a cut hides: task writes and records, newest first, then the segments that nothing else is made of. It may
 * be repeated after any crash, by anyone; whoever still holds the thread as it was is in nobody's way, because
 *
 * - each position keeps a record that says "removed" (I2): for good above the cut's floor, else for longer than any writer
 *   is on its way,
 * - what counts and was told as a change of what goes is first written as a base, in its place,
 * - a segment's name begins with the position of the record that it was written for: what somebody is about to name stands
 *   above the cut. The cut names all that the checkpoint it repeats was made of.
 */
import type { CellStore } from "./cell-store.ts";
import { isHidden } from "./cuts.ts";
import type { Log } from "./log.ts";
import type { StoredRecord } from "./log-items.ts";
import { rebased } from "./rebase.ts";
import type { CheckpointRecord, CutRecord, LogRecord } from "./record.ts";
import { foldChain, segmentsNamed } from "./fold.ts";
import type { TaskWrites } from "./writes.ts";

/** As long as the header of a deleted thread is kept. */
const REMOVED_MS = 7 * 24 * 3_600_000;

export interface CollectDeps {
  readonly cells: CellStore;
  readonly writes: TaskWrites;
  /** The table's time, in milliseconds. */
  now(): number;
}

type StoredCheckpointRecord = StoredRecord & { readonly record: CheckpointRecord };

const isCheckpoint = (stored: StoredRecord): stored is StoredCheckpointRecord => stored.record.kind === "checkpoint";

export async function collect(deps: CollectDeps, log: Log, cut: CutRecord): Promise<void> {
  if (cut.cut.done) return;
  const used = new Set(cut.kind === "checkpoint" ? segmentsNamed([cut]) : []);
  const expiresAt = deps.now() + REMOVED_MS;
  for await (const { group, visible } of closedGroups(log, cut, expiresAt)) {
    for (const name of await settleGroup({ deps, log, cut, visible, expiresAt }, group)) used.add(name);
  }
  await deps.cells.removeUnused(log.at, cut.seq, used);
  await log.settle(cut.seq);
}

interface Group {
  /** Newest first; every chain of theirs is among them. */
  readonly group: readonly StoredCheckpointRecord[];
  /** Positions on the branch, as far as resets are concerned. */
  readonly visible: ReadonlySet<number>;
}

/** The checkpoints below a cut, a few chains at a time; what else stands below its floor is removed on the way. */
async function* closedGroups(log: Log, cut: CutRecord, expiresAt: number): AsyncGenerator<Group> {
  let group: StoredCheckpointRecord[] = [];
  let visible = new Set<number>();
  let lowest = Infinity;
  let upTo = Infinity;
  for await (const stored of log.items.stored(cut.seq)) {
    const { record } = stored;
    const isVisible = record.seq <= upTo;
    if (isVisible) upTo = record.kind === "reset" ? record.targetSeq : record.seq - 1;
    if (isCheckpoint(stored)) {
      group.push(stored);
      if (isVisible) visible.add(record.seq);
      lowest = Math.min(lowest, stored.record.baseSeq);
    } else if (record.seq < cut.cut.floor && !stored.expires) {
      await log.items.replace(stored, removed(record), expiresAt);
    }
    if (group.length > 0 && record.seq <= lowest) {
      yield { group, visible };
      [group, visible, lowest] = [[], new Set<number>(), Infinity];
    }
  }
  if (group.length > 0) yield { group, visible };
}

const removed = ({ seq, fence, cutSeq }: LogRecord): LogRecord => ({
  kind: "removed",
  seq,
  fence,
  ...(cutSeq === undefined ? {} : { cutSeq }),
});

interface Settling extends Pick<Group, "visible"> {
  readonly deps: CollectDeps;
  readonly log: Log;
  readonly cut: CutRecord;
  /** Of what is removed below the floor. */
  readonly expiresAt: number;
}

/** Names of the segments that what stays is made of. */
async function settleGroup(of: Settling, group: Group["group"]): Promise<readonly string[]> {
  const { deps, log, cut } = of;
  const bySeq = new Map(group.map((stored) => [stored.record.seq, stored.record]));
  const isDoomed = (record: CheckpointRecord): boolean => isHidden(cut, record);
  /** Told as a change of something that goes. */
  const leans = (record: CheckpointRecord): boolean => {
    if (record.seq === record.baseSeq) return false;
    const parent = record.parentSeq === undefined ? undefined : bySeq.get(record.parentSeq);
    return parent === undefined || isDoomed(parent) || leans(parent);
  };
  const goes = (record: CheckpointRecord): boolean =>
    isDoomed(record) || (!of.visible.has(record.seq) && leans(record));
  const names: string[] = [];
  for (const stored of group) {
    const { record } = stored;
    if (goes(record)) {
      if (cut.kind !== "checkpoint" || record.checkpointId !== cut.checkpointId)
        await deps.writes.remove(log.at, record.checkpointId);
      await log.items.replace(stored, removed(record), record.seq < cut.cut.floor ? of.expiresAt : undefined);
      continue;
    }
    const chain = await Promise.all(chainIn(bySeq, record).map((one) => log.items.opened(one)));
    names.push(...segmentsNamed(chain));
    if (!leans(record)) continue;
    const base = await rebased({ at: log.at, cells: deps.cells }, foldChain(log.at, chain), record);
    names.push(...segmentsNamed([base.record]));
    await log.items.replace(stored, base.record);
  }
  return names;
}

/** From the base to the record. */
function chainIn(bySeq: ReadonlyMap<number, CheckpointRecord>, last: CheckpointRecord): readonly CheckpointRecord[] {
  const chain = [last];
  for (let first = last; first.seq !== first.baseSeq;) {
    const parent = first.parentSeq === undefined ? undefined : bySeq.get(first.parentSeq);
    if (parent === undefined) break;
    chain.unshift(parent);
    first = parent;
  }
  return chain;
}
