import type { Response } from "express";
import type { Clock } from "../core/clock.ts";
import type { Json } from "../core/json.ts";

export interface SlowAnswer {
  readonly clock: Clock;
  readonly keepAliveMs: number;
  /** The answer, some time. */
  readonly body: Promise<Json>;
  /** What to say when the answer fails after the status has been sent. */
  readonly onLateFailure: (error: unknown) => Json;
}

/**
 * Answers JSON that takes its time, with a newline a second before it so that nobody on the way gives up. The status
 * is decided by the first byte: until then a failure is thrown to the caller, afterwards it is part of the body.
 */
export async function answerSlowly(
  response: Response,
  { clock, keepAliveMs, body, onLateFailure }: SlowAnswer,
): Promise<void> {
  const done = new AbortController();
  response.once("close", () => done.abort());
  const begin = (): void => {
    if (response.headersSent) return;
    response.status(200).setHeader("content-type", "application/json; charset=utf-8");
    response.setHeader("x-accel-buffering", "no");
  };
  const keepAlive = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(keepAliveMs, done.signal);
      if (done.signal.aborted) return;
      begin();
      if (!response.writableNeedDrain) response.write("\n");
    }
  };
  void keepAlive();
  try {
    const value = await body;
    begin();
    response.end(JSON.stringify(value));
  } catch (error) {
    if (!response.headersSent) throw error;
    response.end(JSON.stringify(onLateFailure(error)));
  } finally {
    done.abort();
  }
}
