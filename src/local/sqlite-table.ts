/**
 * The embedded table: one SQLite file, which several processes of one machine may open at the same time.
 *
 * Must stay true (besides what sqlite-commits.ts says of writes):
 * - Reads go straight to the file, so they see every acknowledged write, of this process and of any other.
 * - No call blocks the event loop on another process's lock for more than a few milliseconds.
 */
import type { Clock } from "../core/clock.ts";
import { HoldpointError } from "../core/errors.ts";
import type { IdSource } from "../core/ids.ts";
import { assertStorable } from "../storage/item-size.ts";
import type { Attributes, Draft, Item, Key, Table, When } from "../storage/table.ts";
import { newVersion, newWriteId } from "../storage/write-ids.ts";
import { encodeAttributes } from "./sqlite-attributes.ts";
import { createCommits, whenFree } from "./sqlite-commits.ts";
import { openFile } from "./sqlite-file.ts";
import { createRows } from "./sqlite-rows.ts";
import type { EncodedDraft, Rows } from "./sqlite-rows.ts";

const DEFAULT_PATIENCE_MS = 10_000;
/** Least pause between two purges, as long as one finds everything that has expired. */
const PURGE_EVERY_MS = 30_000;

export interface SqliteTableOptions {
  /** The file; it and its folder are created when missing. */
  readonly path: string;
  readonly clock: Clock;
  readonly ids: IdSource;
  /** How long another process's lock is waited for before a call fails with `unavailable`; 10 s by default. */
  readonly busyRetryMs?: number;
  /** Told the number of writes of each transaction, for measurements. */
  readonly onCommit?: (writes: number) => void;
}

/**
 * Opens the table of a file. Its time is the wall clock it is given.
 * @throws HoldpointError `unavailable`, `corrupt` or `unsupported`, one line that names the path
 */
export async function createSqliteTable(options: SqliteTableOptions): Promise<Table> {
  const { path, clock, ids, onCommit } = options;
  const busy = { clock, ids, path, patienceMs: options.busyRetryMs ?? DEFAULT_PATIENCE_MS };
  const db = await whenFree(busy, () => openFile(path));
  const rows = createRows(db);
  const now = (): number => clock.wall();
  const housekeeping = createPurge(rows, now);
  const commits = createCommits({ ...busy, db, housekeeping, onCommit });
  let closed = false;

  const assertOpen = (): void => {
    if (closed) throw new HoldpointError("unavailable", `the table ${path} is closed`);
  };
  const read = async <T>(call: (now: number) => T): Promise<T> =>
    whenFree(busy, () => {
      assertOpen();
      return call(now());
    });
  const write = async <T>(apply: () => T): Promise<T> => {
    assertOpen();
    return commits.write(apply);
  };
  const putNow = (draft: Draft, when: When, writeId: string): Promise<Written> => {
    const encoded = encode(draft, newVersion(when, ids), writeId);
    return write(() => applyPut(rows, encoded, when, now()));
  };

  return {
    get: (key) => read((time) => rows.get(key, time)),
    async put(draft, when, writeOptions) {
      const { won, current, version } = await putNow(draft, when, writeOptions?.writeId ?? newWriteId(ids));
      return won ? { won, version } : { won, current };
    },
    remove: (key, when) =>
      write(() => {
        const time = now();
        if (rows.remove(key, when, time)) return { outcome: "removed" };
        const current = rows.get(key, time);
        return current === undefined ? { outcome: "gone" } : { outcome: "lost", current };
      }),
    query: (pk, range) => read((time) => rows.query(pk, range, time)),
    queryIndex: (index, pk, range) => read((time) => rows.queryIndex(index, pk, range, time)),
    batchGet: (keys) => read((time) => distinct(keys).flatMap((key) => rows.get(key, time) ?? [])),
    async batchPut(drafts) {
      await Promise.all(drafts.map((draft) => putNow(draft, "any", newWriteId(ids))));
    },
    add: (key, field, delta, ceiling) => write(() => applyAdd({ rows, key, field, delta, ceiling, now: now(), ids })),
    now,
    changes: () => (closed ? 0 : rows.dataVersion()),
    async [Symbol.asyncDispose]() {
      if (closed) return;
      closed = true;
      await commits.settled();
      db.close();
    },
  };
}

function encode(draft: Draft, version: number, writeId: string): EncodedDraft {
  assertStorable(draft);
  return { draft, attributes: encodeAttributes(draft.attributes), version, writeId };
}

interface Written {
  readonly won: boolean;
  readonly version: number;
  readonly current: Item | undefined;
}

function applyPut(rows: Rows, encoded: EncodedDraft, when: When, now: number): Written {
  const { draft, version, writeId } = encoded;
  if (rows.put(encoded, when, now)) return { won: true, version, current: undefined };
  const current = rows.get(draft, now);
  // The same write came twice: the first of the two is the one on the item.
  if (current?.writeId === writeId) return { won: true, version: current.version, current };
  return { won: false, version: 0, current };
}

interface Addition {
  readonly rows: Rows;
  readonly key: Key;
  readonly field: string;
  readonly delta: number;
  readonly ceiling: number | undefined;
  readonly now: number;
  readonly ids: IdSource;
}

function applyAdd({ rows, key, field, delta, ceiling, now, ids }: Addition): number | undefined {
  const current = rows.get(key, now);
  const before = current?.attributes[field];
  const sum = (typeof before === "number" ? before : 0) + delta;
  if (ceiling !== undefined && sum > ceiling) return undefined;
  const attributes: Attributes = { ...current?.attributes, [field]: sum };
  const draft: Draft = { ...(current ?? { pk: key.pk, sk: key.sk }), attributes };
  rows.put(encode(draft, newVersion("any", ids), newWriteId(ids)), "any", now);
  return sum;
}

const distinct = (keys: readonly Key[]): Key[] => [
  ...new Map(keys.map((key) => [`${key.pk}\0${key.sk}`, key])).values(),
];

/** Expired rows are absent for readers anyway; this only gives their space back, a few rows at a time. */
function createPurge(rows: Rows, now: () => number): () => void {
  let next = 0;
  return () => {
    const time = now();
    if (time < next) return;
    next = rows.purge(time) ? time : time + PURGE_EVERY_MS;
  };
}
