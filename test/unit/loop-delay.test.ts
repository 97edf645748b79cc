import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { monitorLoopDelay } from "../../src/http/loop-delay.ts";
import { eventually } from "../support/eventually.ts";

/** Keeps the event loop from turning. */
function block(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

it("an event loop whose turns take long is late, and no longer once they do not", async () => {
  using loop = monitorLoopDelay(systemClock);
  for (let n = 0; n < 6; n++) {
    block(100);
    await sleep(0);
  }
  expect(loop.delayMs).toBeGreaterThan(40);
  // A machine that has much else to do may make it late again: some quarter of a second will be quiet.
  await eventually(() => loop.delayMs < 40, "the loop to be on time");
});
