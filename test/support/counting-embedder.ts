import type { EmbedOptions, PassageEmbedder } from "../../src/retrieval/embedding.ts";
import { modelFailure } from "../../src/models/failure.ts";
import { fakeVector } from "./fake-embeddings.ts";

/** An embedder of hashed words that counts what it is paid for, answers in parts, and can be away from a request on. */
export interface CountingEmbedder extends PassageEmbedder {
  /** Texts that were answered, in order. */
  readonly paid: string[];
  /** How many more requests are answered before it is away. */
  requestsLeft: number;
}

export interface CountingOptions {
  readonly model?: string;
  readonly dimensions?: number;
  /** Texts of one request. */
  readonly batchSize?: number;
}

export function countingEmbedder(options: CountingOptions = {}): CountingEmbedder {
  const { model = "words", dimensions = 64, batchSize = 4 } = options;
  const paid: string[] = [];
  const embedder: CountingEmbedder = {
    model,
    dimensions,
    paid,
    requestsLeft: Number.POSITIVE_INFINITY,
    async embed(texts: readonly string[], { onVectors, signal }: EmbedOptions) {
      const vectors: Float32Array[] = [];
      for (let start = 0; start < texts.length; start += batchSize) {
        signal?.throwIfAborted();
        if (embedder.requestsLeft <= 0) throw modelFailure("unavailable", "the embedder is away");
        embedder.requestsLeft -= 1;
        const batch = texts.slice(start, start + batchSize);
        const arrived = batch.map((text) => Float32Array.from(fakeVector(text, dimensions, true)));
        paid.push(...batch);
        vectors.push(...arrived);
        onVectors?.(start, arrived);
        await Promise.resolve();
      }
      return vectors;
    },
  };
  return embedder;
}
