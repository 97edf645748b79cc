/** A clock that passes only when everything waits for it: a minute of a service takes as long as its work does. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../../src/core/clock.ts";
import { createManualClock } from "../../test/support/manual-clock.ts";

export interface VirtualClock extends Clock {
  /** Lets time pass until `work` has settled, and answers what it came to. */
  run<T>(work: PromiseLike<T>): Promise<T>;
}

/** Turns of the event loop after which nobody is at work any more. */
const QUIET_TURNS = 6;

export function createVirtualClock(): VirtualClock {
  const clock = createManualClock();
  return {
    ...clock,
    async run(work) {
      let isOver = false;
      const over = (): void => void (isOver = true);
      work.then(over, over);
      for (;;) {
        for (let turn = 0; turn < QUIET_TURNS; turn += 1) await nextTurn();
        if (isOver) return work;
        if (clock.sleepers() > 0) clock.advance(Math.max(0, clock.untilNext()));
      }
    },
  };
}
