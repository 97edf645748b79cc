/**
 * Five times as many runs as the workers can execute. What is not taken on is refused at once; what was taken on is done
 * at full pace; reads, decisions and cancels go on as if nothing were. Short and without figures unless it is night.
 */
import { randomUUID } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { PROJECT } from "../../scripts/demo/process.ts";
import type { Service } from "../../scripts/demo/service.ts";
import { report } from "../crash/report.ts";
import { atRate, createCaller, percentile } from "../support/load.ts";
import type { Answer, Caller } from "../support/load.ts";
import { startTestService, testFolder, until } from "../support/process.ts";

const NIGHTLY = process.env["HOLDPOINT_NIGHTLY"] === "1";
const SECONDS = NIGHTLY ? 60 : 8;
const PEAK_SECONDS = NIGHTLY ? 20 : 4;
/** What the workers can do, by the time that each run takes. */
const RUN_MS = NIGHTLY ? 200 : 500;
const CONCURRENCY = NIGHTLY ? 8 : 4;
const CAPACITY = (CONCURRENCY * 1000) / RUN_MS;
const MAX_BACKLOG = 4 * CAPACITY;

interface Accepted {
  readonly threadId: string;
  readonly runId: string;
}

interface Overloaded extends AsyncDisposable {
  readonly caller: Caller;
}

