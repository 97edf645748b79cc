import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HoldpointError } from "../../src/core/errors.ts";
import type { RunResult } from "../../src/runtime/runtime.ts";
import { eventually } from "../support/eventually.ts";
import { createFakeRuntime } from "../support/fake-runtime.ts";
import type { FakeRuntime } from "../support/fake-runtime.ts";
import { startApp } from "../support/http.ts";
import type { TestApp } from "../support/http.ts";
import { createManualClock } from "../support/manual-clock.ts";
import type { ManualClock } from "../support/manual-clock.ts";
import { SseReader } from "../support/sse.ts";

const BODY = { assistant_id: "desk", input: {} };
const NOBODY = "0190a6c4-7b1e-7000-8000-000000000001";

let fake: FakeRuntime;
let clock: ManualClock;
let closing: AbortController;
let app: TestApp;

beforeEach(async () => {
  fake = createFakeRuntime();
  clock = createManualClock();
  closing = new AbortController();
  app = await startApp({ runtime: fake.runtime, clock, closing: closing.signal });
});
afterEach(async () => {
  await app[Symbol.asyncDispose]();
});

interface Pending {
  settle(result: (run: RunResult["run"]) => RunResult): void;
  fail(error: Error): void;
}

/** The outcome comes when the test says so. */
function outcomeLater(): Pending {
  const later = Promise.withResolvers<(run: RunResult["run"]) => RunResult>();
  fake.outcome = async (run, signal) => {
    const gone = new Promise<never>((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    });
    return (await Promise.race([later.promise, gone]))(run);
  };
  return { settle: later.resolve, fail: later.reject };
}

