/**
 * What pending timers cost while they wait: reads and processor time of a worker that has nothing to do, on a table with
 * 100,000 of them beside one on an empty table, in turn and alone in this process. On SQLite; once as it is, told by the
 * file when something has changed, and once as on DynamoDB, where a worker has to ask.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "../../src/core/clock.ts";
import { makeHoldId } from "../../src/core/hold.ts";
import type { Hold } from "../../src/core/hold.ts";
import { runId, systemIds, threadId } from "../../src/core/ids.ts";
import { newThread } from "../../src/core/thread.ts";
import { timerValue } from "../../src/core/wait-value.ts";
import { createRegistry } from "../../src/langgraph/registry.ts";
import { createSqliteTable } from "../../src/local/sqlite-table.ts";
import type { Table } from "../../src/storage/table.ts";
import { testFolder } from "../../test/support/process.ts";
import { report } from "../support/figures.ts";
import type { Figure } from "../support/figures.ts";
import { readOptions } from "../support/options.ts";
import { createProgress } from "../support/progress.ts";
import { openApi, principal, startWorker } from "./service.ts";

const LINE = {
  name: "idle-worker",
  about: "Reads and processor time of an idle worker, with many pending timers beside none. Published as it stands.",
  options: {
    timers: { fallback: 100_000, says: "timers that wait, each of a run of its own" },
    "calm-seconds": { fallback: 30, says: "seconds until a worker looks at its slowest" },
    seconds: { fallback: 30, says: "seconds that are measured after that, for each worker" },
    rounds: { fallback: 2, says: "times that each worker has its turn" },
  },
} as const;

const AT_ONCE = 500;
const AN_HOUR_MS = 3_600_000;
const A_DAY_MS = 24 * AN_HOUR_MS;
const LOOKS_AFTER_MS = 60_000;

interface Spans {
  readonly calm: number;
  readonly seconds: number;
  readonly rounds: number;
}

interface Idled {
  readonly requests: number;
  readonly rows: number;
  readonly cpuMs: number;
}

/** Prints requests, rows and milliseconds of processor time a minute, and the ratios. @throws Error on an unknown option */
export async function main(argv: readonly string[]): Promise<number> {
  const values = readOptions(LINE, argv);
  if (values === undefined) return 0;
  const { timers, seconds, rounds } = values;
  const spans = { calm: values["calm-seconds"], seconds, rounds };
  await using stack = new AsyncDisposableStack();
  const { path } = stack.use(await testFolder());
  const open = async (name: string): Promise<Table> =>
    stack.use(await createSqliteTable({ path: join(path, name), clock: systemClock, ids: systemIds }));
  const [empty, full] = [await open("none.db"), await open("many.db")];
  await fill(full, timers);
  const pairs = [
    { how: "told of changes", of: (table: Table): Table => table },
    { how: "asking, as on DynamoDB", of: asking },
  ];
  const figures: Figure[] = [];
  for (const { how, of } of pairs) {
    const without: Idled[] = [];
    const many: Idled[] = [];
    for (let round = 0; round < rounds; round += 1) {
      without.push(await idle(of(empty), spans, `${how}, none`));
      many.push(await idle(of(full), spans, `${how}, ${timers} timers`));
    }
    figures.push(...figuresOf(how, timers, { without: total(without), many: total(many) }));
  }
  return report(figures);
}

function figuresOf(how: string, timers: number, { without, many }: Readonly<Record<"without" | "many", Idled>>) {
  const count = timers.toLocaleString("en");
  return [
    { what: `${how}: requests a minute, with none`, value: without.requests, unit: "" },
    { what: `  with ${count} timers`, value: many.requests, unit: "" },
    { what: "  beside none", value: many.requests / without.requests, unit: "x", bar: { atMost: 1.1 } },
    { what: `  rows read a minute, with ${count} timers`, value: many.rows, unit: "", bar: { atMost: 0 } },
    { what: "  processor time a minute, with none", value: without.cpuMs, unit: "ms" },
    { what: `  with ${count} timers`, value: many.cpuMs, unit: "ms" },
    {
      what: "  beside none",
      value: many.cpuMs / without.cpuMs,
      unit: "x",
      bar: { atMost: 1.25 },
      noisy: true,
    },
  ] satisfies readonly Figure[];
}

