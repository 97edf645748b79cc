import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HoldpointError } from "../../src/core/errors.ts";
import type { ErrorCode } from "../../src/core/errors.ts";
import { newerFormat } from "../../src/core/newer-format.ts";
import { createFakeRuntime } from "../support/fake-runtime.ts";
import { startApp } from "../support/http.ts";
import type { TestApp } from "../support/http.ts";

const fake = createFakeRuntime();
let app: TestApp;

beforeAll(async () => {
  app = await startApp({ runtime: fake.runtime });
});
afterAll(async () => {
  await app[Symbol.asyncDispose]();
});

const STATUSES: Readonly<Record<ErrorCode, number>> = {
  invalid: 422,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  gone: 410,
  precondition_failed: 412,
  precondition_required: 428,
  too_large: 413,
  limit: 429,
  unavailable: 503,
  unsupported: 422,
  lost: 500,
  item_too_large: 413,
  corrupt: 500,
  graph_unavailable: 409,
  effect_rejected: 500,
  effect_ambiguous: 500,
  effect_diverged: 500,
  internal: 500,
};

async function failWith(error: Error, path = "/runs", headers: Record<string, string> = {}): Promise<Response> {
  fake.refusal = error;
  const json = path.endsWith("/decisions") ? { type: "approve", digest: "d" } : { assistant_id: "a" };
  return app.call("POST", path, { json, headers });
}

describe("an answer to a review", () => {
  it("that says more than its type takes is refused: who approves other arguments has meant to edit", async () => {
    const json = { type: "approve", digest: "d", args: { amount: 9 } };
    const response = await app.call("POST", "/v1/reviews/x/decisions", { json });
    expect(response.status).toBe(422);
    expect(await response.text()).toContain("args");
  });
});

describe("a reason is a status", () => {
  it.each(Object.entries(STATUSES))("%s is %i", async (code, status) => {
    const response = await failWith(new HoldpointError(code as ErrorCode, "in words", { detail: { limit: "queue" } }));
    expect(response.status).toBe(status);
    const body = (await response.json()) as object;
    expect(Object.keys(body)).toEqual(["detail", "trace_id"]);
    expect(body).toMatchObject({ detail: status === 500 ? "Internal error" : "in words" });
  });

  it.each(Object.entries(STATUSES))("%s on our own surface is a problem that says so", async (code, status) => {
    const response = await failWith(
      new HoldpointError(code as ErrorCode, "in words", { detail: { limit: "queue" } }),
      "/v1/reviews/x/decisions",
    );
    expect(response.status).toBe(status);
    expect(response.headers.get("content-type")).toBe("application/problem+json; charset=utf-8");
    const expected =
      status === 500
        ? { type: "urn:holdpoint:problem:internal", status, detail: "Internal error" }
        : { type: `urn:holdpoint:problem:${code}`, status, detail: "in words", limit: "queue" };
    expect(await response.json()).toMatchObject({ ...expected, trace_id: response.headers.get("x-trace-id") });
  });
});

it("what a newer version wrote is a 503 that says so: the next attempt may come to a process of that version", async () => {
  const response = await failWith(newerFormat("item H of format 2"));
  expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await response.json()).toMatchObject({
    detail: "item H of format 2 was written by a newer version of Holdpoint",
  });
});

describe("what nobody expected", () => {
  it("says nothing to the caller and everything to the log", async () => {
    const cause = new Error("password=hunter2");
    const response = await failWith(cause);
    const text = await response.text();
    expect(text).not.toContain("hunter2");
    const line = app.log.lines.findLast(({ level }) => level === "error");
    expect(line?.fields["err"]).toBe(cause);
    expect(JSON.parse(text)).toMatchObject({ trace_id: line?.fields["trace_id"] });
  });
});

describe("when to come back", () => {
  it("is said with 429 and 503, in whole seconds", async () => {
    const at = async (error: HoldpointError): Promise<string | null> =>
      (await failWith(error)).headers.get("retry-after");
    expect(await at(new HoldpointError("limit", "full"))).toBe("1");
    expect(await at(new HoldpointError("unavailable", "away", { retryAfterMs: 1_500 }))).toBe("2");
    expect(await at(new HoldpointError("conflict", "busy"))).toBeNull();
  });
});

describe("the trace id", () => {
  it.each([
    ["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "0af7651916cd43dd8448eb211c80319c"],
    ["x-request-id", "req-42", "req-42"],
  ])("comes from %s", async (header, value, id) => {
    const response = await failWith(new HoldpointError("conflict", "no"), "/runs", { [header]: value });
    expect(response.headers.get("x-trace-id")).toBe(id);
    expect(await response.json()).toMatchObject({ trace_id: id });
  });

  it("is a new one where there is none that could be used", async () => {
    for (const headers of [{}, { traceparent: "nonsense" }, { "x-request-id": `x${"y".repeat(200)}` }]) {
      const response = await app.call("GET", "/ok", { headers });
      expect(response.headers.get("x-trace-id")).toMatch(/^[0-9a-f]{32}$/);
    }
  });
});

describe("browsers of other origins", () => {
  it("see nothing unless they were configured", async () => {
    const none = await app.call("GET", "/ok", { headers: { origin: "https://studio.example" } });
    expect([...none.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
    await using open = await startApp({ runtime: fake.runtime, cors: { origins: ["https://studio.example"] } });
    const other = await open.call("GET", "/ok", { headers: { origin: "https://evil.example" } });
    expect(other.headers.get("access-control-allow-origin")).toBeNull();
    const known = await open.call("GET", "/ok", { headers: { origin: "https://studio.example" } });
    expect(known.headers.get("access-control-allow-origin")).toBe("https://studio.example");
    for (const header of ["content-location", "location", "x-pagination-total", "x-pagination-next"]) {
      expect(known.headers.get("access-control-expose-headers")).toContain(header);
    }
    const preflight = await open.call("OPTIONS", "/threads", {
      as: "nobody",
      headers: {
        origin: "https://studio.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-api-key",
      },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-headers")).toBe("x-api-key");
  });
});

describe("a base path", () => {
  it("holds everything, and nothing is elsewhere; locations stay relative to it", async () => {
    fake.refusal = undefined;
    await using mounted = await startApp({ runtime: fake.runtime, basePath: "/langgraph" });
    expect((await mounted.call("GET", "/langgraph/ok")).status).toBe(200);
    expect((await mounted.call("GET", "/ok")).status).toBe(404);
    const run = await mounted.call("POST", "/langgraph/runs", { json: { assistant_id: "a" } });
    expect(run.headers.get("content-location")).toMatch(/^\/runs\//);
    const own = await mounted.call("GET", "/langgraph/v1/nothing");
    expect(own.headers.get("content-type")).toContain("application/problem+json");
  });
});

describe("health", () => {
  it("tells alive from ready", async () => {
    await using ill = await startApp({
      runtime: fake.runtime,
      ready: async () => ({ ready: false, reason: "stopping" }),
    });
    expect((await ill.call("GET", "/ok")).status).toBe(200);
    expect((await ill.call("GET", "/ok?check_db=1")).status).toBe(500);
    const ready = await ill.call("GET", "/ready");
    expect([ready.status, await ready.json()]).toEqual([503, { ready: false, reason: "stopping" }]);
    expect(await (await app.call("GET", "/ready")).json()).toEqual({ ready: true });
  });
});
