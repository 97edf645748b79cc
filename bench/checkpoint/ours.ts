/** Our saver on a counting table in memory, for units, and on SQLite, for time; and LangGraph's own in memory. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { MemorySaver } from "@langchain/langgraph-checkpoint";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { createSegmentCache } from "../../src/checkpoint/segment-cache.ts";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds, tenantId } from "../../src/core/ids.ts";
import { createFolderBlobs } from "../../src/local/folder-blobs.ts";
import { createSqliteTable } from "../../src/local/sqlite-table.ts";
import type { Blobs } from "../../src/storage/blobs.ts";
import { createItemBlobs } from "../../src/storage/item-blobs.ts";
import type { Table } from "../../src/storage/table.ts";
import { createMemoryTable } from "../../test/support/memory-table.ts";
import { testFolder } from "../../test/support/process.ts";
import { createCountingTable } from "../support/counting-table.ts";
import type { Call } from "../support/counting-table.ts";
import type { Contender, Entrant, StorageCall } from "./contender.ts";

/** DynamoDB's largest batches. */
const MOST_WRITES = 25;
const MOST_READS = 100;

/** As the process of a service has them: savers come and go, what they have read of the unchangeable stays. */
function saversOn(storage: { readonly table: Table; readonly blobs: Blobs }): Contender["saver"] {
  const shared = createSegmentCache();
  return ({ cold = false } = {}) =>
    new FencedSaver({ ...storage, tenant: tenantId("bench"), cache: cold ? createSegmentCache() : shared });
}

/** Values that are too large for an item are items as well: everything that is stored is counted. */
export const oursCounted: Entrant = {
  name: "Holdpoint, counted",
  async open() {
    const now = (): number => performance.now();
    const table = createCountingTable(createMemoryTable({ now: () => Date.now() }), { now });
    const calls: StorageCall[] = [];
    return {
      saver: saversOn({ table, blobs: createItemBlobs({ table }) }),
      get calls() {
        for (const call of table.calls.slice(calls.length)) calls.push(storageCallOf(call));
        return calls;
      },
      bytes: async () => table.bytes(),
      [Symbol.asyncDispose]: () => table[Symbol.asyncDispose](),
    };
  },
};

function storageCallOf({ operation, keys, start, end, units, readUnits }: Call): StorageCall {
  const isBatch = operation === "batchGet" || operation === "batchPut";
  const requests = isBatch ? Math.ceil(keys.length / (operation === "batchGet" ? MOST_READS : MOST_WRITES)) : 1;
  const isWrite = operation === "put" || operation === "batchPut" || operation === "add";
  return { start, end, writeUnits: units, readUnits, requests, written: isWrite ? keys : [] };
}

export const oursOnSqlite: Entrant = {
  name: "Holdpoint, SQLite",
  async open() {
    await using opening = new AsyncDisposableStack();
    const { path: dir } = opening.use(await testFolder());
    const path = join(dir, "checkpoints.db");
    const table = opening.use(await createSqliteTable({ path, clock: systemClock, ids: systemIds }));
    const opened = opening.move();
    return {
      saver: saversOn({ table, blobs: createFolderBlobs({ dir: join(dir, "blobs") }) }),
      bytes: async () => databaseBytes(path) + (await folderBytes(join(dir, "blobs"))),
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    };
  },
};

export const memorySaver: Entrant = {
  name: "MemorySaver",
  beside: { name: oursOnSqlite.name, inTime: true },
  async open() {
    // It is its own storage: a new one would know nothing.
    const saver = new MemorySaver();
    return {
      saver: () => saver,
      bytes: async () => bytesWithin(saver.storage) + bytesWithin(saver.writes),
      async [Symbol.asyncDispose]() {},
    };
  },
};

/** Bytes of an SQLite database with what still stands in its log. */
export function databaseBytes(path: string): number {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    const sizeOf = (pragma: "page_count" | "page_size"): number =>
      Number(db.prepare(`PRAGMA ${pragma}`).get()?.[pragma]);
    return sizeOf("page_count") * sizeOf("page_size");
  } finally {
    db.close();
  }
}

async function folderBytes(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map(async (entry) => (await stat(join(entry.parentPath, entry.name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

/** Bytes of all texts and byte strings in it. */
function bytesWithin(value: unknown): number {
  if (typeof value === "string") return Buffer.byteLength(value);
  if (value instanceof Uint8Array) return value.byteLength;
  if (typeof value !== "object" || value === null) return 0;
  return Object.values(value).reduce((sum: number, part) => sum + bytesWithin(part), 0);
}
