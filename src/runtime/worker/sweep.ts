/**
 * Follow-ups whose time has come. On a run item: a pending run that no header names is an orphan of an accept that died
 * (its client was never told that it exists); an ended stateless run takes its thread with it. On a header: a deletion
 * or a copy that was begun and not completed, and the end of its time to live.
 */
import { isHoldpointError } from "../../core/errors.ts";
import type { RunId } from "../../core/ids.ts";
import { LOOKED_AT_AFTER_MS, isEnded } from "../../core/run.ts";
import type { Run } from "../../core/run.ts";
import { tombstone, woken } from "../../core/thread-changes.ts";
import { activeRunId, isBusy, names, threadDue } from "../../core/thread.ts";
import type { Thread } from "../../core/thread.ts";
import type { ThreadRef } from "../../storage/keys.ts";
import type { Stored } from "../../storage/records.ts";
import type { Deps } from "../deps.ts";
import { pruneThread } from "../threads/prune-thread.ts";
import { abandonCopy, removeRemnants } from "../threads/remove-thread.ts";
import { repairHeader } from "../threads/repair.ts";
import { tellOfEnd } from "../webhooks/announce.ts";
import { begin } from "../accept/scheduled.ts";

/** The thread of a stateless run that is busy is looked at again this much later. */
const BUSY_MS = 600_000;

/** Does what is due on a run item, if anything is. */
export async function sweepRun(deps: Deps, ref: ThreadRef, runId: RunId): Promise<void> {
  const stored = await deps.runs.get(ref, runId);
  if (stored?.value.hooksDue) return tellOfEnd(deps, stored.value);
  const dueAt = stored?.value.followUpAt;
  if (!stored || dueAt === undefined || dueAt > deps.table.now()) return;
  if (stored.value.status === "cancelled" || stored.value.status === "parked") return settleCancelled(deps, stored);
  if (isEnded(stored.value.status)) return removeStateless(deps, stored);
  if (stored.value.status === "waiting" && stored.value.cancelAsked) return wake(deps, stored.value);
  if (stored.value.startAt !== undefined) return begin(deps, stored);
  const header = await deps.threads.get(ref);
  if (header && names(header.value, runId)) {
    await lookAgain(deps, stored, LOOKED_AT_AFTER_MS);
    return;
  }
  const removed = await deps.runs.remove(stored);
  if (removed.outcome === "removed")
    deps.log.info({ thread: ref.threadId, run: runId }, "removed a run that was never accepted");
}

/** It was cancelled, or parked, in its sleep, and its thread may not have moved on. */
async function settleCancelled(deps: Deps, run: Stored<Run>): Promise<void> {
  await moveOn(deps, run.value);
  const { followUpAt: _, ...settled } = run.value;
  await deps.runs.put(settled, run.version);
}

/** Moves a thread past a run that has ended without anybody holding it. */
export async function moveOn(deps: Deps, run: Run): Promise<void> {
  for (let header = await deps.threads.get(run); header && activeRunId(header.value) === run.runId;) {
    header = await repairHeader(deps, header);
  }
  deps.hints.ready(run);
}

/** A sleeping run is to stop: its next delivery begins now, and with that. Its mark ends what is due on the run item. */
export async function wake(deps: Deps, run: Run): Promise<void> {
  const sleeps = (thread: Thread): boolean => activeRunId(thread) === run.runId && thread.wakeAt !== undefined;
  const header = await deps.threads.update(run, (thread) =>
    sleeps(thread) ? woken(thread, deps.table.now()) : undefined,
  );
  deps.hints.ready(run, header);
}

/** Only this run's own thread, and not while somebody goes on with it: runs that were accepted since must not be lost (I1). */
async function removeStateless(deps: Deps, run: Stored<Run>): Promise<void> {
  const { generation } = run.value;
  const header = await deps.threads.update(run.value, (thread) =>
    thread.generation === generation && !isBusy(thread) && !thread.waiting
      ? tombstone(thread, deps.table.now())
      : undefined,
  );
  if (!header) await deps.runs.remove(run);
  else if (header.value.generation > generation) await removeRemnants(deps, header.value);
  else await lookAgain(deps, run, BUSY_MS);
}

async function lookAgain(deps: Deps, run: Stored<Run>, ms: number): Promise<void> {
  await deps.runs.put({ ...run.value, followUpAt: deps.table.now() + ms }, run.version);
}

/** A thread that is to be deleted is so once it was read: what has expired is to keep its latest checkpoints. */
async function prune(deps: Deps, header: Stored<Thread>): Promise<void> {
  const { threadId } = header.value;
  const isPruned = await pruneThread(deps, header).catch((error: unknown) => {
    if (!isHoldpointError(error, "conflict")) throw error;
    return false;
  });
  if (isPruned) deps.log.info({ thread: threadId }, "pruned a thread that nobody has used for its time to live");
}

/** Wakes a thread whose sleeping run is due; completes the deletion of one whose remover has not come to its end. */
export async function sweepThread(deps: Deps, ref: ThreadRef): Promise<void> {
  const header = await deps.threads.get(ref);
  const due = header && threadDue(header.value);
  if (!due) return;
  if (due.kind === "removal" && header.value.copyingUntil !== undefined)
    return due.at > deps.table.now() ? undefined : abandonCopy(deps, ref);
  if (due.kind === "removal") return removeRemnants(deps, header.value);
  if (due.kind === "expiry") return due.at > deps.table.now() ? undefined : prune(deps, header);
  if (due.kind !== "timer" || due.at > deps.table.now()) return;
  const written = await deps.threads.put(woken(header.value, deps.table.now()), { version: header.version });
  if (written.won) deps.hints.ready(ref, written.stored);
}
