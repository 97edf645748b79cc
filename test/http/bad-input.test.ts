import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createFakeRuntime } from "../support/fake-runtime.ts";
import { startApp } from "../support/http.ts";
import type { CallOptions, TestApp } from "../support/http.ts";

const THREAD = "0190c3a0-0000-7000-8000-000000000001";
const RUN = "0190c3a0-0000-7000-8000-000000000002";
const JSON_TYPE = { "content-type": "application/json" };

const fake = createFakeRuntime();
let app: TestApp;

beforeAll(async () => {
  app = await startApp({ runtime: fake.runtime });
});
afterAll(async () => {
  await app[Symbol.asyncDispose]();
});

interface Refusal {
  readonly status: number;
  readonly detail: RegExp;
}

async function refused(
  method: string,
  path: string,
  options: CallOptions,
): Promise<Refusal & { readonly body: unknown }> {
  const response = await app.call(method, path, options);
  const body = (await response.json()) as { readonly detail: string; readonly trace_id: string };
  expect(body.trace_id).toBe(response.headers.get("x-trace-id"));
  expect(body.trace_id).not.toBe("");
  return { status: response.status, detail: new RegExp(body.detail), body };
}

const deep = (levels: number): string => `{"assistant_id":"a","input":${"[".repeat(levels)}${"]".repeat(levels)}}`;

describe("a body that cannot be taken is refused with a detail that says why", () => {
  const cases: readonly [string, CallOptions, number, RegExp][] = [
    ["malformed JSON", { body: "{not json", headers: JSON_TYPE }, 400, /not valid JSON/],
    ["text that is not UTF-8", { body: new Uint8Array([0x22, 0xff, 0x22]), headers: JSON_TYPE }, 400, /UTF-8/],
    ["a form", { body: "a=b", headers: { "content-type": "application/x-www-form-urlencoded" } }, 415, /must be JSON/],
    ["nothing at all", {}, 422, /^body: /],
    ["a list", { json: [] }, 422, /^body: /],
    ["null", { json: null }, 422, /^body: /],
    ["a missing assistant", { json: {} }, 422, /body\.assistant_id/],
    ["a wrong type", { json: { assistant_id: 7 } }, 422, /body\.assistant_id/],
    ["a wrong type further down", { json: { assistant_id: "a", config: { tags: [1] } } }, 422, /body\.config\.tags\.0/],
    ["an unknown choice", { json: { assistant_id: "a", if_not_exists: "maybe" } }, 422, /body\.if_not_exists/],
    [
      "a __proto__ key",
      { body: '{"assistant_id":"a","input":{"__proto__":{"x":1}}}', headers: JSON_TYPE },
      422,
      /__proto__/,
    ],
    ["a constructor key", { body: '{"assistant_id":"a","constructor":{}}', headers: JSON_TYPE }, 422, /constructor/],
    ["10,000 levels", { body: deep(10_000), headers: JSON_TYPE }, 422, /nested deeper/],
    ["3,000,000 levels", { body: deep(2_900_000), headers: JSON_TYPE }, 422, /nested deeper/],
    [
      "an endless recursion limit",
      { json: { assistant_id: "a", config: { recursion_limit: 1e9 } } },
      422,
      /recursion_limit/,
    ],
    [
      "a reserved key",
      { json: { assistant_id: "a", config: { configurable: { __pregel_resuming: true } } } },
      422,
      /__pregel_resuming/,
    ],
    [
      "a forged user",
      { json: { assistant_id: "a", config: { configurable: { langgraph_auth_user: "x" } } } },
      422,
      /langgraph_auth_user/,
    ],
    [
      "a checkpoint of another thread",
      { json: { assistant_id: "a", checkpoint: { thread_id: RUN, checkpoint_id: "c" } } },
      422,
      /another thread/,
    ],
    ["input beside a command", { json: { assistant_id: "a", input: { a: 1 }, command: { resume: 1 } } }, 422, /both/],
    [
      "resume with a Send",
      { json: { assistant_id: "a", command: { resume: 1, goto: { node: "n", input: 1 } } } },
      422,
      /Send/,
    ],
    [
      "a stream mode that is not served",
      { json: { assistant_id: "a", stream_mode: "debug" } },
      422,
      /debug is not supported.*values, updates/,
    ],
    [
      "a strategy that there is not",
      { json: { assistant_id: "a", multitask_strategy: "hope" } },
      422,
      /multitask_strategy/,
    ],
    ["a relative webhook", { json: { assistant_id: "a", webhook: "/hook" } }, 422, /body\.webhook/],
    ["a start in the past", { json: { assistant_id: "a", after_seconds: -1 } }, 422, /after_seconds/],
    ["a start in a year", { json: { assistant_id: "a", after_seconds: 365 * 86_400 } }, 422, /after_seconds/],
    [
      "an answer that is to wait",
      { json: { assistant_id: "a", after_seconds: 5, command: { resume: 1 } } },
      422,
      /an answer is not delayed/,
    ],
    ["holds to be approved", { json: { assistant_id: "a", on_pending: "approve" } }, 422, /on_pending/],
    [
      "half a force",
      { json: { assistant_id: "a" }, headers: { "holdpoint-force": "perhaps" } },
      422,
      /holdpoint-force/,
    ],
    ["a bad idempotency key", { json: { assistant_id: "a" }, headers: { "idempotency-key": "a b" } }, 422, /header/],
  ];
  it.each(cases)("%s", async (_name, options, status, detail) => {
    const answer = await refused("POST", `/threads/${THREAD}/runs`, options);
    expect(answer.status).toBe(status);
    expect((answer.body as { readonly detail: string }).detail).toMatch(detail);
    expect(fake.accepted).toHaveLength(0);
  });
});

