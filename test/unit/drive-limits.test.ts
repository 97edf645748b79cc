/** Bounds on one delivery: without them, and with them. */
import { Annotation, MemorySaver, START, Send, StateGraph } from "@langchain/langgraph";
import type { LangGraphRunnableConfig, PregelNode } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { effect } from "../../src/graph/effect.ts";
import { Attempts } from "../../src/langgraph/attempts.ts";
import type { CompiledGraph } from "../../src/langgraph/registry.ts";
import { supervised } from "../../src/langgraph/supervise.ts";
import { DrivenThread, valuesOf } from "../support/drive-kit.ts";
import { eventually } from "../support/eventually.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
  item: Annotation<string>(),
});
type S = typeof State.State;
type Config = LangGraphRunnableConfig;

const single = (node: (s: S, c: Config) => Promise<Partial<S>> | Partial<S>) =>
  new StateGraph(State).addNode("x", node).addEdge(START, "x");

const setting = (name: string, value: number, variable: string): string =>
  `(limit: ${name}, ${value}; setting: ${variable})`;

describe("the node time-out", () => {
  const gate = () => Promise.withResolvers<void>();
  const nodeTimeoutMs = 250;

  it("is none in LangGraph alone: a node that hangs holds its run (negative control)", async () => {
    const { promise, resolve } = gate();
    const graph = single(async () => {
      await promise;
      return {};
    }).compile();
    const invoked = graph.invoke({}).then(() => "ended");
    const waited = new Promise((done) => setTimeout(done, 3 * nodeTimeoutMs, "hangs"));
    expect(await Promise.race([invoked, waited])).toBe("hangs");
    resolve();
    await invoked;
  });

  it("ends the run with its name, and nothing is kept of the node that goes on", async () => {
    const { promise, resolve } = gate();
    const after = Promise.withResolvers<unknown>();
    const thread = new DrivenThread(
      single(async (_, config) => {
        await promise;
        config.writer?.("late");
        after.resolve(
          await effect(config, { name: "pay", policy: "idempotent" }, async () => "paid").catch(
            (error: unknown) => error,
          ),
        );
        return { log: ["late"] };
      }),
    );
    const settings = { streamModes: ["custom", "updates"] as const };
    const { outcome, frames, run } = await thread.invoke({}, { limits: { nodeTimeoutMs }, settings });
    expect(outcome).toEqual({
      kind: "failed",
      parks: false,
      error: {
        name: "NodeTimeoutError",
        message: `node "x" took longer than ${nodeTimeoutMs} ms ${setting("node time-out", nodeTimeoutMs, "HOLDPOINT_NODE_TIMEOUT_MS")}`,
        node: "x",
      },
    });
    resolve();
    expect(await after.promise).toMatchObject({ name: "GraphDrained" });
    expect(await thread.effects(run.root)).toEqual([]);
    expect(await valuesOf(thread)).toEqual({ log: [] });
    expect(frames).toEqual([]);
  });

  it("aborts the signal of the node", async () => {
    let aborted = false;
    const thread = new DrivenThread(
      single(async (_, config) => {
        config.signal?.addEventListener("abort", () => (aborted = true));
        await new Promise(() => {});
        return {};
      }),
    );
    await thread.invoke({}, { limits: { nodeTimeoutMs } });
    expect(aborted).toBe(true);
  });

  it("is for one attempt: a node with a retry policy is tried again", async () => {
    let attempts = 0;
    const graph = new StateGraph(State)
      .addNode(
        "x",
        async () => {
          if (++attempts === 1) await new Promise(() => {});
          return { log: ["done"] };
        },
        { retryPolicy: { initialInterval: 1, jitter: false } },
      )
      .addEdge(START, "x");
    const thread = new DrivenThread(graph);
    expect((await thread.invoke({}, { limits: { nodeTimeoutMs } })).outcome).toEqual({ kind: "done" });
    expect(attempts).toBe(2);
  });

  it("is the author's where a node has one, in LangGraph's words", async () => {
    const graph = new StateGraph(State)
      .addNode("x", () => new Promise<S>(() => {}), { timeout: 5 })
      .addEdge(START, "x");
    const { outcome } = await new DrivenThread(graph).invoke({});
    expect(outcome.kind).toBe("failed");
    expect(JSON.stringify(outcome)).toContain("exceeded its run timeout of 5ms");
  });

  it("bounds each node of a graph that is a node, and not that graph as a whole", () => {
    const graph = new StateGraph(State)
      .addNode("sub", single(() => ({})).compile())
      .addEdge(START, "sub")
      .compile();
    const { clock, store } = new DrivenThread(graph);
    using attempts = new Attempts({
      clock,
      store,
      signal: new AbortController().signal,
      drain: new AbortController().signal,
      retries: {},
      nodeTimeoutMs,
      isKept: () => true,
      retried: () => undefined,
      isFinal: () => false,
    });
    const { sub } = supervised(graph as CompiledGraph, attempts).nodes as Readonly<Record<string, PregelNode>>;
    expect(sub?.timeout).toBeUndefined();
    expect(sub?.bound).toMatchObject({ nodes: { x: { timeout: { runTimeout: nodeTimeoutMs } } } });
  });
});

