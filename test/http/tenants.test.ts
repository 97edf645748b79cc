/** No route shows, changes or betrays what belongs to another tenant (I8). Every route stands in the table below. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { argsDigest, effectToken } from "../../src/core/effect.ts";
import type { ParkedEffect } from "../../src/core/effect.ts";
import { runId, tenantId, threadId } from "../../src/core/ids.ts";
import { eventually } from "../support/eventually.ts";
import { createTestGraphs } from "../support/graphs.ts";
import { allRoutes } from "../support/routes.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";
import { SseReader } from "../support/sse.ts";

/** What belongs to acme. */
interface Owned {
  readonly thread: string;
  readonly run: string;
  readonly checkpoint: string;
  readonly assistant: string;
  readonly webhook: string;
  readonly cron: string;
  readonly review: string;
  readonly digest: string;
  readonly effect: string;
}

interface Probe {
  readonly path: (owned: Owned) => string;
  readonly json?: (owned: Owned) => object;
  /** What the other tenant is answered; 404 unless said otherwise. */
  readonly answer?: {
    readonly status: number;
    readonly body?: unknown;
    /** All that a stream which goes on says. */
    readonly stream?: string;
  };
}

const RUN_BODY = () => ({ assistant_id: "echo", input: { text: "intruder" } });
const onThread = (rest: string, json?: Probe["json"]): Probe => ({
  path: ({ thread }) => `/threads/${thread}${rest}`,
  ...(json === undefined ? {} : { json }),
});
const onRun = (rest: string): Probe => ({ path: ({ thread, run }) => `/threads/${thread}/runs/${run}${rest}` });
const onReview = (work: string, json: object): Probe => ({
  path: ({ review }) => `/v1/reviews/${review}/${work}`,
  json: () => json,
});
const onWebhook = (rest: string, json?: Probe["json"]): Probe => ({
  path: ({ webhook }) => `/v1/webhooks/${webhook}${rest}`,
  ...(json === undefined ? {} : { json }),
});
const withAssistant = (path: string): Probe => ({
  path: () => path,
  json: ({ assistant }) => ({ assistant_id: assistant, input: {} }),
});

const POLICY = { action: "refund", args: { type: "object", additionalProperties: true }, max_risk: "low" };

