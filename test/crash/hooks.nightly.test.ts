/**
 * Schedules and webhooks. Two workers fire the due times of crons that nobody was there for, and tell an address of the
 * end of each run, while they are killed: at random, and both at once by the address itself, after it has taken a message
 * and before it answers. Every due time has one run, and the end of each is told, always under one id.
 * HOLDPOINT_HOOKS_MINUTES and HOLDPOINT_HOOKS_SEED choose how many due times, and when.
 */
import { randomInt } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "@langchain/langgraph-sdk";
import { describe, expect, it } from "vitest";
import { createRandom } from "../sim/random.ts";
import { fleetEngines } from "../support/fleet.ts";
import type { FleetEngine } from "../support/fleet.ts";
import { TENANTS, openCrew } from "./crew.ts";
import type { Crew, Tenant } from "./crew.ts";
import type { Told } from "./evidence.ts";
import type { Violation } from "./invariants.ts";
import { judge } from "./judge.ts";
import { createPatient, patiently } from "./patient.ts";
import { restOf } from "./story.ts";
import { openTarget } from "./target.ts";
import type { Message } from "./target.ts";
import { STEPS, killWhile, openTicking } from "./ticking.ts";

/** Of each tenant's cron. */
const MINUTES = Number(process.env["HOLDPOINT_HOOKS_MINUTES"] ?? 95);
const SEED = Number(process.env["HOLDPOINT_HOOKS_SEED"] ?? randomInt(2 ** 31));
/** The first message of every so many has its senders killed, twice at most: what they had in hand waits for a minute. */
const DEADLY = 8;
const MOST_DEADLY = 2;
/** An endpoint counts for every process from then on. */
const KNOWN_MS = 5_500;
const BETWEEN_KILLS_MS = 600;
/** Where both workers are killed at once nobody takes a lease until they have started again, which a busy machine lets take long. */
const NOBODY_MS = 30_000;

const engines = fleetEngines().filter(({ name }) => name !== "dynalite");
const COMMAND = `HOLDPOINT_HOOKS_SEED=${SEED} HOLDPOINT_HOOKS_MINUTES=${MINUTES} HOLDPOINT_NIGHTLY=1 npx vitest run test/crash/hooks.nightly.test.ts`;
console.log(COMMAND);

const ENV = { HOLDPOINT_WEBHOOK_HOSTS: "127.0.0.1" };

/** The secret of an endpoint that is told of every end at this path. */
async function register(crew: Crew, tenant: Tenant, url: string): Promise<string> {
  const { send } = createPatient({ url: crew.url, headers: crew.headers(tenant) });
  const { body } = await send("/v1/webhooks", { body: { url, events: ["run.ended"] }, answers: [200, 201] });
  return String(body["secret"]);
}

/** A fleet whose ends are told to an address that kills the senders of some messages, once it has them. */
async function openStage(engine: FleetEngine) {
  await using opening = new AsyncDisposableStack();
  const secrets = new Map<string, string>();
  const seen = new Set<string>();
  const deadly = new Set<string>();
  const crews: Crew[] = [];
  const onMessage = async ({ id }: Message): Promise<boolean> => {
    const isFirst = !seen.has(id);
    seen.add(id);
    if (!isFirst || seen.size % DEADLY !== 0 || deadly.size >= MOST_DEADLY) return true;
    deadly.add(id);
    await Promise.all(crews.flatMap((one) => one.workers().map((worker) => one.kill(worker))));
    return false;
  };
  const target = opening.use(await openTarget({ secretOf: (path) => secrets.get(path.slice(1)), onMessage }));
  const crew = opening.use(await openCrew(engine, { workers: 2, env: ENV }));
  crews.push(crew);
  for (const tenant of TENANTS) secrets.set(tenant, await register(crew, tenant, `${target.url}/${tenant}`));
  await sleep(KNOWN_MS);
  const opened = opening.move();
  return { crew, target, deadly, random: createRandom(SEED), [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

describe.each(engines)("kill -9 of who fires and who sends, on $name", (engine) => {
  it("fires each due time once, and tells of each end, always under one id", { timeout: 1_200_000 }, async () => {
    await using stage = await openStage(engine);
    const { crew, target, deadly } = stage;
    await using ticking = await openTicking(crew);
    const missed = await Promise.all(TENANTS.map((tenant) => ticking.miss(tenant, MINUTES)));
    const isBusy = async (): Promise<boolean> =>
      (await Promise.all(missed.map(({ isFiring }) => isFiring()))).includes(true);
    await killWhile(crew, isBusy, () => stage.random.int(BETWEEN_KILLS_MS));
    const told = (await Promise.all(missed.map(({ over }) => over()))).flat();
    for (const one of told) await restOf(crew, one);
    const runs = told.flatMap((one) => one.runs);
    const timesTold = (what: Partial<Message>): number =>
      target.messages().filter((one) => one.run === what.run || one.id === what.id).length;
    const allTold = (): boolean =>
      runs.every((run) => timesTold({ run }) > 0) && [...deadly].every((id) => timesTold({ id }) > 1);
    // What does not come is found below.
    await patiently("every end to be told", () => allTold() || undefined).catch(() => undefined);

    const { violations } = await judge(crew, {
      test: "R2 webhooks and schedules",
      engine: engine.name,
      seed: SEED,
      size: `${MINUTES} due times of each tenant`,
      told,
      found: [...mistold(runs, target.messages(), target.forged()), ...(await uninvited(crew, told))],
      unwritableMs: NOBODY_MS,
      stepsNeeded: told.length * STEPS,
      counts: {
        "due times": told.length,
        messages: target.messages().length,
        "senders killed by the target": deadly.size,
      },
      command: COMMAND,
    });
    expect(violations).toEqual([]);
    expect(told.length).toBeGreaterThanOrEqual(MINUTES * TENANTS.length);
    expect(deadly.size).toBe(MOST_DEADLY);
    expect([...deadly].map((id) => timesTold({ id }) > 1)).toEqual([...deadly].map(() => true));
  });
});

const INVARIANT = "the end of a run is told at least once, always under one id of its own";

function mistold(runs: readonly string[], messages: readonly Message[], forged: readonly string[]) {
  const found = forged.map((what): Violation => ({ invariant: INVARIANT, what: `not verified: ${what}` }));
  const runOf = new Map(messages.map(({ id, run }) => [id, run]));
  for (const run of runs) {
    const ids = new Set(messages.filter((message) => message.run === run).map(({ id }) => id));
    const isOne = ids.size === 1 && [...ids].every((id) => runOf.get(id) === run);
    if (!isOne) found.push({ invariant: INVARIANT, what: `run ${run} was told under ${ids.size} ids` });
  }
  return found;
}

/** Threads that no due time asked for. */
async function uninvited(crew: Crew, told: readonly Told[]): Promise<readonly Violation[]> {
  const found: Violation[] = [];
  for (const tenant of TENANTS) {
    const client = new Client({ apiUrl: crew.url(), defaultHeaders: crew.headers(tenant) });
    const threads = await client.threads.search({ limit: 1000 });
    const asked = new Set(told.map(({ threadId }) => threadId));
    for (const { thread_id: id } of threads)
      if (!asked.has(id)) found.push({ invariant: "each due time has one run", what: `thread ${id} is of none` });
    const own = told.filter((one) => one.tenant === tenant);
    if (threads.length !== own.length)
      found.push({ invariant: "each due time has one run", what: `${threads.length} threads for ${own.length}` });
  }
  return found;
}
