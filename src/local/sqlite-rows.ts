/** The statements of the embedded table, and its rows as items. Everything here is synchronous. */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { afterKey, intervalOf, readIndexCursor, writeIndexCursor } from "../storage/key-range.ts";
import { orCorrupt } from "../storage/records.ts";
import type { Draft, IndexName, IndexRow, Item, Key, Page, Range, When } from "../storage/table.ts";
import { ATTRIBUTES_FORMAT, decodeAttributes } from "./sqlite-attributes.ts";
import type { EncodedAttributes } from "./sqlite-attributes.ts";

/** Bytes after which a page ends, as DynamoDB's do. */
const PAGE_BYTES = 1024 * 1024;
const PURGE_ROWS = 64;

/** A value that sorts above every text: SQLite orders BLOBs after TEXT. */
const ABOVE_ALL_TEXT = new Uint8Array(0);

interface Row {
  readonly pk: string;
  readonly sk: string;
  readonly version: number;
  readonly write_id: string;
  readonly expires_at: number | null;
  readonly due_pk: string | null;
  readonly due_sk: string | null;
  readonly list_pk: string | null;
  readonly list_sk: string | null;
  readonly format: number;
  readonly attributes: string;
  readonly bytes: Uint8Array | null;
}

/** A draft with everything that can be worked out before its transaction begins. */
export interface EncodedDraft {
  readonly draft: Draft;
  readonly attributes: EncodedAttributes;
  readonly version: number;
  readonly writeId: string;
}

/** Reads and single writes; `now` is the table's time, at which expired rows are absent. */
export interface Rows {
  get(key: Key, now: number): Item | undefined;
  /** True when the condition held and the row is written. */
  put(encoded: EncodedDraft, when: When, now: number): boolean;
  /** True when the condition held and the row, which was not expired, is gone. */
  remove(key: Key, when: Exclude<When, "absent">, now: number): boolean;
  query(pk: string, range: Range, now: number): Page<Item>;
  queryIndex(index: IndexName, pk: string, range: Range, now: number): Page<IndexRow>;
  /** Removes a few expired rows; true when there may be more. */
  purge(now: number): boolean;
  /** A number that changes with every commit of any other connection to the file. */
  dataVersion(): number;
}

const COLUMNS = "pk, sk, version, write_id, expires_at, due_pk, due_sk, list_pk, list_sk, format, attributes, bytes";
const LIVE = "(expires_at IS NULL OR expires_at > ?)";
const SET =
  "version = ?, write_id = ?, expires_at = ?, due_pk = ?, due_sk = ?, list_pk = ?, list_sk = ?, format = ?, attributes = ?, bytes = ?";
const INSERT = `INSERT INTO items (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (pk, sk) DO UPDATE SET ${SET.replaceAll(/(\w+) = \?/g, "$1 = excluded.$1")}`;

