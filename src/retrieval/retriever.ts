import { HoldpointError } from "../core/errors.ts";
import type { ScorePart } from "./fusion.ts";

/** Facts about a document that a search may filter by. Values are compared as text. */
export type Labels = Readonly<Record<string, string>>;

/** How a document's text is divided: by its headings, by its paragraphs, or, for a short record, not at all. */
export type DocumentFormat = "markdown" | "text" | "record";

/** One document to be searched. Its id is unique within a tenant's collection. */
export interface SourceDocument {
  readonly id: string;
  readonly title: string;
  /** What the offsets of its passages count into. */
  readonly text: string;
  readonly format: DocumentFormat;
  readonly labels: Labels;
}

/** Half-open range of UTF-16 code units of a document's text: `text.slice(start, end)`. */
export interface Offsets {
  readonly start: number;
  readonly end: number;
}

/** A piece of a document that a search found. */
export interface Passage {
  /** Hash of what the passage says and where: the same content always has the same id. */
  readonly id: string;
  readonly documentId: string;
  readonly title: string;
  /** The headings that it stands under, outermost first, joined by ` › `; empty above the first. */
  readonly section: string;
  readonly offsets: Offsets;
  readonly text: string;
  readonly labels: Labels;
  /** Higher is better; comparable within one search only. */
  readonly score: number;
  readonly parts: ScoreParts;
}

/**
 * How a passage was found: by its words (BM25), by its vector's nearness to that of the query (cosine similarity), or by
 * both. What found it not is not there.
 */
export interface ScoreParts {
  readonly lexical?: ScorePart;
  readonly vector?: ScorePart;
}

/** Whose documents, and which of their collections. The tenant comes from a verified credential (I8). */
export interface Collection {
  readonly tenant: string;
  readonly collection: string;
}

export interface IngestProgress {
  /** Documents read so far. */
  readonly documents: number;
  /** How many there will be, when the caller said so. */
  readonly total: number | undefined;
  /** Passages that those documents have in the index. */
  readonly passages: number;
}

export interface IngestOptions extends Collection {
  /** These are all the documents there are: whatever else the collection holds is removed at the end. */
  readonly complete?: boolean;
  /** How many documents will come, passed through to `onProgress`. */
  readonly total?: number;
  /** Called after every batch that is in the index, and once when there was none. */
  readonly onProgress?: (progress: IngestProgress) => void;
  readonly signal?: AbortSignal;
}

export interface IngestReport {
  readonly documents: number;
  /** Documents that were already there, word for word, and cost nothing. */
  readonly unchanged: number;
  /** Documents that were there and did not come again; only with `complete`. */
  readonly removed: number;
  readonly passages: number;
  /** Passages of which vectors were asked for, and paid for; 0 without an embedder. */
  readonly embedded: number;
}

export interface SearchOptions extends Collection {
  /** At most so many passages; 1 to 1,000. */
  readonly k: number;
  /** Every named label must have the given value, or one of the given values. */
  readonly filter?: Readonly<Record<string, string | readonly string[]>>;
  readonly signal?: AbortSignal;
}

/** Documents in, passages out. Adapters: SQLite on this machine, OpenSearch. */
export interface Retriever {
  /** True: passages are found by words and by meaning, with an embedder. False: by their words alone. */
  readonly semantic: boolean;
  /**
   * Puts documents into a collection. A document that is there already is replaced when it changed and left alone when
   * it did not, so that an ingestion that was killed goes on by being started again. Vectors of another embedder are a
   * change.
   * @throws HoldpointError `invalid` for a document without an id, `too_large` for one above 4 Mi characters; the
   * signal's reason when it aborts; else as the embedder does
   */
  ingest(documents: AsyncIterable<SourceDocument>, options: IngestOptions): Promise<IngestReport>;
  /** Removes all of a document; false when there was none. */
  remove(document: Collection & { readonly documentId: string }): Promise<boolean>;
  /**
   * Passages, best first. The query is any text whatsoever; a collection that does not exist has no passages.
   * @throws HoldpointError `conflict` when there are documents and none of them has vectors of this embedder; else as the
   * embedder does
   */
  search(query: string, options: SearchOptions): Promise<readonly Passage[]>;
}

/** Most passages of one search. */
const MOST_PASSAGES = 1_000;

/** @throws HoldpointError `invalid` for a number of passages that makes no sense */
export function checkPassageCount(k: number): void {
  if (Number.isInteger(k) && k >= 1 && k <= MOST_PASSAGES) return;
  throw new HoldpointError("invalid", `k must be a whole number from 1 to ${MOST_PASSAGES}`);
}
