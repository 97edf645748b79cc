/** What a list is asked for, asked of the marks in the index and of the hold itself: each alone must know it. */
import { describe, expect, it } from "vitest";
import { isMeant, marksMatch, marksOf } from "../../src/core/review-filter.ts";
import { holdOf } from "../support/hold.ts";

const NOW = 1000;

describe("the filter for what is due before a time", () => {
  const cases = [
    ["is due before it", 1999, true],
    ["is due at it", 2000, false],
    ["is due after it", 2001, false],
    ["is never due", undefined, false],
  ] as const;
  it.each(cases)("means or leaves out a review that %s", (_name, settlesAt, expected) => {
    const hold = holdOf(settlesAt === undefined ? {} : { times: { settlesAt } });
    const filter = { dueBefore: 2000 };
    expect(marksMatch(filter, NOW)(marksOf(hold))).toBe(expected);
    expect(isMeant(filter, hold, NOW)).toBe(expected);
  });
});
