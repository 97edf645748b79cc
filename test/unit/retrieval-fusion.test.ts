import { expect, it } from "vitest";
import fc from "fast-check";
import { fuseRankings, rankingDepth } from "../../src/retrieval/fusion.ts";
import type { Ranking } from "../../src/retrieval/fusion.ts";

const NAMES = ["lexical", "vector", "other"] as const;
type Name = (typeof NAMES)[number];

const ranked = (name: Name, ids: readonly string[]): Ranking<Name> => ({
  name,
  entries: ids.map((id, index) => ({ id, score: 100 - index })),
});

const ids = fc.uniqueArray(fc.integer({ min: 0, max: 300 }).map(String), { maxLength: 200 });
const rankings = fc
  .array(ids, { maxLength: NAMES.length })
  .map((lists) => lists.map((list, index) => ranked(NAMES[index] ?? "other", list)));

/** The sum of 1 / (60 + rank) as an exact fraction, over the product of all denominators that may occur. */
function exactScore(of: string, given: readonly Ranking<Name>[]): readonly [bigint, bigint] {
  let top = 0n;
  let bottom = 1n;
  for (const { entries } of given) {
    const at = entries.findIndex(({ id }) => id === of);
    if (at < 0) continue;
    const denominator = BigInt(61 + at);
    top = top * denominator + bottom;
    bottom *= denominator;
  }
  return [top, bottom];
}

it("orders by the sum of reciprocal ranks, computed independently in exact fractions", () => {
  fc.assert(
    fc.property(rankings, (given) => {
      const fused = fuseRankings(given);
      expect(new Set(fused.map(({ id }) => id))).toEqual(
        new Set(given.flatMap(({ entries }) => entries.map((e) => e.id))),
      );
      for (const [index, { id, score }] of fused.entries()) {
        const [top, bottom] = exactScore(id, given);
        expect(score).toBeCloseTo(Number(top) / Number(bottom), 12);
        const next = fused[index + 1];
        if (next === undefined) break;
        const [nextTop, nextBottom] = exactScore(next.id, given);
        expect(top * nextBottom >= nextTop * bottom).toBe(true);
      }
    }),
  );
});

it("says where each ranking had it, with that ranking's own score, and nothing of those that had it not", () => {
  fc.assert(
    fc.property(rankings, (given) => {
      for (const { id, parts } of fuseRankings(given)) {
        const expected = given.flatMap(({ name, entries }) => {
          const at = entries.findIndex((entry) => entry.id === id);
          return at < 0 ? [] : [[name, { rank: at + 1, score: entries[at]?.score }]];
        });
        expect(parts).toEqual(Object.fromEntries(expected));
      }
    }),
  );
});

it("keeps the order of one ranking alone", () => {
  fc.assert(
    fc.property(ids, (only) => {
      expect(fuseRankings([ranked("lexical", only)]).map(({ id }) => id)).toEqual(only);
      expect(fuseRankings([ranked("lexical", only), ranked("vector", [])]).map(({ id }) => id)).toEqual(only);
    }),
  );
});

it("what ties stands in the order of the rankings as they are given", () => {
  const fused = fuseRankings([ranked("lexical", ["a", "b"]), ranked("vector", ["c", "d"])]);
  expect(fused.map(({ id }) => id)).toEqual(["a", "c", "b", "d"]);
  const swapped = fuseRankings([ranked("vector", ["c", "d"]), ranked("lexical", ["a", "b"])]);
  expect(swapped.map(({ id }) => id)).toEqual(["c", "a", "d", "b"]);
});

it("what both rankings have is above what only one of them has at the same rank", () => {
  const fused = fuseRankings([ranked("lexical", ["x", "both"]), ranked("vector", ["y", "both"])]);
  expect(fused[0]).toEqual({
    id: "both",
    score: 2 / 62,
    parts: { lexical: { rank: 2, score: 99 }, vector: { rank: 2, score: 99 } },
  });
});

it("takes no fewer than a hundred candidates, and as many as are wanted", () => {
  expect([1, 100, 101, 1_000].map(rankingDepth)).toEqual([100, 100, 101, 1_000]);
});
