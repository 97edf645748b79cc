/** A worker with nothing to do, in a process of its own: what it asks of the table, and the processor time that it takes. */
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";
import { createRegistry } from "../../src/langgraph/registry.ts";
import { createSqliteTable } from "../../src/local/sqlite-table.ts";
import type { Table } from "../../src/storage/table.ts";
import { openApi, startWorker } from "./service.ts";

export const WAYS = ["told of changes", "asking, as on DynamoDB"] as const;

export interface IdleAsked {
  /** Of the SQLite file. */
  readonly path: string;
  readonly how: (typeof WAYS)[number];
  /** Seconds until it looks at its slowest. */
  readonly calm: number;
  readonly seconds: number;
}

/** Of a minute. */
export interface Idled {
  readonly requests: number;
  readonly rows: number;
  readonly cpuMs: number;
}

async function idle({ path, how, calm, seconds }: IdleAsked): Promise<Idled> {
  await using table = await createSqliteTable({ path, clock: systemClock, ids: systemIds });
  const seen = { requests: 0, rows: 0 };
  const graphs = createRegistry([]);
  const given = counted(how === "told of changes" ? table : asking(table), seen);
  await using _worker = startWorker(openApi({ table: given, graphs, clock: systemClock }));
  await sleep(calm * 1000);
  const before = { ...seen };
  const cpu = process.cpuUsage();
  await sleep(seconds * 1000);
  const { user, system } = process.cpuUsage(cpu);
  const minute = (count: number): number => (count * 60) / seconds;
  return {
    requests: minute(seen.requests - before.requests),
    rows: minute(seen.rows - before.rows),
    cpuMs: minute((user + system) / 1000),
  };
}

/** Counts what is asked of the table, and the rows that it answers. */
function counted(table: Table, seen: { requests: number; rows: number }): Table {
  const count = <T>(answer: T, rows: number): T => {
    seen.requests += 1;
    seen.rows += rows;
    return answer;
  };
  return {
    ...table,
    async get(key) {
      const item = await table.get(key);
      return count(item, item === undefined ? 0 : 1);
    },
    async query(pk, range) {
      const page = await table.query(pk, range);
      return count(page, page.items.length);
    },
    async queryIndex(index, pk, range) {
      const page = await table.queryIndex(index, pk, range);
      return count(page, page.items.length);
    },
    async batchGet(keys) {
      const items = await table.batchGet(keys);
      return count(items, items.length);
    },
    // Not this one's to close.
    async [Symbol.asyncDispose]() {},
  };
}

/** Says nothing of changes. */
function asking({ changes: _changes, ...table }: Table): Table {
  return table;
}

if (import.meta.main) console.log(JSON.stringify(await idle(JSON.parse(process.argv[2] ?? "") as IdleAsked)));
