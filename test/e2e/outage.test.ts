/**
 * A table that is away again and again: for up to two seconds every few, and, at night, once for a minute. Connections
 * break, or nothing ever comes back. All runs end, each step once; the API says 503 at once, and when it is over.
 */
import { randomInt, randomUUID } from "node:crypto";
import { join } from "node:path";
import { expect, it } from "vitest";
import { PROJECT } from "../../scripts/demo/process.ts";
import type { Service } from "../../scripts/demo/service.ts";
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

const seconds = (ms: number): number => Math.round(ms / 1000);

it("a table that is away again and again", { timeout: 600_000 }, async () => {
  let fate: Fate | undefined;
  await using service = await open(() => fate);
  const { caller, services } = service;

  const over = new AbortController();
  const away = async (): Promise<readonly string[]> => {
    const seen: string[] = [];
    for (const [n, [thereMs, awayMs]] of OUTAGES.entries()) {
      await new Promise((resolve) => setTimeout(resolve, thereMs));
      fate = { lose: n % 2 === 0 ? "request" : "silence" };
      const until = performance.now() + awayMs;
      while (performance.now() < until) {
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
    const refusals: Answer[] = [];
    const runs: Promise<Asked>[] = [];
    while (!over.signal.aborted) {
      await atRate(RUNS_A_SECOND, 1, async () => void runs.push(accepted(caller, refusals)));
    }
    return { refusals, runs: await Promise.all(runs) };
  };
  const [seen, { refusals, runs }] = await Promise.all([away(), asking()]);
  const healedAt = performance.now();
  await until("the process is ready again", async () => (await caller.call("GET", "/ready")).status === 200);

  for (const { threadId, runId } of runs) {
    const run = await until(
      "the run ends",
      async () => {
        const { text } = await caller.call("GET", `/threads/${threadId}/runs/${runId}`);
        const { status } = JSON.parse(text) as { readonly status: string };
        return status !== "pending" && status !== "running" && status;
      },
      60_000,
    );
    const state = await caller.call("GET", `/threads/${threadId}/state`);
    const { values } = JSON.parse(state.text) as { readonly values: { readonly taken: readonly number[] } };
    expect([run, values.taken.length]).toEqual(["success", STEPS]);
  }
  const waits = refusals.map(({ ms }) => ms);
  const awayMs = OUTAGES.reduce((sum, [, ms]) => sum + ms, 0);
  console.log(
    `${service.name} away ${OUTAGES.length} times, for ${seconds(awayMs)} s: ${runs.length} runs, all ended ` +
      `${seconds(performance.now() - healedAt)} s after the last; ${refusals.length} answers of 503, ` +
      `${percentile(waits, 0.5).toFixed(1)} ms (p50), ${percentile(waits, 0.9).toFixed(1)} ms (p90), ${Math.max(...waits).toFixed(0)} ms at most`,
  );
  expect(refusals.length).toBeGreaterThan(0);
  for (const { retryAfter } of refusals) expect(Number(retryAfter)).toBeGreaterThanOrEqual(1);
  expect(seen.filter((one) => one.startsWith("ok "))).not.toContain("ok 503");
  expect(seen).toContain("ready 503");
  for (const { lines } of services) expect(lines.filter((line) => line.includes("nobody handled"))).toEqual([]);
  if (NIGHTLY) expect(percentile(waits, 0.5)).toBeLessThan(50);
});
