/**
 * R5. A table that is away again and again: for up to two seconds every few, and, at night, once for a minute. Connections
 * break, or nothing ever comes back. All runs end, each step counted once; the API says 503 at once, and when it is over.
 */
import { randomInt, randomUUID } from "node:crypto";
import { expect, it } from "vitest";
import { TENANTS, openCrew } from "../crash/crew.ts";
import type { Crew, Tenant } from "../crash/crew.ts";
import type { Told } from "../crash/evidence.ts";
import type { Violation } from "../crash/invariants.ts";
import { judge } from "../crash/judge.ts";
import { restOf } from "../crash/story.ts";
import { throughProxy } from "../crash/through-proxy.ts";
import { toldOfWalks } from "../crash/walking.ts";
import type { Fate } from "../support/dropping-proxy.ts";
import { fleetEngines } from "../support/fleet.ts";
import { atRate, createCaller, percentile } from "../support/load.ts";
import type { Answer, Caller } from "../support/load.ts";
import { until } from "../support/process.ts";

const NIGHTLY = process.env["HOLDPOINT_NIGHTLY"] === "1";
/** Milliseconds: how long the table is there, and how long it is away. Alternately connections break and nothing comes back. */
const SHORT: readonly (readonly [there: number, away: number])[] = Array.from({ length: NIGHTLY ? 12 : 2 }, () => [
  NIGHTLY ? randomInt(5000, 10_000) : 1500,
  NIGHTLY ? randomInt(200, 2000) : 2000,
]);
const OUTAGES = NIGHTLY ? [...SHORT, [5000, 60_000] as const] : SHORT;
const MOST_AWAY_MS = 30_000;
const RUNS_A_SECOND = 3;
const STEPS = 6;
const WALK = { name: "away", steps: STEPS, pauseMs: 200, taken: 0 };
const RUN = { assistant_id: "walk", input: WALK, if_not_exists: "create", stream_mode: [] };
const LEASE_MS = 3_000;
const TRIES = 400;
const RETRY_MS = 250;
/** Between two looks at what the process says of itself. */
const LOOK_MS = 25;
const HEAL_MS = 60_000;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Asked {
  readonly tenant: Tenant;
  readonly threadId: string;
  readonly runId: string;
}

interface Asking {
  readonly crew: Crew;
  readonly caller: Caller;
  /** Answers of 503, to those who asked for runs. */
  readonly refusals: Answer[];
}

/** Asks until the run is accepted, as a client with an idempotency key may. */
async function accepted({ crew, caller, refusals }: Asking, tenant: Tenant): Promise<Asked> {
  const threadId = randomUUID();
  const headers = { ...crew.headers(tenant), "idempotency-key": threadId };
  for (let n = 0; n < TRIES; n++) {
    const answer = await caller.call("POST", `/threads/${threadId}/runs`, RUN, headers);
    if (answer.status === 200)
      return { tenant, threadId, runId: (JSON.parse(answer.text) as { run_id: string }).run_id };
    // On a machine that has much else to do, the process may also be late.
    expect([429, 503]).toContain(answer.status);
    if (answer.status === 503) refusals.push(answer);
    await pause(RETRY_MS);
  }
  throw new Error("the run was never accepted");
}

/** Waits until the run has ended, as its client is told. */
async function ended({ crew, caller }: Asking, { tenant, threadId, runId }: Asked): Promise<Told> {
  let text = "";
  const isOver = async () => {
    ({ text } = await caller.call("GET", `/threads/${threadId}/runs/${runId}`, undefined, crew.headers(tenant)));
    const { status } = JSON.parse(text) as { readonly status: string };
    return status !== "pending" && status !== "running";
  };
  await until("the run ends", isOver, 120_000).catch((error: unknown) => {
    throw new Error(`it is ${text}`, { cause: error });
  });
  await restOf(crew, { tenant, threadId });
  return toldOfWalks({ tenant, threadId }, [{ runId, name: WALK.name, steps: STEPS }]);
}

/** What was seen of the outages: of each, how long it took until the process said so, and until it said that it was over. */
interface Outages {
  readonly said: ReadonlySet<string>;
  readonly noticedMs: readonly number[];
  readonly healedMs: readonly number[];
}

