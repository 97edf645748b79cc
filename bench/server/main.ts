/**
 * This service, LangChain's JavaScript dev server and LangGraph alone, side by side on one graph of three nodes. All of them
 * are there at the same time and take turns under load, round by round, so that whatever else the machine does falls on all
 * alike; all have been warmed up, since what is compiled only after a thousand runs is as fast as it stays.
 */
import { availableParallelism, loadavg } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { report as reportFigures, shown } from "../support/figures.ts";
import type { Figure } from "../support/figures.ts";
import { readOptions } from "../support/options.ts";
import { createProgress } from "../support/progress.ts";
import { median, percentile, textTable } from "../support/stats.ts";
import { main as roundTrips } from "../table/round-trips.ts";
import { createBare } from "./bare.ts";
import { createClient } from "./client.ts";
import type { Client } from "./client.ts";
import { inParallel, newThread, runBody, timedWait } from "./load.ts";
import type { OneRun } from "./load.ts";
import { startTarget } from "./target.ts";
import type { Memory, Running, Target } from "./target.ts";
import { devServer, holdpoint } from "./targets.ts";

const LINE = {
  name: "server",
  about:
    "This service, LangChain's dev server and LangGraph alone, side by side; then `round-trips`. In full with --runs 400 --parallel-runs 1600 --warm-up 1000.",
  options: {
    runs: { fallback: 100, says: "runs by one client" },
    "parallel-runs": { fallback: 320, says: "runs by many clients" },
    clients: { fallback: 16, says: "how many" },
    "warm-up": { fallback: 320, says: "runs by many clients before anything is measured" },
    rounds: { fallback: 4, says: "rounds into which the runs are divided" },
    starts: { fallback: 3, says: "times that each server is started" },
    only: { fallback: "all", says: "holdpoint, dev-server or all" },
  },
} as const;

interface Plan {
  readonly runs: number;
  readonly parallelRuns: number;
  readonly clients: number;
  readonly warmUp: number;
  readonly rounds: number;
  readonly starts: number;
}

/** One that is measured: a server, or, without a client, LangGraph in this process. */
interface Side {
  readonly one: OneRun;
  readonly client?: Client;
}

/** What was seen of one side. Times in milliseconds. */
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

const NO_MEMORY: Memory = { server: Number.NaN, all: Number.NaN };

const unseen = (name: string): Seen => ({
  name,
  startups: [],
  alone: [],
  parallel: [],
  throughput: [],
  firstEvents: [],
  idle: NO_MEMORY,
  loaded: NO_MEMORY,
});

async function sequentialRound({ one, client }: Side, runs: number, seen: Seen): Promise<void> {
  for (let n = 0; n < runs; n += 1) seen.alone.push(await one());
  if (client === undefined) return;
  for (let n = 0; n < Math.ceil(runs / 4); n += 1) {
    const thread = await newThread(client);
    const body = { ...runBody, stream_mode: ["values"] };
    seen.firstEvents.push(await client.firstEvent(`/threads/${thread}/runs/stream`, body));
  }
}

async function parallelRound({ one }: Side, plan: Plan, seen: Seen): Promise<void> {
  const { tooks, throughput } = await inParallel(one, Math.ceil(plan.parallelRuns / plan.rounds), plan.clients);
  seen.parallel.push(...tooks);
  seen.throughput.push(throughput);
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
  const served = clients.map((client): Side => ({ client, one: () => timedWait(client) }));
  const sides: readonly Side[] = [...served, { one: createBare() }];
  const each = async (work: (side: Side, of: Seen) => Promise<void>): Promise<void> => {
    for (const [i, side] of sides.entries()) {
      const of = seen[i];
      if (of !== undefined) await work(side, of);
    }
  };
  const weigh = (when: "idle" | "loaded"): Promise<unknown> =>
    Promise.all(servers.map(async (server, i) => Object.assign(seen[i] ?? {}, { [when]: await server.memory() })));
  await sleep(2000);
  await weigh("idle");
  await each(async ({ one }, { name }) => {
    const progress = createProgress(`${name} warms up`, plan.warmUp);
    let done = 0;
    const counted: OneRun = async () => {
      const took = await one();
      progress((done += 1));
      return took;
    };
    await inParallel(counted, plan.warmUp, plan.clients);
  });
  for (let round = 0; round < plan.rounds; round += 1) {
    console.log(`  round ${round + 1} of ${plan.rounds}`);
    await each((side, of) => sequentialRound(side, Math.ceil(plan.runs / plan.rounds), of));
    await each((side, of) => parallelRound(side, plan, of));
  }
  await weigh("loaded");
  for (const client of clients) client[Symbol.dispose]();
}

