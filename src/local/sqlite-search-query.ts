/**
 * Searching one collection of a tenant's index: by words (FTS5, BM25), by meaning (exact nearest neighbours among the
 * vectors of one embedder), or by both, fused. Every statement is bounded to the collection.
 */
import type { SQLInputValue, SQLOutputValue } from "node:sqlite";
import { fuseRankings, rankingDepth } from "../retrieval/fusion.ts";
import type { RankingEntry } from "../retrieval/fusion.ts";
import type { Labels, Passage, ScoreParts } from "../retrieval/retriever.ts";
import { searchTerms } from "../retrieval/terms.ts";
import { cosineOf, quantized } from "./quantized.ts";

export type Row = Record<string, SQLOutputValue>;
export type Rows = (sql: string, ...values: readonly SQLInputValue[]) => readonly Row[];

export interface IndexQuery {
  readonly text: string;
  readonly k: number;
  readonly filter: Readonly<Record<string, string | readonly string[]>>;
  /** What the vectors that are searched were made with; undefined: only words are searched. */
  readonly embedder?: string;
  /** By that embedder. Undefined for a blank text, which is near to nothing. */
  readonly vector?: Float32Array;
}

/** What was found; or that there are documents and this embedder has embedded none of them. */
export type Found =
  | { readonly kind: "passages"; readonly passages: readonly Passage[] }
  | { readonly kind: "not embedded"; readonly embedders: readonly string[] };

/** A word in a title says more about a document than the same word somewhere in its text. */
const TITLE_WEIGHT = 2;

/** `collection` is a key of the index. Called within one transaction, so that all statements see the same documents. */
export function find(rows: Rows, collection: number, query: IndexQuery): Found {
  const { embedder, vector, k } = query;
  if (embedder === undefined) {
    const ranked = byWords(rows, collection, query, k).map((entry, at) => ({
      ...entry,
      parts: { lexical: { rank: at + 1, score: entry.score } },
    }));
    return { kind: "passages", passages: passagesOf(rows, ranked) };
  }
  const key = rows("SELECT key FROM embedders WHERE identity = ?", embedder)[0]?.["key"] ?? null;
  if (!isEmbedded(rows, collection, key)) return { kind: "not embedded", embedders: embeddersOf(rows, collection) };
  const depth = rankingDepth(k);
  const fused = fuseRankings([
    { name: "lexical", entries: byWords(rows, collection, query, depth) },
    {
      name: "vector",
      entries: vector === undefined ? [] : byMeaning(rows, collection, { ...query, vector, key }, depth),
    },
  ]);
  return { kind: "passages", passages: passagesOf(rows, fused.slice(0, k)) };
}

/** Whether some passage has a vector of the embedder, or there is none that could have. */
function isEmbedded(rows: Rows, collection: number, embedder: SQLInputValue): boolean {
  if (rows(`SELECT 1 FROM vectors_${collection} WHERE embedder = ? LIMIT 1`, embedder).length > 0) return true;
  const any = "SELECT 1 FROM documents d JOIN passages p ON p.document = d.key WHERE d.collection = ? LIMIT 1";
  return rows(any, collection).length === 0;
}

function embeddersOf(rows: Rows, collection: number): readonly string[] {
  const used = `SELECT identity FROM embedders e WHERE EXISTS (
    SELECT 1 FROM vectors_${collection} v WHERE v.embedder = e.key) ORDER BY key`;
  return rows(used).map((row) => text(row, "identity"));
}

interface Condition {
  /** `AND …` of a statement that knows passages as `column`; empty without a filter. */
  readonly sql: string;
  readonly values: readonly SQLInputValue[];
}

function having(collection: number, filter: IndexQuery["filter"], column: string): Condition {
  const conditions = Object.entries(filter).map(([label, wanted]) => [label, JSON.stringify([wanted].flat())]);
  if (conditions.length === 0) return { sql: "", values: [] };
  const among = conditions
    .map(
      () =>
        "AND EXISTS (SELECT 1 FROM json_each(d.labels) l WHERE l.key = ? AND l.value IN (SELECT value FROM json_each(?)))",
    )
    .join(" ");
  return {
    sql: `AND ${column} IN (SELECT p.key FROM documents d JOIN passages p ON p.document = d.key WHERE d.collection = ? ${among})`,
    values: [collection, ...conditions.flat()],
  };
}

function byWords(rows: Rows, collection: number, query: IndexQuery, depth: number): readonly RankingEntry[] {
  const match = matchExpression(query.text);
  if (match === undefined) return [];
  const { sql, values } = having(collection, query.filter, "rowid");
  const ranked = `SELECT rowid AS passage, bm25(terms_${collection}, ${TITLE_WEIGHT}, 1) AS cost FROM terms_${collection}
    WHERE terms_${collection} MATCH ? ${sql} ORDER BY cost, rowid LIMIT ?`;
  return rows(ranked, match, ...values, depth).map((row) => ({
    id: text(row, "passage"),
    score: -Number(row["cost"]),
  }));
}

interface Nearest extends IndexQuery {
  readonly vector: Float32Array;
  readonly key: SQLInputValue;
}

/** Between vectors of one length the order by Euclidean distance is that by cosine, and is cheaper to compute. */
function byMeaning(rows: Rows, collection: number, query: Nearest, depth: number): readonly RankingEntry[] {
  const { vector, key, filter } = query;
  const bytes = quantized(vector);
  if (bytes === undefined) return [];
  const { sql, values } = having(collection, filter, "passage");
  const ranked = `SELECT passage, vec_distance_l2(vec_int8(vector), vec_int8(?)) AS distance FROM vectors_${collection}
    WHERE embedder = ? ${sql} ORDER BY distance, passage LIMIT ?`;
  return rows(ranked, bytes, key, ...values, depth).map((row) => ({
    id: text(row, "passage"),
    score: cosineOf(Number(row["distance"]), vector.length),
  }));
}

/**
 * Any user's text as an FTS5 expression that cannot be a syntax error: its words, each a quoted string, any of which
 * may occur. Undefined when it has no words.
 */
function matchExpression(query: string): string | undefined {
  const terms = searchTerms(query);
  return terms.length === 0 ? undefined : terms.map((term) => `"${term}"`).join(" OR ");
}

interface Scored {
  /** The passage's key. */
  readonly id: string;
  readonly score: number;
  readonly parts: ScoreParts;
}

function passagesOf(rows: Rows, ranked: readonly Scored[]): readonly Passage[] {
  const wanted = `SELECT p.key, d.id AS documentId, d.title, d.labels, p.id, p.section, p."start", p."end", p.text
    FROM json_each(?) j JOIN passages p ON p.key = j.value JOIN documents d ON d.key = p.document`;
  const keys = JSON.stringify(ranked.map(({ id }) => Number(id)));
  const found = new Map(rows(wanted, keys).map((row) => [text(row, "key"), row]));
  return ranked.flatMap(({ id, score, parts }) => {
    const row = found.get(id);
    return row === undefined ? [] : [toPassage(row, score, parts)];
  });
}

function toPassage(row: Row, score: number, parts: ScoreParts): Passage {
  return {
    id: text(row, "id"),
    documentId: text(row, "documentId"),
    title: text(row, "title"),
    section: text(row, "section"),
    offsets: { start: Number(row["start"]), end: Number(row["end"]) },
    text: text(row, "text"),
    // Written with the document, from labels.
    labels: JSON.parse(text(row, "labels")) as Labels,
    score,
    parts,
  };
}

export const text = (row: Row, column: string): string => String(row[column]);
