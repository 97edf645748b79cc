import { Annotation, Command, END, MemorySaver, START, Send, StateGraph, interrupt } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { hasWorkLeft } from "../../src/langgraph/work-left.ts";
import { DrivenThread, interruptsOf, valuesOf } from "../support/drive-kit.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
  rounds: Annotation<number>({ reducer: (_, b) => b, default: () => 0 }),
  item: Annotation<string>(),
});
type S = typeof State.State;
type Config = LangGraphRunnableConfig;

const single = (node: (s: S, c: Config) => Promise<Partial<S>> | Partial<S>) =>
  new StateGraph(State).addNode("x", node).addEdge(START, "x").addEdge("x", END);

describe("a delivery", () => {
  it("executes a graph to its end and leaves its values in the log", async () => {
    const thread = new DrivenThread(single((s) => ({ log: [`hello ${s.item}`] })));
    const { outcome, saver, run } = await thread.invoke({ item: "you" });
    expect(outcome).toEqual({ kind: "done" });
    expect(saver.head()).toMatchObject({ runId: run.runId, root: run.root });
    expect(await valuesOf(thread)).toEqual({ log: ["hello you"], rounds: 0, item: "you" });
  });

  it("gives nodes the configuration of assistant and run, and what only the runtime may say", async () => {
    let seen: Config = {};
    const thread = new DrivenThread(
      single((_, config) => {
        seen = config;
        return {};
      }),
    );
    const { run } = await thread.invoke(
      {},
      {
        payload: {
          config: {
            configurable: {
              tone: "kind",
              thread_id: "forged",
              __holdpoint: "forged",
              langgraph_auth_user_id: "forged",
            },
            tags: ["b"],
          },
          context: { locale: "de" },
          metadata: { purpose: "test", langgraph_auth_user: "no" },
          headers: { "x-trace": "1" },
        },
        assistant: {
          config: { configurable: { tone: "curt", model: "small" }, tags: ["a"] },
          context: { locale: "en", unit: "km" },
        },
      },
    );
    expect(seen.configurable).toMatchObject({
      tone: "kind",
      model: "small",
      "x-trace": "1",
      thread_id: thread.threadId,
      run_id: run.runId,
      graph_id: "g",
      assistant_id: run.assistantId,
      user_id: "someone",
      langgraph_auth_user_id: "someone",
    });
    expect(seen.context).toEqual({ locale: "de", unit: "km" });
    expect(seen.tags).toEqual(expect.arrayContaining(["a", "b"]));
    const tuple = await thread.reader().getTuple({ configurable: { thread_id: thread.threadId } });
    expect(tuple?.metadata).toMatchObject({ purpose: "test", run_id: run.runId, graph_id: "g", source: "loop" });
    expect(
      Object.keys(tuple?.metadata ?? {}).filter((key) => key.startsWith("langgraph_auth") || key.startsWith("__")),
    ).toEqual([]);
  });

  it("keeps concurrent deliveries of one graph on their own savers, also inside subgraphs", async () => {
    const inner = single(async (s) => {
      await new Promise((done) => setTimeout(done, 1));
      return { log: [`inner ${s.item}`] };
    }).compile();
    const outer = new StateGraph(State)
      .addNode("sub", inner)
      .addEdge(START, "sub")
      .compile({ checkpointer: new MemorySaver() });
    const threads = ["a", "b", "c"].map((item) => [item, new DrivenThread(outer)] as const);
    await Promise.all(threads.map(([item, thread]) => thread.invoke({ item })));
    for (const [item, thread] of threads) {
      expect(await valuesOf(thread)).toMatchObject({ log: [`inner ${item}`] });
      const namespaces = new Set<string>();
      for await (const tuple of thread.reader().list({ configurable: { thread_id: thread.threadId } })) {
        namespaces.add(String(tuple.config.configurable?.["checkpoint_ns"]).split(":")[0] ?? "");
      }
      expect([...namespaces].toSorted()).toEqual(["", "sub"]);
    }
  });

  it("makes a graph that is exported as a function anew with each delivery's configuration", async () => {
    const made: unknown[] = [];
    const thread = new DrivenThread((config: { configurable: Record<string, unknown> }) => {
      made.push(config.configurable["tone"]);
      return single(() => ({ log: [String(config.configurable["tone"])] }));
    });
    await thread.invoke({}, { payload: { config: { configurable: { tone: "kind" } } } });
    await thread.invoke({}, { payload: { config: { configurable: { tone: "curt" } } } });
    expect(made).toEqual(["kind", "curt"]);
    expect(await valuesOf(thread)).toMatchObject({ log: ["kind", "curt"] });
  });

  it("takes an update or a goto as input, and a Send written as JSON", async () => {
    const graph = new StateGraph(State)
      .addNode("a", () => ({ log: ["a"] }))
      .addNode("b", (s) => ({ log: [`b ${s.item}`] }))
      .addConditionalEdges(START, () => "a", ["a", "b"])
      .addEdge("a", END)
      .addEdge("b", END);
    const thread = new DrivenThread(graph);
    await thread.invoke({});
    const { outcome } = await thread.deliver({
      payload: { command: { update: { log: ["updated"] }, goto: [{ node: "b", input: { item: "sent" } }] } },
    });
    expect(outcome).toEqual({ kind: "done" });
    expect(await valuesOf(thread)).toMatchObject({ log: ["a", "updated", "b sent"] });
  });

  it("starts from an older checkpoint when it is asked to", async () => {
    const graph = new StateGraph(State)
      .addNode("a", () => ({ log: ["a"] }))
      .addNode("b", () => ({ log: ["b"] }))
      .addEdge(START, "a")
      .addEdge("a", "b")
      .addEdge("b", END);
    const thread = new DrivenThread(graph);
    await thread.invoke({});
    const history = await Array.fromAsync(
      thread.reader().list({ configurable: { thread_id: thread.threadId, checkpoint_ns: "" } }),
    );
    const afterA = history.find((tuple) => tuple.metadata?.step === 1)?.checkpoint.id ?? "";
    const fork = await thread.deliver({ payload: { checkpoint: { checkpointId: afterA } } });
    expect(fork.outcome).toEqual({ kind: "done" });
    expect(await valuesOf(thread)).toMatchObject({ log: ["a", "b"] });
    expect(fork.saver.head()?.runId).toBe(fork.run.runId);
  });
});

