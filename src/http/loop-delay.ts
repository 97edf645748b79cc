import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Clock } from "../core/clock.ts";

export interface LoopDelay extends Disposable {
  /** By how many milliseconds turns of the event loop came late, on average of about the last quarter of a second. */
  readonly delayMs: number;
}

const RESOLUTION_MS = 20;
const WINDOW_MS = 250;

/** Measures this process. A single long turn counts little: what matters is whether it keeps being late. */
export function monitorLoopDelay(clock: Clock): LoopDelay {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  let delayMs = 0;
  let since = clock.monotonic();
  return {
    get delayMs() {
      if (histogram.count > 0 && clock.monotonic() - since >= WINDOW_MS) {
        delayMs = Math.max(0, histogram.mean / 1e6 - RESOLUTION_MS);
        since = clock.monotonic();
        histogram.reset();
      }
      return delayMs;
    },
    [Symbol.dispose]: () => void histogram.disable(),
  };
}
