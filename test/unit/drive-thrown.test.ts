/** What nodes throw, and what is said of it. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { HoldpointError } from "../../src/core/errors.ts";
import { DrivenThread, valuesOf } from "../support/drive-kit.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
  item: Annotation<string>(),
});
type S = typeof State.State;
type Config = LangGraphRunnableConfig;

const single = (node: (s: S, c: Config) => Promise<Partial<S>> | Partial<S>) =>
  new StateGraph(State).addNode("x", node).addEdge(START, "x").addEdge("x", END);

/** A graph whose node throws this. */
const throwing = (thrown: unknown) =>
  single(() => {
    throw thrown;
  });

describe("what a graph throws", () => {
  const failure = async (thrown: unknown) => {
    const { outcome } = await new DrivenThread(throwing(thrown)).invoke({});
    if (outcome.kind !== "failed") return outcome;
    const { node, ...told } = outcome.error;
    expect(node).toBe("x");
    return told;
  };
  const circular: Record<string, unknown> = { a: 1 };
  circular["self"] = circular;

  it.each([
    ["an error", new RangeError("too far"), { name: "RangeError", message: "too far" }],
    ["a string", "boom 'quoted'\nline", { name: "Error", message: "boom 'quoted'\nline" }],
    ["a number", 42, { name: "Error", message: "42" }],
    ["undefined", undefined, { name: "Error", message: "a node threw undefined" }],
    ["null", null, { name: "Error", message: "a node threw null" }],
    ["a plain object", { code: 7 }, { name: "Error", message: '{"code":7}' }],
    ["an object with a message", { name: "Http", message: "500" }, { name: "Http", message: "500" }],
    [
      "an object that contains itself",
      circular,
      { name: "Error", message: "a node threw an object that cannot be written as JSON" },
    ],
    ["a frozen error", Object.freeze(new Error("cold")), { name: "Error", message: "cold" }],
  ])("is readable: %s", async (_, thrown, expected) => {
    expect(await failure(thrown)).toEqual(expected);
  });

  it("is a TypeError about LangGraph's own bookkeeping without us (negative control)", async () => {
    await expect(throwing("boom").compile().invoke({})).rejects.toThrow("Cannot create property 'pregelTaskId'");
  });

  it("is the run's failure and not the table's, though a model that is away says it in the same words", async () => {
    const thrown = new HoldpointError("unavailable", "the model is away");
    expect(await failure(thrown)).toEqual({ name: "unavailable", message: "the model is away" });
  });

  it("names the limit that was reached", async () => {
    const graph = new StateGraph(State)
      .addNode("x", () => ({}))
      .addEdge(START, "x")
      .addEdge("x", "x");
    const { outcome } = await new DrivenThread(graph).invoke({}, { payload: { config: { recursionLimit: 5 } } });
    expect(outcome).toEqual({
      kind: "failed",
      parks: false,
      error: {
        name: "GraphRecursionError",
        message:
          "the run used up its supersteps (recursion_limit) before it ended " +
          "(limit: step budget, 5; setting: recursion_limit of the run, its assistant or its graph)",
      },
    });
  });

  it("takes the assistant's limit, then the graph's, then the default", async () => {
    const graph = new StateGraph(State)
      .addNode("x", () => ({}))
      .addEdge(START, "x")
      .addEdge("x", "x")
      .compile();
    const message = async (thread: DrivenThread, assistant: { config: { recursion_limit?: number }; context: {} }) => {
      const { outcome } = await thread.invoke({}, { assistant, limits: { steps: 9 } });
      return outcome.kind === "failed" ? /step budget, (\d+)/.exec(outcome.error.message)?.[1] : outcome.kind;
    };
    expect(await message(new DrivenThread(graph), { config: { recursion_limit: 6 }, context: {} })).toBe("6");
    expect(await message(new DrivenThread(graph.withConfig({ recursionLimit: 7 })), { config: {}, context: {} })).toBe(
      "7",
    );
    expect(await message(new DrivenThread(graph), { config: {}, context: {} })).toBe("9");
  });

  it("names the channel whose value cannot be kept", async () => {
    const thread = new DrivenThread(single(() => ({ item: 10n as unknown as string })));
    const { outcome } = await thread.invoke({});
    expect(outcome).toMatchObject({ kind: "failed", parks: false });
    expect(JSON.stringify(outcome)).toContain("item");
  });

  it("goes on from the last checkpoint after a failure", async () => {
    let fails = true;
    const graph = new StateGraph(State)
      .addNode("a", () => ({ log: ["a"] }))
      .addNode("b", () => {
        if (fails) throw new Error("once");
        return { log: ["b"] };
      })
      .addEdge(START, "a")
      .addEdge("a", "b")
      .addEdge("b", END);
    const thread = new DrivenThread(graph);
    expect((await thread.invoke({})).outcome.kind).toBe("failed");
    fails = false;
    expect((await thread.deliver({ payload: { input: null } })).outcome).toEqual({ kind: "done" });
    expect(await valuesOf(thread)).toMatchObject({ log: ["a", "b"] });
  });

  it("tells the causes of an error, each once, though they are each other's", async () => {
    const root = new Error("connection reset");
    const middle = new TypeError("fetch failed", { cause: root });
    root.cause = middle;
    const thrown = new Error("the desk: fetch failed", { cause: middle });
    expect(await failure(thrown)).toEqual({
      name: "Error",
      message: "the desk: fetch failed; caused by Error: connection reset",
    });
    expect(await failure(new Error("outer", { cause: "a text" }))).toEqual({
      name: "Error",
      message: "outer; caused by Error: a text",
    });
  });

  it("is an error with its message for the node's errorHandler as well, whatever was thrown", async () => {
    const graph = (thrown: unknown) =>
      new StateGraph(State)
        .addNode("x", () => raise(thrown), {
          errorHandler: (_: S, { error }: { error: Error }) => ({ log: [error.message] }),
        })
        .addEdge(START, "x");
    const alone = await graph("boom").compile().invoke({});
    expect(alone.log[0]).toContain("Cannot create property 'pregelTaskId'");
    for (const [thrown, message] of [
      ["boom", "boom"],
      [null, "a node threw null"],
      [Object.freeze({ message: "cold" }), "cold"],
    ] as const) {
      const thread = new DrivenThread(graph(thrown));
      expect((await thread.invoke({})).outcome).toEqual({ kind: "done" });
      expect(await valuesOf(thread)).toMatchObject({ log: [message] });
    }
  });
});

function raise(thrown: unknown): never {
  throw thrown;
}