export function createRows(db: DatabaseSync): Rows {
  const get = db.prepare(`SELECT ${COLUMNS} FROM items WHERE pk = ? AND sk = ? AND ${LIVE}`);
  const upsert = db.prepare(INSERT);
  const insert = db.prepare(`${INSERT} WHERE items.expires_at <= ?`);
  const update = db.prepare(`UPDATE items SET ${SET} WHERE pk = ? AND sk = ? AND version = ? AND ${LIVE}`);
  const removeAny = db.prepare(`DELETE FROM items WHERE pk = ? AND sk = ? AND ${LIVE}`);
  const removeVersion = db.prepare(`DELETE FROM items WHERE pk = ? AND sk = ? AND ${LIVE} AND version = ?`);
  const purge = db.prepare(
    `DELETE FROM items WHERE rowid IN (SELECT rowid FROM items WHERE expires_at <= ? LIMIT ${PURGE_ROWS})`,
  );
  const dataVersion = db.prepare("PRAGMA data_version");
  const pages = bothDirections(
    db,
    (order) => `
    SELECT ${COLUMNS} FROM items WHERE pk = ? AND sk >= ? AND sk < ? AND ${LIVE} ORDER BY sk ${order} LIMIT ?`,
  );
  const indexPages = {
    due: bothDirections(db, (order) => indexSql("due", order)),
    list: bothDirections(db, (order) => indexSql("list", order)),
  };

  return {
    get(key, now) {
      const row = get.get(key.pk, key.sk, now);
      return row && itemOf(asRow(row));
    },
    put(encoded, when, now) {
      const { pk, sk } = encoded.draft;
      const values = columnsOf(encoded);
      if (when === "any") return upsert.run(pk, sk, ...values).changes === 1;
      if (when === "absent") return insert.run(pk, sk, ...values, now).changes === 1;
      return update.run(...values, pk, sk, when.version, now).changes === 1;
    },
    remove({ pk, sk }, when, now) {
      const { changes } = when === "any" ? removeAny.run(pk, sk, now) : removeVersion.run(pk, sk, now, when.version);
      return changes === 1;
    },
    query(pk, range, now) {
      const interval = intervalOf(range);
      const { after, limit } = range;
      const down = range.descending === true;
      const from = after === undefined || down ? interval.from : afterKey(after);
      const before = (after !== undefined && down ? after : interval.before) ?? ABOVE_ALL_TEXT;
      const rows = pages[down ? "down" : "up"].iterate(pk, from, before, now, sqlLimit(limit));
      return pageOf(rows, limit, (selected) => {
        const row = asRow(selected);
        const bytes = row.pk.length + row.sk.length + row.attributes.length + (row.bytes?.byteLength ?? 0);
        return { item: itemOf(row), cursor: row.sk, bytes };
      });
    },
    queryIndex(index, pk, range, now) {
      const interval = intervalOf(range);
      const after = range.after === undefined ? undefined : readIndexCursor(range.after);
      const down = range.descending === true;
      const from = after !== undefined && !down ? after : ([interval.from, "", ""] as const);
      const before = after !== undefined && down ? after : ([interval.before ?? ABOVE_ALL_TEXT, "", ""] as const);
      const statement = indexPages[index][down ? "down" : "up"];
      const rows = statement.iterate(pk, ...from, ...before, now, sqlLimit(range.limit));
      return pageOf(rows, range.limit, (selected) => {
        const {
          sort,
          pk: itemPk,
          sk,
        } = selected as { readonly sort: string; readonly pk: string; readonly sk: string };
        const item = { sort, key: { pk: itemPk, sk } };
        return { item, cursor: writeIndexCursor(item), bytes: sort.length + itemPk.length + sk.length };
      });
    },
    purge: (now) => purge.run(now).changes === PURGE_ROWS,
    dataVersion: () => Number(dataVersion.get()?.["data_version"]),
  };
}

/** The row values make one contiguous range of the index out of bounds and cursor. */
const indexSql = (index: IndexName, order: string): string => `
  SELECT ${index}_sk AS sort, pk, sk FROM items
  WHERE ${index}_pk = ? AND (${index}_sk, pk, sk) > (?, ?, ?) AND (${index}_sk, pk, sk) < (?, ?, ?) AND ${LIVE}
  ORDER BY ${index}_sk ${order}, pk ${order}, sk ${order} LIMIT ?`;

interface Directions {
  readonly up: StatementSync;
  readonly down: StatementSync;
}
const bothDirections = (db: DatabaseSync, sql: (order: string) => string): Directions => ({
  up: db.prepare(sql("ASC")),
  down: db.prepare(sql("DESC")),
});

/** One more than asked for, to know whether there is more. Negative: no limit. */
const sqlLimit = (limit: number | undefined): number => (limit === undefined ? -1 : limit + 1);

function pageOf<T>(
  rows: Iterable<unknown>,
  limit: number | undefined,
  read: (row: unknown) => { readonly item: T; readonly cursor: string; readonly bytes: number },
): Page<T> {
  const items: T[] = [];
  let bytes = 0;
  let next = "";
  for (const row of rows) {
    if (items.length === limit || bytes >= PAGE_BYTES) return { items, next };
    const entry = read(row);
    items.push(entry.item);
    bytes += entry.bytes;
    next = entry.cursor;
  }
  return { items };
}

function columnsOf({ draft, attributes, version, writeId }: EncodedDraft) {
  const { due, list } = draft.index ?? {};
  return [
    version,
    writeId,
    draft.expiresAt ?? null,
    due?.pk ?? null,
    due?.sk ?? null,
    list?.pk ?? null,
    list?.sk ?? null,
    ATTRIBUTES_FORMAT,
    attributes.text,
    attributes.bytes,
  ] as const;
}

/** A row of a statement that selects COLUMNS; node:sqlite types every row alike. */
const asRow = (selected: unknown): Row => selected as Row;

function itemOf(row: Row): Item {
  const due = row.due_pk === null || row.due_sk === null ? {} : { due: { pk: row.due_pk, sk: row.due_sk } };
  const list = row.list_pk === null || row.list_sk === null ? {} : { list: { pk: row.list_pk, sk: row.list_sk } };
  return {
    pk: row.pk,
    sk: row.sk,
    attributes: orCorrupt(row, () => decodeAttributes(row.format, row.attributes, row.bytes)),
    ...(row.due_pk === null && row.list_pk === null ? {} : { index: { ...due, ...list } }),
    ...(row.expires_at === null ? {} : { expiresAt: row.expires_at }),
    version: row.version,
    writeId: row.write_id,
  };
}
