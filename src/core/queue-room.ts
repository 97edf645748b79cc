/**
 * What a thread's header has room for, which is 4 KB: so many runs in its queue, and so many pairs of pool and graph
 * (lanes) among all that it names. One place and one lane are kept for a continuation, which brings decisions that were
 * acknowledged: new input may not take them, and so can never keep a decision from being carried on.
 */
import { HoldpointError } from "./errors.ts";
import { limitError } from "./limits.ts";
import type { Run } from "./run.ts";
import type { QueueEntry, Thread } from "./thread.ts";

export const MAX_LANES = 8;
const MAX_LANES_OF_INPUT = MAX_LANES - 1;
/** When somebody who found no room may come back. */
const AGAIN_MS = 1000;

/** A graph's id has no `#`. */
export const laneOf = ({ pool, graphId }: Pick<QueueEntry, "pool" | "graphId">): string => `${pool}#${graphId}`;

/** Everything that a header names, the active run first. */
export function entriesOf({ active, queue }: Pick<Thread, "active" | "queue">): readonly QueueEntry[] {
  return active?.kind === "run" ? [active.entry, ...queue] : queue;
}

/** The place of a run in a queue. */
export function entryOf({ runId, kind, pool, graphId }: Run): QueueEntry {
  return { runId, kind, pool, graphId };
}

/** Why there is no room for one more run; undefined when there is. */
export function reasonNoRoom(thread: Thread, entry: QueueEntry, queuePerThread: number): HoldpointError | undefined {
  const { threadId, queue } = thread;
  const takesKeptPlace = entry.kind === "continuation" && !queue.some(({ kind }) => kind === "continuation");
  if (queue.length >= queuePerThread && !takesKeptPlace) {
    const what = `Thread ${threadId} has ${queue.length} runs waiting`;
    return limitError("queuePerThread", what, queuePerThread, AGAIN_MS);
  }
  return reasonNoLane(thread, entry);
}

/** The lanes of input are counted by themselves as well: those of continuations are free again soon. */
function reasonNoLane(thread: Thread, entry: QueueEntry): HoldpointError | undefined {
  const entries = [...entriesOf(thread), entry];
  const ofInput = entries.filter(({ kind }) => kind === "input");
  const isTooMuch = entry.kind === "input" && lanesOf(ofInput) > MAX_LANES_OF_INPUT;
  if (!isTooMuch && lanesOf(entries) <= MAX_LANES) return undefined;
  const limit = "graphs in the queue of one thread";
  const value = isTooMuch ? MAX_LANES_OF_INPUT : MAX_LANES;
  const message = `Thread ${thread.threadId} has runs of ${value} graphs waiting (limit: ${limit}, ${value})`;
  return new HoldpointError("limit", message, { detail: { limit, value }, retryAfterMs: AGAIN_MS });
}

const lanesOf = (entries: readonly QueueEntry[]): number => new Set(entries.map(laneOf)).size;