describe("a path or query that cannot be understood is refused", () => {
  const cases: readonly [string, string, number][] = [
    ["GET", "/threads/not-a-uuid", 422],
    ["GET", "/threads/not-a-uuid/state", 422],
    ["DELETE", "/threads/..%2f..%2fetc", 422],
    ["GET", `/threads/${THREAD}/runs/7`, 422],
    ["GET", `/threads/${THREAD}/runs/7/join`, 422],
    ["POST", `/threads/${THREAD}/runs/7/cancel`, 422],
    ["GET", "/runs/7/stream", 422],
    ["GET", `/threads/${THREAD}/runs?limit=0`, 422],
    ["GET", `/threads/${THREAD}/runs?limit=1000000000`, 422],
    ["GET", `/threads/${THREAD}/runs?limit=99999999999999999999`, 422],
    ["GET", `/threads/${THREAD}/runs?limit=ten`, 422],
    ["GET", `/threads/${THREAD}/runs?limit=1&limit=2`, 422],
    ["GET", `/threads/${THREAD}/runs?offset=-1`, 422],
    ["GET", `/threads/${THREAD}/runs?status=busy`, 422],
    ["GET", `/threads/${THREAD}/history?limit=1001`, 422],
    ["POST", `/threads/${THREAD}/runs/${RUN}/cancel?wait=perhaps`, 422],
    ["POST", `/threads/${THREAD}/runs/${RUN}/cancel?action=explode`, 422],
    ["POST", "/runs/cancel?action=explode", 422],
    ["GET", "/threads/%E0%A4%A", 400],
    ["GET", "/nothing/here", 404],
    ["PUT", `/threads/${THREAD}`, 404],
    ["GET", "/v1/nothing", 404],
  ];
  it.each(cases)("%s %s", async (method, path, status) => {
    const answer = await app.call(method, path);
    expect(answer.status).toBe(status);
    expect(Object.keys((await answer.json()) as object)).toEqual(expect.arrayContaining(["detail", "trace_id"]));
  });

  it.each(["/threads/search", "/assistants/search"])("POST %s with an absurd limit", async (path) => {
    for (const json of [
      { limit: 0 },
      { limit: 1e12 },
      { limit: "10" },
      { limit: 1.5 },
      { offset: -1 },
      { sort_by: "password" },
    ]) {
      const answer = await app.call("POST", path, { json });
      expect(answer.status).toBe(422);
    }
  });
});

describe("sizes", () => {
  const padding = (bytes: number): string => "x".repeat(bytes);

  it("an ordinary body ends at 1 MB, one that starts a run at 6 MB", async () => {
    const ordinary = await app.call("POST", "/threads", { json: { metadata: { text: padding(1024 * 1024) } } });
    expect(ordinary.status).toBe(413);
    expect(await ordinary.json()).toMatchObject({ detail: "the body is larger than the limit of 1048576 bytes" });

    const run = await app.call("POST", "/runs", { json: { assistant_id: "a", input: padding(5 * 1024 * 1024) } });
    expect(run.status).toBe(200);
    const large = await app.call("POST", "/runs", { json: { assistant_id: "a", input: padding(6 * 1024 * 1024) } });
    expect(large.status).toBe(413);
  });

  it("a body is measured as it arrives, whatever it claims", async () => {
    const chunks = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let i = 0; i < 3; i++) controller.enqueue(new TextEncoder().encode(padding(512 * 1024)));
        controller.close();
      },
    });
    const init = { method: "POST", body: chunks, duplex: "half", headers: { ...JSON_TYPE } };
    const answer = await fetch(`${app.url}/threads`, init as RequestInit);
    expect(answer.status).toBe(401);
    const { status } = await app.call("POST", "/threads", { json: { metadata: padding(2 * 1024 * 1024) } });
    expect(status).toBe(413);
  });
});

it("the server is unharmed by all of this", async () => {
  const answer = await app.call("POST", "/runs", {
    body: '{"assistant_id":"a"}',
    headers: { "content-type": "text/plain" },
  });
  expect(answer.status).toBe(200);
  expect(app.log.lines.filter(({ level }) => level === "error")).toEqual([]);
});
