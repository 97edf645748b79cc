import { join } from "node:path";
import { HoldpointError } from "../core/errors.ts";
import { embedQuery, embedderIdentity } from "../retrieval/embedding.ts";
import type { PassageEmbedder } from "../retrieval/embedding.ts";
import { ingestDocuments } from "../retrieval/ingest.ts";
import type { DocumentIndex } from "../retrieval/ingest.ts";
import { checkPassageCount } from "../retrieval/retriever.ts";
import type { Retriever, SearchOptions } from "../retrieval/retriever.ts";
import { createSearchThread } from "./sqlite-search-thread.ts";
import type { SearchThread } from "./sqlite-search-thread.ts";

/** What search by meaning needs. */
export interface Meaning {
  readonly embedder: PassageEmbedder;
  /** Path of sqlite-vec, as `vectorExtension` finds it. */
  readonly extension: string;
}

export interface SqliteRetrieverOptions {
  readonly dataDir: string;
  /** Undefined: passages are found by their words alone. */
  readonly meaning?: Meaning | undefined;
}

/**
 * The embedded retriever: SQLite FTS5, BM25 over stemmed words, and with an embedder the nearest vectors beside it; one
 * file per tenant under `<dataDir>/search`. Several processes may share the folder. Reading and writing happen on a
 * thread of their own, started on first use.
 */
export function createSqliteRetriever({ dataDir, meaning }: SqliteRetrieverOptions): Retriever & AsyncDisposable {
  const thread = createSearchThread({ folder: join(dataDir, "search"), extension: meaning?.extension });
  const embedder = meaning?.embedder;
  const index = indexOn(thread, embedder);
  return {
    semantic: embedder !== undefined,
    ingest: (documents, options) => ingestDocuments({ index, embedder }, documents, options),
    remove: async ({ tenant, collection, documentId }) =>
      (await index.remove({ tenant, collection }, [documentId])) > 0,
    async search(query, options) {
      const { tenant, collection, k, filter = {}, signal } = options;
      signal?.throwIfAborted();
      checkPassageCount(k);
      const near = embedder === undefined ? {} : await nearTo(embedder, query, signal);
      const found = await thread.ask({
        verb: "search",
        tenant,
        collection,
        query: { text: query, k, filter, ...near },
      });
      signal?.throwIfAborted();
      if (found.kind === "passages") return found.passages;
      throw notEmbedded(options, near.embedder, found.embedders);
    },
    [Symbol.asyncDispose]: () => thread[Symbol.asyncDispose](),
  };
}

function indexOn(thread: SearchThread, embedder: PassageEmbedder | undefined): DocumentIndex {
  const identity = embedder === undefined ? undefined : embedderIdentity(embedder);
  return {
    digests: (place, ids) => thread.ask({ verb: "digests", ...place, ids }),
    replace: (place, documents) => thread.ask({ verb: "replace", ...place, documents, embedder: identity }),
    remove: (place, ids) => thread.ask({ verb: "remove", ...place, ids }),
    documentIds: (place) => thread.ask({ verb: "documentIds", ...place }),
  };
}

interface Near {
  readonly embedder?: string;
  readonly vector?: Float32Array;
}

async function nearTo(embedder: PassageEmbedder, query: string, signal: AbortSignal | undefined): Promise<Near> {
  const vector = await embedQuery(embedder, query, signal);
  return { embedder: embedderIdentity(embedder), ...(vector === undefined ? {} : { vector }) };
}

function notEmbedded(
  { collection }: Pick<SearchOptions, "collection">,
  embedder: string | undefined,
  others: readonly string[],
): HoldpointError {
  const had = others.length === 0 ? "without an embedder" : `with ${others.join(" and with ")}`;
  return new HoldpointError(
    "conflict",
    `the documents of ${collection} were ingested ${had}, and cannot be searched with ${embedder}: ` +
      "ingest them again with this embedder, or search with the one they were ingested with",
  );
}
