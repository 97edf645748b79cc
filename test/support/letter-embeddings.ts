import type { EmbeddingsInterface } from "@langchain/core/embeddings";

/** How often each of some letters stands in a text: small whole numbers, which Float32 holds exactly. */
export interface LetterEmbeddings extends EmbeddingsInterface {
  readonly calls: string[][];
}

export function letterEmbeddings(letters = "abcdef"): LetterEmbeddings {
  const calls: string[][] = [];
  const vectorOf = (text: string): number[] => Array.from(letters, (letter) => text.split(letter).length - 1);
  return {
    calls,
    async embedDocuments(texts) {
      calls.push([...texts]);
      return texts.map(vectorOf);
    },
    embedQuery: async (text) => vectorOf(text),
  };
}
