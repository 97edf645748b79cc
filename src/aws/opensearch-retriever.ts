import { HoldpointError } from "../core/errors.ts";
import { embedQuery } from "../retrieval/embedding.ts";
import type { PassageEmbedder } from "../retrieval/embedding.ts";
import { ingestDocuments } from "../retrieval/ingest.ts";
import { checkPassageCount } from "../retrieval/retriever.ts";
import type { Collection, Passage, Retriever, SearchOptions } from "../retrieval/retriever.ts";
import { createOpenSearchDocuments, placeFilter, refresh } from "./opensearch-documents.ts";
import { ensureIndex, lookAtIndex } from "./opensearch-index.ts";
import type { IndexState } from "./opensearch-index.ts";
import { createOpenSearchRequests } from "./opensearch-requests.ts";
import type { OpenSearchOptions, OpenSearchRequests } from "./opensearch-requests.ts";
import { findPassages } from "./opensearch-search.ts";

export interface OpenSearchRetrieverOptions extends OpenSearchOptions {
  /** Undefined: passages are found by their words alone. */
  readonly embedder?: PassageEmbedder | undefined;
}

/**
 * The retriever on OpenSearch: one index for all tenants, searched by words (BM25) and by vectors (k-NN) in one request
 * and fused by rank. It is made by the first ingestion; a search of one that is not there finds nothing.
 */
export function createOpenSearchRetriever(options: OpenSearchRetrieverOptions): Retriever {
  const { embedder } = options;
  const requests = createOpenSearchRequests(options);
  const searching = { requests, embedder, state: rememberVectors(requests, embedder) };
  return {
    semantic: embedder !== undefined,
    async ingest(documents, ingestion) {
      const { signal } = ingestion;
      signal?.throwIfAborted();
      checkNames(ingestion);
      // Before anything is embedded, which may cost.
      await ensureIndex(requests, embedder, signal);
      const index = createOpenSearchDocuments(requests, signal);
      const report = await ingestDocuments({ index, embedder }, documents, ingestion);
      await refresh(requests, signal);
      return report;
    },
    async remove({ tenant, collection, documentId }) {
      const place = { tenant, collection };
      checkNames(place);
      const removed = await createOpenSearchDocuments(requests).remove(place, [documentId]);
      await refresh(requests);
      return removed > 0;
    },
    async search(query, search) {
      const { k, signal } = search;
      signal?.throwIfAborted();
      checkPassageCount(k);
      checkNames(search);
      const passages = await searchIndex(searching, query, search);
      signal?.throwIfAborted();
      return passages;
    },
  };
}

/** What OpenSearch would keep as something else must not name anything. */
function checkNames({ tenant, collection }: Collection): void {
  if (!tenant.isWellFormed() || !collection.isWellFormed())
    throw new HoldpointError("invalid", "a name of a tenant or collection has half a character");
}

interface Searching {
  readonly requests: OpenSearchRequests;
  readonly embedder: PassageEmbedder | undefined;
  readonly state: (signal: AbortSignal | undefined) => Promise<IndexState>;
}

/** Looks at the index until it has vectors of the embedder: they do not go away. */
function rememberVectors(requests: OpenSearchRequests, embedder: PassageEmbedder | undefined): Searching["state"] {
  let known: IndexState | undefined;
  return async (signal) => {
    const state = known ?? (await lookAtIndex(requests, embedder, signal));
    if (state.hasVectors) known = state;
    return state;
  };
}

async function searchIndex(
  { requests, embedder, state }: Searching,
  text: string,
  { tenant, collection, k, filter = {}, signal }: SearchOptions,
): Promise<readonly Passage[]> {
  const query = { tenant, collection, text, k, filter };
  if (embedder === undefined) return findPassages(requests, { ...query, vector: undefined }, signal);
  const { isThere, hasVectors } = await state(signal);
  if (!isThere) return [];
  const embedded = await embedQuery(embedder, text, signal);
  // A vector without a direction is near to nothing.
  const vector = embedded?.some((number) => number !== 0) === true ? embedded : undefined;
  const passages = hasVectors ? await findPassages(requests, { ...query, vector }, signal) : [];
  const isNear = passages.some(({ parts }) => parts.vector !== undefined);
  if (!isNear && vector !== undefined) await assertVectors(requests, { tenant, collection }, signal);
  return passages;
}

/** @throws HoldpointError `conflict` when there are passages, and none of them has a vector */
async function assertVectors(
  requests: OpenSearchRequests,
  place: Collection,
  signal: AbortSignal | undefined,
): Promise<void> {
  const hasAny = async (clause: readonly object[]): Promise<boolean> => {
    const filter = [{ term: { kind: "passage" } }, ...placeFilter(place), ...clause];
    const body = JSON.stringify({ query: { bool: { filter } } });
    const { status, json } = await requests.send({ method: "POST", path: "_count", body, signal, expected: [404] });
    return status !== 404 && (json as { readonly count?: number }).count !== 0;
  };
  if (!(await hasAny([])) || (await hasAny([{ exists: { field: "vector" } }]))) return;
  throw requests.failed(
    "conflict",
    `the documents of ${place.collection} were ingested without an embedder: ingest them again`,
  );
}
