/**
 * What a second worker adds, beside one alone: both fleets stand on one DynamoDB Local, each on a table of its own, and take
 * turns. Then, through a proxy that counts: how many claims come too late, when everything is there at once and while runs
 * come in for slots that are free, and what a worker reads that has nothing to do.
 *
 * Runs of a batch are accepted while the workers stand still, stopped by a signal: the API takes none of their cores from
 * them, and nothing has begun before the time is taken.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Service } from "../../scripts/demo/service.ts";
import { atRate } from "../../test/support/load.ts";
import type { Client } from "../server/client.ts";
import { report, shown } from "../support/figures.ts";
import type { Figure } from "../support/figures.ts";
import { readOptions } from "../support/options.ts";
import { createProgress } from "../support/progress.ts";
import { median } from "../support/stats.ts";
import { openEngine, openFleet } from "./fleet.ts";
import type { Engine } from "./fleet.ts";
import { startMeteringProxy } from "./metering-proxy.ts";
import type { Counts } from "./metering-proxy.ts";
import { acceptRun, inLanes, stepsTaken, untilEnded } from "./runs.ts";
import type { Accepted, Waiting } from "./runs.ts";

const SHARDS = 4;
const ACCEPT_LANES = 8;
const RUN_TIMEOUT_MS = 300_000;
/** Until a worker has given up what it held last, so that none is stopped while it holds a thread. */
const RELEASED_MS = 500;
/** Of claims, in every phase. */
const LATE_BAR = { atMost: 5 } as const;
/** After this long without work a worker looks for some at its slowest. */
const CALM_MS = 30_000;

const LINE = {
  name: "workers",
  about:
    "Two workers beside one, on one DynamoDB Local; claims that come too late; what an idle worker reads. In full with --runs 240 --idle-seconds 120.",
  options: {
    runs: { fallback: 96, says: "runs of each fleet in each round" },
    rounds: { fallback: 2, says: "rounds; 0 leaves the comparison out" },
    slots: { fallback: 8, says: "runs that a worker executes at once" },
    nodes: { fallback: 10, says: "nodes of a run: few, and what is measured is how fast this machine's cores turn" },
    "pause-ms": { fallback: 100, says: "milliseconds that each node waits" },
    "idle-seconds": {
      fallback: 20,
      says: "seconds for which an idle worker's reads are counted, once it is calm; 0 leaves it out",
    },
  },
} as const;

interface Plan {
  readonly runs: number;
  readonly rounds: number;
  readonly slots: number;
  readonly waiting: Waiting;
  readonly idleSeconds: number;
}

/** Prints how much faster two workers are than one, and what they ask of the table. */
export async function main(argv: readonly string[]): Promise<number> {
  const values = readOptions(LINE, argv);
  if (values === undefined) return 0;
  const { runs, rounds, slots, nodes } = values;
  const waiting = { steps: nodes, pauseMs: values["pause-ms"] };
  const plan: Plan = { runs, rounds, slots, waiting, idleSeconds: values["idle-seconds"] };
  await using engine = await openEngine("dynamodb-local");
  const scaling = plan.rounds === 0 ? [] : await measureScaling(engine, plan);
  const claims = await measureClaims(engine, plan);
  const idle = plan.idleSeconds === 0 ? [] : await measureIdle(engine, plan);
  return report([...scaling, ...claims, ...idle]);
}

/** Runs a second that the nodes alone allow one worker. */
const idealOf = ({ slots, waiting }: Plan): number => (1000 * slots) / (waiting.steps * waiting.pauseMs);

/** Who accepts, and who executes. */
interface Party {
  readonly client: Client;
  readonly workers: readonly Service[];
}

const envOf = ({ slots }: Plan) => ({ HOLDPOINT_CONCURRENCY: String(slots), HOLDPOINT_SHARDS: String(SHARDS) });

async function measureScaling(engine: Engine, plan: Plan): Promise<readonly Figure[]> {
  await using one = await openFleet({ engine, env: envOf(plan) });
  await using two = await openFleet({ engine, env: envOf(plan) });
  const parties = [
    { client: (await one.startApi()).client(), workers: await one.startWorkers(1) },
    { client: (await two.startApi()).client(), workers: await two.startWorkers(2) },
  ];
  const rates: number[][] = [[], []];
  for (const party of parties) await batch(party, { ...plan, runs: 4 * plan.slots }, { what: "warming up" });
  for (let round = 1; round <= plan.rounds; round += 1) {
    for (const [n, party] of parties.entries()) {
      const rate = await batch(party, plan, { what: `round ${round} of ${plan.rounds}, ${n + 1} worker(s)` });
      rates[n]?.push(rate);
      console.log(`  ${shown(rate, "runs/s")}`);
    }
  }
  const [alone = Number.NaN, both = Number.NaN] = rates.map((some) => median(some));
  return [
    {
      what: `one worker, ${plan.slots} slots (its nodes alone allow ${idealOf(plan).toFixed(1)})`,
      value: alone,
      unit: "runs/s",
    },
    { what: `two workers, ${plan.slots} slots each`, value: both, unit: "runs/s" },
    { what: "two workers, beside one", value: both / alone, unit: "x", bar: { atLeast: 1.8 }, aim: { atLeast: 1.95 } },
  ];
}

