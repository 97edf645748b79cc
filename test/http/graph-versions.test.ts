/** A thread meets another version of its graph than the one that began its work. */
import { Annotation, END, START, StateGraph, interrupt } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import type { RegisteredGraph } from "../../src/langgraph/registry.ts";
import { runId, tenantId, threadId } from "../../src/core/ids.ts";
import { LONG_MS, eventually } from "../support/eventually.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

const State = Annotation.Root({ done: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }) });

/** Asks, and then does what the node is named for. */
const asking = (next: string) =>
  new StateGraph(State)
    .addNode("ask", () => {
      interrupt("go on?");
      return { done: ["ask"] };
    })
    .addNode(next, () => ({ done: [next] }))
    .addEdge(START, "ask")
    .addEdge("ask", next)
    .addEdge(next, END)
    .compile();

/** A graph whose code changes while the service runs. */
function changing(): { readonly graph: RegisteredGraph; readonly become: (next: RegisteredGraph) => void } {
  let now = registeredGraph("desk", asking("pay"), "1");
  return {
    become: (next) => {
      now = next;
    },
    graph: {
      graphId: "desk",
      pool: "default",
      priority: 5,
      limits: {},
      get version() {
        return now.version;
      },
      get pinned() {
        return now.pinned;
      },
      compiled: (config) => now.compiled(config),
    },
  };
}

const runOf = async ({ deps }: Service, thread: string, run: string) =>
  (await deps.runs.get({ tenant: tenantId("acme"), threadId: threadId(thread) }, runId(run)))?.value;

async function heldThread(service: Service) {
  const client = service.client("acme");
  const { thread_id: thread } = await client.threads.create();
  await client.runs.wait(thread, "desk", { input: {} });
  return { client, thread };
}

describe("a thread in flight whose graph has changed", () => {
  it("goes on in a later version that has the nodes it needs", async () => {
    const { graph, become } = changing();
    await using service = await startService({ graphs: createRegistry([graph]) });
    const { client, thread } = await heldThread(service);
    become(registeredGraph("desk", asking("pay"), "2"));
    expect(await client.runs.wait(thread, "desk", { command: { resume: true } })).toMatchObject({
      done: ["ask", "pay"],
    });
  });

  it("sleeps, visibly and with the reason, where a node it waits at is gone, and goes on once it is back", async () => {
    const { graph, become } = changing();
    await using service = await startService({ graphs: createRegistry([graph]) });
    const { client, thread } = await heldThread(service);
    const renamed = new StateGraph(State)
      .addNode("other", () => ({}))
      .addEdge(START, "other")
      .compile();
    become(registeredGraph("desk", renamed, "2"));
    const { run_id: run } = await client.runs.create(thread, "desk", { command: { resume: true } });
    await eventually(async () => (await runOf(service, thread, run))?.status === "waiting");
    expect((await runOf(service, thread, run))?.sleep?.reason).toContain("has no node ask any more");
    expect((await client.runs.get(thread, run)).status).toBe("pending");
    // Nor does it pass over the node when it looks again, in the very version that it has waited in.
    const hasLookedAgain = async () => ((await runOf(service, thread, run))?.deliveries ?? 0) > 1;
    await eventually(hasLookedAgain, "another look", LONG_MS);
    await eventually(async () => (await runOf(service, thread, run))?.status === "waiting", "it to wait on");
    become(registeredGraph("desk", asking("pay"), "3"));
    await client.runs.join(thread, run);
    expect(await client.threads.getState(thread)).toMatchObject({ values: { done: ["ask", "pay"] } });
  });

  it("sleeps where the graph is pinned and the version it began with is not here", async () => {
    const { graph, become } = changing();
    await using service = await startService({ graphs: createRegistry([graph]) });
    const { client, thread } = await heldThread(service);
    become({ ...registeredGraph("desk", asking("pay"), "2"), pinned: true });
    const { run_id: run } = await client.runs.create(thread, "desk", { command: { resume: true } });
    await eventually(async () => (await runOf(service, thread, run))?.status === "waiting");
    expect((await runOf(service, thread, run))?.sleep?.reason).toBe(
      "graph desk is pinned, and its version 1 is not here",
    );
    become({ ...registeredGraph("desk", asking("pay"), "1"), pinned: true });
    await client.runs.join(thread, run);
    expect((await runOf(service, thread, run))?.status).toBe("success");
  });
});