describe("a delivery that stops", () => {
  it("lists every interrupt that waits, of parallel branches and subgraphs, with who raised it", async () => {
    const sub = new StateGraph(State)
      .addNode("ask", () => ({ log: [String(interrupt({ q: "inside" }))] }))
      .addEdge(START, "ask")
      .compile();
    const graph = new StateGraph(State)
      .addNode("left", () => ({ log: [String(interrupt("left?"))] }))
      .addNode("sub", sub)
      .addNode("leaf", (s) => ({ log: [String(interrupt(`leaf ${s.item}?`))] }))
      .addConditionalEdges(START, () => [
        "left",
        "sub",
        new Send("leaf", { item: "1" }),
        new Send("leaf", { item: "2" }),
      ]);
    const thread = new DrivenThread(graph);
    const { outcome } = await thread.invoke({});
    const waiting = interruptsOf(outcome);
    expect(waiting.map(({ value, node }) => [value, node])).toEqual(
      expect.arrayContaining([
        ["left?", "left"],
        [{ q: "inside" }, "ask"],
        ["leaf 1?", "leaf"],
        ["leaf 2?", "leaf"],
      ]),
    );
    expect(waiting).toHaveLength(4);
    expect(new Set(waiting.map(({ id }) => id)).size).toBe(4);
    for (const { id, raisedBy } of waiting) expect(raisedBy).toMatchObject({ id, ordinal: 0 });
    expect(waiting.find(({ node }) => node === "ask")?.raisedBy?.ns).toMatch(/^sub:/);

    const resumed = await thread.resume(Object.fromEntries(waiting.map(({ id }, n) => [id, `yes ${n}`])));
    expect(resumed.outcome).toEqual({ kind: "done" });
  });

  it("answers some of what waits and stays with the rest", async () => {
    const graph = new StateGraph(State)
      .addNode("leaf", (s) => ({ log: [`${s.item}: ${String(interrupt(`leaf ${s.item}?`))}`] }))
      .addConditionalEdges(START, () => [new Send("leaf", { item: "1" }), new Send("leaf", { item: "2" })]);
    const thread = new DrivenThread(graph);
    const [one, two] = interruptsOf((await thread.invoke({})).outcome);
    const partly = await thread.resume({ [two?.id ?? ""]: "b" });
    expect(interruptsOf(partly.outcome).map(({ id }) => id)).toEqual([one?.id]);
    expect(await hasWorkLeft(thread.graph, partly.saver, thread.threadId)).toBe(false);
    expect((await thread.resume({ [one?.id ?? ""]: "a" })).outcome).toEqual({ kind: "done" });
    expect(await valuesOf(thread)).toMatchObject({ log: ["1: a", "2: b"] });
  });

  it("stops at static breakpoints, which nobody raised, and goes on from there", async () => {
    const graph = () =>
      new StateGraph(State)
        .addNode("a", () => ({ log: ["a"] }))
        .addNode("b", () => ({ log: ["b"] }))
        .addEdge(START, "a")
        .addEdge("a", "b")
        .addEdge("b", END);
    for (const breakpoint of [{ interruptBefore: ["b"] }, { interruptAfter: ["a"] }]) {
      const thread = new DrivenThread(graph());
      const { outcome, saver } = await thread.invoke({}, { payload: breakpoint });
      const value = { checkpoint_id: saver.head()?.checkpointId, next: ["b"] };
      expect(outcome).toEqual({
        kind: "interrupted",
        interrupts: [{ id: "", value, raisedBy: undefined, node: "b" }],
      });
      expect((await thread.deliver({ payload: { input: null } })).outcome).toEqual({ kind: "done" });
      expect(await valuesOf(thread)).toMatchObject({ log: ["a", "b"] });
    }
  });

  it("drains at the next superstep and goes on under another lease without repeating a node", async () => {
    const drain = new AbortController();
    let ran = 0;
    const graph = new StateGraph(State)
      .addNode("a", () => {
        ran++;
        drain.abort();
        return { log: ["a"] };
      })
      .addNode("b", () => ({ log: ["b"] }))
      .addEdge(START, "a")
      .addEdge("a", "b")
      .addEdge("b", END);
    const thread = new DrivenThread(graph);
    const first = await thread.invoke({}, { drain: drain.signal });
    expect(first.outcome).toEqual({ kind: "drained" });
    expect((await thread.invoke({}, { run: first.run })).outcome).toEqual({ kind: "done" });
    expect(await valuesOf(thread)).toMatchObject({ log: ["a", "b"] });
    expect(ran).toBe(1);
  });

  it("lets an interrupt of the same superstep win over a drain", async () => {
    const drain = new AbortController();
    const graph = single(() => {
      drain.abort();
      return { log: [String(interrupt("?"))] };
    });
    expect((await new DrivenThread(graph).invoke({}, { drain: drain.signal })).outcome.kind).toBe("interrupted");
  });

  it("aborts at once and keeps nothing of the node that runs on", async () => {
    const abort = new AbortController();
    let finish = (): void => {};
    const thread = new DrivenThread(
      single(async () => {
        abort.abort();
        await new Promise<void>((done) => {
          finish = done;
        });
        return { log: ["late"] };
      }),
    );
    const { outcome } = await thread.invoke({}, { signal: abort.signal });
    expect(outcome).toEqual({ kind: "aborted" });
    finish();
    await new Promise((done) => setImmediate(done));
    expect(await valuesOf(thread)).toMatchObject({ log: [] });
  });

  it("is lost once another holder has the thread, even one that was started from inside a node", async () => {
    let executions = 0;
    const graph = single(async () => {
      const mine = ++executions;
      if (mine === 1) await thread.deliver({ payload: {} });
      return { log: [`execution ${mine}`] };
    });
    const thread: DrivenThread = new DrivenThread(graph);
    expect((await thread.invoke({})).outcome).toEqual({ kind: "lost" });
    expect(await valuesOf(thread)).toMatchObject({ log: ["execution 2"] });
  });

  it("throws when the table is away, so that the run is delivered again", async () => {
    const graph = () => single(() => ({ log: ["x"] }));
    const { calls } = await new DrivenThread(graph()).invoke({});
    const { thrown } = await new DrivenThread(graph()).invoke({}, { dieAt: calls });
    expect(thrown).toMatchObject({ code: "unavailable" });
  });
});

