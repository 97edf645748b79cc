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
import { atRate, createCaller, percentile } from "../support/load.ts";
import type { Answer, Caller } from "../support/load.ts";
import { startTestService, testFolder, until } from "../support/process.ts";

const NIGHTLY = process.env["HOLDPOINT_NIGHTLY"] === "1";
const SECONDS = NIGHTLY ? 60 : 8;
const PEAK_SECONDS = NIGHTLY ? 20 : 4;
/** What the workers can do, by the time that each run takes. */
const RUN_MS = 200;
const CONCURRENCY = 8;
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
    const run = await until("the run ends", async () => {
      const { text } = await caller.call("GET", `/threads/${threadId}/runs/${runId}`);
      const shown = JSON.parse(text) as { readonly status: string; readonly updated_at: string };
      return shown.status !== "pending" && shown.status !== "running" && shown;
    });
    expect(run.status).toBe("success");
    times.push(Date.parse(run.updated_at));
  }
  return times;
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
  const open = await until("all reviews wait", async () => {
    const { text } = await caller.call("GET", "/v1/reviews?limit=200");
    const { items } = JSON.parse(text) as {
      readonly items: readonly { readonly id: string; readonly digest: string }[];
    };
    return items.length === seconds && items;
  });
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

  const waits = load.refusals.map(({ ms }) => ms);
  const p99 = percentile(waits, 0.99);
  console.log(
    `${CAPACITY * 5} runs a second for ${SECONDS} s: ${load.accepted.length} accepted, ${load.refusals.length} refused in ` +
      `${percentile(waits, 0.5).toFixed(1)} ms (p50), ${p99.toFixed(1)} ms (p99); executed ${under.toFixed(1)} a second, ` +
      `at the peak before ${peak.toFixed(1)}`,
  );
  expect(load.others).toEqual([]);
  expect(load.refusals.some(isOfBacklog)).toBe(true);
  for (const { retryAfter, text } of load.refusals) {
    expect(Number(retryAfter)).toBeGreaterThanOrEqual(1);
    expect(JSON.parse(text)).toMatchObject({ detail: expect.stringMatching(/limit: /) as string });
  }
  expect(carriedOn.map(({ status }) => status).filter((status) => status !== 200 && status !== 202)).toEqual([]);
  if (!NIGHTLY) return;
  expect(p99).toBeLessThan(50);
  expect(under).toBeGreaterThanOrEqual(0.9 * peak);
});

it("without a bound everything is taken on, and waits", { timeout: 120_000 }, async () => {
  await using service = await open(1_000_000);
  const { refusals, others } = await offer(service.caller, CAPACITY * 5, 3);
  expect([refusals.filter(isOfBacklog), others]).toEqual([[], []]);
});
