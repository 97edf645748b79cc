/** A clock that passes only when everything waits for it: a minute of a service takes as long as its work does. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../../src/core/clock.ts";

export interface VirtualClock extends Clock {
  /** Lets time pass until `work` has settled, and answers what it came to. */
  run<T>(work: PromiseLike<T>): Promise<T>;
}

interface Sleeper {
  readonly until: number;
  readonly wake: () => void;
}

const EPOCH = 1_700_000_000_000;
/** Turns of the event loop after which nobody is at work any more. */
const QUIET_TURNS = 6;

export function createVirtualClock(): VirtualClock {
  let elapsed = 0;
  const sleeping = new Set<Sleeper>();

  async function settle(): Promise<void> {
    for (let turn = 0; turn < QUIET_TURNS; turn += 1) await nextTurn();
  }

  function wakeNext(): void {
    let first: Sleeper | undefined;
    for (const sleeper of sleeping) if (first === undefined || sleeper.until < first.until) first = sleeper;
    if (first === undefined) return;
    elapsed = Math.max(elapsed, first.until);
    first.wake();
  }

  return {
    wall: () => EPOCH + elapsed,
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
    async run(work) {
      let isOver = false;
      const over = (): void => void (isOver = true);
      work.then(over, over);
      for (;;) {
        await settle();
        if (isOver) return work;
        wakeNext();
      }
    },
  };
}
