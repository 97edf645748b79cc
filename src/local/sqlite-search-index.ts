/**
 * One tenant's search index: a SQLite file with one FTS5 table per collection, so that how rare a term is, is counted
 * within the collection that is searched. Synchronous; the worker thread of `sqlite-search.ts` calls it.
 *
 * What must stay true: a document's row, its passages and their terms are written in one transaction, so that a search
 * sees a document whole or not at all, also when several processes share the file.
 */
import { DatabaseSync } from "node:sqlite";
import type { SQLInputValue, SQLOutputValue } from "node:sqlite";
import type { IndexedDocument } from "../retrieval/ingest.ts";
import type { Labels, Passage } from "../retrieval/retriever.ts";
import { searchTerms } from "../retrieval/terms.ts";

export interface IndexQuery {
  readonly text: string;
  readonly k: number;
  readonly filter: Readonly<Record<string, string | readonly string[]>>;
}

export interface SearchIndex extends Disposable {
  /** The digests of those of the documents that are there. */
  digests(collection: string, ids: readonly string[]): ReadonlyMap<string, string>;
  /** Puts documents in place of those of the same ids, in one transaction. */
  replace(collection: string, documents: readonly IndexedDocument[]): void;
  /** Removes documents with everything they have; returns how many there were. */
  remove(collection: string, ids: readonly string[]): number;
  documentIds(collection: string): readonly string[];
  search(collection: string, query: IndexQuery): readonly Passage[];
}

