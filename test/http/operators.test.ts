/** Operators over HTTP: finding runs and failures, looking into one, stopping it, trying it again without paying twice. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { effect } from "../../src/graph/effect.ts";
import { review } from "../../src/graph/review.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import type { RegisteredGraph } from "../../src/langgraph/registry.ts";
import { eventually } from "../support/eventually.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

const State = Annotation.Root({
  asks: Annotation<boolean>(),
  fails: Annotation<string>(),
  done: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});
type Order = typeof State.State;

/** What stands outside of the service. */
const world = { payments: 0, broken: true, gate: Promise.withResolvers<void>() };

const build = (last: string) =>
  new StateGraph(State)
    .addNode("pay", async ({ asks }: Order, config: LangGraphRunnableConfig) => {
      if (asks) await review(config, { title: "Pay?", action: "pay", args: { amount: 7 } });
      const number = await effect(config, { name: "pay", policy: "unsafe" }, async () => ++world.payments);
      return { done: [`paid ${number}`] };
    })
    .addNode(last, async ({ fails }: Order) => {
      if (fails === "waits") await world.gate.promise;
      else if (fails !== undefined && world.broken) throw new TypeError(`no stock for order ${fails}`);
      return { done: ["shipped"] };
    })
    .addEdge(START, "pay")
    .addEdge("pay", last)
    .addEdge(last, END)
    .compile();

const ask = (config: LangGraphRunnableConfig) => review(config, { title: "Pay?", action: "pay", args: {} });
/** Two reviews at once; whatever is answered to the first, its node fails. */
const pair = new StateGraph(State)
  .addNode("left", async (_, config) => {
    await ask(config);
    throw new Error("the bank is away");
  })
  .addNode("right", async (_, config) => ({ done: [(await ask(config)).type] }))
  .addEdge(START, "left")
  .addEdge(START, "right")
  .compile();

/** A graph whose code changes while the service runs. */
let shop = registeredGraph("shop", build("ship"), "1");
const graph: RegisteredGraph = {
  graphId: "shop",
  pool: "default",
  priority: 5,
  limits: {},
  pinned: false,
  get version() {
    return shop.version;
  },
  compiled: (config) => shop.compiled(config),
};

interface Summary {
  readonly run_id: string;
  readonly thread_id: string;
  readonly status: string;
  readonly root: string;
  readonly replay_of: string | null;
  readonly fingerprint: string | null;
  readonly [field: string]: unknown;
}
interface Asked {
  readonly id: string;
  readonly digest: string;
  readonly node: string;
}
interface Answer {
  readonly items: readonly Summary[];
  readonly next_cursor: string | null;
  readonly counts?: Readonly<Record<string, number>>;
}

let service: Service;
let client: Client;
beforeAll(async () => {
  service = await startService({ graphs: createRegistry([graph, registeredGraph("pair", pair)]) });
  client = service.client("acme");
});
afterAll(async () => {
  world.gate.resolve();
  await service[Symbol.asyncDispose]();
});

const get = async <T = Answer>(path: string): Promise<T> => {
  const response = await service.app.call("GET", `/v1${path}`);
  expect([path, response.status]).toEqual([path, 200]);
  return (await response.json()) as T;
};
const post = (run: string, verb: string, headers: Record<string, string> = {}, as: "acme" | "globex" = "acme") =>
  service.app.call("POST", `/v1/runs/${run}/${verb}`, { json: { reason: "because" }, headers, as });
const runOf = async (run: string): Promise<Summary> => get<Summary>(`/runs/${run}`);
const ended = async (run: string): Promise<Summary> =>
  eventually(async () => {
    const now = await runOf(run);
    return now["ended_at"] === null ? undefined : now;
  });

async function ordered(input: Partial<Order>): Promise<{ readonly thread: string; readonly run: string }> {
  const { thread_id: thread } = await client.threads.create();
  const { run_id: run } = await client.runs.create(thread, "shop", { input });
  return { thread, run };
}
async function failed(fails = "17") {
  world.broken = true;
  const order = await ordered({ fails });
  expect(await ended(order.run)).toMatchObject({ status: "error" });
  return order;
}
const doneOf = async (thread: string) => ((await client.threads.getState(thread)).values as { done?: string[] }).done;

