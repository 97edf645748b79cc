/**
 * One tenant's search index: a SQLite file with one FTS5 table per collection, so that how rare a term is, is counted
 * within the collection that is searched, and one table of its vectors. Synchronous; the worker thread of
 * `sqlite-search.ts` calls it.
 *
 * What must stay true: a document's row, its passages, their terms and their vectors are written in one transaction, so
 * that a search sees a document whole or not at all, also when several processes share the file.
 */
import { DatabaseSync } from "node:sqlite";
import type { StatementSync } from "node:sqlite";
import { HoldpointError } from "../core/errors.ts";
import type { IndexedDocument } from "../retrieval/ingest.ts";
import { quantized } from "./quantized.ts";
import { find, text } from "./sqlite-search-query.ts";
import type { Found, IndexQuery, Rows } from "./sqlite-search-query.ts";

export interface SearchIndex extends Disposable {
  /** The digests of those of the documents that are there. */
  digests(collection: string, ids: readonly string[]): ReadonlyMap<string, string>;
  /** Puts documents in place of those of the same ids, in one transaction; `embedder` made the vectors they have. */
  replace(collection: string, documents: readonly IndexedDocument[], embedder: string | undefined): void;
  /** Removes documents with everything they have; returns how many there were. */
  remove(collection: string, ids: readonly string[]): number;
  documentIds(collection: string): readonly string[];
  search(collection: string, query: IndexQuery): Found;
}

const SCHEMA_VERSION = 2;

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
  CREATE TABLE IF NOT EXISTS embedders (key INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE) STRICT;
  PRAGMA user_version = ${SCHEMA_VERSION};
`;

/** The passages hold the text already, so the terms' table is contentless. A passage's vector goes with it. */
const collectionSchema = (key: number): string => `
  CREATE VIRTUAL TABLE IF NOT EXISTS terms_${key} USING fts5(
    title, text, content = '', contentless_delete = 1, tokenize = 'porter unicode61');
  CREATE TABLE IF NOT EXISTS vectors_${key} (
    passage INTEGER PRIMARY KEY REFERENCES passages (key) ON DELETE CASCADE,
    embedder INTEGER NOT NULL REFERENCES embedders (key), vector BLOB NOT NULL) STRICT;
`;

/**
 * Opens or makes the file. The index can be made again from its documents, so a power loss may cost the last batch.
 * `extension` is the path of sqlite-vec, without which no vector can be searched.
 * @throws HoldpointError `unsupported` for a file of a newer version
 */
export function openSearchIndex(path: string, extension: string | undefined): SearchIndex {
  const db = new DatabaseSync(path, { timeout: 5_000, allowExtension: extension !== undefined });
  if (extension !== undefined) {
    db.loadExtension(extension);
    db.enableLoadExtension(false);
  }
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384;");
  const rows = preparedRows(db);
  const transaction = <T>(begin: "BEGIN" | "BEGIN IMMEDIATE", work: () => T): T => {
    db.exec(begin);
    try {
      const result = work();
      db.exec("COMMIT");
      return result;
    } catch (error) {
      db.exec("ROLLBACK");
      throw error;
    }
  };
  const write = <T>(work: () => T): T => transaction("BEGIN IMMEDIATE", work);
  try {
    if (versionOf(db) !== SCHEMA_VERSION) write(() => migrate(db, path));
  } catch (error) {
    db.close();
    throw error;
  }
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
    replace: (collection, documents, embedder) =>
      write(() => {
        const key = keyOf(collection) ?? createCollection(db, collection);
        replaceAll({ db, rows, key, embedder }, documents);
      }),
    remove(collection, ids) {
      const key = keyOf(collection);
      if (key === undefined) return 0;
      return write(() => ids.filter((id) => removeDocument(rows, key, id)).length);
    },
    documentIds: (collection) =>
      rows("SELECT id FROM documents WHERE collection = ?", keyOf(collection) ?? -1).map((row) => text(row, "id")),
    search: (collection, query) =>
      transaction("BEGIN", () => {
        const key = keyOf(collection);
        return key === undefined ? { kind: "passages", passages: [] } : find(rows, key, query);
      }),
    [Symbol.dispose]: () => db.close(),
  };
}

/** Statements of one index that are kept; a query has six, with as many texts as there are collections and filters. */
const MOST_PREPARED = 256;

/** Runs statements, and keeps them prepared. */
function preparedRows(db: DatabaseSync): Rows {
  const prepared = new Map<string, StatementSync>();
  return (sql, ...values) => {
    const statement = prepared.get(sql) ?? db.prepare(sql);
    if (prepared.size >= MOST_PREPARED) prepared.clear();
    prepared.set(sql, statement);
    return statement.all(...values);
  };
}

const versionOf = (db: DatabaseSync): number => Number(db.prepare("PRAGMA user_version").get()?.["user_version"]);

/** Collections of the first version had no vectors. */
function migrate(db: DatabaseSync, path: string): void {
  const version = versionOf(db);
  if (version > SCHEMA_VERSION)
    throw new HoldpointError(
      "unsupported",
      `${path} has version ${version}, and this Holdpoint knows ${SCHEMA_VERSION}`,
    );
  db.exec(SCHEMA);
  for (const { key } of db.prepare("SELECT key FROM collections").all()) db.exec(collectionSchema(Number(key)));
}

function createCollection(db: DatabaseSync, name: string): number {
  const key = Number(db.prepare("INSERT INTO collections (name) VALUES (?)").run(name).lastInsertRowid);
  db.exec(collectionSchema(key));
  return key;
}

function embedderKey(db: DatabaseSync, identity: string): number {
  db.prepare("INSERT INTO embedders (identity) VALUES (?) ON CONFLICT DO NOTHING").run(identity);
  return Number(db.prepare("SELECT key FROM embedders WHERE identity = ?").get(identity)?.["key"]);
}

interface Target {
  readonly db: DatabaseSync;
  readonly rows: Rows;
  /** Of the collection. */
  readonly key: number;
  readonly embedder: string | undefined;
}

function replaceAll({ db, rows, key, embedder }: Target, documents: readonly IndexedDocument[]): void {
  const addDocument = db.prepare(
    "INSERT INTO documents (collection, id, title, labels, digest) VALUES (?, ?, ?, ?, ?)",
  );
  const addPassage = db.prepare(
    `INSERT INTO passages (document, id, section, "start", "end", text) VALUES (?, ?, ?, ?, ?, ?)`,
  );
  const addTerms = db.prepare(`INSERT INTO terms_${key} (rowid, title, text) VALUES (?, ?, ?)`);
  const addVector = db.prepare(`INSERT INTO vectors_${key} (passage, embedder, vector) VALUES (?, ?, ?)`);
  const by = embedder === undefined ? undefined : embedderKey(db, embedder);
  for (const { id, title, labels, digest, passages } of documents) {
    removeDocument(rows, key, id);
    const document = addDocument.run(key, id, title, JSON.stringify(labels), digest).lastInsertRowid;
    for (const { id: passageId, section, offsets, text: said, vector } of passages) {
      const { start, end } = offsets;
      const passage = addPassage.run(document, passageId, section, start, end, said).lastInsertRowid;
      addTerms.run(passage, `${title} ${section}`, said);
      const bytes = vector && quantized(vector);
      if (by !== undefined && bytes !== undefined) addVector.run(passage, by, bytes);
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
