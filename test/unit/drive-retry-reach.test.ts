/** Which nodes and tasks a delivery tries again by itself: all that it can reach. */
import { MemorySaver, START, Send, StateGraph, entrypoint, task } from "@langchain/langgraph";
import type { RetryPolicy } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { DrivenThread, backoffOf, valuesOf } from "../support/drive-kit.ts";
import { State, fixed, flaky, single } from "../support/flaky-nodes.ts";
import type { Config, Node, S } from "../support/flaky-nodes.ts";

describe("a retry policy", () => {
  it("nodes of graphs that are nodes are tried again as well, at any depth", async () => {
    const { node, attempts } = flaky(3);
    const deep = new StateGraph(State).addNode("deep", single(node, fixed(900, 5)).compile()).addEdge(START, "deep");
    const thread = new DrivenThread(new StateGraph(State).addNode("sub", deep.compile()).addEdge(START, "sub"));
    const first = await thread.invoke({});
    const { retries, delayMs } = backoffOf(first.outcome);
    expect(delayMs).toBe(1800);
    const second = backoffOf((await thread.deliver({ payload: { input: {} }, run: first.run, retries })).outcome);
    expect(second.delayMs).toBe(3600);
    const last = await thread.deliver({ payload: { input: {} }, run: first.run, retries: second.retries });
    expect(last.outcome).toEqual({ kind: "done" });
    expect(attempts).toEqual([1, 2, 3, 4]);
  });

  it("a graph without a checkpointer begins again, but its nodes' attempts are counted on", async () => {
    const { node, attempts } = flaky(Infinity);
    const sub = single(node, fixed(60_000, 3)).compile({ checkpointer: false });
    const thread = new DrivenThread(new StateGraph(State).addNode("sub", sub).addEdge(START, "sub"));
    const { outcome, run } = await thread.invoke({});
    let left = backoffOf(outcome);
    left = backoffOf((await thread.deliver({ payload: { input: {} }, run, retries: left.retries })).outcome);
    const last = await thread.deliver({ payload: { input: {} }, run, retries: left.retries });
    expect(last.outcome).toMatchObject({ kind: "failed", error: { message: "failure 3" } });
    expect(attempts).toEqual([1, 2, 3]);
  });

  it("a node around a graph gives the graph's nodes all their attempts again, as LangGraph does", async () => {
    const { node, attempts } = flaky(Infinity);
    const sub = single(node, fixed(1, 2)).compile();
    const outer = () => new StateGraph(State).addNode("sub", sub, { retryPolicy: fixed(1, 2) }).addEdge(START, "sub");
    await expect(
      outer()
        .compile({ checkpointer: new MemorySaver() })
        .invoke({}, { configurable: { thread_id: "t" } }),
    ).rejects.toThrow("failure 4");
    const stock = attempts.splice(0);
    expect((await new DrivenThread(outer()).invoke({})).outcome.kind).toBe("failed");
    expect(attempts).toEqual(stock);
    expect(attempts).toEqual([1, 2, 1, 2]);
  });

  it("Sends to one node are counted each for itself", async () => {
    const attempts = new Map<string, number>();
    const graph = new StateGraph(State)
      .addNode(
        "leaf",
        ({ item }: S) => {
          const n = (attempts.get(item) ?? 0) + 1;
          attempts.set(item, n);
          if (n < (item === "a" ? 2 : 3)) throw new Error(`${item} ${n}`);
          return { log: [item] };
        },
        { retryPolicy: fixed(1) },
      )
      .addConditionalEdges(START, () => ["a", "b"].map((item) => new Send("leaf", { item })));
    const thread = new DrivenThread(graph);
    expect((await thread.invoke({})).outcome).toEqual({ kind: "done" });
    expect([...attempts]).toEqual([
      ["a", 2],
      ["b", 3],
    ]);
  });

  it("the registered graph stays as its author made it", async () => {
    const { node } = flaky(1);
    const policy = fixed(1);
    const graph = single(node, policy).compile();
    await new DrivenThread(graph).invoke({});
    expect(graph.nodes.x.retryPolicy).toBe(policy);
    expect(graph.nodes.x.timeout).toBeUndefined();
    expect(Object.hasOwn(graph.nodes.x, "getNode")).toBe(false);
  });

  it("a graph that a function calls cannot be reached: LangGraph retries there by itself", async () => {
    const { node, attempts } = flaky(1);
    const called = single(node, fixed(1)).compile();
    const graph = new StateGraph(State)
      .addNode("x", async (state: S, config: Config) => called.invoke({ item: state.item }, config))
      .addEdge(START, "x");
    const thread = new DrivenThread(graph);
    const before = thread.clock.monotonic();
    expect((await thread.invoke({})).outcome).toEqual({ kind: "done" });
    expect(attempts).toEqual([1, 2]);
    expect(thread.clock.monotonic()).toBe(before);
  });

  it("of a functional task waits and counts like a node's, and what the others returned stands", async () => {
    const { node, attempts } = flaky(2);
    let pure = 0;
    const other = task("other", async () => `other ${++pure}`);
    const charge = task({ name: "charge", retry: fixed(1500) }, async () => node({} as S, {}));
    const graph = entrypoint("flow", async () => {
      const [first, second] = await Promise.all([other(), charge()]);
      return [first, second];
    });
    const thread = new DrivenThread(graph);
    const first = await thread.invoke({});
    const left = backoffOf(first.outcome);
    expect(left.delayMs).toBe(3000);
    const second = await thread.deliver({ payload: { input: {} }, run: first.run, retries: left.retries });
    expect(second.outcome).toEqual({ kind: "done" });
    expect(attempts).toHaveLength(3);
    expect(pure).toBe(1);
  });

  it("of a node is useless to its functional tasks with LangGraph alone", async () => {
    const graph = callingNode(flaky(1).node, fixed(1)).compile({ checkpointer: new MemorySaver() });
    await expect(graph.invoke({}, { configurable: { thread_id: "t" } })).rejects.toThrow("failure 1");
  });

  it("of a node is that of its functional tasks which have none of their own", async () => {
    for (const [own, executed] of [
      [undefined, 3],
      [fixed(1, 2), 2],
    ] as const) {
      const { node, attempts } = flaky(Infinity);
      const { outcome } = await new DrivenThread(callingNode(node, fixed(1, 3), own)).invoke({});
      expect(outcome).toMatchObject({ kind: "failed", error: { message: `failure ${executed}` } });
      expect(attempts).toHaveLength(executed);
    }
    const { node, attempts } = flaky(1);
    expect((await new DrivenThread(callingNode(node, fixed(1))).invoke({})).outcome).toEqual({ kind: "done" });
    expect(attempts).toEqual([undefined, undefined]);
  });

  it("of a functional task is obeyed though the caller would swallow that it is tried again", async () => {
    const { node } = flaky(1);
    const charge = task({ name: "charge", retry: fixed(60_000) }, async () => node({} as S, {}));
    const graph = new StateGraph(State)
      .addNode("x", async () => ({
        log: [
          await charge().then(
            () => "charged",
            () => "given up",
          ),
        ],
      }))
      .addEdge(START, "x");
    const thread = new DrivenThread(graph);
    const { outcome, run } = await thread.invoke({});
    const { retries } = backoffOf(outcome);
    expect(await valuesOf(thread)).toMatchObject({ log: [] });
    expect((await thread.deliver({ payload: { input: {} }, run, retries })).outcome).toEqual({ kind: "done" });
    expect(await valuesOf(thread)).toMatchObject({ log: ["charged"] });
  });

  it("of a functional task in a graph without a checkpointer is counted on by name", async () => {
    const { node, attempts } = flaky(Infinity);
    const charge = task({ name: "charge", retry: fixed(60_000, 2) }, async () => node({} as S, {}));
    const sub = new StateGraph(State)
      .addNode("x", async () => charge())
      .addEdge(START, "x")
      .compile({ checkpointer: false });
    const thread = new DrivenThread(new StateGraph(State).addNode("sub", sub).addEdge(START, "sub"));
    const { outcome, run } = await thread.invoke({});
    const { retries } = backoffOf(outcome);
    expect((await thread.deliver({ payload: { input: {} }, run, retries })).outcome.kind).toBe("failed");
    expect(attempts).toHaveLength(2);
  });
});

/** A node that does its work in a functional task. */
function callingNode(node: Node, retryPolicy: RetryPolicy, own?: RetryPolicy) {
  const charge = task(own === undefined ? "charge" : { name: "charge", retry: own }, async () => node({} as S, {}));
  return new StateGraph(State).addNode("x", () => charge(), { retryPolicy }).addEdge(START, "x");
}
