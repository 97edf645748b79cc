/** One tenant floods, others ask now and then (R10): how long the others' runs wait for a worker. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { systemIds } from "../../src/core/ids.ts";
import { writeKeyFile } from "../../src/local/key-file.ts";
import { emptyKeyFile, withNewKey } from "../../src/storage/api-keys.ts";
import { testFolder } from "../../test/support/process.ts";
import type { Client } from "../server/client.ts";
import { report } from "../support/figures.ts";
import { readOptions } from "../support/options.ts";
import { createProgress } from "../support/progress.ts";
import { percentile } from "../support/stats.ts";
import { ENGINES, openEngine, openFleet } from "./fleet.ts";
import { acceptRun, inLanes, look, newThreadId, waitingBody } from "./runs.ts";
import type { Accepted, Taken } from "./runs.ts";

const LINE = {
  name: "fairness",
  about:
    "One tenant floods a worker, others send one run a second: the start delay of the others. In full with --flood 10000 --seconds 60.",
  options: {
    engine: { fallback: "sqlite", says: ENGINES },
    flood: { fallback: 1000, says: "runs of the tenant that floods" },
    "flood-ms": { fallback: 200, says: "milliseconds that each of them takes" },
    others: { fallback: 8, says: "tenants that send one run a second each" },
    seconds: { fallback: 10, says: "seconds for which they do" },
    slots: { fallback: 10, says: "runs that the worker executes at once" },
  },
} as const;

const FLOOD_LANES = 12;

interface Plan {
  readonly flood: number;
  readonly floodMs: number;
  readonly seconds: number;
}

/** Prints the 95th percentile of the others' start delay, from the client's request to the first line of the node. */
export async function main(argv: readonly string[]): Promise<number> {
  const values = readOptions(LINE, argv);
  if (values === undefined) return 0;
  await using engine = await openEngine(values.engine);
  await using folder = await testFolder();
  const names = ["flood", ...Array.from({ length: values.others }, (_, n) => `other-${n + 1}`)];
  const file = join(folder.path, "keys.json");
  const keys = await writeKeys(file, names);
  const room = String(values.flood + 1000);
  await using fleet = await openFleet({
    engine,
    env: {
      HOLDPOINT_KEYS: file,
      HOLDPOINT_CONCURRENCY: String(values.slots),
      HOLDPOINT_MAX_TENANT_BACKLOG: room,
      HOLDPOINT_MAX_BACKLOG: room,
    },
  });
  const api = await fleet.startApi();
  await fleet.startWorkers(1);
  const [flooding, ...others] = keys.map((key) => api.client(key));
  if (flooding === undefined) throw new Error("nobody floods");
  const plan = { flood: values.flood, floodMs: values["flood-ms"], seconds: values.seconds };
  const { alone, beside, waiting } = await measure(plan, flooding, others);
  const code = report([
    { what: `start delay of ${values.others} tenants alone, p50`, value: percentile(alone, 0.5), unit: "ms" },
    { what: `  beside ${plan.flood} runs of another, p50`, value: percentile(beside, 0.5), unit: "ms" },
    { what: "  p95", value: percentile(beside, 0.95), unit: "ms", bar: { atMost: 2000 } },
    { what: "  longest", value: Math.max(...beside), unit: "ms" },
    { what: "  runs of theirs", value: beside.length, unit: "" },
  ]);
  if (waiting) return code;
  console.log("The flood ended before they did: take a longer one.\n");
  return 1;
}

interface Delays {
  readonly alone: readonly number[];
  readonly beside: readonly number[];
  /** Whether the flood's last run was still waiting when all others had been answered. */
  readonly waiting: boolean;
}

async function measure(plan: Plan, flooding: Client, others: readonly Client[]): Promise<Delays> {
  const alone = await ask(others, 3, "seconds of the others alone");
  const accepted: Accepted[] = [];
  const progress = createProgress("runs of the flood accepted", plan.flood);
  await inLanes(plan.flood, FLOOD_LANES, async () => {
    accepted.push(await acceptRun(flooding, { steps: 1, pauseMs: plan.floodMs }));
    progress(accepted.length);
  });
  const beside = await ask(others, plan.seconds, "seconds of the others beside the flood");
  const last = accepted.at(-1);
  return { alone, beside, waiting: last !== undefined && (await look(flooding, last)).status === "pending" };
}

/** Each client sends a run every second, spread over the second; answers every start delay. */
async function ask(clients: readonly Client[], seconds: number, what: string): Promise<readonly number[]> {
  const progress = createProgress(what, seconds);
  const asked: Promise<number>[] = [];
  const began = performance.now();
  for (let n = 0; n < seconds * clients.length; n += 1) {
    await sleep(Math.max(0, began + (n * 1000) / clients.length - performance.now()));
    const client = clients[n % clients.length];
    if (client !== undefined) asked.push(startDelay(client));
    progress(Math.floor(n / clients.length));
  }
  const delays = await Promise.all(asked);
  progress(seconds);
  return delays;
}

/** Milliseconds from the request to the begin of the run's first step; both are read on this machine's clock. */
async function startDelay(client: Client): Promise<number> {
  const sentAt = Date.now();
  const answer = await client.post(`/threads/${newThreadId()}/runs/wait`, waitingBody({ steps: 1, pauseMs: 10 }));
  const { taken = [] } = answer as { readonly taken?: readonly Taken[] };
  if (taken[0] === undefined) throw new Error("a run without a step");
  return taken[0].at - sentAt;
}

/** One key for each tenant. */
async function writeKeys(path: string, tenants: readonly string[]): Promise<readonly string[]> {
  let file = emptyKeyFile(systemIds);
  const keys = tenants.map((tenant) => {
    const made = withNewKey(file, systemIds, {
      env: "live",
      tenant,
      subject: tenant,
      roles: ["developer"],
      groups: [],
      createdAt: Date.now(),
    });
    file = made.file;
    return made.key;
  });
  await writeKeyFile(path, file, systemIds);
  return keys;
}
