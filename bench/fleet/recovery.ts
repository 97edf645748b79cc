/**
 * How long the runs of a worker that was killed stand still: until a worker of another host goes on with them, and until the
 * next process of the same machine does. Each step of a run notes when it began, so nothing that only looks is measured.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Service } from "../../scripts/demo/service.ts";
import type { Client } from "../server/client.ts";
import { report, shown } from "../support/figures.ts";
import { readOptions } from "../support/options.ts";
import { median } from "../support/stats.ts";
import { ENGINES, openEngine, openFleet } from "./fleet.ts";
import type { Engine, Fleet } from "./fleet.ts";
import { acceptRun, inLanes, stepsTaken, untilEnded, untilRunning } from "./runs.ts";
import type { Accepted } from "./runs.ts";

const LINE = {
  name: "recovery",
  about:
    "kill -9 of a worker with runs under way: when another host's worker goes on, and when the next process on the same machine does. In full with --rounds 5 --restarts 20.",
  options: {
    engine: { fallback: "best", says: ENGINES },
    "lease-ms": { fallback: 30_000, says: "length of a lease" },
    runs: { fallback: 5, says: "runs under way" },
    rounds: { fallback: 1, says: "kills that another host recovers from; each takes a lease and more" },
    restarts: { fallback: 3, says: "kills that the same machine recovers from" },
  },
} as const;

const STEP_MS = 200;
const STEPS = 15;
/** A few steps must have been taken before the kill. */
const UNDER_WAY_MS = 700;

interface Plan {
  readonly engine: Engine;
  readonly leaseMs: number;
  readonly runs: number;
}

/** Prints both times, of the run that waited longest in each round. */
export async function main(argv: readonly string[]): Promise<number> {
  const values = readOptions(LINE, argv);
  if (values === undefined) return 0;
  await using engine = await openEngine(values.engine);
  const plan = { engine, leaseMs: values["lease-ms"], runs: values.runs };
  const elsewhere: number[] = [];
  for (let round = 1; round <= values.rounds; round += 1) {
    const { sinceKill } = await another(plan);
    elsewhere.push(sinceKill / 1000);
    console.log(`  another host, ${round} of ${values.rounds}: ${shown(sinceKill / 1000, "s")}`);
  }
  const here: GoneOn[] = [];
  for (let round = 1; round <= values.restarts; round += 1) {
    const gone = await restart(plan);
    here.push(gone);
    console.log(
      `  this machine, ${round} of ${values.restarts}: ${shown(gone.sinceReady, "ms")} after the new process was ready, ${shown(gone.sinceKill, "ms")} after the kill`,
    );
  }
  const lease = `${plan.leaseMs / 1000} s lease, ${engine.name}`;
  return report([
    {
      what: `on another host (${lease}), longest`,
      value: Math.max(...elsewhere),
      unit: "s",
      bar: { atMost: 45 },
      aim: { atMost: 41 },
    },
    {
      what: "restart on this machine, from ready, longest",
      value: Math.max(...here.map(({ sinceReady }) => sinceReady)),
      unit: "ms",
      bar: { atMost: 1000 },
      aim: { atMost: 300 },
    },
    { what: "restart on this machine, from ready, median", value: median(here.map((g) => g.sinceReady)), unit: "ms" },
    {
      what: "restart on this machine, from the kill, median",
      value: median(here.map((g) => g.sinceKill)),
      unit: "ms",
    },
  ]);
}

/** Milliseconds until the last of the runs went on. */
interface GoneOn {
  readonly sinceKill: number;
  readonly sinceReady: number;
}

/** A worker on another host watches from before the kill on. */
async function another(plan: Plan): Promise<GoneOn> {
  await using fleet = await fleetOf(plan);
  const client = (await fleet.startApi()).client();
  const [victim] = await fleet.startWorkers(1);
  const runs = await underWay(client, plan.runs);
  await fleet.startWorkers(1, { elsewhere: true });
  return await goneOn(client, { runs, ...(await kill(victim)), readyAt: 0, timeoutMs: 4 * plan.leaseMs });
}

async function restart(plan: Plan): Promise<GoneOn> {
  await using fleet = await fleetOf(plan);
  const client = (await fleet.startApi()).client();
  const [victim] = await fleet.startWorkers(1);
  const runs = await underWay(client, plan.runs);
  const killed = await kill(victim);
  await fleet.startWorkers(1);
  return await goneOn(client, { runs, ...killed, readyAt: Date.now(), timeoutMs: 4 * plan.leaseMs });
}

const fleetOf = ({ engine, leaseMs }: Plan): Promise<Fleet> =>
  openFleet({ engine, env: { HOLDPOINT_LEASE_MS: String(leaseMs) } });

async function underWay(client: Client, count: number): Promise<readonly Accepted[]> {
  const runs: Accepted[] = [];
  await inLanes(count, count, async () => void runs.push(await acceptRun(client, { steps: STEPS, pauseMs: STEP_MS })));
  await untilRunning(client, runs);
  await sleep(UNDER_WAY_MS);
  return runs;
}

async function kill(victim: Service | undefined): Promise<{ readonly pid: number; readonly killedAt: number }> {
  if (victim === undefined) throw new Error("no worker was started");
  const killedAt = Date.now();
  await victim.stop("SIGKILL");
  return { pid: victim.pid, killedAt };
}

interface Killed {
  readonly runs: readonly Accepted[];
  readonly pid: number;
  readonly killedAt: number;
  readonly readyAt: number;
  readonly timeoutMs: number;
}

async function goneOn(client: Client, { runs, pid, killedAt, readyAt, timeoutMs }: Killed): Promise<GoneOn> {
  const ended = await untilEnded(client, runs, timeoutMs, "recovered");
  if (ended.some(({ status }) => status !== "success")) throw new Error("a recovered run did not succeed");
  const firsts = await Promise.all(
    runs.map(async (run) => {
      const taken = await stepsTaken(client, run);
      const next = taken.find((step) => step.pid !== pid);
      if (taken.length !== STEPS || next === undefined || taken[0]?.pid !== pid)
        throw new Error(`run ${run.runId} was not under way when its worker was killed`);
      return next.at;
    }),
  );
  const last = Math.max(...firsts);
  return { sinceKill: last - killedAt, sinceReady: last - readyAt };
}
