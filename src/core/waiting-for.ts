/** What an accepted run that has not begun waits for, in words: read from the header as it is now, and kept nowhere. */
import type { Run } from "./run.ts";
import { activeRunId, names, nextRunnable } from "./thread.ts";
import type { Thread } from "./thread.ts";

export interface WaitingFor {
  readonly reason: string;
  /** Table time. */
  readonly since: number;
}

/** Undefined for a run that has begun, or is about to. */
export function waitingFor(run: Run, thread: Thread, now: number): WaitingFor | undefined {
  if (run.status !== "pending") return undefined;
  const since = run.createdAt;
  if (!names(thread, run.runId)) {
    const isEarly = run.startAt !== undefined && run.startAt > now;
    const reason = isEarly ? "its time has not come" : "it has no place in the queue of its thread yet";
    return { reason, since };
  }
  const next = nextRunnable(thread);
  if (next?.runId !== run.runId) {
    const isBehindReview = next === undefined && thread.waiting !== undefined;
    return { reason: isBehindReview ? "its thread waits for a review" : behind(thread), since };
  }
  if (thread.lease) return thread.active?.kind === "update" ? { reason: behind(thread), since } : undefined;
  // Whether nobody is there or everybody has other work cannot be told from here.
  return { reason: `no worker of pool ${next.pool} has taken it yet`, since: thread.readyAt };
}

function behind(thread: Thread): string {
  const before = activeRunId(thread) ?? nextRunnable(thread)?.runId;
  return thread.active?.kind === "update" ? "the state of its thread is being updated" : `run ${before} is before it`;
}
