import type { HoldpointError } from "../../core/errors.ts";
import { reasonNoRoom } from "../../core/queue-room.ts";
import { isEnded } from "../../core/run.ts";
import { withoutQueued } from "../../core/thread-changes.ts";
import type { QueueEntry, Thread } from "../../core/thread.ts";
import type { Stored } from "../../storage/records.ts";
import type { Deps } from "../deps.ts";

/**
 * Takes runs that have ended in the queue, because they were cancelled there, off the header: until the queue comes to
 * them they keep places that somebody else has asked for. Returns the header as it is now if it had to be (or was)
 * changed; undefined when each place is taken. One whose item is missing may be of a later version, and keeps its place.
 */
export async function makeRoom(deps: Deps, header: Stored<Thread>): Promise<Stored<Thread> | undefined> {
  const { value: thread } = header;
  const runs = await deps.runs.getMany(thread.queue.map(({ runId }) => ({ ...thread, runId })));
  const ended = new Set(runs.filter(({ value }) => isEnded(value.status)).map(({ value }) => value.runId));
  if (ended.size === 0) return undefined;
  const next = withoutQueued(thread, ended, deps.table.now());
  const written = await deps.threads.put(next, { version: header.version });
  return written.won ? written.stored : written.current;
}

/** Why a thread has no room for one more run, also without those that have ended in its queue. */
export async function noRoomFor(
  deps: Deps,
  header: Stored<Thread>,
  entry: QueueEntry,
): Promise<HoldpointError | undefined> {
  let now: Stored<Thread> | undefined = header;
  while (now) {
    const reason = reasonNoRoom(now.value, entry, deps.settings.limits.queuePerThread);
    const roomier: Stored<Thread> | undefined = reason && (await makeRoom(deps, now));
    if (!roomier) return reason;
    now = roomier;
  }
  return undefined;
}