async function open(maxBacklog: number): Promise<Overloaded> {
  await using opening = new AsyncDisposableStack();
  const folder = opening.use(await testFolder());
  const pathOf = (file: string): string => `${join(PROJECT, "test/e2e/graphs", file)}:graph`;
  const config = join(folder.path, "langgraph.json");
  await writeFile(config, JSON.stringify({ graphs: { steps: pathOf("steps.ts"), asks: pathOf("asks.ts") } }));
  const dataDir = join(folder.path, "data");
  await mkdir(dataDir);
  const env = {
    HOLDPOINT_CONFIG: config,
    HOLDPOINT_CONCURRENCY: String(CONCURRENCY),
    HOLDPOINT_MAX_BACKLOG: String(maxBacklog),
    HOLDPOINT_MAX_TENANT_BACKLOG: String(maxBacklog),
  };
  const start = (role: "api" | "worker"): Service => opening.use(startTestService({ role, dataDir, env }));
  const { url = "" } = await start("api").ready;
  await start("worker").ready;
  const caller = opening.use(createCaller(url));
  const opened = opening.move();
  return { caller, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

const RUN = { assistant_id: "steps", input: { steps: 1, pauseMs: RUN_MS }, if_not_exists: "create", stream_mode: [] };

/** Asks for runs at this pace; who was accepted, and how everybody was answered. */
async function offer(caller: Caller, perSecond: number, seconds: number) {
  const accepted: Accepted[] = [];
  const refusals: Answer[] = [];
  const others: Answer[] = [];
  await atRate(perSecond, seconds, async () => {
    const threadId = randomUUID();
    const answer = await caller.call("POST", `/threads/${threadId}/runs`, RUN);
    if (answer.status === 200) {
      accepted.push({ threadId, runId: (JSON.parse(answer.text) as { readonly run_id: string }).run_id });
    } else (answer.status === 429 ? refusals : others).push(answer);
  });
  return { accepted, refusals, others };
}

/** When each of the runs ended, in milliseconds since the epoch; waits for those that have not. */
async function ends(caller: Caller, runs: readonly Accepted[]): Promise<readonly number[]> {
  const times: number[] = [];
  for (const { threadId, runId } of runs) {
    const run = await until(
      "the run ends",
      async () => {
        const { status, text } = await caller.call("GET", `/threads/${threadId}/runs/${runId}`);
        const shown = JSON.parse(text) as { readonly status: string; readonly updated_at: string };
        return status === 200 && shown.status !== "pending" && shown.status !== "running" && shown;
      },
      60_000,
    );
    expect(run.status).toBe("success");
    times.push(Date.parse(run.updated_at));
  }
  return times;
}

/** How often the one step of each run is in the state of its thread. */
async function stepsOf(caller: Caller, runs: readonly Accepted[]): Promise<readonly number[]> {
  const steps: number[] = [];
  for (const { threadId } of runs) {
    const { text } = await caller.call("GET", `/threads/${threadId}/state`);
    const { values } = JSON.parse(text) as { readonly values: { readonly taken?: readonly number[] } };
    steps.push(values.taken?.length ?? 0);
  }
  return steps;
}

/** On a machine that has much else to do, the process itself may be what cannot keep up. */
const isOfBacklog = ({ text }: Answer): boolean => text.includes("limit: backlog");

/** Runs a second between two moments. */
const pace = (times: readonly number[], from: number, to: number): number =>
  times.filter((time) => time >= from && time < to).length / ((to - from) / 1000);

/** What must go on, once a second each: a decision, a cancel, two reads. */
async function carryOn(caller: Caller, seconds: number): Promise<() => Promise<readonly Answer[]>> {
  const runs = await Promise.all(
    Array.from({ length: 2 * seconds }, async (_, n) => {
      const threadId = randomUUID();
      const [graph, more] = n % 2 === 0 ? ["asks", {}] : ["steps", { after_seconds: 3600 }];
      const body = { ...RUN, assistant_id: graph, ...more };
      const { text } = await caller.call("POST", `/threads/${threadId}/runs`, body);
      return { graph, threadId, runId: (JSON.parse(text) as { readonly run_id: string }).run_id };
    }),
  );
  const allReviews = async () => {
    const { text } = await caller.call("GET", "/v1/reviews?limit=200");
    const { items } = JSON.parse(text) as {
      readonly items: readonly { readonly id: string; readonly digest: string }[];
    };
    return items.length === seconds && items;
  };
  const open = await until("all reviews wait", allReviews, 60_000);
  const asleep = runs.filter(({ graph }) => graph === "steps");
  return async () => {
    const answers: Answer[] = [];
    await atRate(1, seconds, async (n) => {
      const { id = "", digest = "" } = open[n] ?? {};
      const { threadId = "", runId = "" } = asleep[n] ?? {};
      answers.push(
        ...(await Promise.all([
          caller.call("POST", `/v1/reviews/${id}/decisions`, { type: "value", value: n, digest }),
          caller.call("POST", `/threads/${threadId}/runs/${runId}/cancel`),
          caller.call("GET", `/threads/${threadId}`),
          caller.call("GET", "/v1/reviews"),
        ])),
      );
    });
    return answers;
  };
}

interface Overload {
  /** Of each run that was accepted, those in its state. */
  readonly steps: readonly number[];
  readonly load: { readonly refusals: readonly Answer[]; readonly others: readonly Answer[] };
  readonly paces: Readonly<Record<string, number>>;
}

/** Milliseconds in which this share of the refusals came. */
const refusedIn = ({ refusals }: Overload["load"], share: number): number =>
  percentile(
    refusals.map(({ ms }) => ms),
    share,
  );

function prove({ steps, load, paces }: Overload): void {
  const counts = {
    "ms to refuse (p50)": refusedIn(load, 0.5),
    "ms to refuse (p99)": refusedIn(load, 0.99),
    ...paces,
  };
  report({
    test: "R9 overload",
    engine: "one SQLite file",
    seed: 0,
    runs: steps.length,
    faults: load.refusals.length,
    lost: steps.filter((taken) => taken === 0).length,
    doubled: steps.filter((taken) => taken > 1).length,
    violations: load.others.length,
    counts: Object.fromEntries(Object.entries(counts).map(([what, count]) => [what, Number(count.toFixed(1))])),
    command: `${NIGHTLY ? "HOLDPOINT_NIGHTLY=1 " : ""}npx vitest run test/e2e/overload.test.ts`,
  });
}

it(`five times as many runs as can be executed, for ${SECONDS} s`, { timeout: 300_000 }, async () => {
  await using service = await open(MAX_BACKLOG);
  const { caller } = service;

  const peakFrom = Date.now();
  const first = await offer(caller, CAPACITY * 1.5, PEAK_SECONDS);
  const peakTo = Date.now();
  const peak = pace(await ends(caller, first.accepted), peakFrom + 1000, peakTo);

  const vital = await carryOn(caller, SECONDS);
  const from = Date.now();
  const [load, carriedOn] = await Promise.all([offer(caller, CAPACITY * 5, SECONDS), vital()]);
  const to = Date.now();
  const under = pace(await ends(caller, load.accepted), from + 1000, to);

  const steps = await stepsOf(caller, [...first.accepted, ...load.accepted]);
  prove({ steps, load, paces: { "a second": under, "a second at the peak before": peak } });
  expect(steps.filter((taken) => taken !== 1)).toEqual([]);
  expect(load.others).toEqual([]);
  expect(load.refusals.some(isOfBacklog)).toBe(true);
  for (const { retryAfter, text } of load.refusals) {
    expect(Number(retryAfter)).toBeGreaterThanOrEqual(1);
    expect(JSON.parse(text)).toMatchObject({ detail: expect.stringMatching(/limit: /) as string });
  }
  expect(carriedOn.map(({ status }) => status).filter((status) => status !== 200 && status !== 202)).toEqual([]);
  if (!NIGHTLY) return;
  expect(refusedIn(load, 0.99)).toBeLessThan(50);
  expect(under).toBeGreaterThanOrEqual(0.9 * peak);
});

it("without a bound everything is taken on, and waits", { timeout: 120_000 }, async () => {
  await using service = await open(1_000_000);
  const { refusals, others } = await offer(service.caller, CAPACITY * 5, 3);
  expect([refusals.filter(isOfBacklog), others]).toEqual([[], []]);
});
