/** Breakpoints and plain interrupts as reviews, and graphs that are registered to be strict about them. */
import { Annotation, END, START, StateGraph, interrupt } from "@langchain/langgraph";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import type { PlainInterrupts, RegisteredGraph } from "../../src/langgraph/registry.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});

const steps = () =>
  new StateGraph(State)
    .addNode("a", () => ({ log: ["a"] }))
    .addNode("b", () => ({ log: ["b"] }))
    .addNode("c", () => ({ log: ["c"] }))
    .addEdge(START, "a")
    .addEdge("a", "b")
    .addEdge("b", "c")
    .addEdge("c", END);
const asks = new StateGraph(State)
  .addNode("ask", () => ({ log: [String(interrupt("?"))] }))
  .addEdge(START, "ask")
  .addEdge("ask", END)
  .compile();

const gate = Promise.withResolvers<void>();
const slow = new StateGraph(State)
  .addNode("a", async () => {
    await gate.promise;
    return { log: ["a"] };
  })
  .addNode("b", () => ({ log: ["b"] }))
  .addEdge(START, "a")
  .addEdge("a", "b")
  .addEdge("b", END)
  .compile({ interruptBefore: ["b"] });

const nested = new StateGraph(State)
  .addNode("inner", steps().compile({ interruptBefore: ["b", "c"] }))
  .addEdge(START, "inner")
  .addEdge("inner", END)
  .compile();

const under = (graph: RegisteredGraph, plainInterrupts: PlainInterrupts): RegisteredGraph => ({
  ...graph,
  plainInterrupts,
});
const graphs = createRegistry([
  registeredGraph("steps", steps().compile()),
  registeredGraph("stops", steps().compile({ interruptBefore: ["b"], interruptAfter: ["b"] })),
  under(registeredGraph("strict-stops", steps().compile({ interruptBefore: ["b"] })), "strict"),
  registeredGraph("slow", slow),
  registeredGraph("nested", nested),
  registeredGraph("asks", asks),
  under(registeredGraph("strict-asks", asks), "strict"),
  under(registeredGraph("refused-asks", asks), "refused"),
]);

let service: Service;
beforeAll(async () => {
  service = await startService({ graphs });
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
});

interface Shown {
  readonly id: string;
  readonly thread_id: string;
  readonly digest: string;
  readonly state: string;
  readonly origin: string;
  readonly node: string;
  readonly value: unknown;
  readonly reason: string | null;
  readonly decision: { readonly type: string; readonly by: string } | null;
}

const client = () => service.client("acme");
const call = (method: string, path: string, json?: object) => service.app.call(method, path, json ? { json } : {});

async function heldAt(graph: string, options: object = {}): Promise<string> {
  const { thread_id: thread } = await client().threads.create();
  await client().runs.wait(thread, graph, { input: {}, ...options });
  return thread;
}

async function reviewsOf(thread: string, state = "open"): Promise<readonly Shown[]> {
  const page = (await (await call("GET", `/v1/reviews?limit=1000&state=${state}`)).json()) as { items: Shown[] };
  return page.items.filter((item) => item.thread_id === thread);
}

async function onlyReview(thread: string): Promise<Shown> {
  const [found, ...others] = await reviewsOf(thread);
  if (!found || others.length > 0) throw new Error("not one review is open");
  return found;
}

const decide = (review: Shown, answer: object) =>
  call("POST", `/v1/reviews/${review.id}/decisions`, { digest: review.digest, ...answer });
const logOf = async (thread: string): Promise<unknown> => {
  await expect.poll(async () => (await client().threads.get(thread)).status).not.toBe("busy");
  return ((await client().threads.getState(thread)).values as { log: unknown }).log;
};

