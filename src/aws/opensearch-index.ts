/** The index that holds the passages of all tenants: how it is made, and whether it is one that can be used. */
import { z } from "zod";
import { embedderIdentity } from "../retrieval/embedding.ts";
import type { PassageEmbedder } from "../retrieval/embedding.ts";
import { errorReason } from "./opensearch-requests.ts";
import type { OpenSearchRequests } from "./opensearch-requests.ts";

const FORMAT = 1;

/** What is known of an index: whether it is there, and has vectors of the embedder. */
export interface IndexState {
  readonly isThere: boolean;
  readonly hasVectors: boolean;
}

const keyword = { type: "keyword" };
/** Kept, and not searched. */
const kept = { type: "keyword", index: false, doc_values: false };
/** Kept, and searched as part of `words`. */
const said = { ...kept, copy_to: "words" };

const settings = {
  "index.knn": true,
  analysis: {
    tokenizer: {
      // Words as `words` of retrieval/terms.ts sees them, which is what queries are made of.
      holdpoint_words: { type: "pattern", pattern: "[^\\p{L}\\p{M}\\p{N}\\p{Co}]+" },
    },
    filter: {
      // Lucene refuses a document with a term above 32,766 bytes.
      holdpoint_short: { type: "truncate", length: 255 },
    },
    analyzer: {
      holdpoint_words: {
        type: "custom",
        tokenizer: "holdpoint_words",
        filter: ["lowercase", "asciifolding", "porter_stem", "holdpoint_short"],
      },
    },
  },
};

const properties = {
  kind: keyword,
  tenant: keyword,
  collection: keyword,
  document: keyword,
  labels: keyword,
  heading: said,
  text: said,
  // One field: how rare a word is, and how long a passage, is then counted over all of it.
  words: { type: "text", analyzer: "holdpoint_words", index_options: "freqs" },
  about: kept,
  digest: kept,
  wanted: kept,
  passages: kept,
};

const metaOf = (embedder: PassageEmbedder | undefined) => ({
  holdpoint: { format: FORMAT, ...(embedder === undefined ? {} : { embedder: embedderIdentity(embedder) }) },
});

const vectorOf = ({ dimensions }: PassageEmbedder) => ({
  vector: {
    type: "knn_vector",
    dimension: dimensions,
    // Lucene filters while it searches: the nearest among a tenant's own, and not what is left of the nearest of all.
    method: { name: "hnsw", engine: "lucene", space_type: "cosinesimil" },
  },
});

const mappingAnswer = z.record(
  z.string(),
  z.object({
    mappings: z.object({
      _meta: z.object({ holdpoint: z.object({ format: z.number(), embedder: z.string().optional() }) }).optional(),
      properties: z.object({ vector: z.object({ dimension: z.number().optional() }).optional() }).optional(),
    }),
  }),
);

/**
 * Looks at the index; nothing is changed.
 * @throws HoldpointError `conflict` for one that is not ours, or has vectors of another embedder; `unsupported` for a
 * newer format
 */
export async function lookAtIndex(
  requests: OpenSearchRequests,
  embedder: PassageEmbedder | undefined,
  signal?: AbortSignal,
): Promise<IndexState> {
  const { status, json } = await requests.send({ method: "GET", path: "_mapping", signal, expected: [404] });
  if (status === 404) return { isThere: false, hasVectors: false };
  const parsed = mappingAnswer.safeParse(json);
  const mappings = parsed.success ? Object.values(parsed.data)[0]?.mappings : undefined;
  const ours = mappings?._meta?.holdpoint;
  if (ours === undefined)
    throw requests.failed("conflict", "it was not made by Holdpoint: name another one in HOLDPOINT_OPENSEARCH_INDEX");
  if (ours.format > FORMAT)
    throw requests.failed("unsupported", `it has format ${ours.format}, and this version knows ${FORMAT}`);
  const made = ours.embedder;
  if (embedder === undefined || made === undefined) return { isThere: true, hasVectors: false };
  const dimension = mappings?.properties?.vector?.dimension;
  const wanted = embedderIdentity(embedder);
  if (made === wanted && dimension === embedder.dimensions) return { isThere: true, hasVectors: true };
  const found = made === wanted ? `${dimension} dimensions` : made;
  throw requests.failed(
    "conflict",
    `its vectors are of ${found}, and the configured embedder is ${wanted}: configure that one again, or name a new ` +
      "index in HOLDPOINT_OPENSEARCH_INDEX and ingest into it",
  );
}

/** Makes the index if it is not there, and adds vectors to one that had none. @throws HoldpointError as `lookAtIndex` */
export async function ensureIndex(
  requests: OpenSearchRequests,
  embedder: PassageEmbedder | undefined,
  signal?: AbortSignal,
): Promise<void> {
  const { isThere, hasVectors } = await lookAtIndex(requests, embedder, signal);
  if (isThere && (hasVectors || embedder === undefined)) return;
  const vector = embedder === undefined ? {} : vectorOf(embedder);
  const answer = isThere
    ? await change(requests, "_mapping", { _meta: metaOf(embedder), properties: vector }, signal)
    : await change(
        requests,
        "",
        {
          settings,
          mappings: { dynamic: false, _meta: metaOf(embedder), properties: { ...properties, ...vector } },
        },
        signal,
      );
  // Also when another process came first, with an embedder of its own.
  const after = await lookAtIndex(requests, embedder, signal);
  if (after.isThere && (after.hasVectors || embedder === undefined)) return;
  throw requests.failed("internal", `cannot be made: ${answer}`);
}

async function change(
  requests: OpenSearchRequests,
  path: string,
  body: object,
  signal: AbortSignal | undefined,
): Promise<string> {
  const sent = { method: "PUT", path, body: JSON.stringify(body), signal, expected: [400] } as const;
  const { json } = await requests.send(sent);
  return errorReason.safeParse(json).data ?? "it is not as it was asked for";
}