describe("resuming", () => {
  const twice = () => single(() => ({ log: [String(interrupt("pay 1?")), String(interrupt("pay 1,000,000?"))] }));

  it("refuses an answer that was consumed already, instead of giving it to the next question", async () => {
    const thread = new DrivenThread(twice());
    const [first] = interruptsOf((await thread.invoke({})).outcome);
    const second = interruptsOf((await thread.resume({ [first?.id ?? ""]: "yes" })).outcome);
    expect(second).toMatchObject([{ value: "pay 1,000,000?" }]);
    const again = await thread.resume({ [first?.id ?? ""]: "yes" });
    expect(again.outcome).toMatchObject({ kind: "failed", error: { name: "UnknownInterruptError" } });
    expect(await valuesOf(thread)).toMatchObject({ log: [] });
  });

  it("would pay a million with stock LangGraph (negative control)", async () => {
    const graph = twice().compile({ checkpointer: new MemorySaver() });
    const config = { configurable: { thread_id: "t" } };
    const first = await graph.invoke({}, config);
    const [asked] = (first as { __interrupt__?: { id: string }[] }).__interrupt__ ?? [];
    const answer = { [asked?.id ?? ""]: "yes" };
    await graph.invoke(new Command({ resume: answer }), config);
    const final = await graph.invoke(new Command({ resume: answer }), config);
    expect(final.log).toEqual(["yes", "yes"]);
  });

  it("applies one of two racing decisions where stock LangGraph applies both", async () => {
    const paid: string[] = [];
    const paying = () =>
      single(async () => {
        const answer = String(interrupt("pay?"));
        paid.push(answer);
        await new Promise((done) => setImmediate(done));
        return { log: [answer] };
      });
    const stock = paying().compile({ checkpointer: new MemorySaver() });
    const config = { configurable: { thread_id: "t" } };
    await stock.invoke({}, config);
    await Promise.all(["approve", "reject"].map((answer) => stock.invoke(new Command({ resume: answer }), config)));
    expect(paid).toEqual(["approve", "reject"]);

    const thread = new DrivenThread(paying());
    const [hold] = interruptsOf((await thread.invoke({})).outcome);
    const id = hold?.id ?? "";
    const [a, b] = await Promise.all([thread.resume({ [id]: "approve" }), thread.resume({ [id]: "reject" })]);
    expect([a.outcome.kind, b.outcome.kind].toSorted()).toEqual(["done", "lost"]);
    const { log } = (await valuesOf(thread)) as { log: string[] };
    expect(log).toHaveLength(1);
  });
});

describe("a registry", () => {
  it("says what it has and what failed", () => {
    const graph = registeredGraph(
      "g",
      single(() => ({})),
    );
    const failure = { graphId: "bad", file: "/x.ts", error: { name: "Error", message: "no" } };
    const registry = createRegistry([graph], [failure]);
    expect(registry.get("g")).toBe(graph);
    expect(registry.failure("bad")).toBe(failure);
    expect(registry.get("bad")).toBeUndefined();
    expect(() => registeredGraph("n", { not: "a graph" })).toThrow("n is no graph");
  });
});
