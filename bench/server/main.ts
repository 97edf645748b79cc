/**
 * This service and LangChain's JavaScript dev server, side by side on one graph of three nodes. Both run at the same
 * time and take turns under load, round by round, so that whatever else the machine does falls on both alike.
 */
import { availableParallelism, loadavg } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { median, percentile, textTable } from "../support/stats.ts";
import { createClient } from "./client.ts";
import type { Client } from "./client.ts";
import { main as roundTrips } from "./round-trips.ts";
import { startTarget } from "./target.ts";
import type { Memory, Running, Target } from "./target.ts";
import { devServer, holdpoint } from "./targets.ts";

const HELP = `npm run bench -- server [--runs 200] [--parallel-runs 400] [--clients 16] [--rounds 4] [--starts 3]
  [--only holdpoint|dev-server]`;

interface Plan {
  readonly runs: number;
  readonly parallelRuns: number;
  readonly clients: number;
  readonly rounds: number;
  readonly starts: number;
}

/** What was seen of one server. Times in milliseconds. */
interface Seen {
  readonly name: string;
  readonly startups: number[];
  readonly alone: number[];
  readonly parallel: number[];
  /** Of each parallel round, runs per second. */
  readonly throughput: number[];
  readonly firstEvents: number[];
  idle: Memory;
  loaded: Memory;
}

const runBody = { assistant_id: "three-nodes", input: { question: "how fast?" } };

async function newThread(client: Client): Promise<string> {
  const thread = (await client.post("/threads", {})) as { readonly thread_id: string };
  return thread.thread_id;
}

/** One run on a thread of its own; answers how long `wait` took, and insists on the right answer. */
async function timedWait(client: Client): Promise<number> {
  const thread = await newThread(client);
  const began = performance.now();
  const values = (await client.post(`/threads/${thread}/runs/wait`, runBody)) as { readonly steps?: readonly string[] };
  const took = performance.now() - began;
  if (values.steps?.length !== 3) throw new Error(`not the graph's answer: ${JSON.stringify(values).slice(0, 200)}`);
  return took;
}

async function sequentialRound(client: Client, runs: number, seen: Seen): Promise<void> {
  for (let n = 0; n < runs; n += 1) seen.alone.push(await timedWait(client));
  for (let n = 0; n < Math.ceil(runs / 4); n += 1) {
    const thread = await newThread(client);
    const body = { ...runBody, stream_mode: ["values"] };
    seen.firstEvents.push(await client.firstEvent(`/threads/${thread}/runs/stream`, body));
  }
}

async function parallelRound(client: Client, runs: number, clients: number, seen: Seen): Promise<void> {
  let left = runs;
  const one = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      seen.parallel.push(await timedWait(client));
    }
  };
  const began = performance.now();
  await Promise.all(Array.from({ length: clients }, one));
  seen.throughput.push(runs / ((performance.now() - began) / 1000));
}

/** Starts each server some times in turns; the last of each stays, for the load. */
async function startAll(targets: readonly Target[], plan: Plan, seen: readonly Seen[]): Promise<Running[]> {
  let running: Running[] = [];
  for (let n = 0; n < plan.starts; n += 1) {
    for (const server of running) await server[Symbol.asyncDispose]();
    running = [];
    for (const [i, target] of targets.entries()) {
      const server = await startTarget(target);
      seen[i]?.startups.push(server.startupMs);
      running.push(server);
    }
  }
  return running;
}

async function load(servers: readonly Running[], plan: Plan, seen: readonly Seen[]): Promise<void> {
  const clients = servers.map(({ port }) => createClient(port));
  const each = async (work: (client: Client, of: Seen) => Promise<void>): Promise<void> => {
    for (const [i, client] of clients.entries()) {
      const of = seen[i];
      if (of !== undefined) await work(client, of);
    }
  };
  await sleep(2000);
  await Promise.all(servers.map(async (server, i) => Object.assign(seen[i] ?? {}, { idle: await server.memory() })));
  await each(async (client) => {
    for (let n = 0; n < 5; n += 1) await timedWait(client);
  });
  for (let round = 0; round < plan.rounds; round += 1) {
    console.log(`round ${round + 1} of ${plan.rounds}`);
    await each((client, of) => sequentialRound(client, Math.ceil(plan.runs / plan.rounds), of));
    await each((client, of) => parallelRound(client, Math.ceil(plan.parallelRuns / plan.rounds), plan.clients, of));
  }
  await Promise.all(servers.map(async (server, i) => Object.assign(seen[i] ?? {}, { loaded: await server.memory() })));
  for (const client of clients) client[Symbol.dispose]();
}

