/**
 * Where a delivery goes on in the event log of its thread. Frames expire, and with the last of them what the log knew of
 * its own end: numbers that readers hold must not be given out again all the same (I7), nor may a holder of an older
 * fence find its place free (I2).
 */
import type { Run } from "../../core/run.ts";
import type { Thread } from "../../core/thread.ts";
import type { EventsEnd } from "../../storage/events.ts";
import type { Deps } from "../deps.ts";

/** More frames than are ever written under one fence. */
const FRAMES_PER_FENCE = 10_000_000;
/** The table's time as two processes know it may differ by this much. */
const CLOCKS_AGREE_MS = 1000;

export interface PlaceInLog {
  readonly end: EventsEnd;
  /**
   * Only this fence would go on there, so that no older one collides with it: the mark must keep that one off, and lands
   * before the first frame.
   */
  readonly isOwn: boolean;
}

/**
 * A log that has frames goes on after them. An empty one where every fence would that sees it so, as long as nothing can
 * have expired: at the beginning, or where the run was to begin. After that, above everything that lower fences wrote.
 */
export function placeInLog(
  { table, settings }: Pick<Deps, "table" | "settings">,
  { run, thread, fence }: { readonly run: Run; readonly thread: Thread; readonly fence: number },
  end: EventsEnd,
): PlaceInLog {
  if (end.runId !== undefined) return { end, isOwn: false };
  const age = table.now() - (run.startedAt ?? thread.createdAt);
  const isOwn = age >= settings.limits.eventRetentionMs - CLOCKS_AGREE_MS;
  return { end: { ...end, next: isOwn ? (fence - 1) * FRAMES_PER_FENCE : (run.firstEvent ?? 0) }, isOwn };
}
