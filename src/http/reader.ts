import type { Response } from "express";
import type { Clock } from "../core/clock.ts";

/** A signal that aborts when the client has gone before it was answered in full. */
export function whenGone(response: Response): AbortSignal {
  const gone = new AbortController();
  response.once("close", () => {
    if (!response.writableFinished) gone.abort(new Error("the client has gone"));
  });
  if (response.destroyed) gone.abort(new Error("the client has gone"));
  return gone.signal;
}

/**
 * Resolves once the reader has taken what was written, so that no more than one frame waits for it in memory.
 * A reader that takes nothing for `stallMs` is cut.
 */
export async function drained(response: Response, clock: Clock, stallMs: number): Promise<void> {
  if (!response.writableNeedDrain || response.destroyed) return;
  const moved = new AbortController();
  const stop = (): void => moved.abort();
  response.once("drain", stop).once("close", stop);
  await clock.sleep(stallMs, moved.signal);
  response.off("drain", stop).off("close", stop);
  if (!moved.signal.aborted) response.destroy();
}
