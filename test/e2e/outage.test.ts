/**
 * A table that is away again and again: for up to two seconds every few, and, at night, once for a minute. Connections
 * break, or nothing ever comes back. All runs end, each step once; the API says 503 at once, and when it is over.
 */
import { randomInt, randomUUID } from "node:crypto";
import { join } from "node:path";
import { expect, it } from "vitest";
import { PROJECT } from "../../scripts/demo/process.ts";
import type { Service } from "../../scripts/demo/service.ts";
import { report } from "../crash/report.ts";
import { startDroppingProxy } from "../support/dropping-proxy.ts";
import type { Fate } from "../support/dropping-proxy.ts";
import { dynamoEngines } from "../support/engines.ts";
import { atRate, createCaller, percentile } from "../support/load.ts";
import type { Answer, Caller } from "../support/load.ts";
import { startTestService, testFolder, until } from "../support/process.ts";

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
const RUN = { assistant_id: "steps", input: { steps: STEPS, pauseMs: 200 }, if_not_exists: "create", stream_mode: [] };
const TRIES = 400;
const RETRY_MS = 250;

/** A table behind a proxy, an API process and two workers on it. */
async function open(fateOf: () => Fate | undefined) {
  await using opening = new AsyncDisposableStack();
  const engine = dynamoEngines().at(-1);
  if (!engine) throw new Error("there is no engine that speaks DynamoDB's protocol");
  const { place } = opening.use(await engine.open());
  const proxy = opening.use(await startDroppingProxy(place.endpoint, fateOf));
  const folder = opening.use(await testFolder());
  const env = {
    HOLDPOINT_CONFIG: join(PROJECT, "test/e2e/graphs/langgraph.json"),
    HOLDPOINT_TABLE: place.tableName,
    DYNAMODB_ENDPOINT: proxy.endpoint,
    HOLDPOINT_LEASE_MS: "3000",
  };
  const start = (role: "api" | "worker"): Service =>
    opening.use(startTestService({ role, dataDir: join(folder.path, "data"), env }));
  const api = start("api");
  const services = [api, start("worker"), start("worker")];
  const ready = await Promise.all(services.map((service) => service.ready));
  const caller = opening.use(createCaller(ready[0]?.url ?? ""));
  const opened = opening.move();
  return { name: engine.name, caller, services, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

interface Asked {
  readonly threadId: string;
  readonly runId: string;
}

/** Asks until the run is accepted, as a client with an idempotency key may. */
async function accepted(caller: Caller, refusals: Answer[]): Promise<Asked> {
  const threadId = randomUUID();
  const headers = { "idempotency-key": threadId };
  for (let n = 0; n < TRIES; n++) {
    const answer = await caller.call("POST", `/threads/${threadId}/runs`, RUN, headers);
    if (answer.status === 200) return { threadId, runId: (JSON.parse(answer.text) as { run_id: string }).run_id };
    // On a machine that has much else to do, the process may also be late.
    expect([429, 503]).toContain(answer.status);
    if (answer.status === 503) refusals.push(answer);
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  throw new Error("the run was never accepted");
}

/** How the run ended, and how many steps it has in the state of its thread. */
async function endOf(caller: Caller, { threadId, runId }: Asked) {
  let text = "";
  const ended = async () => {
    ({ text } = await caller.call("GET", `/threads/${threadId}/runs/${runId}`));
    const { status } = JSON.parse(text) as { readonly status: string };
    return status !== "pending" && status !== "running" && status;
  };
  const state = async () => {
    const { status, text } = await caller.call("GET", `/threads/${threadId}/state`);
    return status === 200 && (JSON.parse(text) as { readonly values: { readonly taken: readonly number[] } }).values;
  };
  const status = await until("the run ends", ended, 120_000).catch((error: unknown) => {
    throw new Error(`it is ${text}`, { cause: error });
  });
  return { status, steps: (await until("its state is read", state)).taken.length };
}

const seconds = (ms: number): number => Math.round(ms / 1000);

it("a table that is away again and again", { timeout: 600_000 }, async () => {
  let fate: Fate | undefined;
  await using service = await open(() => fate);
  const { caller, services } = service;

  const over = new AbortController();
  const refusals: Answer[] = [];
  const away = async (): Promise<readonly string[]> => {
    const seen: string[] = [];
    for (const [n, [thereMs, awayMs]] of OUTAGES.entries()) {
      await new Promise((resolve) => setTimeout(resolve, thereMs));
      fate = { lose: n % 2 === 0 ? "request" : "silence" };
      const from = performance.now();
      const isNoticed = (): boolean => refusals.length > 0 && seen.includes("ready 503");
      // Whoever is slow is given the time to notice.
      while (performance.now() - from < (isNoticed() ? awayMs : MOST_AWAY_MS)) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        const [ok, ready] = await Promise.all([caller.call("GET", "/ok"), caller.call("GET", "/ready")]);
        seen.push(`ok ${ok.status}`, `ready ${ready.status}`);
      }
      fate = undefined;
    }
    over.abort();
    return seen;
  };
  const asking = async () => {
    const runs: Promise<Asked>[] = [];
    while (!over.signal.aborted) {
      await atRate(RUNS_A_SECOND, 1, async () => void runs.push(accepted(caller, refusals)));
    }
    return Promise.all(runs);
  };
  const [seen, runs] = await Promise.all([away(), asking()]);
  const healedAt = performance.now();
  await until("the process is ready again", async () => (await caller.call("GET", "/ready")).status === 200, 60_000);

  const ends = [];
  for (const run of runs) ends.push(await endOf(caller, run));
  const tookMs = performance.now() - healedAt;
  const waits = refusals.map(({ ms }) => ms);
  const awayMs = OUTAGES.reduce((sum, [, ms]) => sum + ms, 0);
  console.log(
    `${service.name} away ${OUTAGES.length} times, for ${seconds(awayMs)} s: ${runs.length} runs, all ended ` +
      `${seconds(tookMs)} s after the last; ${refusals.length} answers of 503, ` +
      `${percentile(waits, 0.5).toFixed(1)} ms (p50), ${percentile(waits, 0.9).toFixed(1)} ms (p90), ${Math.max(...waits).toFixed(0)} ms at most`,
  );
  const others = ends.filter(({ status }) => status !== "success");
  report({
    test: "R5 storage outage",
    engine: service.name,
    seed: 0,
    runs: runs.length,
    faults: OUTAGES.length,
    lost: others.length,
    doubled: ends.reduce((sum, { steps }) => sum + Math.max(0, steps - STEPS), 0),
    violations: others.length,
    counts: { "answers of 503": refusals.length, "seconds away": seconds(awayMs), "seconds to end": seconds(tookMs) },
    command: `${NIGHTLY ? "HOLDPOINT_NIGHTLY=1 " : ""}npx vitest run test/e2e/outage.test.ts`,
  });
  expect(ends).toEqual(runs.map(() => ({ status: "success", steps: STEPS })));
  expect(refusals.length).toBeGreaterThan(0);
  for (const { retryAfter } of refusals) expect(Number(retryAfter)).toBeGreaterThanOrEqual(1);
  expect(seen.filter((one) => one.startsWith("ok "))).not.toContain("ok 503");
  expect(seen).toContain("ready 503");
  for (const { lines } of services) expect(lines.filter((line) => line.includes("nobody handled"))).toEqual([]);
  if (NIGHTLY) expect(percentile(waits, 0.5)).toBeLessThan(50);
});
