/** A graph whose nodes were renamed or removed while a thread was in flight. */
import { Annotation, Command, MemorySaver, START, Send, StateGraph, interrupt } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { missingNodes } from "../../src/langgraph/compatibility.ts";
import { registeredGraph } from "../../src/langgraph/registry.ts";
import { DrivenThread } from "../support/drive-kit.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
});
type S = typeof State.State;

const asks = () => ({ log: [String(interrupt("?"))] });
const fails = (): Partial<S> => {
  throw new Error("not today");
};
const passes = () => ({ log: ["passed"] });

/** A first node, then the one that is in flight, under the name that it has in this version. */
const version = (name: string, node: () => Partial<S> = asks) =>
  new StateGraph(State).addNode("first", passes).addNode(name, node).addEdge(START, "first").addEdge("first", name);

const missing = (thread: DrivenThread, graph: unknown, checkpointId?: string) =>
  missingNodes({
    graph: registeredGraph("g", graph),
    saver: thread.reader(),
    threadId: thread.threadId,
    ...(checkpointId === undefined ? {} : { checkpointId }),
  });

describe("LangGraph alone (negative control)", () => {
  it("ends a run whose node is gone silently and with success", async () => {
    const saver = new MemorySaver();
    const config = { configurable: { thread_id: "t" } };
    await version("pay").compile({ checkpointer: saver }).invoke({}, config);
    const renamed = version("charge").compile({ checkpointer: saver });
    expect(await renamed.invoke(new Command({ resume: "yes" }), config)).toEqual({ log: ["passed"] });
    expect((await renamed.getState(config)).next).toEqual([]);
  });
});

describe("nodes that a graph lacks", () => {
  it("are those that wait for an answer", async () => {
    const thread = new DrivenThread(version("pay"));
    expect((await thread.invoke({})).outcome.kind).toBe("interrupted");
    expect(await missing(thread, version("pay"))).toEqual([]);
    expect(await missing(thread, version("charge"))).toEqual(["pay"]);
  });

  it("are those that have failed", async () => {
    const thread = new DrivenThread(version("pay", fails));
    expect((await thread.invoke({})).outcome.kind).toBe("failed");
    expect(await missing(thread, version("pay"))).toEqual([]);
    expect(await missing(thread, version("charge"))).toEqual(["pay"]);
  });

  it("are none on a thread that is done, or that has never run", async () => {
    const thread = new DrivenThread(version("pay", passes));
    expect(await missing(thread, version("charge"))).toEqual([]);
    expect((await thread.invoke({})).outcome).toEqual({ kind: "done" });
    expect(await missing(thread, version("charge"))).toEqual([]);
  });

  it("are those that Sends wait for", async () => {
    const sending = (leaf: string) =>
      new StateGraph(State)
        .addNode(leaf, asks)
        .addConditionalEdges(START, () => [new Send(leaf, {}), new Send(leaf, {})], [leaf]);
    const thread = new DrivenThread(sending("leaf"));
    await thread.invoke({});
    expect(await missing(thread, sending("leaf"))).toEqual([]);
    expect(await missing(thread, sending("twig"))).toEqual(["leaf"]);
  });

  it("are those that a task has named before its process died", async () => {
    const graph = () => version("pay", passes);
    const { calls } = await new DrivenThread(graph()).invoke({});
    const lacking = new Set<string>();
    for (let dieAt = 1; dieAt < calls; dieAt++) {
      const thread = new DrivenThread(graph());
      await thread.invoke({}, { dieAt });
      expect(await missing(thread, graph())).toEqual([]);
      for (const node of await missing(thread, new StateGraph(State).addNode("other", passes).addEdge(START, "other")))
        lacking.add(node);
    }
    expect([...lacking].toSorted()).toEqual(["first", "pay"]);
  });

  it("are those that a command has named", async () => {
    const wandering = (name: string) =>
      new StateGraph(State)
        .addNode("decide", () => new Command({ goto: name }), { ends: [name] })
        .addNode(name, asks)
        .addEdge(START, "decide");
    const thread = new DrivenThread(wandering("pay"));
    await thread.invoke({});
    expect(await missing(thread, wandering("charge"))).toEqual(["pay"]);
  });

  it("are those that wait for several others, of which one has come", async () => {
    const joining = (name: string, second: () => Partial<S>) =>
      new StateGraph(State)
        .addNode("a", passes)
        .addNode("b", passes)
        .addNode("slow", second)
        .addNode(name, passes)
        .addEdge(START, "a")
        .addEdge(START, "b")
        .addEdge("b", "slow")
        .addEdge(["a", "slow"], name);
    const thread = new DrivenThread(joining("sum", asks));
    await thread.invoke({});
    expect(await missing(thread, joining("sum", asks))).toEqual([]);
    expect(await missing(thread, joining("total", asks))).toEqual(["sum"]);
  });

  it("are found inside graphs that are nodes, at any depth, and only where they are in flight", async () => {
    const nested = (name: string, node: () => Partial<S>) => {
      const deep = new StateGraph(State).addNode("deep", version(name, node).compile()).addEdge(START, "deep");
      return new StateGraph(State).addNode("sub", deep.compile()).addEdge(START, "sub");
    };
    const thread = new DrivenThread(nested("pay", asks));
    await thread.invoke({});
    expect(await missing(thread, nested("pay", asks))).toEqual([]);
    expect(await missing(thread, nested("charge", asks))).toEqual(["sub|deep|pay"]);
    expect(await missing(thread, version("pay"))).toEqual(["sub"]);
    const done = new DrivenThread(nested("pay", passes));
    await done.invoke({});
    expect(await missing(done, nested("charge", passes))).toEqual([]);
  });

  it("can be asked for at an older checkpoint, from which a fork would start", async () => {
    const thread = new DrivenThread(version("pay", passes));
    await thread.invoke({});
    const history = await Array.fromAsync(thread.reader().list({ configurable: { thread_id: thread.threadId } }));
    const before = history.find(({ metadata }) => metadata?.step === 1)?.checkpoint.id;
    expect(await missing(thread, version("charge"), before)).toEqual(["pay"]);
  });
});
