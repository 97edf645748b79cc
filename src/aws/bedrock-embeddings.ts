/** The embedding models of Titan and Cohere on Bedrock, one request at a time. */
import { InvokeModelCommand } from "@aws-sdk/client-bedrock-runtime";
import type { BedrockRuntimeClient } from "@aws-sdk/client-bedrock-runtime";
import { z } from "zod";
import { HoldpointError } from "../core/errors.ts";
import type { Embedded, EmbeddingClient, EmbeddingPurpose } from "../models/embedder.ts";
import { modelFailure } from "../models/failure.ts";
import { bedrockFailure } from "./bedrock-failures.ts";

/** How one family of models is asked. */
interface Dialect {
  readonly dimensions: number;
  readonly batchSize: number;
  readonly body: (texts: readonly string[], purpose: EmbeddingPurpose) => object;
  /** @throws ZodError for an answer that is none */
  readonly read: (answer: unknown) => Embedded;
}

const numbers = z.array(z.number());
const titanAnswer = z
  .object({ embedding: numbers, inputTextTokenCount: z.number().optional() })
  .transform(({ embedding, inputTextTokenCount: tokens }) => ({ vectors: [embedding], tokens }));
/** Its bodies tell of no tokens. */
const cohereAnswer = z
  .object({ embeddings: z.object({ float: z.array(numbers) }) })
  .transform(({ embeddings }) => ({ vectors: embeddings.float }));

const titan = (dimensions: number): Dialect => ({
  dimensions,
  batchSize: 1,
  body: ([inputText]) => ({ inputText, dimensions, normalize: true }),
  read: (answer) => titanAnswer.parse(answer),
});

/** Bedrock refuses a longer text, whatever `truncate` says: what is longer is embedded by its beginning. */
const COHERE_CHARS = 2_048;

const cohere = (dimensions: number): Dialect => ({
  dimensions,
  batchSize: 96,
  body: (texts, purpose) => ({
    texts: texts.map((text) => text.slice(0, COHERE_CHARS).toWellFormed()),
    input_type: purpose === "query" ? "search_query" : "search_document",
    truncate: "END",
    embedding_types: ["float"],
  }),
  read: (answer) => cohereAnswer.parse(answer),
});

/** The sizes that a family has; the first is its default. */
const TITAN_DIMENSIONS = [1024, 512, 256] as const;
const COHERE_DIMENSIONS = [1024] as const;

/** How this model is asked for vectors of this size. @throws HoldpointError `unsupported` for another family, or a size that the family has not */
export function dialectOf(model: string, dimensions: number | undefined): Dialect {
  const sized = (sizes: readonly [number, ...number[]]): number => {
    const size = dimensions ?? sizes[0];
    if (sizes.includes(size)) return size;
    throw new HoldpointError("unsupported", `${model} has vectors of ${sizes.join(", ")} dimensions, not of ${size}`);
  };
  if (/(^|\.)amazon\.titan-embed-text-v2/.test(model)) return titan(sized(TITAN_DIMENSIONS));
  if (/(^|\.)cohere\.embed-(english|multilingual)-v3/.test(model)) return cohere(sized(COHERE_DIMENSIONS));
  throw new HoldpointError("unsupported", `${model} is no embedding model of Titan (v2) or Cohere (v3)`);
}

export interface EmbeddingOptions {
  readonly model: string;
  readonly region: string;
  /** Of Titan: 256, 512 or 1024, which is the default. Those of Cohere are 1024. */
  readonly dimensions?: number;
}

/** The model as an embedding client. @throws HoldpointError `unsupported` for a model, or a size, that it cannot ask for */
export function createBedrockEmbeddings(client: BedrockRuntimeClient, options: EmbeddingOptions): EmbeddingClient {
  const { model, region } = options;
  const { dimensions, batchSize, body, read } = dialectOf(model, options.dimensions);
  const place = `${model} in ${region}`;
  return {
    place,
    model,
    dimensions,
    batchSize,
    async embed(texts, purpose, signal) {
      try {
        const command = new InvokeModelCommand({
          modelId: model,
          contentType: "application/json",
          accept: "application/json",
          body: JSON.stringify(body(texts, purpose)),
        });
        const { body: answer } = await client.send(command, { abortSignal: signal });
        return read(JSON.parse(answer.transformToString()));
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof z.ZodError)
          throw modelFailure("malformed", `${place} answered with something that is no vector`, error);
        throw bedrockFailure(error, place);
      }
    },
  };
}
