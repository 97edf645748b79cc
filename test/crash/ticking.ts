/** Crons that nobody was there for: what is due of them is fired all at once, and can be known in advance. */
import { setTimeout as sleep } from "node:timers/promises";
import { tenantId } from "../../src/core/ids.ts";
import { firingIds } from "../../src/core/schedule.ts";
import type { Schedule } from "../../src/core/schedule.ts";
import { plainSealers } from "../../src/storage/encryption/sealer.ts";
import { createSchedules } from "../../src/storage/schedules.ts";
import type { Schedules } from "../../src/storage/schedules.ts";
import { openPlace } from "../support/table-place.ts";
import type { Crew, Tenant } from "./crew.ts";
import type { Told } from "./evidence.ts";
import { createPatient, patiently } from "./patient.ts";
import { toldOfWalks } from "./walking.ts";
import { factsOf } from "./witness.ts";

export const STEPS = 5;
const MINUTE_MS = 60_000;
const INPUT = { name: "tick", steps: STEPS, pauseMs: 1, taken: 0 };

export interface Ticking extends AsyncDisposable {
  /** Makes a cron of every minute whose last so many due times nobody has come for, each of which is to have its run. */
  miss(tenant: Tenant, minutes: number): Promise<Missed>;
}

export interface Missed {
  readonly tenant: Tenant;
  readonly isFiring: () => Promise<boolean>;
  /** Once all is fired: pauses it, and answers what each due time must have led to. */
  readonly over: () => Promise<readonly Told[]>;
}

export async function openTicking(crew: Crew): Promise<Ticking> {
  const table = await openPlace(crew.fleet.place);
  const schedules = createSchedules(table, 1, plainSealers);
  return {
    miss: (tenant, minutes) => miss(crew, schedules, { tenant, minutes }),
    [Symbol.asyncDispose]: () => table[Symbol.asyncDispose](),
  };
}

interface Missing {
  readonly tenant: Tenant;
  readonly minutes: number;
}

async function miss(crew: Crew, schedules: Schedules, { tenant, minutes }: Missing): Promise<Missed> {
  const { send } = createPatient({ url: crew.url, headers: crew.headers(tenant) });
  const cron = { assistant_id: "walk", schedule: "* * * * *", input: INPUT, enabled: false, missed_policy: "all" };
  const { body } = await send("/runs/crons", { body: { ...cron, on_run_completed: "keep" } });
  const id = String(body["cron_id"]);
  const read = async () => {
    const found = await schedules.get(tenantId(tenant), id);
    if (!found) throw new Error(`there is no cron ${id}`);
    return found;
  };
  const first = Math.floor(Date.now() / MINUTE_MS - minutes) * MINUTE_MS;
  const { value, version } = await read();
  // As it stands when every process has been away for so long.
  await schedules.put({ ...value, enabled: true, nextAt: first }, { version });
  const isFiring = async (): Promise<boolean> => {
    const { value: now } = await read();
    return now.firing.length > 0 || (now.nextAt ?? 0) <= Date.now();
  };
  return {
    tenant,
    isFiring,
    async over() {
      const paused = await patiently(`cron ${id} to be fired`, async () => {
        const { value: now, version: at } = await read();
        if (now.firing.length > 0 || (now.nextAt ?? 0) <= Date.now()) return undefined;
        const next = { ...now, enabled: false, nextAt: null };
        return (await schedules.put(next, { version: at })).won ? now : undefined;
      });
      return dueTimes(first, paused).map((dueAt) => toldOf(tenant, paused, dueAt));
    },
  };
}

function dueTimes(first: number, { nextAt }: Schedule): readonly number[] {
  const count = ((nextAt ?? first) - first) / MINUTE_MS;
  return Array.from({ length: count }, (_, n) => first + n * MINUTE_MS);
}

function toldOf(tenant: Tenant, schedule: Schedule, dueAt: number): Told {
  const { runId, threadId } = firingIds(schedule, dueAt);
  return toldOfWalks({ tenant, threadId }, [{ runId, name: INPUT.name, steps: STEPS }]);
}

/** Between two kills lie so many claims at least: a machine that is slow is killed at less often. */
const LEAST_CLAIMS = 4;

/** Kills a worker whenever all have come back and got something done, until there is nothing to do for them. */
export async function killWhile(crew: Crew, isBusy: () => Promise<boolean>, nextMs: () => number): Promise<void> {
  const claims = (): number => factsOf(crew.facts(), "claim").length;
  for (let next = LEAST_CLAIMS; await isBusy();) {
    await Promise.allSettled(crew.workers().map(({ ready }) => ready));
    await sleep(nextMs());
    const [victim] = crew.workers();
    if (!victim || claims() < next) continue;
    await crew.kill(victim);
    next = claims() + LEAST_CLAIMS;
  }
}
