import type { Clock } from "../../src/core/clock.ts";

/** A clock that moves only when it is told to. */
export interface ManualClock extends Clock {
  /** Moves time on and wakes, in their order, the sleepers whose time has come. */
  advance(ms: number): void;
  /** How many sleep now. */
  sleepers(): number;
  /** Milliseconds until the next of them wakes; infinite while nobody sleeps. */
  untilNext(): number;
}

interface Sleeper {
  readonly until: number;
  readonly wake: () => void;
}

export function createManualClock(start = 1_700_000_000_000): ManualClock {
  let elapsed = 0;
  const sleeping = new Set<Sleeper>();
  return {
    wall: () => start + elapsed,
    monotonic: () => elapsed,
    sleep(ms, signal) {
      return new Promise((resolve) => {
        if (signal?.aborted === true) return resolve();
        const wake = (): void => {
          sleeping.delete(sleeper);
          signal?.removeEventListener("abort", wake);
          resolve();
        };
        const sleeper: Sleeper = { until: elapsed + ms, wake };
        sleeping.add(sleeper);
        signal?.addEventListener("abort", wake, { once: true });
      });
    },
    advance(ms) {
      elapsed += ms;
      const due = [...sleeping].filter(({ until }) => until <= elapsed).toSorted((a, b) => a.until - b.until);
      for (const sleeper of due) sleeper.wake();
    },
    sleepers: () => sleeping.size,
    untilNext: () => Math.min(...[...sleeping].map(({ until }) => until)) - elapsed,
  };
}