/** The mean of the rounds. */
function total(all: readonly Idled[]): Idled {
  const mean = (of: (one: Idled) => number): number => all.reduce((sum, one) => sum + of(one), 0) / all.length;
  return { requests: mean((one) => one.requests), rows: mean((one) => one.rows), cpuMs: mean((one) => one.cpuMs) };
}

/** A worker with nothing to do, and nobody else in this process. All figures are those of a minute. */
async function idle(table: Table, { calm, seconds }: Spans, what: string): Promise<Idled> {
  const seen = { requests: 0, rows: 0 };
  const graphs = createRegistry([]);
  await using _worker = startWorker(openApi({ table: counted(table, seen), graphs, clock: systemClock }));
  await sleep(calm * 1000);
  const before = { ...seen };
  const cpu = process.cpuUsage();
  await sleep(seconds * 1000);
  const { user, system } = process.cpuUsage(cpu);
  const minute = (count: number): number => (count * 60) / seconds;
  const idled = {
    requests: minute(seen.requests - before.requests),
    rows: minute(seen.rows - before.rows),
    cpuMs: minute((user + system) / 1000),
  };
  console.log(`  ${what}: ${idled.requests} requests, ${idled.rows} rows, ${idled.cpuMs.toFixed(0)} ms a minute`);
  return idled;
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
    // The caller's to close.
    async [Symbol.asyncDispose]() {},
  };
}

/** Says nothing of changes. */
function asking({ changes: _changes, ...table }: Table): Table {
  return table;
}

/** Threads whose runs sleep, each until a timer of its own comes between an hour and a day from now. */
async function fill(table: Table, count: number): Promise<void> {
  const { deps } = openApi({ table, graphs: createRegistry([]), clock: systemClock });
  const progress = createProgress("timers", count);
  const now = deps.table.now();
  for (let n = 0; n < count; n += AT_ONCE) {
    const some = Array.from({ length: Math.min(AT_ONCE, count - n) }, (_, i) => n + i);
    await Promise.all(
      some.map(async (i) => {
        const hold = timerOf(now, now + AN_HOUR_MS + ((i * 7919) % (A_DAY_MS - AN_HOUR_MS)));
        await deps.holds.put(hold, "absent");
        await deps.threads.put(sleeperOf(hold, now), "absent");
      }),
    );
    progress(n + some.length);
  }
}

function timerOf(now: number, dueAt: number): Hold {
  const run = runId(systemIds.uuid());
  const identity = {
    tenant: principal.tenant,
    threadId: threadId(systemIds.uuid()),
    generation: 0,
    interruptId: systemIds.token(16),
    digest: "timer",
  };
  return {
    ...identity,
    holdId: makeHoldId(identity),
    fence: 1,
    runId: run,
    root: run,
    graphId: "desk",
    assistantId: "desk",
    pool: "default",
    startedBy: "somebody",
    node: "pause",
    origin: "timer",
    raisedBy: { id: identity.interruptId, ns: "", checkpointId: "c", taskId: "t", ordinal: 0 },
    value: timerValue(dueAt),
    state: "pending",
    times: { settlesAt: dueAt },
    followUpDue: false,
    raisedAt: now,
    updatedAt: now,
  };
}

function sleeperOf({ tenant, threadId: id, runId: run, graphId, pool, times }: Hold, now: number) {
  const entry = { runId: run, kind: "input", pool, graphId } as const;
  const wakeAt = (times?.settlesAt ?? now) + LOOKS_AFTER_MS;
  const thread = newThread({ tenant, threadId: id }, { kind: "inline", value: {} }, now);
  return { ...thread, fence: 1, active: { kind: "run", entry }, wakeAt } as const;
}