describe("a breakpoint", () => {
  it("is a review that says where it is, can be claimed, and is passed when it is approved", async () => {
    const thread = await heldAt("steps", { interruptBefore: ["b"] });
    const state = await client().threads.getState(thread);
    const review = await onlyReview(thread);
    expect(review).toMatchObject({
      origin: "breakpoint",
      node: "b",
      value: { checkpoint_id: state.checkpoint.checkpoint_id, next: ["b"] },
    });
    expect((await client().threads.get(thread)).status).toBe("interrupted");
    expect((await call("POST", `/v1/reviews/${review.id}/claim`, {})).status).toBe(200);
    expect((await decide(review, { type: "approve", digest: "0".repeat(64) })).status).toBe(412);
    expect((await decide(review, { type: "approve" })).status).toBe(200);
    await expect.poll(() => logOf(thread)).toEqual(["a", "b", "c"]);
    expect((await decide(review, { type: "approve" })).status).toBe(409);
    expect(await reviewsOf(thread, "done")).toMatchObject([
      { state: "applied", decision: { type: "approve", by: "alice" } },
    ]);
  });

  it("of the graph itself stops at each of its places, and each has to be approved", async () => {
    const thread = await heldAt("stops");
    const before = await onlyReview(thread);
    await decide(before, { type: "approve" });
    await expect.poll(() => logOf(thread)).toEqual(["a", "b"]);
    await expect.poll(async () => (await reviewsOf(thread)).length).toBe(1);
    const after = await onlyReview(thread);
    expect(after.digest).not.toBe(before.digest);
    await decide(after, { type: "approve" });
    await expect.poll(() => logOf(thread)).toEqual(["a", "b", "c"]);
  });

  it("in a subgraph is one as well, at each of its places", async () => {
    const thread = await heldAt("nested");
    const first = await onlyReview(thread);
    expect(first).toMatchObject({ node: "inner", value: { next: ["inner"], subgraphs: [{ next: ["b"] }] } });
    await decide(first, { type: "approve" });
    await expect
      .poll(async () => (await reviewsOf(thread)).map(({ value }) => value))
      .toMatchObject([{ subgraphs: [{ next: ["c"] }] }]);
    await decide(await onlyReview(thread), { type: "approve" });
    await expect.poll(() => logOf(thread)).toEqual(["a", "b", "c"]);
    expect(await reviewsOf(thread)).toEqual([]);
  });

  it.each([
    [{ type: "reject", comment: "no" }],
    [{ type: "edit", args: {}, comment: "x" }],
    [{ type: "response", message: "x" }],
    [{ type: "value", value: 1 }],
  ])("takes no other answer: %j is 422 that says what to do instead", async (answer) => {
    const thread = await heldAt("stops");
    const refused = await decide(await onlyReview(thread), answer);
    expect(refused.status).toBe(422);
    expect(await refused.json()).toMatchObject({
      errors: [{ pointer: "/type", message: expect.stringContaining("cancel") as string }],
    });
    const resume = { assistant_id: "stops", command: { resume: answer } };
    expect((await call("POST", `/threads/${thread}/runs/wait`, resume)).status).toBe(422);
  });

  it("is approved by input null, on the record, and once: a second one does not pass the next", async () => {
    const thread = await heldAt("stops");
    const first = await onlyReview(thread);
    const twice = await Promise.all(
      [1, 2].map(() => call("POST", `/threads/${thread}/runs`, { assistant_id: "stops", input: null })),
    );
    expect(twice.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 409]);
    await expect.poll(async () => (await onlyReview(thread)).id).not.toBe(first.id);
    expect(await logOf(thread)).toEqual(["a", "b"]);
    await expect
      .poll(async () => (await reviewsOf(thread, "done")).map(({ state, decision }) => [state, decision?.by]))
      .toEqual([["applied", "alice"]]);
    const audited = (await (await call("GET", `/v1/audit?review_id=${first.id}`)).json()) as { items: object[] };
    expect(audited.items).toMatchObject([{ action: "approve", actor: "alice" }]);
  });

  it("is approved by command.resume with whatever value", async () => {
    const thread = await heldAt("strict-stops");
    expect(await client().runs.wait(thread, "strict-stops", { command: { resume: true } })).toMatchObject({
      log: ["a", "b", "c"],
    });
  });

  it("is passed by a run without input that was queued before it, on the record", async () => {
    const { thread_id: thread } = await client().threads.create();
    await client().runs.create(thread, "slow", { input: {} });
    await client().runs.create(thread, "slow", { input: null });
    await expect.poll(() => reviewsOf(thread)).toEqual([]);
    gate.resolve();
    await expect.poll(() => logOf(thread)).toEqual(["a", "b"]);
    await expect
      .poll(async () => (await reviewsOf(thread, "done")).map(({ state, decision }) => [state, decision?.by]))
      .toEqual([["applied", "alice"]]);
  });

  it("is cancelled on the record by new input, and by an update of the state", async () => {
    const thread = await heldAt("stops");
    const review = await onlyReview(thread);
    await client().runs.wait(thread, "steps", { input: {} });
    expect((await decide(review, { type: "approve" })).status).toBe(410);
    const other = await heldAt("stops");
    await client().threads.updateState(other, { values: { log: ["edited"] }, asNode: "a" });
    expect(await reviewsOf(other, "done")).toMatchObject([
      { state: "cancelled", reason: expect.stringContaining("updated") as string },
    ]);
    expect(await client().runs.wait(other, "stops", { input: null })).toMatchObject({ log: ["a", "edited", "b"] });
  });

  it("that was left by a run from an earlier checkpoint is not passed by who approves it later", async () => {
    const thread = await heldAt("steps", { interruptBefore: ["c"] });
    const review = await onlyReview(thread);
    const [, , first] = await client().threads.getHistory(thread);
    const checkpointId = first?.checkpoint.checkpoint_id ?? "";
    await client().runs.wait(thread, "steps", { input: null, checkpointId, interruptBefore: ["b"] });
    const open = await reviewsOf(thread);
    expect(open.map(({ node }) => node)).toContain("b");
    await decide(review, { type: "approve" });
    const became = async () => (await reviewsOf(thread, "done")).find(({ id }) => id === review.id);
    await expect.poll(async () => (await became())?.state).toBe("superseded");
    expect(await logOf(thread)).toEqual(["a"]);
    expect((await reviewsOf(thread)).map(({ node }) => node)).toContain("b");
  });

  it("of another tenant is 404", async () => {
    const review = await onlyReview(await heldAt("stops"));
    const json = { digest: review.digest, type: "approve" };
    expect((await service.app.call("POST", `/v1/reviews/${review.id}/decisions`, { json, as: "globex" })).status).toBe(
      404,
    );
  });
});

