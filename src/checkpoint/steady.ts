/** What becomes of those who read or write while a cut hides something, and it is being removed. */
import { HoldpointError, isHoldpointError } from "../core/errors.ts";
import type { Branch } from "./branch.ts";
import type { Log } from "./log.ts";
import type { StoredCheckpoint } from "./state.ts";
import type { View } from "./view.ts";

/**
 * Does something that reads a branch. What a cut has hidden meanwhile may be removed while it is being read, and is then
 * not what was written: it is read again, as it is now.
 */
export async function steady<T>(branch: Branch, work: () => Promise<T>): Promise<T> {
  const { lastCut } = branch.log;
  try {
    return await work();
  } catch (error) {
    if (!(await wasCut(branch.log, lastCut, error))) throw error;
    if (!branch.held) branch.forget();
    return steady(branch, work);
  }
}

/** Whether another cut has come since, by which something may be missing. */
export async function wasCut(log: Log, lastCut: number, error: unknown): Promise<boolean> {
  if (!isHoldpointError(error, "corrupt")) return false;
  await log.head();
  return log.lastCut > lastCut;
}

/** What was done; undefined where another cut has come meanwhile, by which something that it needs is missing. */
export async function unlessCut<T>(log: Log, work: () => Promise<T>): Promise<T | undefined> {
  const { lastCut } = log;
  try {
    return await work();
  } catch (error) {
    if (await wasCut(log, lastCut, error)) return undefined;
    throw error;
  }
}

interface Parent {
  readonly parentId: string | undefined;
  /** As it was read, which may have been a while ago. */
  readonly parent: StoredCheckpoint | undefined;
}

/** Whether a parent is still there: one that was pruned is gone, with what it was made of. */
async function isStanding(log: Log, { cutSeq }: View, { parentId, parent }: Parent): Promise<boolean> {
  if (parentId === undefined || cutSeq === 0 || (parent !== undefined && parent.record.seq >= cutSeq)) return true;
  return parent !== undefined && (await log.find(parentId)) !== undefined;
}

interface GoingOn extends Parent {
  readonly source: string;
}

/** The parent, unless it is gone and not needed: see `assertStanding`. */
export async function unlessGone(log: Log, view: View, on: GoingOn): Promise<StoredCheckpoint | undefined> {
  return on.source === "fork" && !(await isStanding(log, view, on)) ? undefined : on.parent;
}

/**
 * A copy of a checkpoint (`source` is `fork`) stands beside it, under the same parent, and brings all of its values: only
 * what goes on from a parent needs it. @throws HoldpointError `conflict`
 */
export async function assertStanding(log: Log, view: View, on: GoingOn): Promise<void> {
  if ((on.source === "fork" && on.parent === undefined) || (await isStanding(log, view, on))) return;
  throw new HoldpointError("conflict", `checkpoint ${on.parentId}, from which this goes on, was pruned`, {
    detail: { reason: "pruned" },
  });
}