describe("the number of parallel tasks", () => {
  /** Opens as many tasks as its input says. */
  const fanOut = (leaf: (s: S) => Promise<Partial<S>> | Partial<S>) =>
    new StateGraph(State)
      .addNode("plan", () => ({ log: ["planned"] }))
      .addNode("leaf", leaf)
      .addEdge(START, "plan")
      .addConditionalEdges("plan", ({ item }) =>
        Array.from({ length: Number(item) }, (_, n) => new Send("leaf", { item: String(n) })),
      );
  const refused = (tasks: number, value: number) => ({
    kind: "failed",
    parks: false,
    error: {
      name: "limit",
      message: `a superstep would consist of ${tasks} tasks ${setting("parallel tasks", value, "HOLDPOINT_MAX_PARALLEL_TASKS")}`,
    },
  });

  it("is unbounded in LangGraph alone: all of them start at once (negative control)", async () => {
    let [running, peak] = [0, 0];
    const graph = fanOut(async () => {
      peak = Math.max(peak, ++running);
      await new Promise((done) => setImmediate(done));
      running--;
      return {};
    }).compile({ checkpointer: new MemorySaver() });
    await graph.invoke({ item: "500" }, { configurable: { thread_id: "t" } });
    expect(peak).toBe(500);
  });

  it("fails a run that opens 10,000, before any of them starts", async () => {
    let started = 0;
    const thread = new DrivenThread(
      fanOut(({ item }) => {
        started++;
        return { log: [item] };
      }),
    );
    const { outcome } = await thread.invoke({ item: "10000" });
    expect(outcome).toEqual(refused(10_000, 1000));
    expect(started).toBe(0);
    // The head is the last good checkpoint, and the thread goes on with new input.
    expect(await valuesOf(thread)).toMatchObject({ log: [] });
    expect((await thread.invoke({ item: "2" })).outcome).toEqual({ kind: "done" });
    expect(await valuesOf(thread)).toMatchObject({ log: ["planned", "0", "1"] });
  });

  it("counts nodes that edges trigger as well, and Sends that a command brings", async () => {
    const ran: string[] = [];
    const graph = new StateGraph(State);
    for (const name of ["a", "b", "c"] as const) {
      graph
        .addNode(name, () => {
          ran.push(name);
          return {};
        })
        .addEdge(START, name);
    }
    const limits = { parallelTasks: 2 };
    expect((await new DrivenThread(graph).invoke({}, { limits })).outcome).toEqual(refused(3, 2));
    const goto = ["a", "b", "c"].map((node) => ({ node, input: {} }));
    const sent = await new DrivenThread(graph).deliver({ payload: { command: { goto } }, limits });
    expect(sent.outcome).toEqual(refused(3, 2));
    expect(ran).toEqual([]);
  });

  it("counts inside a graph that is a node, and no retry policy around it hides the limit", async () => {
    let started = 0;
    const sub = fanOut(() => {
      started++;
      return {};
    }).compile();
    const graph = new StateGraph(State)
      .addNode("sub", sub, { retryPolicy: { initialInterval: 1, jitter: false } })
      .addEdge(START, "sub");
    const { outcome } = await new DrivenThread(graph).invoke({ item: "3" }, { limits: { parallelTasks: 2 } });
    const expected = refused(3, 2);
    expect(outcome).toEqual({ ...expected, error: { ...expected.error, node: "sub" } });
    expect(started).toBe(0);
  });

  it("executes at most a hundred of them at once, or as many as the assistant or the graph says", async () => {
    const peakOf = async (given: { assistant?: number; graph?: number }): Promise<number> => {
      let [running, peak] = [0, 0];
      const graph = fanOut(async () => {
        peak = Math.max(peak, ++running);
        await new Promise((done) => setImmediate(done));
        running--;
        return {};
      }).compile();
      const thread = new DrivenThread(
        given.graph === undefined ? graph : graph.withConfig({ maxConcurrency: given.graph }),
      );
      const config = given.assistant === undefined ? {} : { max_concurrency: given.assistant };
      const assistant = { config, context: {} };
      expect((await thread.invoke({ item: "300" }, { assistant })).outcome).toEqual({ kind: "done" });
      return peak;
    };
    expect(await peakOf({})).toBe(100);
    expect(await peakOf({ graph: 7 })).toBe(7);
    expect(await peakOf({ assistant: 3, graph: 7 })).toBe(3);
  });
});

