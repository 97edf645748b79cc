/** Webhooks over HTTP: from the run or the review to a target that checks the signature. */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createWebhookSender } from "../../src/local/webhook-sender.ts";
import { createCourier } from "../../src/runtime/webhooks/courier.ts";
import type { Courier } from "../../src/runtime/webhooks/courier.ts";
import { createAssistants } from "../../src/runtime/assistants.ts";
import { createTestGraphs } from "../support/graphs.ts";
import { listen } from "../support/http.ts";
import type { Listening } from "../support/http.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

interface Received {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  readonly body: {
    readonly type?: string;
    readonly data?: Readonly<Record<string, unknown>>;
    readonly [key: string]: unknown;
  };
}

interface Hook {
  readonly id: string;
  readonly secret: string;
  readonly state: string;
  readonly reason: string | null;
}

interface LogEntry {
  readonly id: string;
  readonly state: string;
  readonly event: string;
  readonly tries: number;
  readonly reason: string | null;
  readonly attempts: readonly { readonly status: number | null; readonly error: string | null }[];
}

const SOON = { timeout: 10_000 };

let service: Service;
let courier: Courier;
let target: Listening;
const received: Received[] = [];
/** What the target answers at a path; 200 unless it says otherwise. */
const answers = new Map<string, (request: IncomingMessage, response: ServerResponse) => void>();

