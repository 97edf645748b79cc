/** Relevance judgments of one query: document id → grade. What is not in it is not relevant. */
export type Judgments = ReadonlyMap<string, number>;

/**
 * Normalised discounted cumulative gain of the first `k` documents, with the grade itself as gain, as trec_eval and
 * BEIR compute it. 0 when nothing is relevant.
 */
export function ndcg(ranked: readonly string[], judgments: Judgments, k: number): number {
  const ideal = gain([...judgments.values()].toSorted((a, b) => b - a).slice(0, k));
  return ideal === 0 ? 0 : gain(ranked.slice(0, k).map((id) => judgments.get(id) ?? 0)) / ideal;
}

function gain(grades: readonly number[]): number {
  return grades.reduce((sum, grade, index) => sum + grade / Math.log2(index + 2), 0);
}

/** Share of the relevant documents that are among the first `k`. 0 when nothing is relevant. */
export function recall(ranked: readonly string[], judgments: Judgments, k: number): number {
  const wanted = relevant(judgments);
  const found = ranked.slice(0, k).filter((id) => wanted.has(id));
  return wanted.size === 0 ? 0 : new Set(found).size / wanted.size;
}

/** One over the rank of the first relevant document, 0 when none is among the first `k`. */
export function reciprocalRank(ranked: readonly string[], judgments: Judgments, k: number): number {
  const wanted = relevant(judgments);
  const index = ranked.slice(0, k).findIndex((id) => wanted.has(id));
  return index < 0 ? 0 : 1 / (index + 1);
}

function relevant(judgments: Judgments): ReadonlySet<string> {
  return new Set([...judgments].flatMap(([id, grade]) => (grade > 0 ? [id] : [])));
}

/** Arithmetic mean; 0 of nothing. */
export function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The smallest value that at least the share `p` (0 to 1) of the values does not exceed; NaN of nothing. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)] ?? Number.NaN;
}