describe("a failed run", () => {
  it("goes on where it failed, under the same root, and pays once", async () => {
    const { thread, run } = await failed();
    const paid = world.payments;
    world.broken = false;
    const response = await post(run, "retry");
    expect(response.status).toBe(202);
    const retry = (await response.json()) as Summary;
    expect(retry).toMatchObject({ replay_of: run, root: run, thread_id: thread });
    expect(await ended(retry.run_id)).toMatchObject({ status: "success", effects: [{ reused: true, name: "pay" }] });
    expect(world.payments).toBe(paid);
    expect(await doneOf(thread)).toEqual([`paid ${paid}`, "shipped"]);
    const { lineage } = await get<{ lineage: Summary[] }>(`/runs/${run}`);
    expect(lineage.map(({ run_id }) => run_id)).toEqual([run, retry.run_id]);
  });

  it("would pay again as a new order (negative control)", async () => {
    const { thread } = await failed();
    const paid = world.payments;
    world.broken = false;
    await client.runs.wait(thread, "shop", { input: {} });
    expect(world.payments).toBe(paid + 1);
  });

  it("is tried again once for a double click, with the same key or without one", async () => {
    const { run, thread } = await failed();
    world.broken = false;
    const keyed = { "idempotency-key": `retry-${run}` };
    const answers = await Promise.all([
      post(run, "retry", keyed),
      post(run, "retry", keyed),
      post(run, "retry", keyed),
    ]);
    // One that was overtaken by another of them is told to ask again.
    expect(new Set([...answers.map(({ status }) => status), 202, 503])).toEqual(new Set([202, 503]));
    const taken = answers.filter(({ status }) => status === 202);
    const ids = await Promise.all(taken.map(async (answer) => ((await answer.json()) as Summary).run_id));
    expect(new Set(ids).size).toBe(1);
    await ended(ids[0] ?? "");
    const again = await post(run, "retry", keyed);
    expect([again.status, ((await again.json()) as Summary).run_id]).toEqual([202, ids[0]]);
    expect(await doneOf(thread)).toHaveLength(2);

    const other = await failed();
    world.broken = false;
    const unkeyed = await Promise.all(Array.from({ length: 5 }, () => post(other.run, "retry")));
    expect(unkeyed.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([202, 409, 409, 409, 409]);
  });

  it("is refused with the reason when it is active, has succeeded, was overtaken or waits for an answer", async () => {
    const refusal = async (run: string, verb = "retry") => {
      const response = await post(run, verb);
      const { detail } = (await response.json()) as { readonly detail: string };
      return `${response.status} ${detail}`;
    };
    world.gate = Promise.withResolvers();
    const active = await ordered({ fails: "waits" });
    expect(await refusal(active.run)).toMatch(/^409 run .* is (pending|running): it is still active/);
    world.gate.resolve();
    await ended(active.run);
    expect(await refusal(active.run)).toMatch(/^409 run .* succeeded/);
    expect(await refusal(active.run, "park")).toMatch(/^409 run .* has ended as success/);
    const asks = await ordered({ asks: true });
    await ended(asks.run);
    expect(await refusal(asks.run)).toMatch(/^409 run .* stopped at a question/);
    const overtaken = await failed();
    world.broken = false;
    await client.runs.wait(overtaken.thread, "shop", { input: {} });
    expect(await refusal(overtaken.run)).toMatch(/^409 thread .* has moved on since run/);
    expect(await refusal(overtaken.run, "resume")).toMatch(/^409 run .* is error: only a parked one/);
  });

  it("is refused while a review waits beside the work that failed: the thread goes on by its decision", async () => {
    const { thread_id: thread } = await client.threads.create();
    await client.runs.wait(thread, "pair", { input: {} });
    const { items } = await get<{ readonly items: readonly Asked[] }>("/reviews?graph=pair");
    const { id, digest } = items.find(({ node }) => node === "left") ?? none();
    const json = { type: "approve", digest };
    const decided = await service.app.call("POST", `/v1/reviews/${id}/decisions`, { json });
    const { decision } = (await decided.json()) as { readonly decision: { readonly continuation_run_id: string } };
    const run = decision.continuation_run_id;
    expect(await ended(run)).toMatchObject({ status: "error" });
    const refused = await post(run, "retry");
    expect([refused.status, await refused.text()]).toEqual([409, expect.stringContaining("waits for a review")]);
    expect(await client.runs.list(thread)).toHaveLength(2);
  });

  it("is refused when its graph has no longer the node, and never silently successful", async () => {
    const { run } = await failed();
    world.broken = false;
    shop = registeredGraph("shop", build("send"), "2");
    const response = await post(run, "retry");
    expect([response.status, await response.json()]).toMatchObject([409, { missing: ["ship"] }]);
    shop = registeredGraph("shop", build("ship"), "1");
    expect((await post(run, "retry")).status).toBe(202);
  });
});

describe("a run that is stopped", () => {
  it("is parked, and goes on when it is resumed", async () => {
    world.gate = Promise.withResolvers();
    const { run, thread } = await ordered({ fails: "waits" });
    await eventually(async () => (await doneOf(thread))?.length === 1);
    expect((await post(run, "park")).status).toBe(202);
    expect(await ended(run)).toMatchObject({ status: "parked", error: { class: "parked" } });
    const paid = world.payments;
    world.gate.resolve();
    const resumed = await eventually(async () => {
      const response = await post(run, "resume");
      return response.status === 202 ? ((await response.json()) as Summary) : undefined;
    });
    expect(await ended(resumed.run_id)).toMatchObject({ status: "success", replay_of: run });
    expect([world.payments, await doneOf(thread)]).toEqual([paid, [`paid ${paid}`, "shipped"]]);
  });

  it("is cancelled", async () => {
    world.gate = Promise.withResolvers();
    const { run } = await ordered({ fails: "waits" });
    expect((await post(run, "cancel")).status).toBe(202);
    expect(await ended(run)).toMatchObject({ status: "cancelled" });
    world.gate.resolve();
  });
});

describe("runs across threads", () => {
  it("are found by status, error, node, fingerprint and time, newest first, page by page", async () => {
    const [one, two] = [await failed("1234"), await failed("5678")];
    const both = [two.run, one.run];
    const ids = ({ items }: Answer) => items.map(({ run_id }) => run_id);
    const { fingerprint } = await runOf(one.run);
    for (const query of [
      "status=error",
      "node=ship",
      "error=TypeError",
      `fingerprint=${fingerprint}`,
      "graph_id=shop&status=error",
    ])
      expect([query, ids(await get(`/runs?${query}&limit=2`))]).toEqual([query, both]);
    for (const query of [
      "graph_id=other",
      "version=2",
      "node=pay",
      "error=RangeError",
      "fingerprint=0",
      "until=2001-01-01",
    ])
      expect([query, ids(await get(`/runs?${query}&status=error`))]).toEqual([query, []]);
    const all: Summary[] = [];
    let cursor = "";
    for (let page = 0; page < 100; page++) {
      const { items, next_cursor: next } = await get(`/runs?limit=3${cursor}`);
      all.push(...items);
      if (next === null) break;
      cursor = `&cursor=${next}`;
    }
    const whole = await get("/runs?limit=1000&counts=true");
    expect(all).toEqual(whole.items);
    expect(new Set(all.map(({ run_id }) => run_id)).size).toBe(all.length);
    const counts = Object.groupBy(all, ({ status }) => status);
    expect(whole.counts?.["error"]).toBe(counts["error"]?.length);
    expect(whole.counts?.["success"]).toBe(counts["success"]?.length);
  });

  it("refuses the cursor of another list, and values that it does not know", async () => {
    const { next_cursor: next } = await get("/runs?limit=1");
    for (const query of [
      "graph=shop",
      `status=error&cursor=${next}`,
      "cursor=nonsense",
      "status=maybe",
      "since=yesterday",
      "limit=0",
    ])
      expect([query, (await service.app.call("GET", `/v1/runs?${query}`)).status]).toEqual([query, 422]);
  });

  it("has one group for failures that are the same but for their numbers", async () => {
    await failed("42");
    interface Group {
      readonly class: string;
      readonly node: string;
      readonly count: number;
      readonly fingerprint: string;
      readonly sample: { readonly message: string };
    }
    const { items } = await get<{ readonly items: readonly Group[] }>("/errors");
    const group = items.find((one) => one.class === "TypeError" && one.node === "ship");
    expect(items.filter((one) => one.class === "TypeError")).toHaveLength(1);
    expect(group).toMatchObject({ graphs: ["shop"], versions: ["1"], sample: { message: "no stock for order 42" } });
    const { counts } = await get(`/runs?fingerprint=${group?.fingerprint ?? ""}&counts=true`);
    expect(counts?.["error"]).toBe(group?.count);
  });
});

it("a timeline tells human wait from latency, and shows nodes, holds and effects", async () => {
  const { run } = await ordered({ asks: true });
  const { thread_id: thread } = await ended(run);
  const { items } = await get<{ items: { id: string; digest: string; thread_id: string }[] }>(
    "/reviews?state=open&limit=100",
  );
  const asked = items.find((one) => one.thread_id === thread);
  const json = { type: "edit", args: { amount: 6 }, comment: "less", digest: asked?.digest };
  const decision = await service.app.call("POST", `/v1/reviews/${asked?.id}/decisions`, { json });
  expect(decision.status).toBe(200);
  const { decision: decided } = (await decision.json()) as { decision: { continuation_run_id: string } };
  const after = await ended(decided.continuation_run_id);
  expect(after).toMatchObject({
    parent: run,
    status: "success",
    effects: [{ name: "pay", outcome: "result", reused: false }],
  });
  const timeline = await runOf(run);
  expect(timeline).toMatchObject({
    status: "held",
    human_wait_ms: expect.any(Number) as number,
    queue_ms: expect.any(Number) as number,
    run_ms: expect.any(Number) as number,
    holds: [{ node: "pay", state: "applied", decided_by: "alice", answer: "edit" }],
    nodes: [{ node: "__start__" }, { node: "pay" }].slice(1),
    lineage: [{ run_id: run }, { run_id: decided.continuation_run_id, parent: run }],
  });
  const [entry] = (await get(`/audit?review_id=${asked?.id}`)).items;
  expect(entry).toMatchObject({
    kind: "decision",
    action: "edit",
    actor: "alice",
    reason: "less",
    patch: [{ op: "replace", path: "/args/amount", value: 6 }],
    address: expect.stringMatching(/127\.0\.0\.1/) as string,
  });
});

it("a run that answered by the SDK has the lineage and the effects of the input that it carried on, and no later ones", async () => {
  const { thread, run } = await ordered({ asks: true });
  await ended(run);
  const { run_id: answer } = await client.runs.create(thread, "shop", { command: { resume: { type: "approve" } } });
  expect(await ended(answer)).toMatchObject({ status: "success", effects: [{ name: "pay" }] });
  const { run_id: next } = await client.runs.create(thread, "shop", { input: { asks: false } });
  expect(await ended(next)).toMatchObject({ status: "success", lineage: [{ run_id: next }] });
  for (const one of [run, answer]) {
    expect(await runOf(one)).toMatchObject({ lineage: [{ run_id: run }, { run_id: answer }] });
    expect((await runOf(one))["effects"]).toHaveLength(1);
    expect((await get(`/effects?run_id=${one}`)).items).toEqual([expect.objectContaining({ run_id: answer })]);
  }
  expect((await runOf(next))["effects"]).toHaveLength(1);
});

it("what operators do is on the record, with who asked for it and why", async () => {
  const { run } = await failed();
  world.broken = false;
  const retry = (await (await post(run, "retry")).json()) as Summary;
  const { items } = await get(`/audit?run_id=${run}&kind=retry`);
  expect(items).toMatchObject([
    { kind: "retry", actor: "alice", reason: "because", detail: { retriedBy: retry.run_id } },
  ]);
  await eventually(async () => {
    const [entry] = (await get(`/audit?run_id=${run}&kind=retry`)).items;
    return typeof entry?.["link"] === "number";
  });
});

it("another tenant's run is 404 to every verb", async () => {
  const { run } = await failed();
  for (const verb of ["cancel", "park", "resume", "retry"])
    expect((await post(run, verb, {}, "globex")).status).toBe(404);
  expect((await service.app.call("GET", `/v1/runs/${run}`, { as: "globex" })).status).toBe(404);
});

function none(): never {
  throw new Error("there is none");
}
