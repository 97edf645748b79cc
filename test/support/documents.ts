import type { PassageEmbedder } from "../../src/retrieval/embedding.ts";
import type { Passage, SourceDocument } from "../../src/retrieval/retriever.ts";

/** A document of plain text without a title. */
export const textDocument = (id: string, text: string, more: Partial<SourceDocument> = {}): SourceDocument => ({
  id,
  title: "",
  text,
  format: "text",
  labels: {},
  ...more,
});

/** As an ingestion takes them. */
export async function* eachDocument(...documents: readonly SourceDocument[]): AsyncGenerator<SourceDocument> {
  yield* documents;
}

/** The documents of passages, in their order. */
export const idsOf = (passages: readonly Passage[]): readonly string[] => passages.map(({ documentId }) => documentId);

const CONCEPTS = [
  ["boots", "shoes", "footwear"],
  ["refund", "reimbursed", "repaid"],
  ["tent", "shelter", "camping"],
];

/** Knows what a few words mean: one number for each concept. A text without any of them has no meaning. */
export const conceptEmbedder: PassageEmbedder = {
  model: "concepts",
  dimensions: CONCEPTS.length,
  embed: (texts) =>
    Promise.resolve(
      texts.map((text) => Float32Array.from(CONCEPTS, (words) => words.filter((word) => text.includes(word)).length)),
    ),
};