describe("the size of the state", () => {
  const stateBytes = 2000;
  const growing = () =>
    new StateGraph(State)
      .addNode("small", () => ({ log: ["x".repeat(300)] }))
      .addNode("large", ({ item }) => ({ log: ["y".repeat(Number(item))] }))
      .addEdge(START, "small")
      .addEdge("small", "large");

  it("is unbounded in LangGraph alone (negative control)", async () => {
    const graph = growing().compile({ checkpointer: new MemorySaver() });
    const { log } = await graph.invoke({ item: "1000000" }, { configurable: { thread_id: "t" } });
    expect(log.join("")).toHaveLength(1_000_300);
  });

  it("fails the run that exceeds it, and the last good checkpoint stays the head", async () => {
    const thread = new DrivenThread(growing());
    // Neither alone is too much, but both together are.
    const { outcome } = await thread.invoke({ item: "1800" }, { limits: { stateBytes } });
    expect(outcome).toMatchObject({ kind: "failed", parks: false, error: { name: "limit" } });
    expect(JSON.stringify(outcome)).toMatch(
      /the state would take 2\d{3} bytes \(limit: state size, 2000; setting: HOLDPOINT_MAX_STATE_BYTES\)/,
    );
    expect(await valuesOf(thread)).toEqual({ item: "1800", log: ["x".repeat(300)] });
    const next = await thread.invoke({ item: "1" }, { limits: { stateBytes } });
    expect(next.outcome).toEqual({ kind: "done" });
  });

  it("refuses what one task writes before it is stored, and an input before a node runs", async () => {
    const thread = new DrivenThread(growing());
    const { outcome } = await thread.invoke({ item: "5000" }, { limits: { stateBytes } });
    expect(outcome).toMatchObject({ kind: "failed", error: { name: "limit" } });
    const { pendingWrites } = (await thread.reader().getTuple({ configurable: { thread_id: thread.threadId } })) ?? {};
    expect(pendingWrites).toEqual([]);
    let ran = false;
    const other = new DrivenThread(
      single(() => {
        ran = true;
        return {};
      }),
    );
    const refused = await other.invoke({ item: "z".repeat(5000) }, { limits: { stateBytes } });
    expect(refused.outcome).toMatchObject({ kind: "failed", error: { name: "limit" } });
    await eventually(() => !ran);
  });
});