/** Every route that needs a principal, called by globex with the ids of acme. */
const PROBES: Readonly<Record<string, Probe>> = {
  "POST /assistants/search": {
    path: () => "/assistants/search",
    json: () => ({ metadata: { of: "acme" } }),
    answer: { status: 200, body: [] },
  },
  "POST /assistants/count": {
    path: () => "/assistants/count",
    json: () => ({ metadata: { of: "acme" } }),
    answer: { status: 200, body: 0 },
  },
  "GET /assistants/:assistant_id": { path: ({ assistant }) => `/assistants/${assistant}` },
  "POST /threads": {
    path: () => "/threads",
    json: ({ thread }) => ({ thread_id: thread, metadata: { of: "globex" } }),
    answer: { status: 200 },
  },
  "POST /threads/search": {
    path: () => "/threads/search",
    json: ({ thread }) => ({ ids: [thread] }),
    answer: { status: 200, body: [] },
  },
  "POST /threads/count": {
    path: () => "/threads/count",
    json: ({ thread }) => ({ ids: [thread] }),
    answer: { status: 200, body: 0 },
  },
  "POST /threads/prune": {
    path: () => "/threads/prune",
    json: ({ thread }) => ({ thread_ids: [thread] }),
    answer: { status: 200, body: { pruned_count: 0 } },
  },
  "GET /threads/:thread_id": onThread(""),
  "PATCH /threads/:thread_id": onThread("", () => ({ metadata: { taken: true } })),
  "DELETE /threads/:thread_id": onThread(""),
  "GET /threads/:thread_id/state": onThread("/state"),
  "GET /threads/:thread_id/state/:checkpoint_id": {
    path: ({ thread, checkpoint }) => `/threads/${thread}/state/${checkpoint}`,
  },
  "POST /threads/:thread_id/state/checkpoint": onThread("/state/checkpoint", ({ checkpoint }) => ({
    checkpoint: { checkpoint_id: checkpoint },
  })),
  "POST /threads/:thread_id/state": onThread("/state", () => ({ values: { text: "taken" } })),
  "GET /threads/:thread_id/history": onThread("/history"),
  "POST /threads/:thread_id/history": onThread("/history", () => ({})),
  "POST /threads/:thread_id/copy": onThread("/copy", () => ({})),
  "POST /threads/:thread_id/runs": onThread("/runs", RUN_BODY),
  "POST /threads/:thread_id/runs/stream": onThread("/runs/stream", RUN_BODY),
  "POST /threads/:thread_id/runs/wait": onThread("/runs/wait", RUN_BODY),
  "POST /runs": withAssistant("/runs"),
  "POST /runs/stream": withAssistant("/runs/stream"),
  "POST /runs/wait": withAssistant("/runs/wait"),
  "GET /threads/:thread_id/runs": onThread("/runs"),
  "GET /threads/:thread_id/runs/:run_id": onRun(""),
  "GET /threads/:thread_id/runs/:run_id/join": onRun("/join"),
  "GET /threads/:thread_id/runs/:run_id/stream": onRun("/stream"),
  "GET /runs/:run_id/stream": { path: ({ run }) => `/runs/${run}/stream` },
  "POST /threads/:thread_id/runs/:run_id/cancel": onRun("/cancel"),
  "POST /runs/cancel": { path: () => "/runs/cancel", json: ({ run }) => ({ run_ids: [run] }) },
  "PUT /store/items": {
    path: () => "/store/items",
    json: () => ({ namespace: ["of", "acme"], key: "k", value: { of: "globex" } }),
    answer: { status: 204 },
  },
  "DELETE /store/items": {
    path: () => "/store/items",
    json: () => ({ namespace: ["of", "acme"], key: "k" }),
    answer: { status: 204 },
  },
  "GET /store/items": { path: () => "/store/items?namespace=of.acme&key=k", answer: { status: 200, body: null } },
  "POST /store/items/search": {
    path: () => "/store/items/search",
    json: () => ({ namespace_prefix: [] }),
    answer: { status: 200, body: { items: [] } },
  },
  "POST /store/namespaces": {
    path: () => "/store/namespaces",
    json: () => ({}),
    answer: { status: 200, body: { namespaces: [] } },
  },
  "GET /v1/audit": { path: () => "/v1/audit", answer: { status: 200, body: { items: [], next_cursor: null } } },
  "GET /v1/errors": { path: () => "/v1/errors", answer: { status: 200, body: { items: [], next_cursor: null } } },
  "GET /v1/runs": {
    path: () => "/v1/runs?status=held",
    answer: { status: 200, body: { items: [], next_cursor: null } },
  },
  "GET /v1/runs/:run_id": { path: ({ run }) => `/v1/runs/${run}` },
  "POST /v1/runs/:run_id/cancel": { path: ({ run }) => `/v1/runs/${run}/cancel` },
  "POST /v1/runs/:run_id/park": { path: ({ run }) => `/v1/runs/${run}/park` },
  "POST /v1/runs/:run_id/resume": { path: ({ run }) => `/v1/runs/${run}/resume` },
  "POST /v1/runs/:run_id/retry": { path: ({ run }) => `/v1/runs/${run}/retry` },
  "GET /v1/effects": { path: () => "/v1/effects", answer: { status: 200, body: { items: [], next_cursor: null } } },
  "GET /v1/effects/:effect_id": { path: ({ effect }) => `/v1/effects/${effect}` },
  "POST /v1/effects/:effect_id/settlement": {
    path: ({ effect }) => `/v1/effects/${effect}/settlement`,
    json: () => ({ outcome: "not_happened", intent: 1, reason: "nobody knows of it" }),
  },
  "GET /v1/reviews": { path: () => "/v1/reviews", answer: { status: 200, body: { items: [], next_cursor: null } } },
  "GET /v1/waits": { path: () => "/v1/waits", answer: { status: 200, body: { items: [], next_cursor: null } } },
  "GET /v1/reviews/:review_id": { path: ({ review }) => `/v1/reviews/${review}` },
  "GET /v1/reviews/counts": {
    path: () => "/v1/reviews/counts",
    answer: {
      status: 200,
      body: {
        open: 0,
        assigned_to_me: 0,
        unassigned: 0,
        snoozed: 0,
        by_risk: { low: 0, medium: 0, high: 0, none: 0 },
        at_least: false,
      },
    },
  },
  "GET /v1/reviews/statistics": {
    path: () => "/v1/reviews/statistics",
    answer: { status: 200, body: { reviews: 0, truncated: false, reviewers: [] } },
  },
  "GET /v1/reviews/stream": {
    path: () => "/v1/reviews/stream",
    answer: { status: 200, stream: 'event: ready\ndata: {"truncated":false}\n\n' },
  },
  "POST /v1/reviews/decisions": {
    path: () => "/v1/reviews/decisions",
    json: ({ review, digest }) => ({ type: "approve", reviews: [{ id: review, digest }] }),
    answer: { status: 200 },
  },
  "POST /v1/reviews/:review_id/links": {
    path: ({ review }) => `/v1/reviews/${review}/links`,
    json: ({ digest }) => ({ decision: "approve", digest }),
  },
  "GET /v1/policies": {
    path: () => "/v1/policies",
    answer: { status: 200, body: { items: [], next_cursor: null } },
  },
  "GET /v1/policies/:policy": { path: () => "/v1/policies/owned" },
  "GET /v1/policies/:policy/versions": { path: () => "/v1/policies/owned/versions" },
  "PUT /v1/policies/:policy": {
    path: () => "/v1/policies/owned",
    json: () => POLICY,
    answer: { status: 200 },
  },
  "POST /v1/policies/dry-run": {
    path: () => "/v1/policies/dry-run",
    json: () => ({ policy: POLICY }),
    answer: {
      status: 200,
      body: { reviews: 0, approves: 0, agreements: 0, disagreements: 0, disagreed: [], warnings: [] },
    },
  },
  "POST /v1/reviews/:review_id/claim": onReview("claim", {}),
  "POST /v1/reviews/:review_id/release": onReview("release", {}),
  "POST /v1/reviews/:review_id/snooze": onReview("snooze", { until: null }),
  "POST /v1/reviews/:review_id/assign": onReview("assign", { assignee: "gustav" }),
  "POST /v1/reviews/:review_id/comments": onReview("comments", { text: "hello" }),
  "POST /v1/reviews/:review_id/decisions": {
    path: ({ review }) => `/v1/reviews/${review}/decisions`,
    json: ({ digest }) => ({ type: "approve", digest }),
  },
  "POST /runs/crons": {
    path: () => "/runs/crons",
    json: ({ assistant }) => ({ assistant_id: assistant, schedule: "* * * * *" }),
  },
  "POST /threads/:thread_id/runs/crons": onThread("/runs/crons", () => ({
    assistant_id: "echo",
    schedule: "* * * * *",
  })),
  "POST /runs/crons/search": { path: () => "/runs/crons/search", json: () => ({}), answer: { status: 200, body: [] } },
  "POST /runs/crons/count": { path: () => "/runs/crons/count", json: () => ({}), answer: { status: 200, body: 0 } },
  "GET /runs/crons/:cron_id": { path: ({ cron }) => `/runs/crons/${cron}` },
  "PATCH /runs/crons/:cron_id": { path: ({ cron }) => `/runs/crons/${cron}`, json: () => ({ enabled: false }) },
  "DELETE /runs/crons/:cron_id": { path: ({ cron }) => `/runs/crons/${cron}` },
  "POST /v1/webhooks": {
    path: () => "/v1/webhooks",
    json: () => ({ url: "https://example.com/globex", events: ["run.ended"] }),
    answer: { status: 201 },
  },
  "GET /v1/webhooks": { path: () => "/v1/webhooks", answer: { status: 200 } },
  "GET /v1/webhooks/:webhook_id": onWebhook(""),
  "PATCH /v1/webhooks/:webhook_id": onWebhook("", () => ({ url: "https://example.com/taken" })),
  "DELETE /v1/webhooks/:webhook_id": onWebhook(""),
  "POST /v1/webhooks/:webhook_id/pause": onWebhook("/pause"),
  "POST /v1/webhooks/:webhook_id/resume": onWebhook("/resume"),
  "POST /v1/webhooks/:webhook_id/rotate": onWebhook("/rotate"),
  "POST /v1/webhooks/:webhook_id/test": onWebhook("/test"),
  "GET /v1/webhooks/:webhook_id/deliveries": onWebhook("/deliveries"),
  "POST /v1/webhooks/:webhook_id/deliveries/:delivery_id/redeliver": {
    path: ({ webhook, run }) => `/v1/webhooks/${webhook}/deliveries/1700000000000.${run}/redeliver`,
    answer: { status: 404 },
  },
  // Last, since from here on globex has an assistant of the same id.
  "POST /assistants": {
    path: () => "/assistants",
    json: ({ assistant }) => ({ graph_id: "echo", assistant_id: assistant, name: "of globex" }),
    answer: { status: 200 },
  },
};

