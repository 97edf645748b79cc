/** Vectors of passages and queries: the port of what embeds, and what it is given. */
import type { Passage } from "./retriever.ts";

/** Some models have other vectors for what is searched than for what searches. */
export type EmbeddingPurpose = "document" | "query";

export interface EmbedOptions {
  readonly purpose: EmbeddingPurpose;
  readonly signal?: AbortSignal;
  /** Called with each part of the answer as it arrives: vectors of the texts from `start` on. */
  readonly onVectors?: (start: number, vectors: readonly Float32Array[]) => void;
}

/** What makes vectors of texts. Only those of the same model and size can be compared. */
export interface PassageEmbedder {
  readonly model: string;
  readonly dimensions: number;
  /** A vector for each text, in their order; none of the texts is blank. All of them, or it throws. */
  embed(texts: readonly string[], options: EmbedOptions): Promise<readonly Float32Array[]>;
}

/** Model and size in one text: vectors of the same identity are comparable, and no others. */
export function embedderIdentity({ model, dimensions }: PassageEmbedder): string {
  return `${model}, ${dimensions} dimensions`;
}

/** UTF-16 code units of a text that are embedded: models read about so much, and refuse or cut what is longer. */
const MOST_CHARS = 8_000;

/** What of a passage is embedded: where it stands, and what it says. Never blank: chunking leaves no blank passage. */
export function embeddingText({ title, section, text }: Pick<Passage, "title" | "section" | "text">): string {
  return embeddable([title, section, text].filter((part) => part.trim() !== "").join("\n"));
}

/** The vector of a query; undefined when it is blank, and no vector can be near. @throws as the embedder does */
export async function embedQuery(
  embedder: PassageEmbedder,
  query: string,
  signal?: AbortSignal,
): Promise<Float32Array | undefined> {
  const text = embeddable(query);
  if (text === "") return undefined;
  const [vector] = await embedder.embed([text], { purpose: "query", ...(signal === undefined ? {} : { signal }) });
  return vector;
}

/** A text that can be sent anywhere: bounded, and without halves of characters. */
function embeddable(text: string): string {
  return text.trim().slice(0, MOST_CHARS).toWellFormed();
}