describe("waiting for a run", () => {
  it("is answered as JSON, with a newline a second until then", async () => {
    const later = outcomeLater();
    const asked = app.call("POST", "/runs/wait", { json: BODY });
    for (let n = 0; n < 3; n++) {
      await eventually(() => clock.sleepers() === 1);
      clock.advance(1_000);
    }
    const response = await asked;
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("application/json; charset=utf-8");
    expect(response.headers.get("content-location")).toMatch(/^\/runs\//);
    await eventually(() => clock.sleepers() === 1);
    later.settle((run) => ({ kind: "values", run, values: { n: 1 } }));
    const text = await response.text();
    expect(text).toBe('\n\n\n{"n":1}');
    expect(JSON.parse(text)).toEqual({ n: 1 });
    expect(clock.sleepers()).toBe(0);
  });

  it.each([
    ["wait", { __interrupt__: [{ id: "i", value: 1 }] }],
    ["join", { a: 1, __interrupt__: [{ id: "i", value: 1 }] }],
  ])("%s says where it stopped", async (how, body) => {
    fake.outcome = async (run) => ({ kind: "interrupted", run, values: { a: 1 }, interrupts: [{ id: "i", value: 1 }] });
    expect(await answer(how)).toEqual([200, body]);
  });

  it.each(["wait", "join"])("%s says how it failed, with 200 as the peers do", async (how) => {
    fake.outcome = async (run) => ({ kind: "failed", run, error: { name: "TypeError", message: "Boo!" } });
    expect(await answer(how)).toEqual([200, { __error__: { error: "TypeError", message: "Boo!" } }]);
  });

  async function answer(how: string): Promise<[number, unknown]> {
    if (how === "wait") {
      const response = await app.call("POST", "/runs/wait", { json: BODY });
      return [response.status, await response.json()];
    }
    const run = (await (await app.call("POST", "/runs", { json: BODY })).json()) as {
      readonly run_id: string;
      readonly thread_id: string;
    };
    const response = await app.call("GET", `/threads/${run.thread_id}/runs/${run.run_id}/join`);
    return [response.status, await response.json()];
  }
});

describe("the status of an answer that takes its time", () => {
  it("is a real one as long as nothing was sent", async () => {
    fake.refusal = new HoldpointError("conflict", "Thread is busy");
    expect((await app.call("POST", "/runs/wait", { json: BODY })).status).toBe(409);
    fake.refusal = undefined;
    fake.outcome = async () => {
      throw new HoldpointError("unavailable", "the table is away");
    };
    const response = await app.call("POST", "/runs/wait", { json: BODY });
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"]);
  });

  it("is past changing after the first newline: the failure is told in the body", async () => {
    const later = outcomeLater();
    const asked = app.call("POST", "/runs/wait", { json: BODY });
    await eventually(() => clock.sleepers() === 1);
    clock.advance(1_000);
    const response = await asked;
    later.fail(new Error("password=hunter2"));
    expect(await response.json()).toEqual({ __error__: { error: "internal", message: "Internal error" } });
  });
});

describe("who waits", () => {
  it("and goes leaves the run alone, unless it asked otherwise", async () => {
    for (const [json, cancels] of [
      [BODY, 0],
      [{ ...BODY, on_disconnect: "cancel" }, 1],
    ] as const) {
      outcomeLater();
      const leaving = new AbortController();
      const asked = app.call("POST", "/runs/wait", { json, signal: leaving.signal }).catch(() => "gone");
      await eventually(() => clock.sleepers() === 1);
      leaving.abort();
      expect(await asked).toBe("gone");
      await eventually(() => clock.sleepers() === 0);
      await eventually(() => fake.cancels.length === cancels);
    }
    expect(app.log.lines.filter(({ level }) => level === "error")).toEqual([]);
  });

  it("is told when the server stops, and its run goes on", async () => {
    outcomeLater();
    const asked = app.call("POST", "/runs/wait", { json: { ...BODY, on_disconnect: "cancel" } });
    await eventually(() => clock.sleepers() === 1);
    clock.advance(1_000);
    const reader = new SseReader(await asked);
    closing.abort(new HoldpointError("unavailable", "the server is stopping; join the run again"));
    await eventually(() => reader.ended);
    expect(JSON.parse(reader.text)).toMatchObject({
      __error__: { message: "the server is stopping; join the run again" },
    });
    expect(fake.cancels).toEqual([]);
  });
});

describe("a request that is waiting when the server stops, and was answered nothing yet", () => {
  it("is told to ask again, and none of it is an error", async () => {
    outcomeLater();
    const asked = app.call("POST", "/runs/wait", { json: BODY });
    await eventually(() => clock.sleepers() === 1);
    closing.abort(new HoldpointError("unavailable", "the server is stopping; join the run again"));
    const response = await asked;
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe("1");
    expect(await response.json()).toMatchObject({ detail: "the server is stopping; join the run again" });
    expect(app.log.lines.filter(({ level }) => level === "error")).toEqual([]);
  });
});

describe("cancelling", () => {
  it.each([
    ["", false, 202],
    ["?wait=0", false, 202],
    ["?wait=false", false, 202],
    ["?wait=", false, 202],
    ["?wait=no", false, 202],
    ["?wait=1", true, 204],
    ["?wait=true", true, 204],
    ["?wait=yes&action=interrupt&reason=taken", true, 204],
  ])("with %j waits: %s", async (query, wait, status) => {
    const run = (await (await app.call("POST", "/runs", { json: BODY })).json()) as {
      readonly run_id: string;
      readonly thread_id: string;
    };
    const response = await app.call("POST", `/threads/${run.thread_id}/runs/${run.run_id}/cancel${query}`);
    expect([response.status, await response.text()]).toEqual([status, ""]);
    expect(fake.cancels).toMatchObject([
      { runId: run.run_id, wait, ...(query.includes("taken") ? { reason: "taken" } : {}) },
    ]);
  });

  it.each([
    ["", {}, { force: false }],
    ["?action=rollback", {}, { action: "rollback", force: false }],
    ["?action=rollback", { "holdpoint-force": "true" }, { action: "rollback", force: true }],
    ["?action=interrupt", { "holdpoint-force": "0" }, { action: "interrupt", force: false }],
  ])("with %j and %j says how", async (query, headers, how) => {
    const path = `/threads/${NOBODY}/runs/${NOBODY}/cancel${query}`;
    expect((await app.call("POST", path, { headers })).status).toBe(404);
    expect(fake.cancels).toMatchObject([how]);
    expect(Object.hasOwn(fake.cancels[0] ?? {}, "action")).toBe(Object.hasOwn(how, "action"));
  });
});

describe("cancelling many", () => {
  it.each([
    [{ run_ids: [NOBODY] }, "", { which: { kind: "named", runIds: [NOBODY] } }],
    [{ thread_id: NOBODY, run_ids: [NOBODY] }, "?action=rollback", { threadId: NOBODY, action: "rollback" }],
    [{ thread_id: NOBODY, status: "pending" }, "", { which: { kind: "status", status: "pending" } }],
    [{ status: "all" }, "?action=interrupt", { which: { kind: "status", status: "all" }, action: "interrupt" }],
  ])("%j%s", async (json, query, request) => {
    const response = await app.call("POST", `/runs/cancel${query}`, { json });
    expect([response.status, await response.text()]).toEqual([204, ""]);
    expect(fake.bulkCancels).toMatchObject([request]);
  });

  it.each([{}, { thread_id: NOBODY }, { run_ids: [NOBODY], status: "all" }, { run_ids: [] }, { status: "success" }])(
    "is refused for %j",
    async (json) => {
      expect((await app.call("POST", "/runs/cancel", { json })).status).toBe(422);
      expect(fake.bulkCancels).toEqual([]);
    },
  );
});
