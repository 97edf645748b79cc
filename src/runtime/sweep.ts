/**
 * Follow-ups that stand on a run item: a pending run that no header names is an orphan of an accept that died (its
 * client was never told that it exists); an ended stateless run takes its thread with it.
 */
import type { RunId } from "../core/ids.ts";
import { isEnded } from "../core/run.ts";
import { names } from "../core/thread.ts";
import type { ThreadRef } from "../storage/keys.ts";
import type { Deps } from "./deps.ts";
import { removeThread } from "./remove-thread.ts";

/** A run that is named by its header is looked at again this much later. */
const AGAIN_MS = 600_000;

/** Does what is due on a run item, if anything is. */
export async function sweepRun(deps: Deps, ref: ThreadRef, runId: RunId): Promise<void> {
  const stored = await deps.runs.get(ref, runId);
  const dueAt = stored?.value.followUpAt;
  if (!stored || dueAt === undefined || dueAt > deps.table.now()) return;
  if (isEnded(stored.value.status)) return removeThread(deps, ref);
  const header = await deps.threads.get(ref);
  if (header && names(header.value, runId)) {
    await deps.runs.put({ ...stored.value, followUpAt: deps.table.now() + AGAIN_MS }, stored.version);
    return;
  }
  const removed = await deps.runs.remove(stored);
  if (removed.outcome === "removed") deps.log.info({ thread: ref.threadId, run: runId }, "removed a run that was never accepted");
}
