/**
 * Putting documents into an index, whichever it is. What must stay true:
 * 1. A document that is there with the same content and vectors of the same embedder is neither written nor embedded.
 * 2. What has been embedded is written, also when the embedder fails or the ingestion is stopped before its batch is
 *    whole: of a document that is in the index nothing is paid for again.
 * 3. Nothing is removed before every document has been read and written.
 */
import { HoldpointError } from "../core/errors.ts";
import { sha256 } from "../core/ids.ts";
import { chunkDocument } from "./chunk.ts";
import type { Chunk } from "./chunk.ts";
import { embedderIdentity, embeddingText } from "./embedding.ts";
import type { PassageEmbedder } from "./embedding.ts";
import type { Collection, IngestOptions, IngestReport, Labels, SourceDocument } from "./retriever.ts";

/** A document with its passages, as an index takes it. */
export interface IndexedDocument {
  readonly id: string;
  readonly title: string;
  readonly labels: Labels;
  /** Changes with anything that the index keeps of the document, the embedder of its vectors included. */
  readonly digest: string;
  readonly passages: readonly IndexedPassage[];
}

export interface IndexedPassage extends Chunk {
  /** Of the embedder, where there is one. */
  readonly vector?: Float32Array;
}

/** What an ingestion needs of an index. All of it is about one collection of one tenant. */
export interface DocumentIndex {
  /** The digests of those of the documents that are there whole. */
  digests(collection: Collection, ids: readonly string[]): Promise<ReadonlyMap<string, string>>;
  /** Puts documents in place of those of the same ids. */
  replace(collection: Collection, documents: readonly IndexedDocument[]): Promise<void>;
  /** Removes documents with everything they have; returns how many there were. */
  remove(collection: Collection, ids: readonly string[]): Promise<number>;
  documentIds(collection: Collection): Promise<readonly string[]>;
}

export interface IngestDeps {
  readonly index: DocumentIndex;
  readonly embedder?: PassageEmbedder | undefined;
}

/** One write takes so many documents, or fewer that together have so much text. */
const BATCH = { documents: 128, chars: 1_000_000 } as const;

/** UTF-16 code units of a document above which it is not something that a person wrote to be read. */
export const MOST_DOCUMENT_CHARS = 4 * 1024 * 1024;

/** Ingests as `Retriever.ingest` says. @throws HoldpointError as there; else as index and embedder do */
export async function ingestDocuments(
  { index, embedder }: IngestDeps,
  documents: AsyncIterable<SourceDocument>,
  options: IngestOptions,
): Promise<IngestReport> {
  const { tenant, collection, total, complete = false, onProgress, signal } = options;
  const place = { tenant, collection };
  const seen = new Set<string>();
  const report = { documents: 0, unchanged: 0, removed: 0, passages: 0, embedded: 0 };
  const said = (): void => onProgress?.({ documents: report.documents, total, passages: report.passages });
  for await (const batch of batches(documents)) {
    signal?.throwIfAborted();
    const prepared = batch.map((document) => prepare(document, embedder));
    const changed = await changedOf(index, place, prepared);
    report.embedded += await write({ index, place, documents: changed, embedder, signal });
    report.documents += batch.length;
    report.unchanged += batch.length - changed.length;
    report.passages += prepared.reduce((sum, { passages }) => sum + passages.length, 0);
    if (complete) for (const { id } of batch) seen.add(id);
    said();
  }
  signal?.throwIfAborted();
  if (complete) {
    const ids = (await index.documentIds(place)).filter((id) => !seen.has(id));
    if (ids.length > 0) report.removed = await index.remove(place, ids);
  }
  if (report.documents === 0) said();
  return report;
}

async function* batches(documents: AsyncIterable<SourceDocument>): AsyncGenerator<readonly SourceDocument[]> {
  let batch: SourceDocument[] = [];
  let chars = 0;
  for await (const document of documents) {
    batch.push(checked(document));
    chars += document.text.length;
    if (batch.length < BATCH.documents && chars < BATCH.chars) continue;
    yield batch;
    batch = [];
    chars = 0;
  }
  if (batch.length > 0) yield batch;
}

function checked(document: SourceDocument): SourceDocument {
  const { id, text } = document;
  if (id === "") throw new HoldpointError("invalid", "a document without an id cannot be ingested");
  if (text.length <= MOST_DOCUMENT_CHARS) return document;
  const most = `more than ${MOST_DOCUMENT_CHARS} characters`;
  throw new HoldpointError("too_large", `the document ${id} has ${most}: divide it, or leave it out`);
}

function prepare(document: SourceDocument, embedder: PassageEmbedder | undefined): IndexedDocument {
  const { id, title, labels } = document;
  const passages = chunkDocument(document);
  const content = sha256(JSON.stringify([title, inOrder(labels), passages.map((passage) => passage.id)]));
  const digest = embedder === undefined ? content : `${content} ${sha256(embedderIdentity(embedder))}`;
  return { id, title, labels, digest, passages };
}

function inOrder(labels: Labels): readonly (readonly [string, string])[] {
  return Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1));
}

/** Those that are not there as they are now. Of a document that comes twice, the last. */
async function changedOf(
  index: DocumentIndex,
  place: Collection,
  prepared: readonly IndexedDocument[],
): Promise<readonly IndexedDocument[]> {
  const known = await index.digests(
    place,
    prepared.map(({ id }) => id),
  );
  return [...new Map(prepared.map((document) => [document.id, document])).values()].filter(({ id, digest }) => {
    const there = known.get(id);
    // Without an embedder the vectors that are there are kept: they may be wanted again, and were paid for.
    return there !== digest && !there?.startsWith(`${digest} `);
  });
}

interface Writing {
  readonly index: DocumentIndex;
  readonly place: Collection;
  readonly documents: readonly IndexedDocument[];
  readonly embedder: PassageEmbedder | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Embeds and writes documents; how many passages were embedded. */
async function write({ index, place, documents, embedder, signal }: Writing): Promise<number> {
  if (documents.length === 0) return 0;
  if (embedder === undefined) {
    await index.replace(place, documents);
    return 0;
  }
  const passages = documents.flatMap(({ title, passages }) => passages.map((passage) => ({ ...passage, title })));
  const vectors = new Map<string, Float32Array>();
  const onVectors = (start: number, arrived: readonly Float32Array[]): void => {
    for (const [at, vector] of arrived.entries()) {
      const passage = passages[start + at];
      if (passage !== undefined) vectors.set(passage.id, vector);
    }
  };
  try {
    const options = { purpose: "document", onVectors, ...(signal === undefined ? {} : { signal }) } as const;
    if (passages.length > 0) onVectors(0, await embedder.embed(passages.map(embeddingText), options));
  } finally {
    const whole = documents.flatMap((document) => withVectors(document, vectors) ?? []);
    if (whole.length > 0) await index.replace(place, whole);
  }
  return passages.length;
}

/** Undefined unless there is a vector for each of its passages. */
function withVectors(
  document: IndexedDocument,
  vectors: ReadonlyMap<string, Float32Array>,
): IndexedDocument | undefined {
  const passages: IndexedPassage[] = [];
  for (const passage of document.passages) {
    const vector = vectors.get(passage.id);
    if (vector === undefined) return undefined;
    passages.push({ ...passage, vector });
  }
  return { ...document, passages };
}
