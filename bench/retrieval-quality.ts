/** How good the rankings of a retriever are on a collection: of both together, and of each that they are fused from. */
import type { Passage, Retriever, ScoreParts } from "../src/retrieval/retriever.ts";
import type { Collection } from "./retrieval-collection.ts";
import { mean, ndcg, recall, reciprocalRank } from "./retrieval-metrics.ts";

export interface Quality {
  /** nDCG of the first ten. */
  readonly ndcg: number;
  /** Recall among the first hundred. */
  readonly recall: number;
  /** Mean reciprocal rank of the first relevant one, among the first ten. */
  readonly mrr: number;
}

/** Deep enough that a hundred documents are among the passages, and that both rankings are there to be read off. */
const DEPTH = 200;

const RANKINGS = {
  lexical: (passages: readonly Passage[]) => byRankOf("lexical", passages),
  vector: (passages: readonly Passage[]) => byRankOf("vector", passages),
  fused: (passages: readonly Passage[]) => passages,
} as const;

/** Passages as one of the rankings had them. Among the first of the fused order are all that it had high up. */
function byRankOf(part: keyof ScoreParts, passages: readonly Passage[]): readonly Passage[] {
  return passages
    .flatMap((passage) => {
      const rank = passage.parts[part]?.rank;
      return rank === undefined ? [] : [{ rank, passage }];
    })
    .toSorted((a, b) => a.rank - b.rank)
    .map(({ passage }) => passage);
}

/** What every query of the collection finds, compared to what it should; the documents are in the place already. */
export async function measureQuality(
  retriever: Retriever,
  place: { readonly tenant: string; readonly collection: string },
  { queries, judgments }: Pick<Collection, "queries" | "judgments">,
): Promise<Readonly<Record<keyof typeof RANKINGS, Quality>>> {
  const found = await Array.fromAsync(queries, async ({ id, text }) => ({
    judged: judgments.get(id) ?? new Map<string, number>(),
    passages: await retriever.search(text, { ...place, k: DEPTH }),
  }));
  const of = (ranking: (passages: readonly Passage[]) => readonly Passage[]): Quality => {
    const each = found.map(({ judged, passages }) => {
      const ranked = [...new Set(ranking(passages).map(({ documentId }) => documentId))];
      return {
        ndcg: ndcg(ranked, judged, 10),
        recall: recall(ranked, judged, 100),
        mrr: reciprocalRank(ranked, judged, 10),
      };
    });
    return {
      ndcg: mean(each.map((one) => one.ndcg)),
      recall: mean(each.map((one) => one.recall)),
      mrr: mean(each.map((one) => one.mrr)),
    };
  };
  return { lexical: of(RANKINGS.lexical), vector: of(RANKINGS.vector), fused: of(RANKINGS.fused) };
}
