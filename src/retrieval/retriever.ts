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
}

export interface SearchOptions extends Collection {
  /** At most so many passages; 1 to 1,000. */
  readonly k: number;
  /** Every named label must have the given value, or one of the given values. */
  readonly filter?: Readonly<Record<string, string | readonly string[]>>;
  readonly signal?: AbortSignal;
}

/** Documents in, passages out. Adapters: SQLite FTS5 on this machine. */
export interface Retriever {
  /** False: passages are found by their words alone. */
  readonly semantic: boolean;
  /**
   * Puts documents into a collection. A document that is there already is replaced when it changed and left alone when
   * it did not, so that an ingestion that was killed goes on by being started again.
   * @throws HoldpointError `invalid` for a document without an id; the signal's reason when it aborts
   */
  ingest(documents: AsyncIterable<SourceDocument>, options: IngestOptions): Promise<IngestReport>;
  /** Removes all of a document; false when there was none. */
  remove(document: Collection & { readonly documentId: string }): Promise<boolean>;
  /** Passages, best first. The query is any text whatsoever; a collection that does not exist has no passages. */
  search(query: string, options: SearchOptions): Promise<readonly Passage[]>;
}
