import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createTableTime } from "../../src/aws/table-time.ts";
import { createManualClock } from "../support/manual-clock.ts";

const WALL = 1_700_000_000_000;
const dateAt = (ms: number): string => new Date(ms).toUTCString();

describe("the time of a DynamoDB table", () => {
  it("is the wall clock's until the first answer, and the answers' from then on", () => {
    const clock = createManualClock(WALL);
    const time = createTableTime(clock);
    expect(time.now()).toBe(WALL);
    time.observe(dateAt(WALL - 7_200_000), clock.monotonic());
    expect(time.now()).toBe(WALL - 7_200_000);
    clock.advance(1500);
    expect(time.now()).toBe(WALL - 7_200_000 + 1500);
  });

  it("is not impressed by an answer that has no date, or one that is no date", () => {
    const clock = createManualClock(WALL);
    const time = createTableTime(clock);
    time.observe(undefined, 0);
    time.observe("yesterday", 0);
    expect(time.now()).toBe(WALL);
  });

  it("comes to within the shortest distance of an answer to a new second, and never goes back", () => {
    const steps = fc.array(fc.tuple(fc.integer({ min: 1, max: 700 }), fc.integer({ min: 0, max: 90 })), {
      minLength: 1,
    });
    fc.assert(
      fc.property(steps, fc.integer({ min: -1e9, max: 1e9 }), (requests, skew) => {
        const clock = createManualClock(WALL);
        const time = createTableTime(clock);
        let last = -Infinity;
        for (const [pause, latency] of requests) {
          clock.advance(pause);
          const sentAt = clock.monotonic();
          const date = dateAt(clock.wall() + skew);
          clock.advance(latency);
          time.observe(date, sentAt);
          const now = time.now();
          const truth = clock.wall() + skew;
          expect(now).toBeLessThanOrEqual(truth + latency);
          expect(now).toBeGreaterThan(truth - 1000 - latency);
          expect(now).toBeGreaterThanOrEqual(last);
          last = now;
        }
      }),
    );
  });

  it("follows a table whose clock is set forward", () => {
    const clock = createManualClock(WALL);
    const time = createTableTime(clock);
    time.observe(dateAt(WALL), 0);
    time.observe(dateAt(WALL + 60_000), clock.monotonic());
    expect(time.now()).toBe(WALL + 60_000);
  });

  it("stands still until a table whose clock was set back has caught up", () => {
    const clock = createManualClock(WALL);
    const time = createTableTime(clock);
    time.observe(dateAt(WALL), 0);
    expect(time.now()).toBe(WALL);
    time.observe(dateAt(WALL - 5000), clock.monotonic());
    expect(time.now()).toBe(WALL);
    clock.advance(6000);
    expect(time.now()).toBe(WALL + 2000);
  });
});