/** Has all accepted while the workers stand still, lets them go on, waits for the last end; answers runs per second between. */
async function batch(
  { client, workers }: Party,
  { runs, waiting }: Plan,
  { what, onAccepted }: { readonly what: string; readonly onAccepted?: () => void },
): Promise<number> {
  await sleep(RELEASED_MS);
  for (const worker of workers) worker.signal("SIGSTOP");
  const accepted: Accepted[] = [];
  await inLanes(runs, ACCEPT_LANES, async () => void accepted.push(await acceptRun(client, waiting)));
  onAccepted?.();
  const began = Date.now();
  for (const worker of workers) worker.signal("SIGCONT");
  await untilSucceeded(client, accepted, what);
  const lastEnd = Math.max(...(await lastSteps(client, accepted))) + waiting.pauseMs;
  return runs / ((lastEnd - began) / 1000);
}

/** @throws Error when one has failed */
async function untilSucceeded(client: Client, runs: readonly Accepted[], what: string): Promise<void> {
  const ended = await untilEnded(client, runs, RUN_TIMEOUT_MS, what);
  const failed = ended.filter(({ status }) => status !== "success");
  if (failed.length > 0) throw new Error(`${failed.length} of ${runs.length} runs came to ${failed[0]?.status}`);
}

/** When each run's last step began, by this machine's clock: DynamoDB's, by which runs end, has whole seconds. */
async function lastSteps(client: Client, runs: readonly Accepted[]): Promise<readonly number[]> {
  const lasts: number[] = [];
  for (const run of runs) lasts.push((await stepsTaken(client, run)).at(-1)?.at ?? Number.NaN);
  return lasts;
}

/** Runs come in at half the pace at which two workers execute them: there are always slots free, and both want each run. */
async function trickle({ client }: Party, plan: Plan): Promise<void> {
  const accepted: Accepted[] = [];
  const perSecond = idealOf(plan);
  await atRate(perSecond, plan.runs / perSecond, async () => void accepted.push(await acceptRun(client, plan.waiting)));
  await untilSucceeded(client, accepted, "counting claims of runs that come in");
}

/** Two workers whose requests are counted: everything is there at once, and then for slots that are free. */
async function measureClaims(engine: Engine, plan: Plan): Promise<readonly Figure[]> {
  await using fleet = await openFleet({ engine, env: envOf(plan) });
  await using proxy = await startMeteringProxy(endpointOf(engine));
  const client = (await fleet.startApi()).client();
  const workers = await fleet.startWorkers(2, { env: { DYNAMODB_ENDPOINT: proxy.endpoint } });
  const party = { client, workers };
  let before = proxy.counts();
  await batch(party, plan, { what: "counting claims", onAccepted: () => void (before = proxy.counts()) });
  const between = proxy.counts();
  await trickle(party, plan);
  const atOnce = claimsBetween(before, between);
  const comingIn = claimsBetween(between, proxy.counts());
  const requests = between.reads + between.writes - before.reads - before.writes;
  return [
    { what: "claims by two workers, all runs there at once", value: atOnce.claims, unit: "" },
    { what: "  of them too late", value: atOnce.latePercent, unit: "%", bar: LATE_BAR },
    { what: "claims by two workers, while runs come in and slots are free", value: comingIn.claims, unit: "" },
    { what: "  of them too late", value: comingIn.latePercent, unit: "%", bar: LATE_BAR },
    { what: "requests of the workers for each run, all there at once", value: requests / plan.runs, unit: "" },
  ];
}

function claimsBetween(before: Counts, after: Counts): { readonly claims: number; readonly latePercent: number } {
  const claims = after.claims - before.claims;
  return { claims, latePercent: (100 * (after.failedClaims - before.failedClaims)) / claims };
}

async function measureIdle(engine: Engine, plan: Plan): Promise<readonly Figure[]> {
  await using fleet = await openFleet({ engine, env: envOf(plan) });
  await using proxy = await startMeteringProxy(endpointOf(engine));
  await fleet.startWorkers(1, { env: { DYNAMODB_ENDPOINT: proxy.endpoint } });
  console.log("  an idle worker becomes calm");
  await sleep(CALM_MS);
  const before = proxy.counts();
  const progress = createProgress("seconds of an idle worker", plan.idleSeconds);
  for (let second = 1; second <= plan.idleSeconds; second += 1) {
    await sleep(1000);
    progress(second);
  }
  const after = proxy.counts();
  const perMinute = (count: number): number => (count * 60) / plan.idleSeconds;
  return [
    {
      what: `an idle worker, reads a minute and shard (of ${SHARDS})`,
      value: perMinute(after.reads - before.reads) / SHARDS,
      unit: "",
      bar: { atMost: 120 },
      aim: { atMost: 60 },
    },
    { what: "an idle worker, writes a minute", value: perMinute(after.writes - before.writes), unit: "" },
  ];
}

function endpointOf({ endpoint }: Engine): string {
  if (endpoint === undefined) throw new Error("only requests to a server can be counted");
  return endpoint;
}
