/** When schedules are due, and what is fired of what was missed. */
import { describe, expect, it } from "vitest";
import { tenantId, threadId } from "../../src/core/ids.ts";
import { assertFires, fired, firingIds, nextDue, planned, scheduleDue } from "../../src/core/schedule.ts";
import type { Schedule } from "../../src/core/schedule.ts";
import { EVERY_MINUTE } from "../support/schedule.ts";

const at = (text: string): number => Date.parse(text);
const dueTimes = (expression: string, timezone: string, from: string, n: number): readonly string[] => {
  const found: string[] = [];
  let time: number | null = at(from);
  while (found.length < n) {
    time = nextDue({ expression, timezone, endAt: null }, time);
    if (time === null) break;
    found.push(new Date(time).toISOString().slice(5, 16));
  }
  return found;
};

const MINUTE = 60_000;
const NOW = at("2026-03-01T12:00:00Z");
const every5: Schedule = {
  tenant: tenantId("acme"),
  scheduleId: "c",
  ...EVERY_MINUTE,
  expression: "*/5 * * * *",
  createdBy: "alice",
  nextAt: NOW,
  firing: [],
  createdAt: 0,
  updatedAt: 0,
};

describe("a due time", () => {
  it("in the hour that the clock skips moves to the first moment after it", () => {
    expect(dueTimes("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3)).toEqual([
      "03-28T01:30",
      "03-29T01:00",
      "03-30T00:30",
    ]);
  });

  it("in the hour that the clock repeats comes once, when it is a fixed time", () => {
    expect(dueTimes("30 2 * * *", "Europe/Berlin", "2026-10-24T00:00:00Z", 3)).toEqual([
      "10-24T00:30",
      "10-25T00:30",
      "10-26T01:30",
    ]);
  });

  it("of every hour comes in each hour, the repeated one included", () => {
    expect(dueTimes("30 * * * *", "America/New_York", "2026-11-01T04:00:00Z", 4)).toEqual([
      "11-01T04:30",
      "11-01T05:30",
      "11-01T06:30",
      "11-01T07:30",
    ]);
    expect(dueTimes("30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3)).toEqual([
      "03-29T00:30",
      "03-29T01:30",
      "03-29T02:30",
    ]);
  });

  it("follows the zone, half-hour ones included", () => {
    expect(dueTimes("0 9 * * 1-5", "Asia/Kolkata", "2026-02-27T12:00:00Z", 1)).toEqual(["03-02T03:30"]);
  });

  it("ends with the schedule", () => {
    const endAt = at("2026-03-01T12:05:00Z");
    expect(nextDue({ ...every5, endAt }, NOW)).toBe(endAt);
    expect(nextDue({ ...every5, endAt }, endAt)).toBeNull();
  });

  it.each([
    ["0 0 31 2 *", "UTC", /never due/],
    ["0 0 30 2 *", "UTC", /never due/],
    ["99 * * * *", "UTC", /not a cron expression/],
    ["* * * * * *", "UTC", /five fields/],
    ["2026-01-01T00:00:00", "UTC", /five fields/],
    ["", "UTC", /five fields/],
    ["* * * * *", "Mars/Olympus", /time zone/],
  ])("that never comes is refused: %s in %s", (expression, timezone, reason) => {
    expect(() => assertFires({ expression, timezone, endAt: null }, NOW)).toThrow(reason);
  });

  it("after the end is refused", () => {
    expect(() => assertFires({ ...every5, endAt: NOW - 1 }, NOW)).toThrow(/never due before its end/);
  });
});

describe("a schedule whose time has come", () => {
  it("fires it, and moves on", () => {
    const next = planned(every5, NOW + 10, false);
    expect(next).toMatchObject({ firing: [NOW], nextAt: NOW + 5 * MINUTE });
    expect(scheduleDue(next)).toBe(NOW);
    expect(scheduleDue(fired(next, { dueAt: NOW }, NOW))).toBe(NOW + 5 * MINUTE);
  });

  const late = NOW + 18 * MINUTE;
  it.each([
    ["skip", []],
    ["latest", [15]],
    ["all", [0, 5, 10, 15]],
  ] as const)("fires of what was missed, by the policy %s, %j", (missed, minutes) => {
    const next = planned({ ...every5, missed }, late, false);
    expect(next.firing).toEqual(minutes.map((minute) => NOW + minute * MINUTE));
    expect(next.nextAt).toBe(NOW + 20 * MINUTE);
  });

  it.each(["skip", "latest"] as const)("fires what is on time whatever was missed, by the policy %s", (missed) => {
    expect(planned({ ...every5, missed }, NOW + 15 * MINUTE + 500, false).firing).toEqual([NOW + 15 * MINUTE]);
  });

  it("fires the latest hundred of a year of minutes", () => {
    const year = NOW + 365 * 24 * 3_600_000;
    const { firing } = planned({ ...every5, expression: "* * * * *", missed: "all" }, year + 30_000, false);
    expect(firing).toHaveLength(100);
    expect(firing.at(-1)).toBe(year);
    expect(firing[0]).toBe(year - 99 * MINUTE);
  });

  it("leaves out what overlaps, if it is told to", () => {
    const skips = planned({ ...every5, overlap: "skip" }, NOW, true);
    expect(skips).toMatchObject({ firing: [], last: { dueAt: NOW, skipped: "the run before has not ended" } });
    expect(planned({ ...every5, overlap: "queue" }, NOW, true).firing).toEqual([NOW]);
  });

  it("starts only the latest of what was missed, if it is told to leave out what overlaps", () => {
    const next = planned({ ...every5, missed: "all", overlap: "skip" }, late, false);
    expect(next).toMatchObject({ firing: [NOW + 15 * MINUTE], nextAt: NOW + 20 * MINUTE });
  });

  it("is due no more when it is disabled or at its end", () => {
    expect(scheduleDue({ ...every5, enabled: false })).toBeUndefined();
    expect(scheduleDue(planned({ ...every5, endAt: NOW }, NOW, false))).toBe(NOW);
    expect(scheduleDue(fired(planned({ ...every5, endAt: NOW }, NOW, false), { dueAt: NOW }, NOW))).toBeUndefined();
  });
});

describe("the run of a due time", () => {
  it("has one id, whoever fires it, and another one for every other time, schedule and tenant", () => {
    const ids = firingIds(every5, NOW);
    expect(firingIds({ ...every5 }, NOW)).toEqual(ids);
    const others = [
      firingIds(every5, NOW + 1),
      firingIds({ ...every5, scheduleId: "d" }, NOW),
      firingIds({ ...every5, tenant: tenantId("globex") }, NOW),
    ];
    expect(new Set([ids, ...others].flatMap(({ runId, threadId: thread }) => [runId, thread])).size).toBe(8);
    expect(firingIds({ ...every5, threadId: threadId("t") }, NOW).threadId).toBe("t");
  });
});
