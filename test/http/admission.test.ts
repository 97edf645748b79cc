import { beforeEach, describe, expect, it } from "vitest";
import { HoldpointError } from "../../src/core/errors.ts";
import { systemIds } from "../../src/core/ids.ts";
import { createAdmission } from "../../src/http/admission.ts";
import type { Admission, AdmissionOptions } from "../../src/http/admission.ts";
import { RANKINGS } from "../../src/http/ranks.ts";
import type { Principal } from "../../src/core/principal.ts";
import { createRegistry } from "../../src/langgraph/registry.ts";
import type { Assistant, RunResult } from "../../src/runtime/runtime.ts";
import { eventually } from "../support/eventually.ts";
import { createFakeRuntime } from "../support/fake-runtime.ts";
import type { FakeRuntime } from "../support/fake-runtime.ts";
import { createTestGraphs } from "../support/graphs.ts";
import { startApp } from "../support/http.ts";
import type { TestApp } from "../support/http.ts";
import { allRoutes } from "../support/routes.ts";

const RUN = { assistant_id: "desk", input: {} };
const RESUME = { assistant_id: "desk", command: { resume: { type: "approve" } } };
const DECISION = { type: "approve", digest: "d1" };
const THREAD = "0190a6c4-7b1e-7000-8000-000000000001";
const OTHER = "0190a6c4-7b1e-7000-8000-000000000002";

/** Everything that decides who is let in, as a test sets it. */
interface Load {
  isThere: boolean;
  delayMs: number;
  isFull: boolean;
  letIn: number;
}

let load: Load;
let fake: FakeRuntime;
let admission: Admission;

beforeEach(() => {
  load = { isThere: true, delayMs: 0, isFull: false, letIn: 0 };
  fake = createFakeRuntime();
  const options: AdmissionOptions = {
    limits: { requestsInFlight: 10, eventLoopDelayMs: 100 },
    backlog: {
      refusal: () =>
        load.isFull ? new HoldpointError("limit", "the backlog is full", { retryAfterMs: 3000 }) : undefined,
      letIn: () => void load.letIn++,
    },
    table: {
      get isThere() {
        return load.isThere;
      },
    },
    loop: {
      get delayMs() {
        return load.delayMs;
      },
    },
    ids: systemIds,
  };
  admission = createAdmission(options);
});

const open = () => startApp({ runtime: fake.runtime, admission });

/** One request of each rank, and what it was answered. */
async function statuses(
  app: TestApp,
): Promise<Readonly<Record<"run" | "read" | "resume" | "decision" | "cancel", number>>> {
  const status = async (...[method, path, json]: [string, string, unknown?]) =>
    (await app.call(method, path, json === undefined ? {} : { json })).status;
  return {
    run: await status("POST", `/threads/${THREAD}/runs`, RUN),
    read: await status("GET", `/v1/reviews`),
    resume: await status("POST", `/threads/${THREAD}/runs`, RESUME),
    decision: await status("POST", `/v1/reviews/${THREAD}.0123/decisions`, DECISION),
    // There is no such run: it was let in.
    cancel: await status("POST", `/threads/${THREAD}/runs/${OTHER}/cancel`),
  };
}

const ALL_LET_IN = { run: 200, read: 200, resume: 200, decision: 200, cancel: 404 };

/** That many requests in flight, of the rank that is let in longest. */
const occupy = (n: number): readonly Disposable[] =>
  Array.from({ length: n }, () => admission.enter("vital", "acme" as never)); // a tenant that nobody looks at

describe("more and more requests in flight", () => {
  it("shed new runs first, then reads, and decisions, resumes and cancels last", async () => {
    await using app = await open();
    expect(await statuses(app)).toEqual(ALL_LET_IN);
    occupy(5);
    expect(await statuses(app)).toEqual(ALL_LET_IN);
    occupy(1);
    expect(await statuses(app)).toEqual({ ...ALL_LET_IN, run: 429 });
    occupy(2);
    expect(await statuses(app)).toEqual({ ...ALL_LET_IN, run: 429, read: 429 });
    occupy(2);
    expect(await statuses(app)).toEqual({ run: 429, read: 429, resume: 429, decision: 429, cancel: 429 });
  });

  it("are those that are worked on: not those that have ended, nor those that only wait or stream", async () => {
    await using app = await open();
    const later = Promise.withResolvers<RunResult>();
    fake.outcome = async () => later.promise;
    const waiting = Array.from({ length: 20 }, () => app.call("POST", `/threads/${THREAD}/runs/wait`, { json: RUN }));
    await eventually(() => fake.accepted.length === 20);
    expect(await statuses(app)).toEqual(ALL_LET_IN);
    const run = { status: "success" } as RunResult["run"]; // all that its answer looks at
    later.resolve({ kind: "values", run, values: {} });
    expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual(Array<number>(20).fill(200));
    const leaving = occupy(10);
    expect((await statuses(app)).decision).toBe(429);
    for (const one of leaving) one[Symbol.dispose]();
    expect(await statuses(app)).toEqual(ALL_LET_IN);
  });
});

