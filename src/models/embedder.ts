/** Vectors of texts: the port of embedding models, and what is around every call of one. */
import type { Clock } from "../core/clock.ts";
import { HoldpointError } from "../core/errors.ts";
import { modelFailure, reasonOf } from "./failure.ts";
import type { Attempts } from "./policies.ts";
import { withinSilence } from "./silence.ts";

/** Some models have other vectors for what is searched than for what searches. */
export type EmbeddingPurpose = "document" | "query";

/** One embedding model at one place. An attempt is made once, as in `ChatClient`. */
export interface EmbeddingClient {
  /** What shares a breaker. */
  readonly place: string;
  /** Vectors of the same model and size can be compared, wherever they were made. */
  readonly model: string;
  readonly dimensions: number;
  /** Texts that one request takes. */
  readonly batchSize: number;
  /** @throws HoldpointError as `modelFailure` makes them */
  embed(texts: readonly string[], purpose: EmbeddingPurpose, signal: AbortSignal): Promise<Embedded>;
}

export interface Embedded {
  readonly vectors: readonly (readonly number[])[];
  /** Where the model says how many it has read. */
  readonly tokens?: number | undefined;
}

/** One request with all its attempts, for the record: no content. */
export interface EmbeddingCall {
  readonly model: string;
  readonly ms: number;
  readonly inputTokens?: number | undefined;
  /** The reason of its failure, or `stopped` when nobody waited for it any more. */
  readonly error?: string | undefined;
}

export interface Embedder {
  readonly model: string;
  readonly dimensions: number;
  /**
   * A vector for each text, in their order.
   * @throws HoldpointError `invalid` for a blank text, which has no vector; else as `modelFailure` makes them
   */
  embed(texts: readonly string[], options: EmbedOptions): Promise<readonly Float32Array[]>;
}

export interface EmbedOptions {
  readonly purpose: EmbeddingPurpose;
  readonly signal?: AbortSignal;
  /** Called with each answered request, also of a call that fails later: vectors of the texts from `start` on. */
  readonly onVectors?: (start: number, vectors: readonly Float32Array[]) => void;
}

export interface EmbedderDeps {
  readonly client: EmbeddingClient;
  readonly attempts: Attempts;
  readonly clock: Clock;
  /** Requests of one call of `embed` that are under way at once. */
  readonly concurrency: number;
  readonly silenceMs: number;
  readonly record: (call: EmbeddingCall) => void;
}

export function createEmbedder({ client, attempts, clock, concurrency, silenceMs, record }: EmbedderDeps): Embedder {
  const { place, model, dimensions, batchSize } = client;
  const vectorsOf = async (batch: readonly string[], purpose: EmbeddingPurpose, signal: AbortSignal) => {
    const run = () => withinSilence({ clock, silenceMs, signal }, (own) => client.embed(batch, purpose, own));
    const startedAt = clock.monotonic();
    const conclude = (came: Partial<EmbeddingCall>) => record({ model, ms: clock.monotonic() - startedAt, ...came });
    const { vectors, tokens } = await attempts
      .attempt(place, signal, { isFinal: () => false, run })
      .catch((error: unknown) => {
        conclude({ error: reasonOf(error) ?? (signal.aborted ? "stopped" : "error") });
        throw error;
      });
    conclude({ inputTokens: tokens });
    if (vectors.length !== batch.length || vectors.some(({ length }) => length !== dimensions))
      throw modelFailure("malformed", `${place} did not answer with ${batch.length} vectors of ${dimensions} numbers`);
    if (vectors.some((vector) => vector.every((number) => number === 0)))
      throw modelFailure("malformed", `${place} answered with a vector of zeros, which is near to nothing`);
    return vectors.map((vector) => Float32Array.from(vector));
  };
  return {
    model,
    dimensions,
    async embed(texts, { purpose, signal, onVectors }) {
      const blank = texts.findIndex((text) => text.trim() === "");
      if (blank >= 0)
        throw new HoldpointError("invalid", `text ${blank} of ${texts.length} is blank and has no vector`);
      const batches = Array.from({ length: Math.ceil(texts.length / batchSize) }, (_, at) =>
        texts.slice(at * batchSize, (at + 1) * batchSize),
      );
      const failed = new AbortController();
      const either = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]);
      const done: (readonly Float32Array[])[] = [];
      const waiting = batches.entries();
      const work = async (): Promise<void> => {
        for (const [at, batch] of waiting) {
          const vectors = await vectorsOf(batch, purpose, either);
          done[at] = vectors;
          onVectors?.(at * batchSize, vectors);
        }
      };
      try {
        await Promise.all(Array.from({ length: Math.min(concurrency, batches.length) }, work));
      } catch (error) {
        // Nobody needs the others any more.
        failed.abort(error);
        throw error;
      }
      return done.flat();
    },
  };
}