const OPEN = ["GET /ok", "GET /ready", "GET /info"];
/** Their tokens say whose they are: test/http/callbacks.test.ts, test/http/links.test.ts. */
const BY_TOKEN = ["POST /v1/callbacks/:token", "GET /v1/links/:token", "POST /v1/links/:token"];

let service: Service;
let owned: Owned;

beforeAll(async () => {
  service = await startService({ graphs: createTestGraphs().registry });
  owned = await prepare(service);
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
});

async function prepare(service: Service): Promise<Owned> {
  const client = service.client("acme");
  const { assistant_id: assistant } = await client.assistants.create({ graphId: "echo", metadata: { of: "acme" } });
  const { thread_id: thread } = await client.threads.create({ metadata: { of: "acme" } });
  await client.store.putItem(["of", "acme"], "k", { of: "acme" });
  const run = await client.runs.create(thread, "refund", { input: { text: "100" } });
  await client.runs.join(thread, run.run_id);
  const state = await client.threads.getState(thread);
  const listed = (await (await service.app.call("GET", "/v1/reviews")).json()) as {
    readonly items: readonly { readonly id: string; readonly digest: string }[];
  };
  const [review] = listed.items;
  if (!review) throw new Error("the run raised no review");
  const checkpoint = state.checkpoint.checkpoint_id ?? "";
  const effect = await parkedEffect(service, { threadId: threadId(thread), runId: runId(run.run_id) });
  const { cron_id: cron } = await client.crons.create("echo", {
    schedule: "0 0 1 1 *",
    input: { text: "x" },
    metadata: { of: "acme" },
  });
  const hook = { url: "https://example.com/acme", events: ["run.ended"], description: '{"of":"acme"}' };
  await service.app.call("PUT", "/v1/policies/owned", { json: { ...POLICY, description: "of acme" } });
  const registered = await service.app.call("POST", "/v1/webhooks", { json: hook });
  const { id: webhook } = (await registered.json()) as { readonly id: string };
  const ids = { thread, run: run.run_id, checkpoint, assistant, webhook, cron, effect };
  return { ...ids, review: review.id, digest: review.digest };
}

