/**
 * Workers that are asked to end (R11): one with many runs in flight, and all of them, one after the other, while clients go on
 * asking. Nothing that was accepted may be lost, and no client may notice.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Exit } from "../../scripts/demo/process.ts";
import type { Service } from "../../scripts/demo/service.ts";
import type { Client } from "../server/client.ts";
import { report } from "../support/figures.ts";
import type { Figure } from "../support/figures.ts";
import { readOptions } from "../support/options.ts";
import { createProgress } from "../support/progress.ts";
import { percentile } from "../support/stats.ts";
import { ENGINES, openEngine, openFleet } from "./fleet.ts";
import type { Engine } from "./fleet.ts";
import { acceptRun, inLanes, newThreadId, stepsTaken, untilEnded, untilRunning, waitingBody } from "./runs.ts";
import type { Accepted, Waiting } from "./runs.ts";

const LINE = {
  name: "drain",
  about:
    "SIGTERM of a worker with runs in flight, and a rolling replacement of all workers under load: time to exit, runs lost, calls that failed. In full with --node-ms 2000 --rounds 3, and once with --node-ms 120000, which no drain can wait for.",
  options: {
    engine: { fallback: "best", says: ENGINES },
    "in-flight": { fallback: 50, says: "runs in flight at SIGTERM" },
    "node-ms": { fallback: 1000, says: "milliseconds that each of their nodes waits" },
    workers: { fallback: 2, says: "workers that are replaced, one after the other" },
    rounds: { fallback: 1, says: "times that each of them is replaced" },
    clients: { fallback: 8, says: "clients that go on asking meanwhile" },
  },
} as const;

/** Long enough that no run ends by itself before it is asked to stop. */
const STEPS = 8;
const RECOVERY_MS = 300_000;
/** Between two replacements, so that the load is felt by the new worker too. */
const CALM_MS = 1000;
const LOAD: Waiting = { steps: 3, pauseMs: 100 };

/** Prints exit times, and counts of what was lost, which must be 0: then the exit code is 0 as well. */
export async function main(argv: readonly string[]): Promise<number> {
  const values = readOptions(LINE, argv);
  if (values === undefined) return 0;
  await using engine = await openEngine(values.engine);
  const full = await drainFull(engine, { inFlight: values["in-flight"], nodeMs: values["node-ms"] });
  const rolling = await replaceAll(engine, values);
  return report([...full, ...rolling]);
}

const EXIT_BAR = { atMost: 100 } as const;
const NONE = { atMost: 0 } as const;

interface Full {
  readonly inFlight: number;
  readonly nodeMs: number;
}

async function drainFull(engine: Engine, { inFlight, nodeMs }: Full): Promise<readonly Figure[]> {
  await using fleet = await openFleet({ engine, env: { HOLDPOINT_CONCURRENCY: String(inFlight) } });
  const client = (await fleet.startApi()).client();
  const [worker] = await fleet.startWorkers(1);
  if (worker === undefined) throw new Error("no worker was started");
  const runs: Accepted[] = [];
  const waiting = { steps: STEPS, pauseMs: nodeMs };
  await inLanes(inFlight, 16, async () => void runs.push(await acceptRun(client, waiting)));
  await untilRunning(client, runs);
  console.log(`  ${runs.length} runs in flight: SIGTERM`);
  const { exit, tookMs } = await terminate(worker);
  console.log(`  it took ${(tookMs / 1000).toFixed(1)} s; another worker goes on`);
  const again = [...new Set(await Promise.all(runs.map(async (run) => (await stepsTaken(client, run)).length)))];
  console.log(`  steps taken so far: ${again.toSorted((a, b) => a - b).join(", ")} of ${STEPS}`);
  await fleet.startWorkers(1);
  const ended = await untilEnded(client, runs, RECOVERY_MS + STEPS * nodeMs, "gone on");
  const taken = await Promise.all(runs.map((run) => stepsTaken(client, run)));
  const whole = taken.filter((steps, n) => steps.length === STEPS && ended[n]?.status === "success");
  return [
    { what: `SIGTERM with ${inFlight} runs in flight, until exit`, value: tookMs / 1000, unit: "s", bar: EXIT_BAR },
    { what: "  its exit code", value: exit.code ?? Number.NaN, unit: "", bar: NONE },
    { what: "  runs lost, or not whole", value: runs.length - whole.length, unit: "", bar: NONE },
  ];
}

async function terminate(worker: Service): Promise<{ readonly exit: Exit; readonly tookMs: number }> {
  const began = performance.now();
  const exit = await worker.stop("SIGTERM");
  return { exit, tookMs: performance.now() - began };
}

interface Rolling {
  readonly workers: number;
  readonly rounds: number;
  readonly clients: number;
}

async function replaceAll(engine: Engine, { workers: count, rounds, clients }: Rolling): Promise<readonly Figure[]> {
  await using fleet = await openFleet({ engine });
  const client = (await fleet.startApi()).client();
  const workers = [...(await fleet.startWorkers(count))];
  const load = startLoad(client, clients);
  const exits: number[] = [];
  const progress = createProgress("workers replaced", rounds * count);
  await sleep(CALM_MS);
  for (let n = 0; n < rounds * count; n += 1) {
    const old = workers.shift();
    workers.push(...(await fleet.startWorkers(1)));
    if (old !== undefined) exits.push((await terminate(old)).tookMs / 1000);
    progress(n + 1, `${load.tooks.length} calls answered, ${load.failures.length} failed`);
    await sleep(CALM_MS);
  }
  await load.stop();
  for (const failure of load.failures.slice(0, 5)) console.log(`  ${failure}`);
  return [
    {
      what: `replacing ${count} workers ${rounds} time(s) under load, longest exit`,
      value: Math.max(...exits),
      unit: "s",
      bar: EXIT_BAR,
    },
    { what: `  calls of runs.wait by ${clients} clients`, value: load.tooks.length, unit: "" },
    { what: "  calls that failed, or answered too little", value: load.failures.length, unit: "", bar: NONE },
    { what: "  their time, p50", value: percentile(load.tooks, 0.5), unit: "ms" },
    { what: "  their time, p99", value: percentile(load.tooks, 0.99), unit: "ms" },
  ];
}

interface Load {
  readonly tooks: readonly number[];
  readonly failures: readonly string[];
  /** Resolves when every call under way has been answered. */
  stop(): Promise<void>;
}

/** Clients that ask again as soon as they are answered. */
function startLoad(client: Client, clients: number): Load {
  const tooks: number[] = [];
  const failures: string[] = [];
  const stopping = new AbortController();
  const one = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      const began = performance.now();
      try {
        const answer = await client.post(`/threads/${newThreadId()}/runs/wait`, waitingBody(LOAD));
        const { taken = [] } = answer as { readonly taken?: readonly unknown[] };
        if (taken.length !== LOAD.steps) failures.push(`an answer of ${taken.length} steps`);
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error));
      }
      tooks.push(performance.now() - began);
    }
  };
  const lanes = Promise.all(Array.from({ length: clients }, one));
  return {
    tooks,
    failures,
    async stop() {
      stopping.abort();
      await lanes;
    },
  };
}
