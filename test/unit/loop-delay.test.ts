import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { monitorLoopDelay } from "../../src/http/loop-delay.ts";

/** Keeps the event loop from turning. */
function block(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

it("an event loop whose turns take long is late, and no longer once they do not", { retry: 3 }, async () => {
  using loop = monitorLoopDelay(systemClock);
  for (let n = 0; n < 6; n++) {
    block(100);
    await sleep(0);
  }
  expect(loop.delayMs).toBeGreaterThan(40);
  await sleep(500);
  expect(loop.delayMs).toBeLessThan(40);
});
