import { join } from "node:path";
import { ingestDocuments } from "../retrieval/ingest.ts";
import type { DocumentIndex } from "../retrieval/ingest.ts";
import { checkPassageCount } from "../retrieval/retriever.ts";
import type { Retriever } from "../retrieval/retriever.ts";
import { createSearchThread } from "./sqlite-search-thread.ts";
import type { SearchThread } from "./sqlite-search-thread.ts";

/**
 * The embedded retriever: SQLite FTS5, BM25 over stemmed words, one file per tenant under `<dataDir>/search`.
 * Several processes may share the folder. Reading and writing happen on a thread of their own, started on first use.
 */
export function createSqliteRetriever({ dataDir }: { readonly dataDir: string }): Retriever & AsyncDisposable {
  const thread = createSearchThread(join(dataDir, "search"));
  const index = indexOn(thread);
  return {
    semantic: false,
    ingest: (documents, options) => ingestDocuments({ index }, documents, options),
    remove: async ({ tenant, collection, documentId }) =>
      (await index.remove({ tenant, collection }, [documentId])) > 0,
    async search(query, { tenant, collection, k, filter = {}, signal }) {
      signal?.throwIfAborted();
      checkPassageCount(k);
      const passages = await thread.ask({ verb: "search", tenant, collection, query: { text: query, k, filter } });
      signal?.throwIfAborted();
      return passages;
    },
    [Symbol.asyncDispose]: () => thread[Symbol.asyncDispose](),
  };
}

function indexOn(thread: SearchThread): DocumentIndex {
  return {
    digests: (place, ids) => thread.ask({ verb: "digests", ...place, ids }),
    replace: (place, documents) => thread.ask({ verb: "replace", ...place, documents }),
    remove: (place, ids) => thread.ask({ verb: "remove", ...place, ids }),
    documentIds: (place) => thread.ask({ verb: "documentIds", ...place }),
  };
}
