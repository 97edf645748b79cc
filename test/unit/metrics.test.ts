import { describe, expect, it } from "vitest";
import fc from "fast-check";
import { mean, ndcg, percentile, recall, reciprocalRank } from "../../bench/retrieval-metrics.ts";

const judged = new Map([
  ["a", 1],
  ["b", 2],
  ["z", 0],
]);

describe("nDCG", () => {
  it("equals the value computed by hand", () => {
    // DCG: x 0, a 1/log2(3), b 2/log2(4); ideal: b 2/log2(2), a 1/log2(3).
    const expected = (1 / Math.log2(3) + 2 / 2) / (2 + 1 / Math.log2(3));
    expect(ndcg(["x", "a", "b"], judged, 10)).toBeCloseTo(expected, 12);
    expect(expected).toBeCloseTo(0.61992, 4);
  });

  it("sees only the first k, also in the ideal order", () => {
    expect(ndcg(["x", "a", "b"], judged, 1)).toBe(0);
    expect(ndcg(["a", "b"], judged, 1)).toBeCloseTo(0.5, 12);
    expect(ndcg(["b"], judged, 1)).toBe(1);
  });

  it("is 0 when nothing is relevant, and 1 exactly for an ideal order", () => {
    expect(ndcg(["a"], new Map(), 10)).toBe(0);
    expect(ndcg(["b", "a", "z"], judged, 10)).toBe(1);
    expect(ndcg(["z", "b", "a"], judged, 10)).toBeLessThan(1);
  });

  it("is never above 1 nor below 0", () => {
    const grades = fc.dictionary(fc.stringMatching(/^[a-f]$/), fc.nat(3));
    const order = fc.shuffledSubarray("abcdefgh".split(""));
    fc.assert(
      fc.property(grades, order, fc.integer({ min: 1, max: 10 }), (given, ranked, k) => {
        const value = ndcg(ranked, new Map(Object.entries(given)), k);
        expect(value).toBeGreaterThanOrEqual(0);
        expect(value).toBeLessThanOrEqual(1 + 1e-12);
      }),
    );
  });
});

it("recall counts each relevant document once, and a grade of 0 is not relevant", () => {
  expect(recall(["z", "a", "a", "x"], judged, 10)).toBe(0.5);
  expect(recall(["x", "a", "b"], judged, 2)).toBe(0.5);
  expect(recall(["b", "a"], judged, 2)).toBe(1);
  expect(recall(["a"], new Map(), 2)).toBe(0);
});

it("reciprocal rank is one over the first relevant rank within k", () => {
  expect(reciprocalRank(["x", "z", "b", "a"], judged, 10)).toBeCloseTo(1 / 3, 12);
  expect(reciprocalRank(["x", "z", "b"], judged, 2)).toBe(0);
  expect(reciprocalRank([], judged, 10)).toBe(0);
});

it("percentiles are values that occurred, by nearest rank", () => {
  const values = [15, 20, 35, 40, 50];
  expect([0.05, 0.3, 0.4, 0.5, 1].map((p) => percentile(values, p))).toEqual([15, 20, 20, 35, 50]);
  expect(percentile([], 0.5)).toBeNaN();
  expect(mean([1, 2, 6])).toBe(3);
  expect(mean([])).toBe(0);
});