type Row = readonly [what: string, value: (seen: Seen) => number, unit: string];
const rows = (plan: Plan): readonly Row[] => [
  ["wait, 1 client, p50", (s) => percentile(s.alone, 0.5), "ms"],
  ["wait, 1 client, p95", (s) => percentile(s.alone, 0.95), "ms"],
  [`wait, ${plan.clients} clients, p50`, (s) => percentile(s.parallel, 0.5), "ms"],
  [`wait, ${plan.clients} clients, p95`, (s) => percentile(s.parallel, 0.95), "ms"],
  [`throughput, ${plan.clients} clients`, (s) => median(s.throughput), "runs/s"],
  ["first stream event, p50", (s) => percentile(s.firstEvents, 0.5), "ms"],
  ["start-up", (s) => median(s.startups), "ms"],
  ["memory idle, serving process", (s) => s.idle.server, "MB"],
  ["memory idle, all its processes", (s) => s.idle.all, "MB"],
  ["memory after load, serving process", (s) => s.loaded.server, "MB"],
  ["memory after load, all its processes", (s) => s.loaded.all, "MB"],
];

/** Each side in a column; behind those of the others, how many times better the first is. */
function report(plan: Plan, seen: readonly Seen[]): string {
  const [ours, ...others] = seen;
  const body = rows(plan).map(([what, value, unit]) => [
    what,
    ...(ours === undefined ? [] : [shown(value(ours), unit)]),
    ...others.flatMap((other) => [shown(value(other), unit), ratioOf([what, value, unit], ours, other)]),
  ]);
  const head = ["", ours?.name ?? "", ...others.flatMap(({ name }) => [name, "better by"])];
  return textTable([head, ...body]);
}

function ratioOf([, value, unit]: Row, ours: Seen | undefined, other: Seen): string {
  if (ours === undefined) return "";
  return shown(unit === "runs/s" ? value(ours) / value(other) : value(other) / value(ours), "x");
}

function figuresOf(plan: Plan, ours: Seen, peer: Seen | undefined): readonly Figure[] {
  const alone = percentile(ours.alone, 0.5);
  const throughput = median(ours.throughput);
  const beside: readonly Figure[] =
    peer === undefined
      ? []
      : [
          {
            what: `runs.wait, 1 client, beside the ${peer.name}`,
            value: percentile(peer.alone, 0.5) / alone,
            unit: "x",
            bar: { atLeast: 35 },
            aim: { atLeast: 50 },
          },
          {
            what: `${plan.clients} clients, beside the ${peer.name}`,
            value: throughput / median(peer.throughput),
            unit: "x",
            bar: { atLeast: 6 },
            aim: { atLeast: 10 },
          },
        ];
  const firstEvent = percentile(ours.firstEvents, 0.5);
  return [
    { what: "runs.wait, 1 client, p50", value: alone, unit: "ms", bar: { atMost: 15 }, aim: { atMost: 10 } },
    {
      what: `${plan.clients} clients, one process`,
      value: throughput,
      unit: "runs/s",
      bar: { atLeast: 120 },
      aim: { atLeast: 200 },
    },
    { what: "first stream event, p50", value: firstEvent, unit: "ms", bar: { atMost: 20 }, aim: { atMost: 10 } },
    ...beside,
  ];
}

/** Load from elsewhere falls on all alike in time, not in ratio: one computes, the other mostly waits. */
export function machine(): string {
  const busy = loadavg()[1] ?? 0;
  const cores = availableParallelism();
  return `${cores} cores, load average of the last five minutes ${busy.toFixed(1)}${busy > 2 * cores ? ": a busy machine" : ""}`;
}

/** Measures both servers (or one, with `--only`) and LangGraph alone, and prints tables. */
export async function main(argv: readonly string[]): Promise<number> {
  const values = readOptions(LINE, argv);
  if (values === undefined) return 0;
  const plan: Plan = { ...values, parallelRuns: values["parallel-runs"], warmUp: values["warm-up"] };
  process.once("SIGINT", () => process.exit(130));
  const all = { holdpoint: [holdpoint()], "dev-server": [devServer()], all: [holdpoint(), devServer()] };
  const targets = Object.hasOwn(all, values.only) ? all[values.only as keyof typeof all] : undefined;
  if (targets === undefined) throw new Error(`--only is one of ${Object.keys(all).join(", ")}`);
  const seen = [...targets.map(({ name }) => unseen(name)), unseen("LangGraph alone")];
  const running = await startAll(targets, plan, seen);
  try {
    await load(running, plan, seen);
  } finally {
    for (const server of running) await server[Symbol.asyncDispose]();
  }
  console.log(`\n${report(plan, seen)}\n`);
  const [ours, peer] = seen;
  console.log(`${machine()}\n`);
  if (values.only === "dev-server" || ours === undefined) return 0;
  const code = reportFigures(figuresOf(plan, ours, values.only === "all" ? peer : undefined));
  return Math.max(code, await roundTrips([]));
}