describe("an event loop that is late", () => {
  it("sheds new runs, then reads, and never a decision, a resume or a cancel", async () => {
    await using app = await open();
    load.delayMs = 99;
    expect(await statuses(app)).toEqual(ALL_LET_IN);
    load.delayMs = 100;
    expect(await statuses(app)).toEqual({ ...ALL_LET_IN, run: 429 });
    load.delayMs = 300;
    expect(await statuses(app)).toEqual({ ...ALL_LET_IN, run: 429, read: 429 });
    load.delayMs = 100_000;
    expect(await statuses(app)).toEqual({ ...ALL_LET_IN, run: 429, read: 429 });
  });
});

describe("a backlog that is full", () => {
  it("sheds new runs and nothing else, and those let in are counted", async () => {
    await using app = await open();
    await statuses(app);
    expect(load.letIn).toBe(2); // the run, and the resume, of which only its body would have told
    load.isFull = true;
    expect(await statuses(app)).toEqual({ ...ALL_LET_IN, run: 429 });
    expect(load.letIn).toBe(2);
  });
});

describe("a table that is away", () => {
  it("is answered with 503 at once, whatever was asked, and the process is alive all the same", async () => {
    load.isThere = false;
    await using app = await open();
    expect(await statuses(app)).toEqual({ run: 503, read: 503, resume: 503, decision: 503, cancel: 503 });
    expect((await app.call("GET", "/ok")).status).toBe(200);
    expect((await app.call("GET", "/info")).status).toBe(200);
    const answer = await app.call("POST", "/runs", { json: RUN });
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect(await answer.json()).toMatchObject({ detail: "the table cannot be reached" });
    expect(fake.accepted).toEqual([]);
  });
});

describe("a refusal", () => {
  it("names the bound and when to come back, as each surface does", async () => {
    await using app = await open();
    occupy(8);
    const peers = await app.call("POST", "/runs", { json: RUN });
    expect(peers.status).toBe(429);
    expect(Number(peers.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect(Number(peers.headers.get("retry-after"))).toBeLessThanOrEqual(3);
    expect(await peers.json()).toEqual({
      detail:
        "8 requests are being worked on, and from 6 on new runs are refused " +
        "(limit: requests in flight, 10; setting: HOLDPOINT_MAX_REQUESTS)",
      trace_id: peers.headers.get("x-trace-id"),
    });
    const own = await app.call("GET", "/v1/reviews");
    expect(own.headers.get("content-type")).toBe("application/problem+json; charset=utf-8");
    expect(await own.json()).toMatchObject({ status: 429, limit: "requests in flight", value: 10 });
  });

  it("comes before the body is read, and after it is known who asks", async () => {
    await using app = await open();
    load.isFull = true;
    const body = "not JSON at all";
    const headers = { "content-type": "application/json" };
    expect((await app.call("POST", "/runs", { body, headers })).status).toBe(429);
    expect((await app.call("POST", "/runs", { body, headers, as: "nobody" })).status).toBe(401);
  });

  it("reads only small bodies to see whether they resume", async () => {
    await using app = await open();
    load.isFull = true;
    const large = { ...RESUME, command: { resume: "x".repeat(20_000) } };
    const path = `/threads/${THREAD}/runs/wait`;
    expect((await app.call("POST", path, { json: large })).status).toBe(429);
    expect((await app.call("POST", path, { json: RESUME })).status).toBe(200);
    expect((await app.call("POST", path, { json: { ...RESUME, command: {} } })).status).toBe(429);
    expect((await app.call("POST", "/runs/wait", { json: RESUME })).status).toBe(429);
    load.isFull = false;
    expect((await app.call("POST", path, { json: large })).status).toBe(200);
  });
});

describe("a pool that is full", () => {
  it("sheds the runs of its graphs, where others have room", async () => {
    const full = new HoldpointError("limit", "the pool is full");
    const registered = createTestGraphs().registry.list();
    const graphs = createRegistry(
      registered.map((graph) => (graph.graphId === "gated" ? { ...graph, pool: "slow" } : graph)),
    );
    const assistants = {
      ...fake.runtime.assistants,
      get: async (_principal: Principal, graphId: string) => ({ graphId }) as Assistant, // all that is looked at
    };
    const entered: string[] = [];
    await using app = await startApp({
      runtime: { ...fake.runtime, assistants },
      info: { version: "", langgraphVersion: "", graphs },
      admission: {
        ...admission,
        enterPool(tenant, pool) {
          if (pool === "slow") throw full;
          entered.push(`${tenant} ${pool}`);
        },
      },
    });
    const status = async (assistant_id: string, more = {}) =>
      (await app.call("POST", `/threads/${THREAD}/runs`, { json: { assistant_id, ...more } })).status;
    expect(await status("echo")).toBe(200);
    expect(await status("gated")).toBe(429);
    expect(await status("gated", { command: { resume: 1 } })).toBe(200);
    expect(entered).toEqual(["acme default"]);
  });
});

describe("the ranks", () => {
  /** Part of the contract, and not there yet. */
  const LATER = ["POST /runs/batch", "POST /threads/:thread_id/commands"];

  it("are those of routes that there are", () => {
    const routes = new Set([...allRoutes(), ...LATER]);
    expect(Object.keys(RANKINGS).filter((route) => !routes.has(route))).toEqual([]);
  });

  it("of commands are decided by their method", () => {
    const { byBody } = RANKINGS["POST /threads/:thread_id/commands"] ?? {};
    const rank = (method: string) => byBody?.({ id: 1, method, params: {} });
    expect([rank("run.start"), rank("input.respond"), rank("state.get")]).toEqual(["new", "vital", "ordinary"]);
  });
});
