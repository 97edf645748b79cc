import { expect, it } from "vitest";
import { HoldpointError } from "../../src/core/errors.ts";
import { newerFormat } from "../../src/core/newer-format.ts";
import { limitRepeats } from "../../src/runtime/log-limit.ts";
import { createMemoryLog } from "../support/http.ts";
import { createManualClock } from "../support/manual-clock.ts";

const away = new HoldpointError("unavailable", "the table is away");

it("what is said of something that is away is written three times in half a minute, and then how often it was not", () => {
  const clock = createManualClock();
  const inner = createMemoryLog();
  const log = limitRepeats(inner, clock);
  for (let n = 0; n < 100; n++) log.warn({ n, err: away }, "a read failed");
  expect(inner.lines.map(({ fields }) => fields["n"])).toEqual([0, 1, 2]);
  clock.advance(30_000);
  log.warn({ n: 100, err: away }, "a read failed");
  log.warn({ n: 101, err: away }, "a read failed");
  expect(inner.lines.slice(3).map(({ fields }) => fields)).toEqual([
    { n: 100, err: away, left_out: 97 },
    { n: 101, err: away },
  ]);
});

it("so is what is said of items that a newer version wrote", () => {
  const inner = createMemoryLog();
  const log = limitRepeats(inner, createManualClock());
  for (let n = 0; n < 100; n++) log.warn({ n, err: newerFormat("item H of format 2") }, "a thread is left");
  expect(inner.lines.map(({ fields }) => fields["n"])).toEqual([0, 1, 2]);
});

it("other messages, other errors and what is no failure are all written", () => {
  const inner = createMemoryLog();
  const log = limitRepeats(inner, createManualClock());
  const bug = new TypeError("undefined is not a function");
  for (let n = 0; n < 20; n++) {
    log.error({ err: bug }, "request failed");
    log.warn({ n }, "document skipped");
    log.info({ err: away }, "run ended");
    log.error({ err: away }, `message ${n}`);
  }
  expect(inner.lines).toHaveLength(80);
});