describe("a graph that is strict about plain interrupts", () => {
  it.each(["strict-stops", "strict-asks"])("refuses new input with 409 while one waits: %s", async (graph) => {
    const thread = await heldAt(graph);
    const run = { assistant_id: graph, input: {} };
    expect((await call("POST", `/threads/${thread}/runs/wait`, run)).status).toBe(409);
    expect(
      (await call("POST", `/threads/${thread}/state`, { values: { log: ["x"] }, as_node: "__start__" })).status,
    ).toBe(409);
    expect(await reviewsOf(thread)).toHaveLength(1);
    expect((await call("POST", `/threads/${thread}/runs/wait`, { ...run, on_pending: "cancel" })).status).toBe(200);
    expect(await reviewsOf(thread, "done")).toMatchObject([{ state: "cancelled" }]);
  });

  it("lets input null pass a breakpoint, and an answer an interrupt", async () => {
    const stopped = await heldAt("strict-stops");
    expect(await client().runs.wait(stopped, "strict-stops", { input: null })).toMatchObject({ log: ["a", "b", "c"] });
    const asked = await heldAt("strict-asks");
    expect(await client().runs.wait(asked, "strict-asks", { command: { resume: "yes" } })).toMatchObject({
      log: ["yes"],
    });
  });

  it("is lenient unless it is registered otherwise", async () => {
    const thread = await heldAt("asks");
    expect((await call("POST", `/threads/${thread}/runs/wait`, { assistant_id: "asks", input: {} })).status).toBe(200);
  });

  it("fails a run that raises one where that is refused, naming the setting; nothing is left to decide", async () => {
    const { thread_id: thread } = await client().threads.create();
    const failed = await call("POST", `/threads/${thread}/runs/wait`, { assistant_id: "refused-asks", input: {} });
    expect(JSON.stringify(await failed.json())).toMatch(/plainInterrupts.*refused.*review\(\)/);
    expect((await client().threads.get(thread)).status).toBe("error");
    expect(await reviewsOf(thread)).toEqual([]);
  });
});