async function parkedEffect({ deps }: Service, at: Pick<ParkedEffect, "threadId" | "runId">): Promise<string> {
  const now = deps.table.now();
  const token = effectToken({ tenant: tenantId("acme"), root: at.runId, path: [], name: "pay", call: 0 });
  const what = { tenant: tenantId("acme"), root: at.runId, token, name: "pay", policy: "unsafe", path: [] } as const;
  const entry = { ...what, ...at, argsDigest: argsDigest({ of: "acme" }), deadline: now, fence: 1 };
  const parked = { ...at, reason: "ambiguous", message: "no answer", at: now } as const;
  await deps.effects.put({ ...entry, parked, createdAt: now, updatedAt: now }, "absent");
  return `${at.runId}.${token}`;
}

/** Everything of acme that somebody else could have changed. */
async function snapshot(): Promise<unknown> {
  const paths = [
    `/threads/${owned.thread}`,
    `/threads/${owned.thread}/state`,
    `/threads/${owned.thread}/runs`,
    `/assistants/${owned.assistant}`,
    `/v1/reviews/${owned.review}`,
    `/v1/effects/${owned.effect}`,
    "/v1/policies/owned/versions",
    "/store/items?namespace=of.acme&key=k",
    `/runs/crons/${owned.cron}`,
    `/v1/webhooks/${owned.webhook}`,
  ];
  return Promise.all(paths.map(async (path) => (await service.app.call("GET", path)).json()));
}