beforeAll(async () => {
  service = await startService({ graphs: createTestGraphs().registry, webhookHosts: ["127.0.0.1"] });
  const assistants = createAssistants(service.deps);
  courier = createCourier({
    deps: service.deps,
    assistants,
    sender: createWebhookSender({ allowed: ["127.0.0.1"], timeoutMs: 2000 }),
  });
  courier.start();
  target = await listen(
    createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        const path = request.url ?? "";
        const headers = request.headers as Record<string, string>; // none of these is repeated
        received.push({ path, headers, text, body: JSON.parse(text) as Received["body"] });
        const answer = answers.get(path);
        if (answer) answer(request, response);
        else response.end("<html>thanks");
      });
    }),
  );
});
afterAll(async () => {
  await courier[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
  await target[Symbol.asyncDispose]();
});

async function call<T>(method: string, path: string, json?: object, as: "acme" | "globex" = "acme"): Promise<T> {
  const response = await service.app.call(method, path, { as, ...(json === undefined ? {} : { json }) });
  expect(response.status, `${method} ${path}`).toBeLessThan(300);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

const register = (path: string, fields: object = {}, as: "acme" | "globex" = "acme"): Promise<Hook> =>
  call("POST", "/v1/webhooks", { url: `${target.url}${path}`, events: ["run.ended"], ...fields }, as);
const at = (path: string): readonly Received[] => received.filter((one) => one.path === path);
async function arrives(path: string, n = 1): Promise<void> {
  await expect.poll(() => at(path).length, SOON).toBeGreaterThanOrEqual(n);
}
const log = async (hook: Hook, query = ""): Promise<readonly LogEntry[]> =>
  (await call<{ readonly items: LogEntry[] }>("GET", `/v1/webhooks/${hook.id}/deliveries${query}`)).items;
const run = async (graph = "echo", input: Record<string, unknown> = { text: "x" }): Promise<string> => {
  const client = service.client("acme");
  const { thread_id: thread } = await client.threads.create();
  await client.runs.wait(thread, graph, { input });
  return thread;
};
/** Each test has an address of its own, and nobody else is told. */
const remove = (hook: Hook): Promise<unknown> => call("DELETE", `/v1/webhooks/${hook.id}`);

describe("the end of a run", () => {
  it("is told once, signed, without content", async () => {
    const hook = await register("/ended");
    const thread = await run();
    await arrives("/ended");
    const [first] = at("/ended");
    expect(first && new Webhook(hook.secret).verify(first.text, first.headers)).toMatchObject({
      type: "run.ended",
      data: { thread_id: thread, status: "success", graph_id: "echo" },
    });
    await expect.poll(async () => (await log(hook))[0]?.state, SOON).toBe("delivered");
    expect(await log(hook)).toHaveLength(1);
    expect(at("/ended")).toHaveLength(1);
    expect(first?.text).not.toContain('"x"');
    await remove(hook);
  });

  it("is told to the address that the run names, as LangGraph's servers do, by the unchanged SDK", async () => {
    const { secret } = await call<Hook>("POST", "/v1/webhooks/run/rotate");
    const client = service.client("acme");
    const { thread_id: thread } = await client.threads.create();
    const webhook = `${target.url}/own`;
    const made = await client.runs.create(thread, "echo", { input: { text: "mine" }, metadata: { m: 1 }, webhook });
    await arrives("/own");
    const [first] = at("/own");
    expect(first && new Webhook(secret).verify(first.text, first.headers)).toMatchObject({
      run_id: made.run_id,
      thread_id: thread,
      status: "success",
      metadata: { m: 1 },
      error: null,
      values: { text: "mine" },
    });
    const kept = (await client.runs.get(thread, made.run_id)) as unknown as { readonly kwargs: object };
    expect(kept.kwargs).toMatchObject({ webhook });
  });

  it("is told of a stateless run, and of one that failed", async () => {
    const client = service.client("acme");
    await client.runs.create(null, "echo", { input: { text: "stateless" }, webhook: `${target.url}/stateless` });
    await client.runs.create(null, "thrower", { input: { text: "" }, webhook: `${target.url}/failing` });
    await arrives("/stateless");
    await arrives("/failing");
    expect(at("/stateless")[0]?.body).toMatchObject({ status: "success", values: { text: "stateless" } });
    expect(at("/failing")[0]?.body).toMatchObject({
      status: "error",
      error: { message: expect.any(String) as string },
    });
  });

  it("is not told to an address that is not public", async () => {
    const response = await service.app.call("POST", "/runs", {
      json: { assistant_id: "echo", input: {}, webhook: "http://169.254.169.254/latest" },
    });
    expect(response.status).toBe(422);
  });
});

describe("a review", () => {
  it("is told to the endpoints of its groups when it opens and when it is decided, without what it shows", async () => {
    const all = await register("/reviews", { events: ["review.opened", "review.decided"] });
    const legal = await register("/legal", { events: ["review.opened", "review.decided"], groups: ["legal"] });
    const thread = await run("refund", { text: "4711" });
    await arrives("/reviews");
    const data = at("/reviews")[0]?.body.data;
    expect(data).toMatchObject({ thread_id: thread, title: "Refund", action: "refund", decision: null });
    expect(at("/reviews")[0]?.text).not.toContain("4711");
    await call("POST", `/v1/reviews/${String(data?.["review_id"])}/decisions`, {
      type: "approve",
      digest: data?.["digest"],
    });
    await arrives("/reviews", 2);
    expect(at("/reviews").map(({ body }) => body.type)).toEqual(["review.opened", "review.decided"]);
    expect(at("/reviews")[1]?.body.data).toMatchObject({ decision: { type: "approve", by: "alice" } });
    expect(at("/legal")).toEqual([]);
    await Promise.all([remove(all), remove(legal)]);
  });
});

describe("an endpoint", () => {
  it("shows its secret once, and never again", async () => {
    const hook = await register("/shown");
    expect(hook.secret).toMatch(/^whsec_[\w+/]{43}=$/);
    const shown = await (await service.app.call("GET", `/v1/webhooks/${hook.id}`)).text();
    const listed = await (await service.app.call("GET", "/v1/webhooks")).text();
    expect(`${shown}${listed}`).not.toMatch(/whsec|secret|sealed/);
    await remove(hook);
  });

  it("signs with the old and the new secret after a rotation", async () => {
    const hook = await register("/rotated");
    const { secret } = await call<Hook>("POST", `/v1/webhooks/${hook.id}/rotate`);
    await call("POST", `/v1/webhooks/${hook.id}/test`);
    await arrives("/rotated");
    const [first] = at("/rotated");
    for (const one of [hook.secret, secret])
      expect(first && new Webhook(one).verify(first.text, first.headers)).toMatchObject({ type: "webhook.test" });
    await remove(hook);
  });

  it("that is paused is told nothing until it is resumed", async () => {
    const hook = await register("/paused");
    await call("POST", `/v1/webhooks/${hook.id}/pause`);
    await run();
    await expect.poll(async () => (await log(hook))[0]?.state, SOON).toBe("pending");
    await call("POST", `/v1/webhooks/${hook.id}/resume`);
    await arrives("/paused");
    await remove(hook);
  });

  it("that answers 410 is disabled, and its delivery can be asked for again", async () => {
    answers.set("/gone", (_request, response) => void response.writeHead(410).end());
    const hook = await register("/gone");
    await call("POST", `/v1/webhooks/${hook.id}/test`);
    await expect.poll(async () => (await call<Hook>("GET", `/v1/webhooks/${hook.id}`)).state, SOON).toBe("disabled");
    const [dead] = await log(hook, "?state=dead");
    expect(dead).toMatchObject({ state: "dead", reason: "the target is gone (410)", attempts: [{ status: 410 }] });
    answers.delete("/gone");
    await call("POST", `/v1/webhooks/${hook.id}/resume`);
    await call("POST", `/v1/webhooks/${hook.id}/deliveries/${dead?.id}/redeliver`);
    await arrives("/gone", 2);
    expect(new Set(at("/gone").map(({ headers }) => headers["webhook-id"])).size).toBe(1);
    await expect.poll(async () => (await log(hook))[0]?.state, SOON).toBe("delivered");
    await remove(hook);
  });

  it("that redirects or fails is tried again later, and keeps no other waiting while it hangs", async () => {
    answers.set("/redirects", (_request, response) => void response.writeHead(302, { location: "/elsewhere" }).end());
    answers.set("/hangs", () => {});
    const hooks = await Promise.all([register("/redirects"), register("/hangs")]);
    for (let i = 0; i < 6; i++) await call("POST", `/v1/webhooks/${hooks[1].id}/test`);
    await call("POST", `/v1/webhooks/${hooks[0].id}/test`);
    const other = await register("/prompt", {}, "globex");
    await call("POST", `/v1/webhooks/${other.id}/test`, {}, "globex");
    await arrives("/prompt");
    await expect
      .poll(async () => (await log(hooks[0]))[0])
      .toMatchObject({
        state: "pending",
        attempts: [{ status: 302, error: null }],
      });
    expect(at("/elsewhere")).toEqual([]);
    await expect.poll(() => at("/hangs").length, SOON).toBe(4);
    await Promise.all(hooks.map(remove));
    answers.clear();
  });

  it("has a log with pages, which another tenant never sees", async () => {
    const hook = await register("/pages");
    for (let i = 0; i < 3; i++) await call("POST", `/v1/webhooks/${hook.id}/test`);
    interface Page {
      readonly items: LogEntry[];
      readonly next_cursor: string | null;
    }
    const path = `/v1/webhooks/${hook.id}/deliveries?limit=2`;
    const first = await call<Page>("GET", path);
    const second = await call<Page>("GET", `${path}&cursor=${first.next_cursor}`);
    expect(new Set([...first.items, ...second.items].map(({ id }) => id)).size).toBe(3);
    expect((await service.app.call("GET", path, { as: "globex" })).status).toBe(404);
    expect((await service.app.call("GET", "/v1/webhooks/run/deliveries?cursor=eA")).status).toBe(422);
    await remove(hook);
  });

  it.each([
    [{ url: "http://example.com/", events: ["run.ended"] }, /https/],
    [{ url: "https://10.0.0.1/", events: ["run.ended"] }, /not public/],
    [{ url: "https://[::ffff:169.254.169.254]/", events: ["run.ended"] }, /not public/],
    [{ url: "nonsense", events: ["run.ended"] }, /absolute URL/],
    [{ url: "https://example.com/", events: [] }, /events/],
    [{ url: "https://example.com/", events: ["run.begun"] }, /events/],
    [{ url: "https://example.com/", events: ["run.ended"], secret: "mine" }, /secret/],
  ])("%j is refused", async (json, reason) => {
    const response = await service.app.call("POST", "/v1/webhooks", { json });
    expect(response.status).toBe(422);
    expect(await response.text()).toMatch(reason);
  });
});
