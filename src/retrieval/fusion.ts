/**
 * Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): rankings of the same things made one, by ranks
 * alone, so that scores of different kinds need not be comparable.
 */

/** The constant of the paper: how little the first ranks stand out from those that follow. */
const RANK_CONSTANT = 60;

/** Fewer candidates of each ranking than this lose what one ranking alone has far down and the other has high up. */
const LEAST_DEPTH = 100;

/** What is to be fused, best first, none of them twice. */
export interface Ranking<Name extends string> {
  readonly name: Name;
  readonly entries: readonly RankingEntry[];
}

export interface RankingEntry {
  readonly id: string;
  /** Higher is better, within this ranking. */
  readonly score: number;
}

/** Where one ranking had something: its rank, from 1, and the score by which it got there. */
export interface ScorePart {
  readonly rank: number;
  readonly score: number;
}

/** Something in the fused order: the sum of 1 / (60 + rank) over the rankings that have it. */
export interface Fused<Name extends string> {
  readonly id: string;
  readonly score: number;
  /** By the name of the ranking; only those that have it. */
  readonly parts: Readonly<Partial<Record<Name, ScorePart>>>;
}

/**
 * All that is in any of the rankings, best first. What has the same score stands in the order in which it first
 * occurs, reading the rankings as they are given, one after the other.
 */
export function fuseRankings<Name extends string>(rankings: readonly Ranking<Name>[]): readonly Fused<Name>[] {
  const fused = new Map<string, { readonly score: number; readonly parts: Partial<Record<Name, ScorePart>> }>();
  for (const { name, entries } of rankings) {
    for (const [index, { id, score }] of entries.entries()) {
      const rank = index + 1;
      const { score: sum, parts } = fused.get(id) ?? { score: 0, parts: {} };
      fused.set(id, { score: sum + 1 / (RANK_CONSTANT + rank), parts: { ...parts, [name]: { rank, score } } });
    }
  }
  // Sorting is stable, which keeps the order of those that tie.
  return Array.from(fused, ([id, { score, parts }]) => ({ id, score, parts })).toSorted((a, b) => b.score - a.score);
}

/** How many candidates each ranking should have when `k` are wanted of the fused order. */
export function rankingDepth(k: number): number {
  return Math.max(k, LEAST_DEPTH);
}
