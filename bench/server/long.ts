/**
 * What thousands of runs leave behind in a process: its memory on the way, and then its throughput beside that of a fresh
 * process, in turns. Both are warm, so what is seen is age and not compilation.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { report, shown } from "../support/figures.ts";
import { readOptions } from "../support/options.ts";
import { createProgress } from "../support/progress.ts";
import { median } from "../support/stats.ts";
import { createClient } from "./client.ts";
import { inParallel, timedWait } from "./load.ts";
import { machine } from "./main.ts";
import { startTarget } from "./target.ts";
import type { Running } from "./target.ts";
import { holdpoint } from "./targets.ts";

const LINE = {
  name: "long",
  about: "One process after thousands of runs beside a fresh one: throughput and memory. Published as it stands.",
  options: {
    runs: { fallback: 4000, says: "runs of the process that grows old" },
    "warm-up": { fallback: 1500, says: "runs of the fresh one before it is measured" },
    rounds: { fallback: 10, says: "rounds in which both take turns" },
    "round-runs": { fallback: 160, says: "runs of each in a round" },
    clients: { fallback: 16, says: "clients" },
    "rest-seconds": { fallback: 15, says: "seconds of rest before the last look at the memory" },
  },
} as const;

/** Runs between two looks at the memory. */
const STRIDE = 250;

interface Aged {
  readonly server: Running;
  /** Runs, by all clients; answers runs per second and milliseconds of processor time for each run. */
  load(runs: number): Promise<{ readonly throughput: number; readonly processorMs: number }>;
}

async function start(name: string, clients: number, stack: AsyncDisposableStack): Promise<Aged> {
  const server = stack.use(await startTarget(holdpoint(name)));
  const client = stack.use(createClient(server.port));
  return {
    server,
    async load(runs) {
      const before = await server.processorMs();
      const { throughput } = await inParallel(() => timedWait(client), runs, clients);
      return { throughput, processorMs: ((await server.processorMs()) - before) / runs };
    },
  };
}

/** Loads a process; answers the most memory that was seen, in MB. */
async function grow(aged: Aged, runs: number, what: string): Promise<number> {
  const progress = createProgress(what, runs);
  let most = 0;
  for (let done = 0; done < runs; done += STRIDE) {
    const { throughput } = await aged.load(Math.min(STRIDE, runs - done));
    const { server } = await aged.server.memory();
    most = Math.max(most, server);
    progress(Math.min(runs, done + STRIDE), `${shown(throughput, "runs/s")}, ${shown(server, "MB")}`);
  }
  return most;
}

/** Prints what is left of the throughput, and the memory. */
export async function main(argv: readonly string[]): Promise<number> {
  const values = readOptions(LINE, argv);
  if (values === undefined) return 0;
  await using stack = new AsyncDisposableStack();
  const old = await start("old", values.clients, stack);
  const idle = (await old.server.memory()).server;
  const most = await grow(old, values.runs, "runs of the old process");
  const fresh = await start("fresh", values.clients, stack);
  await grow(fresh, values["warm-up"], "runs of the fresh process");
  const [olds, freshes] = await takeTurns([old, fresh], values.rounds, values["round-runs"]);
  await sleep(values["rest-seconds"] * 1000);
  const rested = (await old.server.memory()).server;
  const drop = (of: (seen: Seen) => number): number => median(olds.map(of)) / median(freshes.map(of));
  console.log(`\n${machine()}`);
  return report([
    {
      what: `throughput after ${values.runs} runs, less than a fresh process`,
      value: 100 * (1 - drop(({ throughput }) => throughput)),
      unit: "%",
      bar: { atMost: 10 },
      aim: { atMost: 5 },
      noisy: true,
    },
    {
      what: "  processor time of a run, more than there",
      value: 100 * (drop(({ processorMs }) => processorMs) - 1),
      unit: "%",
    },
    { what: "  processor time of a run", value: median(olds.map((seen) => seen.processorMs)), unit: "ms" },
    { what: "memory at the start", value: idle, unit: "MB" },
    { what: "  at most, under load", value: most, unit: "MB", bar: { atMost: 250 }, aim: { atMost: 200 } },
    { what: `  after ${values["rest-seconds"]} s of rest`, value: rested, unit: "MB" },
  ]);
}

type Seen = Awaited<ReturnType<Aged["load"]>>;

async function takeTurns(
  both: readonly [Aged, Aged],
  rounds: number,
  runs: number,
): Promise<readonly [readonly Seen[], readonly Seen[]]> {
  const seen: readonly [Seen[], Seen[]] = [[], []];
  for (let round = 1; round <= rounds; round += 1) {
    const first = await both[0].load(runs);
    const second = await both[1].load(runs);
    seen[0].push(first);
    seen[1].push(second);
    console.log(
      `  round ${round} of ${rounds}: ${shown(first.throughput, "runs/s")}, fresh ${shown(second.throughput, "runs/s")}`,
    );
  }
  return seen;
}