/** A word in a title says more about a document than the same word somewhere in its text. */
const TITLE_WEIGHT = 2;
const SCHEMA_VERSION = 1;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS collections (key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE IF NOT EXISTS documents (
    key INTEGER PRIMARY KEY, collection INTEGER NOT NULL REFERENCES collections (key), id TEXT NOT NULL,
    title TEXT NOT NULL, labels TEXT NOT NULL, digest TEXT NOT NULL, UNIQUE (collection, id)) STRICT;
  CREATE TABLE IF NOT EXISTS passages (
    key INTEGER PRIMARY KEY, document INTEGER NOT NULL REFERENCES documents (key) ON DELETE CASCADE,
    id TEXT NOT NULL, section TEXT NOT NULL, "start" INTEGER NOT NULL, "end" INTEGER NOT NULL,
    text TEXT NOT NULL) STRICT;
  CREATE INDEX IF NOT EXISTS passages_of_document ON passages (document);
  PRAGMA user_version = ${SCHEMA_VERSION};
`;

type Row = Record<string, SQLOutputValue>;
type Rows = (sql: string, ...values: readonly SQLInputValue[]) => readonly Row[];

/** Opens or makes the file. The index can be made again from its documents, so a power loss may cost the last batch. */
export function openSearchIndex(path: string): SearchIndex {
  const db = new DatabaseSync(path, { timeout: 5_000 });
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384;");
  const rows: Rows = (sql, ...values) => db.prepare(sql).all(...values);
  const transaction = <T>(work: () => T): T => {
    db.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      db.exec("COMMIT");
      return result;
    } catch (error) {
      db.exec("ROLLBACK");
      throw error;
    }
  };
  if (rows("PRAGMA user_version")[0]?.["user_version"] !== SCHEMA_VERSION) transaction(() => db.exec(SCHEMA));
  const keyOf = (collection: string): number | undefined => {
    const key = rows("SELECT key FROM collections WHERE name = ?", collection)[0]?.["key"];
    return typeof key === "number" ? key : undefined;
  };
  return {
    digests(collection, ids) {
      const found = rows(
        "SELECT id, digest FROM documents WHERE collection = ? AND id IN (SELECT value FROM json_each(?))",
        keyOf(collection) ?? -1,
        JSON.stringify(ids),
      );
      return new Map(found.map((row) => [text(row, "id"), text(row, "digest")]));
    },
    replace: (collection, documents) =>
      transaction(() => replaceAll(db, keyOf(collection) ?? createCollection(db, collection), documents)),
    remove(collection, ids) {
      const key = keyOf(collection);
      if (key === undefined) return 0;
      return transaction(() => ids.filter((id) => removeDocument(rows, key, id)).length);
    },
    documentIds: (collection) =>
      rows("SELECT id FROM documents WHERE collection = ?", keyOf(collection) ?? -1).map((row) => text(row, "id")),
    search(collection, query) {
      const key = keyOf(collection);
      return key === undefined ? [] : find(rows, key, query);
    },
    [Symbol.dispose]: () => db.close(),
  };
}

function createCollection(db: DatabaseSync, name: string): number {
  const key = Number(db.prepare("INSERT INTO collections (name) VALUES (?)").run(name).lastInsertRowid);
  // The passages hold the text already, so the terms' table is contentless.
  db.exec(`CREATE VIRTUAL TABLE terms_${key} USING fts5(
    title, text, content = '', contentless_delete = 1, tokenize = 'porter unicode61')`);
  return key;
}

function replaceAll(db: DatabaseSync, collection: number, documents: readonly IndexedDocument[]): void {
  const rows: Rows = (sql, ...values) => db.prepare(sql).all(...values);
  const addDocument = db.prepare(
    "INSERT INTO documents (collection, id, title, labels, digest) VALUES (?, ?, ?, ?, ?)",
  );
  const addPassage = db.prepare(
    `INSERT INTO passages (document, id, section, "start", "end", text) VALUES (?, ?, ?, ?, ?, ?)`,
  );
  const addTerms = db.prepare(`INSERT INTO terms_${collection} (rowid, title, text) VALUES (?, ?, ?)`);
  for (const { id, title, labels, digest, passages } of documents) {
    removeDocument(rows, collection, id);
    const document = addDocument.run(collection, id, title, JSON.stringify(labels), digest).lastInsertRowid;
    for (const { id: passage, section, offsets, text: said } of passages) {
      const { start, end } = offsets;
      const { lastInsertRowid } = addPassage.run(document, passage, section, start, end, said);
      addTerms.run(lastInsertRowid, `${title} ${section}`, said);
    }
  }
}

function removeDocument(rows: Rows, collection: number, id: string): boolean {
  const key = rows("SELECT key FROM documents WHERE collection = ? AND id = ?", collection, id)[0]?.["key"];
  if (key === undefined) return false;
  rows(`DELETE FROM terms_${collection} WHERE rowid IN (SELECT key FROM passages WHERE document = ?)`, key);
  rows("DELETE FROM passages WHERE document = ?", key);
  rows("DELETE FROM documents WHERE key = ?", key);
  return true;
}

function find(rows: Rows, collection: number, { text: asked, k, filter }: IndexQuery): readonly Passage[] {
  const match = matchExpression(asked);
  if (match === undefined) return [];
  const conditions = Object.entries(filter).map(([label, wanted]) => [label, JSON.stringify([wanted].flat())]);
  const among = conditions
    .map(
      () =>
        "AND EXISTS (SELECT 1 FROM json_each(d.labels) l WHERE l.key = ? AND l.value IN (SELECT value FROM json_each(?)))",
    )
    .join(" ");
  const filtered = `AND rowid IN (SELECT p.key FROM documents d JOIN passages p ON p.document = d.key WHERE d.collection = ? ${among})`;
  const scored = `SELECT rowid, bm25(terms_${collection}, ${TITLE_WEIGHT}, 1) AS cost FROM terms_${collection}
    WHERE terms_${collection} MATCH ? ${conditions.length > 0 ? filtered : ""} ORDER BY cost, rowid LIMIT ?`;
  const values = conditions.length > 0 ? [match, collection, ...conditions.flat(), k] : [match, k];
  return rows(
    `SELECT d.id AS documentId, d.title, d.labels, p.id, p.section, p."start", p."end", p.text, m.cost
     FROM (${scored}) m JOIN passages p ON p.key = m.rowid JOIN documents d ON d.key = p.document
     ORDER BY m.cost, m.rowid`,
    ...values,
  ).map((row, index) => toPassage(row, index + 1));
}

/**
 * Any user's text as an FTS5 expression that cannot be a syntax error: its words, each a quoted string, any of which
 * may occur. Undefined when it has no words.
 */
export function matchExpression(query: string): string | undefined {
  const terms = searchTerms(query);
  return terms.length === 0 ? undefined : terms.map((term) => `"${term}"`).join(" OR ");
}

function toPassage(row: Row, rank: number): Passage {
  const score = -Number(row["cost"]);
  return {
    id: text(row, "id"),
    documentId: text(row, "documentId"),
    title: text(row, "title"),
    section: text(row, "section"),
    offsets: { start: Number(row["start"]), end: Number(row["end"]) },
    text: text(row, "text"),
    // Written by `replaceAll` from labels.
    labels: JSON.parse(text(row, "labels")) as Labels,
    score,
    parts: { lexical: { rank, score } },
  };
}

const text = (row: Row, column: string): string => String(row[column]);
