/**
 * What a reader asks of the table while nothing happens on the thread that it follows: one run executes elsewhere, in a node
 * that says nothing, and its worker keeps the lease; another is to begin much later. Readers and worker have handles of
 * their own on one table, so that only a reader's own calls are counted. On the machine's clock: how often to look is decided by time.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { ensureTable } from "../../src/aws/table-definition.ts";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import type { GraphRegistry } from "../../src/langgraph/registry.ts";
import type { Table } from "../../src/storage/table.ts";
import { testFolder } from "../../test/support/process.ts";
import { dynamoOptions, openPlace } from "../../test/support/table-place.ts";
import { openEngine } from "../fleet/fleet.ts";
import { createCountingTable } from "../support/counting-table.ts";
import { report } from "../support/figures.ts";
import type { Figure } from "../support/figures.ts";
import { readOptions } from "../support/options.ts";
import { createProgress } from "../support/progress.ts";
import { acceptOn, newThread, openApi, principal, startWorker } from "./service.ts";

const LINE = {
  name: "idle-thread",
  about:
    "Reads a minute of a reader that follows a thread on which nothing happens. SQLite and DynamoDB Local side by side. Published as it stands.",
  options: {
    engine: { fallback: "both", says: "sqlite, dynamodb-local, or both: the latter where Java and Maven are found" },
    "calm-seconds": { fallback: 90, says: "seconds until the reader looks at its slowest" },
    seconds: { fallback: 60, says: "seconds for which its reads are counted after that" },
  },
} as const;

/** One table, of which every process has a handle of its own. */
interface Place extends AsyncDisposable {
  readonly name: string;
  open(): Promise<Table>;
}

/** Prints requests a minute, which the bar is about, and the items that they ask for. */
export async function main(argv: readonly string[]): Promise<number> {
  const values = readOptions(LINE, argv);
  if (values === undefined) return 0;
  const { engine } = values;
  if (!["both", "sqlite", "dynamodb-local"].includes(engine))
    throw new Error("--engine is one of sqlite, dynamodb-local, both");
  const spans = { calm: values["calm-seconds"], counted: values.seconds };
  const measured: Promise<readonly Figure[]>[] = [];
  if (engine !== "dynamodb-local") measured.push(openSqlite().then((place) => measure(place, spans)));
  if (engine !== "sqlite") measured.push(openDynamo().then((place) => measure(place, spans)));
  const figures = await Promise.all(measured);
  return report(figures.flat());
}

const A_DAY_MS = 24 * 3_600_000;

interface Spans {
  readonly calm: number;
  readonly counted: number;
}

async function measure(opened: Place, spans: Spans): Promise<readonly Figure[]> {
  await using place = opened;
  const gate = Promise.withResolvers<void>();
  const graphs = createRegistry([registeredGraph("quiet", quietGraph(gate.promise))]);
  await using _worker = startWorker(openApi({ graphs, clock: systemClock, table: await place.open() }));
  await using running = await follow(await place.open(), graphs);
  await using delayed = await follow(await place.open(), graphs, A_DAY_MS);
  await pass(spans.calm, `${place.name}, seconds in which its readers become calm`);
  if (running.frames() === 0) throw new Error("the reader saw nothing of the run");
  const looks = [running, delayed].map((reader) => reader.look());
  await pass(spans.counted, `${place.name}, seconds of idle readers`);
  const [busy = NOTHING, idle = NOTHING] = looks.map((since) => since());
  if (busy.frames + idle.frames > 0) throw new Error("the threads were not idle");
  gate.resolve();
  const perMinute = (count: number): number => (count * 60) / spans.counted;
  const rows = (what: string, { requests, items }: Asked): readonly Figure[] => [
    {
      what: `an idle followed thread, requests a minute, ${place.name}, ${what}`,
      value: perMinute(requests),
      unit: "",
      bar: { atMost: 30 },
      aim: { atMost: 15 },
    },
    // DynamoDB counts a unit for each of them, also for one that is not there.
    { what: "  items asked for a minute", value: perMinute(items), unit: "" },
  ];
  return [...rows("its run executes", busy), ...rows("its run has not begun", idle)];
}

/** What a reader has asked for, and seen, since it was looked at. */
interface Asked {
  readonly requests: number;
  readonly items: number;
  readonly frames: number;
}

const NOTHING: Asked = { requests: Number.NaN, items: Number.NaN, frames: Number.NaN };

interface Reader extends AsyncDisposable {
  frames(): number;
  look(): () => Asked;
}

/** A process that follows a run of its own, until it is disposed. */
async function follow(opened: Table, graphs: GraphRegistry, afterMs?: number): Promise<Reader> {
  const changes = opened.changes === undefined ? {} : { changes: () => opened.changes?.() ?? 0 };
  const table = Object.assign(createCountingTable(opened, { now: () => performance.now() }), changes);
  const { runtime } = openApi({ graphs, clock: systemClock, table });
  const threadId = await newThread(runtime);
  const delay = afterMs === undefined ? {} : { afterMs };
  const asked = { threadId, graphId: "quiet", input: {}, streamModes: ["values"], ...delay } as const;
  const { runId } = await acceptOn(runtime, asked);
  const gone = new AbortController();
  let frames = 0;
  const reading = (async () => {
    for await (const _ of runtime.runs.follow(principal, { threadId, runId, after: -1, signal: gone.signal }))
      frames += 1;
  })();
  return {
    frames: () => frames,
    look() {
      const [from, seen] = [table.calls.length, frames];
      return () => {
        const calls = table.calls.slice(from);
        const items = calls.reduce((sum, { keys }) => sum + keys.length, 0);
        return { requests: calls.length, items, frames: frames - seen };
      };
    },
    async [Symbol.asyncDispose]() {
      gone.abort();
      await reading;
    },
  };
}

async function pass(seconds: number, what: string): Promise<void> {
  const progress = createProgress(what, seconds);
  for (let second = 1; second <= seconds; second += 1) {
    await sleep(1000);
    if (second % 10 === 0 || second === seconds) progress(second);
  }
}

const Nothing = Annotation.Root({ done: Annotation<boolean> });

function quietGraph(gate: Promise<void>) {
  return new StateGraph(Nothing)
    .addNode("wait", async () => {
      await gate;
      return { done: true };
    })
    .addEdge(START, "wait")
    .addEdge("wait", END)
    .compile();
}

async function openSqlite(): Promise<Place> {
  const stack = new AsyncDisposableStack();
  const folder = stack.use(await testFolder());
  return {
    name: "SQLite",
    open: async () => stack.use(await openPlace({ kind: "sqlite", path: join(folder.path, "table.db") })),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function openDynamo(): Promise<Place> {
  const stack = new AsyncDisposableStack();
  const { endpoint } = stack.use(await openEngine("dynamodb-local"));
  if (endpoint === undefined) throw new Error("DynamoDB Local is a server");
  const tableName = `bench-${systemIds.token(8)}`;
  await ensureTable(dynamoOptions({ endpoint, tableName }));
  return {
    name: "DynamoDB Local",
    open: async () => stack.use(await openPlace({ kind: "dynamo", endpoint, tableName })),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