type Row = readonly [what: string, value: (seen: Seen) => number, unit: string, better: "less" | "more"];
const rows = (plan: Plan): readonly Row[] => [
  ["wait, 1 client, p50", (s) => percentile(s.alone, 0.5), "ms", "less"],
  ["wait, 1 client, p95", (s) => percentile(s.alone, 0.95), "ms", "less"],
  [`wait, ${plan.clients} clients, p50`, (s) => percentile(s.parallel, 0.5), "ms", "less"],
  [`wait, ${plan.clients} clients, p95`, (s) => percentile(s.parallel, 0.95), "ms", "less"],
  [`throughput, ${plan.clients} clients`, (s) => median(s.throughput), "runs/s", "more"],
  ["first stream event, p50", (s) => percentile(s.firstEvents, 0.5), "ms", "less"],
  ["start-up", (s) => median(s.startups), "ms", "less"],
  ["memory idle, serving process", (s) => s.idle.server, "MB", "less"],
  ["memory idle, all its processes", (s) => s.idle.all, "MB", "less"],
  ["memory after load, serving process", (s) => s.loaded.server, "MB", "less"],
  ["memory after load, all its processes", (s) => s.loaded.all, "MB", "less"],
];

function report(plan: Plan, seen: readonly Seen[]): string {
  const [ours, theirs] = seen;
  const shown = (value: number, unit: string): string => `${value.toFixed(value < 100 ? 1 : 0)} ${unit}`;
  const body = rows(plan).map(([what, value, unit, better]) => {
    const cells = seen.map((one) => shown(value(one), unit));
    if (ours === undefined || theirs === undefined) return [what, ...cells];
    const ratio = better === "less" ? value(theirs) / value(ours) : value(ours) / value(theirs);
    return [what, ...cells, `${ratio.toFixed(1)} x`];
  });
  const head = ["", ...seen.map(({ name }) => name), ...(theirs === undefined ? [] : ["better by"])];
  return textTable([head, ...body]);
}

/** Load from elsewhere falls on both servers alike in time, not in ratio: one computes, the other mostly waits. */
function machine(): string {
  const load = loadavg()[1] ?? 0;
  const cores = availableParallelism();
  return `${cores} cores, load average of the last five minutes ${load.toFixed(1)}${load > 2 * cores ? ": a busy machine" : ""}`;
}

function readPlan(argv: readonly string[]): { readonly plan: Plan; readonly only: string | undefined } | undefined {
  const number = (fallback: string) => ({ type: "string", default: fallback }) as const;
  const { values } = parseArgs({
    args: [...argv],
    options: {
      runs: number("200"),
      "parallel-runs": number("400"),
      clients: number("16"),
      rounds: number("4"),
      starts: number("3"),
      only: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) return undefined;
  const { runs, clients, rounds, starts, only } = values;
  const counts = { runs, parallelRuns: values["parallel-runs"], clients, rounds, starts };
  const plan = Object.fromEntries(Object.entries(counts).map(([name, text]) => [name, Number(text)]));
  return { plan: plan as unknown as Plan, only };
}

/** Measures both servers (or one, with `--only`) and prints a table. */
export async function main(argv: readonly string[]): Promise<number> {
  const asked = readPlan(argv);
  if (asked === undefined) {
    console.log(HELP);
    return 0;
  }
  process.once("SIGINT", () => process.exit(130));
  const all = [holdpoint(), devServer()];
  const targets = asked.only === undefined ? all : [asked.only === "dev-server" ? devServer() : holdpoint()];
  const nothing: Memory = { server: 0, all: 0 };
  const seen: Seen[] = targets.map(({ name }) => ({
    name,
    startups: [],
    alone: [],
    parallel: [],
    throughput: [],
    firstEvents: [],
    idle: nothing,
    loaded: nothing,
  }));
  const running = await startAll(targets, asked.plan, seen);
  try {
    await load(running, asked.plan, seen);
  } finally {
    for (const server of running) await server[Symbol.asyncDispose]();
  }
  console.log(`\n${report(asked.plan, seen)}\n\n${machine()}\n`);
  return asked.only === "dev-server" ? 0 : roundTrips([]);
}
