/**
 * What one run asks of the table: the round trips that follow one another from parsed request to answer, and the write
 * units of everything that it writes. API and worker run in this process on a table in memory that takes a fixed time
 * for each call, so that calls which are made side by side also look so. The table says nothing of changes, as
 * DynamoDB: the poll that it takes in the place of SQLite's is part of what is seen here.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "../../src/core/clock.ts";
import { loadGraphs } from "../../src/langgraph/load.ts";
import type { Worker } from "../../src/runtime/worker/worker.ts";
import { plainSealers } from "../../src/storage/encryption/sealer.ts";
import { createMemoryTable } from "../../test/support/memory-table.ts";
import { sealersOn } from "../../test/support/sealers.ts";
import { createCountingTable, sequentialChain } from "../support/counting-table.ts";
import type { Call, CountingTable } from "../support/counting-table.ts";
import { report } from "../support/figures.ts";
import { readOptions } from "../support/options.ts";
import { median, textTable } from "../support/stats.ts";
import { acceptOn, isOfCheckpointer, newThread, openApi, principal, silent, startWorker, unitsOf } from "./service.ts";
import type { Api } from "./service.ts";

const LINE = {
  name: "round-trips",
  about:
    "Sequential table round trips of one run of three nodes from parsed request to answer, and its write units. Counts, and so the same on any machine.",
  options: {
    runs: { fallback: 11, says: "runs, of which the one in the middle is shown" },
    encrypted: { fallback: 0, says: "1: content is encrypted, under a key of this process" },
    "round-trip-ms": { fallback: 10, says: "milliseconds that each call of the table takes" },
  },
} as const;
const SETTLE_MS = 10_000;
/** The graph that `server` measures. */
const GRAPHS = join(import.meta.dirname, "../server/langgraph.json");

interface Bench extends Api {
  readonly table: CountingTable;
  readonly worker: Worker;
}

/** One run, taken apart. */
interface Seen {
  /** The longest sequence of calls between request and answer. */
  readonly chain: readonly Call[];
  /** All calls, up to the release of the thread. */
  readonly calls: readonly Call[];
  readonly began: number;
  readonly answered: number;
}

async function open(roundTripMs: number, isEncrypted: boolean): Promise<Bench> {
  const now = (): number => performance.now();
  const memory = createMemoryTable({ now: () => Date.now() });
  const table = createCountingTable(memory, { now, roundTrip: () => sleep(roundTripMs) });
  const graphs = await loadGraphs({ configPath: GRAPHS, log: silent });
  const sealers = isEncrypted ? sealersOn(table, { required: true }) : plainSealers;
  const api = openApi({ table, graphs, clock: systemClock, sealers });
  return { ...api, table, worker: startWorker(api) };
}

async function oneRun({ table, runtime, worker }: Bench): Promise<Seen> {
  const threadId = await newThread(runtime);
  const from = table.calls.length;
  const began = performance.now();
  const input = { question: "how fast?" };
  const { runId } = await acceptOn(runtime, { threadId, graphId: "three-nodes", input, streamModes: [] });
  const result = await runtime.runs.wait(principal, threadId, runId, AbortSignal.timeout(SETTLE_MS));
  const answered = performance.now();
  if (result.kind !== "values") throw new Error(`the run came to ${result.kind}`);
  for (let waited = 0; worker.busy > 0 && waited < SETTLE_MS; waited += 10) await sleep(10);
  const calls = table.calls.slice(from).filter(({ start }) => start >= began);
  // Looking for other work goes on beside the run, and this run does not wait for it.
  const ofTheRun = calls.filter(({ operation, end }) => operation !== "queryIndex" && end <= answered);
  return { calls, chain: sequentialChain(ofTheRun), began, answered };
}

/** What one run of three nodes asks of a table, and what it leaves there: the middle of a few. */
export interface RunUnits {
  readonly writeUnits: number;
  readonly readUnits: number;
  /** Bytes of its items, the thread's included. */
  readonly bytes: number;
}

/** Measures runs, each on a thread of its own; looks for work are left out, since a worker's serve all of its runs. */
export async function measureUnits(runs: number, roundTripMs: number): Promise<RunUnits> {
  const bench = await open(roundTripMs, true);
  await using _worker = bench.worker;
  await oneRun(bench);
  const before = bench.table.bytes();
  const seen: Seen[] = [];
  for (let n = 0; n < runs; n += 1) seen.push(await oneRun(bench));
  const own = seen.map(({ calls }) => calls.filter(({ operation }) => operation !== "queryIndex"));
  return {
    writeUnits: median(own.map((calls) => unitsOf(calls))),
    readUnits: median(own.map((calls) => calls.reduce((sum, { readUnits }) => sum + readUnits, 0))),
    bytes: (bench.table.bytes() - before) / runs,
  };
}

const inMs = (value: number): string => value.toFixed(0);

/** Every call of the run in the order of its start; those of the chain are numbered. */
function callsOf({ calls, chain, began }: Seen): string {
  const rows = calls
    .filter(({ operation }) => operation !== "queryIndex")
    .toSorted((a, b) => a.start - b.start)
    .map((call) => {
      const step = chain.indexOf(call) + 1;
      const keys = call.keys.map((key) => (key.length > 32 ? `${key.slice(0, 31)}…` : key)).join(", ");
      const place = step === 0 ? "" : String(step);
      return [`${call.operation} ${keys}`, place, inMs(call.start - began), inMs(call.end - began), String(call.units)];
    });
  return textTable([["call", "in chain", "from ms", "to ms", "write units"], ...rows]);
}

/** Takes some runs apart and prints the one in the middle. */
export async function main(argv: readonly string[]): Promise<number> {
  const values = readOptions(LINE, argv);
  if (values === undefined) return 0;
  const bench = await open(values["round-trip-ms"], values.encrypted > 0);
  await using _worker = bench.worker;
  // The first run also makes what is made once per process and assistant.
  await oneRun(bench);
  const seen: Seen[] = [];
  for (let n = 0; n < values.runs; n += 1) seen.push(await oneRun(bench));
  const sorted = seen.toSorted((a, b) => a.chain.length - b.chain.length);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (middle === undefined) return 1;
  console.log(`${callsOf(middle)}\n`);
  console.log(`Round trips of all ${sorted.length} runs: ${sorted.map(({ chain }) => chain.length).join(" ")}\n`);
  const beyond = middle.calls.filter((call) => !isOfCheckpointer(call));
  return report([
    {
      what: "sequential table round trips, request to answer, 3 nodes",
      value: middle.chain.length,
      unit: "",
      bar: { atMost: 12 },
      aim: { atMost: 10 },
    },
    {
      what: "write units of that run beyond the checkpointer's, index writes included",
      value: unitsOf(beyond),
      unit: "",
      bar: { atMost: 40 },
      aim: { atMost: 25 },
    },
    { what: "write units in all, up to the release of its thread", value: unitsOf(middle.calls), unit: "" },
    {
      what: "requests in all, without looks for work",
      value: middle.calls.filter(({ operation }) => operation !== "queryIndex").length,
      unit: "",
    },
    {
      what: "request to answer, median",
      value: median(seen.map(({ began, answered }) => answered - began)),
      unit: "ms",
    },
  ]);
}
