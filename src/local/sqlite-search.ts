import { join } from "node:path";
import { HoldpointError } from "../core/errors.ts";
import { sha256 } from "../core/ids.ts";
import { chunkDocument } from "../retrieval/chunk.ts";
import type { IngestOptions, IngestReport, Labels, Retriever, SourceDocument } from "../retrieval/retriever.ts";
import type { IndexedDocument } from "./sqlite-search-index.ts";
import { createSearchThread } from "./sqlite-search-thread.ts";
import type { SearchThread } from "./sqlite-search-thread.ts";

/** One transaction takes so many documents, or fewer that together have so much text. */
const BATCH = { documents: 128, chars: 1_000_000 } as const;
const MOST_PASSAGES = 1_000;

/**
 * The embedded retriever: SQLite FTS5, BM25 over stemmed words, one file per tenant under `<dataDir>/search`.
 * Several processes may share the folder. Reading and writing happen on a thread of their own, started on first use.
 */
export function createSqliteRetriever({ dataDir }: { readonly dataDir: string }): Retriever & AsyncDisposable {
  const thread = createSearchThread(join(dataDir, "search"));
  return {
    semantic: false,
    ingest: (documents, options) => ingest(thread, documents, options),
    async remove({ tenant, collection, documentId }) {
      return (await thread.ask({ verb: "remove", tenant, collection, ids: [documentId] })) > 0;
    },
    async search(query, { tenant, collection, k, filter = {}, signal }) {
      signal?.throwIfAborted();
      if (!Number.isInteger(k) || k < 1 || k > MOST_PASSAGES) {
        throw new HoldpointError("invalid", `k must be a whole number from 1 to ${MOST_PASSAGES}`);
      }
      const passages = await thread.ask({ verb: "search", tenant, collection, query: { text: query, k, filter } });
      signal?.throwIfAborted();
      return passages;
    },
    [Symbol.asyncDispose]: () => thread[Symbol.asyncDispose](),
  };
}

async function ingest(
  thread: SearchThread,
  documents: AsyncIterable<SourceDocument>,
  { tenant, collection, total, complete = false, onProgress, signal }: IngestOptions,
): Promise<IngestReport> {
  const seen = new Set<string>();
  const report = { documents: 0, unchanged: 0, removed: 0, passages: 0 };
  const said = (): void => onProgress?.({ documents: report.documents, total, passages: report.passages });
  for await (const batch of batches(documents)) {
    signal?.throwIfAborted();
    const { unchanged } = await thread.ask({ verb: "replace", tenant, collection, documents: batch });
    report.documents += batch.length;
    report.unchanged += unchanged;
    report.passages += batch.reduce((sum, { chunks }) => sum + chunks.length, 0);
    if (complete) for (const { id } of batch) seen.add(id);
    said();
  }
  signal?.throwIfAborted();
  if (complete) {
    const there = await thread.ask({ verb: "documentIds", tenant, collection });
    const ids = there.filter((id) => !seen.has(id));
    if (ids.length > 0) report.removed = await thread.ask({ verb: "remove", tenant, collection, ids });
  }
  if (report.documents === 0) said();
  return report;
}

async function* batches(documents: AsyncIterable<SourceDocument>): AsyncGenerator<readonly IndexedDocument[]> {
  let batch: IndexedDocument[] = [];
  let chars = 0;
  for await (const document of documents) {
    batch.push(indexed(document));
    chars += document.text.length;
    if (batch.length < BATCH.documents && chars < BATCH.chars) continue;
    yield batch;
    batch = [];
    chars = 0;
  }
  if (batch.length > 0) yield batch;
}

function indexed(document: SourceDocument): IndexedDocument {
  const { id, title, labels } = document;
  if (id === "") throw new HoldpointError("invalid", "a document without an id cannot be ingested");
  const chunks = chunkDocument(document);
  const digest = sha256(JSON.stringify([title, inOrder(labels), chunks.map((chunk) => chunk.id)]));
  return { id, title, labels, digest, chunks };
}

function inOrder(labels: Labels): readonly (readonly [string, string])[] {
  return Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1));
}
