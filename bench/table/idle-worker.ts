/**
 * What pending timers cost while they wait: reads and processor time of a worker that has nothing to do, on a table with
 * 100,000 of them beside one on an empty table, at the same time and each in a process of its own. On SQLite; once as it
 * is, told by the file when something has changed, and once as on DynamoDB, where a worker has to ask.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemClock } from "../../src/core/clock.ts";
import type { Hold } from "../../src/core/hold.ts";
import { runId, systemIds, threadId } from "../../src/core/ids.ts";
import { newThread } from "../../src/core/thread.ts";
import { timerValue } from "../../src/core/wait-value.ts";
import { createRegistry } from "../../src/langgraph/registry.ts";
import { createSqliteTable } from "../../src/local/sqlite-table.ts";
import { testFolder } from "../../test/support/process.ts";
import { report } from "../support/figures.ts";
import type { Figure } from "../support/figures.ts";
import { readOptions } from "../support/options.ts";
import { createProgress } from "../support/progress.ts";
import { WAYS } from "./idle-process.ts";
import type { IdleAsked, Idled } from "./idle-process.ts";
import { openApi, principal } from "./service.ts";
import { holdOf } from "../../test/support/hold.ts";

const LINE = {
  name: "idle-worker",
  about: "Reads and processor time of an idle worker, with many pending timers beside none. Published as it stands.",
  options: {
    timers: { fallback: 100_000, says: "timers that wait, each of a run of its own" },
    "calm-seconds": { fallback: 30, says: "seconds until a worker looks at its slowest" },
    seconds: { fallback: 30, says: "seconds that are measured after that, for each worker" },
    rounds: { fallback: 1, says: "times that each worker has its turn" },
  },
} as const;

const AT_ONCE = 500;
const AN_HOUR_MS = 3_600_000;
const A_DAY_MS = 24 * AN_HOUR_MS;
const LOOKS_AFTER_MS = 60_000;

/** Prints requests, rows and milliseconds of processor time a minute, and the ratios. @throws Error on an unknown option */
export async function main(argv: readonly string[]): Promise<number> {
  const values = readOptions(LINE, argv);
  if (values === undefined) return 0;
  const { timers, seconds } = values;
  await using folder = await testFolder();
  const [none, many] = ["none.db", "many.db"].map((name) => join(folder.path, name)) as [string, string];
  await fill(none, 0);
  await fill(many, timers);
  const figures: Figure[] = [];
  for (const how of WAYS) {
    const idles = (path: string): Promise<Idled> => idle({ path, how, calm: values["calm-seconds"], seconds });
    const rounds: (readonly [Idled, Idled])[] = [];
    for (let round = 0; round < values.rounds; round += 1) rounds.push(await Promise.all([idles(none), idles(many)]));
    const [without, with_] = [0, 1].map((at) => mean(rounds.map((pair) => pair[at] as Idled))) as [Idled, Idled];
    figures.push(...figuresOf(how, timers, { without, many: with_ }));
  }
  return report(figures);
}

/** In a process of its own, which does nothing else. */
async function idle(asked: IdleAsked): Promise<Idled> {
  const file = join(import.meta.dirname, "idle-process.ts");
  const args = [...process.execArgv, file, JSON.stringify(asked)];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return JSON.parse(stdout) as Idled;
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

/** Of the rounds. */
function mean(all: readonly Idled[]): Idled {
  const of = (value: (one: Idled) => number): number => all.reduce((sum, one) => sum + value(one), 0) / all.length;
  return { requests: of((one) => one.requests), rows: of((one) => one.rows), cpuMs: of((one) => one.cpuMs) };
}

/** Threads whose runs sleep, each until a timer of its own comes between an hour and a day from now. */
async function fill(path: string, count: number): Promise<void> {
  await using table = await createSqliteTable({ path, clock: systemClock, ids: systemIds });
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
  return holdOf({
    tenant: principal.tenant,
    threadId: threadId(systemIds.uuid()),
    interruptId: systemIds.token(16),
    digest: "timer",
    runId: runId(systemIds.uuid()),
    graphId: "desk",
    assistantId: "desk",
    node: "pause",
    origin: "timer",
    value: timerValue(dueAt),
    times: { settlesAt: dueAt },
    raisedAt: now,
  });
}

function sleeperOf({ tenant, threadId: id, runId: run, graphId, pool, times }: Hold, now: number) {
  const entry = { runId: run, kind: "input", pool, graphId } as const;
  const wakeAt = (times?.settlesAt ?? now) + LOOKS_AFTER_MS;
  const thread = newThread({ tenant, threadId: id }, { kind: "inline", value: {} }, now);
  return { ...thread, fence: 1, active: { kind: "run", entry }, wakeAt } as const;
}