/** What a stream says until it has said as much as is expected. */
async function firstOf(response: Response, expected: string): Promise<string> {
  const reader = new SseReader(response);
  await eventually(async () => reader.text.length >= expected.length, "the beginning of the stream");
  expect(reader.text).toBe(expected);
  return reader.text;
}

describe("a route, called by another tenant with the right ids", () => {
  it.each(Object.entries(PROBES))("%s", async (route, { path, json, answer = { status: 404 } }) => {
    const before = await snapshot();
    const method = route.split(" ", 1)[0] ?? "";
    const body = json && { json: json(owned) };
    const leaving = new AbortController();
    const { signal } = leaving;
    const response = await service.app.call(method, path(owned), { ...body, as: "globex", signal });
    expect(response.status).toBe(answer.status);
    const text = await (answer.stream === undefined ? response.text() : firstOf(response, answer.stream));
    leaving.abort();
    if (answer.body !== undefined) expect(JSON.parse(text)).toEqual(answer.body);
    expect(text).not.toMatch(/"of":\s*"acme"/);
    expect(await snapshot()).toEqual(before);
    if (route === "POST /threads") await service.app.call("DELETE", `/threads/${owned.thread}`, { as: "globex" });
  });

  it.each(Object.entries(PROBES))(
    "%s, by its owner, is not what is refused above",
    async (route, { path, json, answer }) => {
      if (answer || route.startsWith("DELETE") || route.endsWith("/decisions")) return;
      const method = route.split(" ", 1)[0] ?? "";
      const body = json && { json: json(owned) };
      const aborting = new AbortController();
      const response = await service.app.call(method, path(owned), { ...body, signal: aborting.signal });
      expect([401, 403, 404]).not.toContain(response.status);
      aborting.abort();
    },
  );
});

describe("a tenant cannot be claimed", () => {
  it("by a header, a query or metadata", async () => {
    const headers = { "x-tenant-id": "acme", "x-auth-scheme": "langsmith", "x-forwarded-user": "alice" };
    const forged = await service.app.call("GET", `/threads/${owned.thread}?tenant=acme`, { as: "globex", headers });
    expect(forged.status).toBe(404);
    const json = { metadata: { tenant: "acme", owner: "alice" } };
    const created = (await (await service.app.call("POST", "/threads", { json, as: "globex" })).json()) as {
      readonly thread_id: string;
    };
    expect((await service.app.call("GET", `/threads/${created.thread_id}`)).status).toBe(404);
  });

  it("by a cursor of its reviews", async () => {
    const client = service.client("acme");
    for (const text of ["1", "2"]) await client.runs.wait(null, "refund", { input: { text } });
    const page = (await (await service.app.call("GET", "/v1/reviews?limit=1")).json()) as {
      readonly next_cursor: string;
    };
    expect(page.next_cursor).not.toBeNull();
    const next = `/v1/reviews?limit=1&cursor=${page.next_cursor}`;
    expect((await service.app.call("GET", next)).status).toBe(200);
    expect((await service.app.call("GET", next, { as: "globex" })).status).toBe(422);
    expect((await service.app.call("GET", "/v1/reviews?cursor=bm9uc2Vuc2U")).status).toBe(422);
  });
});

it("nobody is answered anything without a key, but for health and description", async () => {
  for (const [route, { path, json }] of Object.entries(PROBES)) {
    const method = route.split(" ", 1)[0] ?? "";
    const response = await service.app.call(method, path(owned), { ...(json && { json: json(owned) }), as: "nobody" });
    expect([route, response.status]).toEqual([route, 401]);
  }
  for (const route of OPEN) {
    const response = await service.app.call("GET", route.slice("GET ".length), { as: "nobody" });
    expect([route, response.status]).toEqual([route, 200]);
  }
});

it("every route of the application stands in the table", () => {
  expect(allRoutes().toSorted()).toEqual([...Object.keys(PROBES), ...OPEN, ...BY_TOKEN].toSorted());
});
