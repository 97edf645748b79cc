/**
 * What a second worker adds, beside one alone: both fleets stand on one DynamoDB Local, each on a table of its own, and take
 * turns. Then, through a proxy that counts: how many claims come too late, and what a worker reads that has nothing to do.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "../server/client.ts";
import { report, shown } from "../support/figures.ts";
import type { Figure } from "../support/figures.ts";
import { readOptions } from "../support/options.ts";
import { createProgress } from "../support/progress.ts";
import { median } from "../support/stats.ts";
import { openEngine, openFleet } from "./fleet.ts";
import type { Engine } from "./fleet.ts";
import { startMeteringProxy } from "./metering-proxy.ts";
import { acceptRun, inLanes, untilEnded } from "./runs.ts";
import type { Accepted, Waiting } from "./runs.ts";

const SHARDS = 4;
const ACCEPT_LANES = 8;
const RUN_TIMEOUT_MS = 300_000;
/** After this long without work a worker looks for some at its slowest. */
const CALM_MS = 30_000;

const LINE = {
  name: "workers",
  about:
    "Two workers beside one, on one DynamoDB Local; claims that come too late; what an idle worker reads. Published with --runs 240 --idle-seconds 120.",
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

const envOf = ({ slots }: Plan) => ({ HOLDPOINT_CONCURRENCY: String(slots), HOLDPOINT_SHARDS: String(SHARDS) });

async function measureScaling(engine: Engine, plan: Plan): Promise<readonly Figure[]> {
  await using one = await openFleet({ engine, env: envOf(plan) });
  await using two = await openFleet({ engine, env: envOf(plan) });
  const clients = [(await one.startApi()).client(), (await two.startApi()).client()];
  await Promise.all([one.startWorkers(1), two.startWorkers(2)]);
  const rates: number[][] = [[], []];
  for (const client of clients) await batch(client, { ...plan, runs: 4 * plan.slots }, { what: "warming up" });
  for (let round = 1; round <= plan.rounds; round += 1) {
    for (const [n, client] of clients.entries()) {
      const rate = await batch(client, plan, { what: `round ${round} of ${plan.rounds}, ${n + 1} worker(s)` });
      rates[n]?.push(rate);
      console.log(`  ${shown(rate, "runs/s")}`);
    }
  }
  const [alone = Number.NaN, both = Number.NaN] = rates.map((some) => median(some));
  const ideal = (1000 * plan.slots) / (plan.waiting.steps * plan.waiting.pauseMs);
  return [
    {
      what: `one worker, ${plan.slots} slots (its nodes alone allow ${ideal.toFixed(1)})`,
      value: alone,
      unit: "runs/s",
    },
    { what: `two workers, ${plan.slots} slots each`, value: both, unit: "runs/s" },
    { what: "two workers, beside one", value: both / alone, unit: "x", bar: { atLeast: 1.8 }, aim: { atLeast: 1.95 } },
  ];
}

/**
 * Has all accepted, then waits for the last; answers runs per second from the last acceptance to the last end: before that
 * the API takes its share of the cores, and there is not work for everybody.
 */
async function batch(
  client: Client,
  { runs, waiting }: Plan,
  { what, onAccepted }: { readonly what: string; readonly onAccepted?: () => void },
): Promise<number> {
  const accepted: Accepted[] = [];
  await inLanes(runs, ACCEPT_LANES, async () => void accepted.push(await acceptRun(client, waiting)));
  onAccepted?.();
  const began = Date.now();
  const ended = await untilEnded(client, accepted, RUN_TIMEOUT_MS, what);
  const failed = ended.filter(({ status }) => status !== "success");
  if (failed.length > 0) throw new Error(`${failed.length} of ${runs} runs came to ${failed[0]?.status}`);
  const ends = ended.map(({ endedAt }) => endedAt).filter((endedAt) => endedAt > began);
  return ends.length / ((Math.max(...ends) - began) / 1000);
}

/** Two workers whose requests are counted, with work for both. */
async function measureClaims(engine: Engine, plan: Plan): Promise<readonly Figure[]> {
  await using fleet = await openFleet({ engine, env: envOf(plan) });
  await using proxy = await startMeteringProxy(endpointOf(engine));
  const client = (await fleet.startApi()).client();
  await fleet.startWorkers(2, { env: { DYNAMODB_ENDPOINT: proxy.endpoint } });
  let before = proxy.counts();
  const onAccepted = (): void => void (before = proxy.counts());
  await batch(client, plan, { what: "counting claims", onAccepted });
  const after = proxy.counts();
  const [claims, late] = [after.claims - before.claims, after.failedClaims - before.failedClaims];
  return [
    { what: "claims by two workers, once all runs are accepted", value: claims, unit: "" },
    { what: "of them too late", value: (100 * late) / claims, unit: "%", bar: { atMost: 5 } },
    {
      what: "while runs come in and slots are free",
      value: (100 * before.failedClaims) / Math.max(1, before.claims),
      unit: "%",
    },
    { what: "requests of the workers for each run", value: (after.reads + after.writes) / plan.runs, unit: "" },
  ];
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
