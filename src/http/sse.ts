/**
 * Server-sent events. Memory per reader is bounded by one page of its log: the producer is asked for the next frame only
 * when the reader has taken the last, and a reader that takes nothing is cut.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Response } from "express";
import type { Clock } from "../core/clock.ts";
import type { Json } from "../core/json.ts";
import type { HttpLimits } from "./limits.ts";
import { drained } from "./reader.ts";

export interface SseEvent {
  readonly event: string;
  readonly data: Json;
  readonly id?: string;
}

export interface EventStream {
  /** Resolves when the reader can take more: with false when there is no reader any more. */
  send(event: SseEvent): Promise<boolean>;
  end(): void;
}

/** Sends the headers at once, then comments at a constant pace until the stream ends or the reader has gone. */
export function openEventStream(response: Response, clock: Clock, limits: HttpLimits): EventStream {
  response.status(200);
  response.setHeader("content-type", "text/event-stream");
  response.setHeader("cache-control", "no-cache");
  response.setHeader("x-accel-buffering", "no");
  response.flushHeaders();
  const closed = new AbortController();
  response.once("close", () => closed.abort());
  void beat(response, { clock, pauseMs: limits.heartbeatMs, signal: closed.signal });
  return {
    async send(event) {
      if (response.destroyed) return false;
      response.write(frameOf(event));
      await drained(response, clock, limits.stallMs);
      // Where log and kernel have all that is needed at once, thousands of readers would keep everybody else waiting.
      await nextTurn();
      return !response.destroyed;
    },
    end() {
      closed.abort();
      response.end();
    },
  };
}

interface Beat {
  readonly clock: Clock;
  readonly pauseMs: number;
  readonly signal: AbortSignal;
}

async function beat(response: Response, { clock, pauseMs, signal }: Beat): Promise<void> {
  for (let due = clock.monotonic() + pauseMs; ; due += pauseMs) {
    await clock.sleep(Math.max(0, due - clock.monotonic()), signal);
    if (signal.aborted) return;
    if (!response.writableNeedDrain) response.write(": heartbeat\n\n");
  }
}

function frameOf({ event, data, id }: SseEvent): string {
  const name = event.replaceAll(/[\r\n]/g, " ");
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n${id === undefined ? "" : `id: ${id}\n`}\n`;
}
