/**
 * Copies a thread's checkpoints into a generation of another thread that nobody reads yet. What is copied is what counts:
 * neither marks nor fences mean anything there. Bytes are opened and sealed anew, since what is sealed opens at its place
 * only; and blobs get other names by that, so each record is told anew as well. A chain at a time is in memory.
 */
import { INTERRUPT } from "@langchain/langgraph-checkpoint";
import { HoldpointError } from "../core/errors.ts";
import type { IndexEntries } from "../storage/table.ts";
import { compress } from "./body.ts";
import type { Branch } from "./branch.ts";
import type { CellStore } from "./cell-store.ts";
import type { Log, Standing } from "./log.ts";
import { segmentName } from "./pieces.ts";
import type { Segment } from "./pieces.ts";
import type { CheckpointRecord } from "./record.ts";
import type { NamespaceRef } from "./segments.ts";
import { renamedCell, retold } from "./fold.ts";
import { mergeWrites } from "./writes.ts";
import type { TaskWrites, WriteSet } from "./writes.ts";

export interface CopyDeps {
  readonly cells: CellStore;
  readonly writes: TaskWrites;
  /** Of the first record that is written. */
  readonly index: IndexEntries | undefined;
}

/** Copies one namespace. @throws HoldpointError `corrupt` when what is copied is not what was written */
export async function copyNamespace(deps: CopyDeps, source: Branch, target: Log): Promise<void> {
  const rename = createRenaming(deps.cells, source.log.at, target.at);
  let { index } = deps;
  let chain: Standing[] = [];
  const flush = async (): Promise<void> => {
    const copied: CheckpointRecord[] = [];
    let like: Uint8Array | undefined;
    for (const [n, { record, marks }] of chain.entries()) {
      const known = chain.slice(0, n + 1).map((standing) => standing.record);
      const { stored, sets } = await source.loadRecord(record, known, marks);
      await copyWrites(deps, { at: target.at, checkpointId: record.checkpointId, rename }, sets);
      const told = await retold(stored, rename);
      copied.unshift(placedAnew(record, told.hash, compress(told.plain, n === 0 ? undefined : like)));
      like = told.plain;
    }
    for (const record of copied) {
      const result = await target.append(record, index);
      if (!result.won) throw new HoldpointError("conflict", `thread ${target.at.thread.threadId} is being copied to`);
      index = undefined;
    }
    chain = [];
  };
  for await (const standing of source.walk()) {
    chain.unshift(standing);
    if (standing.record.seq === standing.record.baseSeq) await flush();
  }
  if (chain.length > 0) throw new HoldpointError("corrupt", `record ${chain[0]?.record.seq ?? 0} has no base`);
}

function placedAnew(record: CheckpointRecord, hash: Uint8Array, body: Uint8Array): CheckpointRecord {
  const { cut: _cut, cutSeq: _cutSeq, sealed: _sealed, ...rest } = record;
  return { ...rest, format: 2, fence: 0, hash, body };
}

/** A segment there, which is written when it is asked for first. */
export type Rename = (segment: Segment) => Promise<Segment>;

function createRenaming(cells: CellStore, from: NamespaceRef, to: NamespaceRef): Rename {
  const names = new Map<string, Promise<Segment>>();
  return (segment) => {
    const name = segmentName(segment);
    const known = names.get(name) ?? cells.copy(from, to, segment);
    names.set(name, known);
    return known;
  };
}

interface WritesCopy {
  readonly at: NamespaceRef;
  readonly checkpointId: string;
  readonly rename: Rename;
}

/** What several holders have left of a task becomes one. */
async function copyWrites({ writes }: CopyDeps, to: WritesCopy, sets: readonly WriteSet[]): Promise<void> {
  const byTask = Map.groupBy(mergeWrites(sets), ({ taskId }) => taskId);
  for (const [taskId, merged] of byTask) {
    const [{ taskPath } = { taskPath: "" }] = merged;
    const interrupts = merged.some(({ channel }) => channel === INTERRUPT);
    const owners = interrupts ? sets.filter((set) => set.taskId === taskId).flatMap((set) => set.owners) : [];
    const renamed = await Promise.all(
      merged.map(async ({ idx, channel, cell }) => ({ idx, channel, cell: await renamedCell(cell, to.rename) })),
    );
    await writes.put(to.at, to.checkpointId, { taskId, taskPath, fence: 0, writes: renamed, owners });
  }
}