/** Lets the table be there and away by turns. */
async function takeAway({ caller, refusals }: Asking, setFate: (fate: Fate | undefined) => void): Promise<Outages> {
  const said = new Set<string>();
  const [noticedMs, healedMs]: [number[], number[]] = [[], []];
  const isReady = async (): Promise<boolean> => {
    const [ok, ready] = await Promise.all([caller.call("GET", "/ok"), caller.call("GET", "/ready")]);
    for (const name of [`ok ${ok.status}`, `ready ${ready.status}`]) said.add(name);
    return ready.status === 200;
  };
  for (const [n, [thereMs, awayMs]] of OUTAGES.entries()) {
    await pause(thereMs);
    setFate({ lose: n % 2 === 0 ? "request" : "silence" });
    const from = performance.now();
    let noticed: number | undefined;
    // Whoever is slow is given the time to notice.
    const isNoticed = (): boolean => refusals.length > 0 && said.has("ready 503");
    while (performance.now() - from < (isNoticed() ? awayMs : MOST_AWAY_MS)) {
      if (!(await isReady())) noticed ??= performance.now() - from;
      await pause(LOOK_MS);
    }
    setFate(undefined);
    const back = performance.now();
    if (noticed === undefined) continue;
    noticedMs.push(noticed);
    await until("the process is ready again", isReady, HEAL_MS);
    healedMs.push(performance.now() - back);
  }
  return { said, noticedMs, healedMs };
}

/** What the process said that it should not have, or did not say. */
function sayings({ said }: Outages, refusals: readonly Answer[], crew: Crew): readonly Violation[] {
  const invariant = "the process says what it can do";
  const lateAnswers = refusals.filter(({ retryAfter }) => !(Number(retryAfter) >= 1));
  return [
    ...lateAnswers.map(() => ({ invariant, what: "a 503 did not say when to ask again" })),
    ...(refusals.length > 0 ? [] : [{ invariant, what: "nobody was answered 503" }]),
    ...(said.has("ok 503") ? [{ invariant, what: "/ok said that the process is not alive" }] : []),
    ...(said.has("ready 503") ? [] : [{ invariant, what: "/ready never said that the table is away" }]),
    ...crew
      .lines()
      .filter((line) => line.includes("nobody handled"))
      .map((what) => ({ invariant: "every error is handled", what })),
  ];
}

it("a table that is away again and again", { timeout: 900_000 }, async () => {
  const engine = fleetEngines().at(-1);
  if (!engine || engine.name === "one SQLite file")
    throw new Error("there is no engine that speaks DynamoDB's protocol");
  let fate: Fate | undefined;
  await using crew = await openCrew(
    throughProxy(engine, () => fate),
    { workers: 2, leaseMs: LEASE_MS },
  );
  await Promise.all(crew.workers().map(({ ready }) => ready));
  using caller = createCaller(crew.url());
  const asking: Asking = { crew, caller, refusals: [] };

  const over = new AbortController();
  const ask = async (): Promise<readonly Asked[]> => {
    const runs: Promise<Asked>[] = [];
    while (!over.signal.aborted)
      await atRate(RUNS_A_SECOND, 1, async () => {
        runs.push(accepted(asking, TENANTS[runs.length % TENANTS.length] ?? "acme"));
      });
    return Promise.all(runs);
  };
  const takenAway = takeAway(asking, (next) => void (fate = next)).finally(() => over.abort());
  const [outages, runs] = await Promise.all([takenAway, ask()]);
  const healedAt = performance.now();
  const told: Told[] = [];
  for (const run of runs) told.push(await ended(asking, run));

  const waits = asking.refusals.map(({ ms }) => ms);
  const ms = (value: number): number => Math.round(value * 10) / 10;
  const { violations } = await judge(crew, {
    test: "R5 storage outage",
    engine: engine.name,
    seed: 0,
    size: `${OUTAGES.length} outages, ${OUTAGES.reduce((sum, [, awayMs]) => sum + awayMs, 0) / 1000} s in all`,
    told,
    found: sayings(outages, asking.refusals, crew),
    faults: OUTAGES.length,
    stepsNeeded: told.length * STEPS,
    counts: {
      "answers of 503": waits.length,
      "ms to a 503 (p50)": ms(percentile(waits, 0.5)),
      "ms to a 503 (p99)": ms(percentile(waits, 0.99)),
      "ms until /ready says 503 (longest)": ms(Math.max(0, ...outages.noticedMs)),
      "ms until it says 200 again (longest)": ms(Math.max(0, ...outages.healedMs)),
      "ms until all runs had ended": Math.round(performance.now() - healedAt),
    },
    command: `${NIGHTLY ? "HOLDPOINT_NIGHTLY=1 " : ""}npx vitest run test/e2e/outage.test.ts`,
  });
  expect(violations).toEqual([]);
});
