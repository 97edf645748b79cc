import { AIMessage, AIMessageChunk, HumanMessage } from "@langchain/core/messages";
import { FakeListChatModel } from "@langchain/core/utils/testing";
import { Annotation, END, MessagesAnnotation, START, Send, StateGraph, interrupt } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import type { Frame } from "../../src/core/event.ts";
import type { Json } from "../../src/core/json.ts";
import type { StreamMode } from "../../src/core/run.ts";
import { plainJson, strictJson } from "../../src/core/plain-json.ts";
import { errorFrame, fillFrame, libraryModes, metadataFrame } from "../../src/langgraph/frames.ts";
import { valuesAt } from "../../src/langgraph/views.ts";
import { DrivenThread, interruptsOf } from "../support/drive-kit.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
  item: Annotation<string>({ reducer: (_, b) => b, default: () => "" }),
});
type Config = LangGraphRunnableConfig;

const pair = () =>
  new StateGraph(State)
    .addNode("a", () => ({ log: ["a"] }))
    .addNode("b", () => ({ log: ["b"] }))
    .addEdge(START, "a")
    .addEdge("a", "b")
    .addEdge("b", END);

const streaming = (streamModes: StreamMode[], streamSubgraphs = false) => ({
  settings: { streamModes, streamSubgraphs },
});

/** Frames as a reader gets them, long after the run. */
async function filled(thread: DrivenThread, frames: readonly Frame[]): Promise<(readonly [string, Json])[]> {
  const reader = thread.reader();
  return Promise.all(
    frames.map(async (frame) => {
      if (frame.kind === "blob") throw new Error("no blobs here");
      const { event, data } = await fillFrame(frame, (checkpointNs, checkpointId) =>
        valuesAt({
          graph: thread.graph,
          saver: reader,
          threadId: thread.threadId,
          checkpoint: { checkpointId, checkpointNs },
        }),
      );
      return [event, data] as const;
    }),
  );
}

describe("values", () => {
  it("are references, each to the checkpoint that holds them, and read the same as LangGraph streams them", async () => {
    const expected: unknown[] = [];
    for await (const chunk of await pair().compile().stream({ item: "x" }, { streamMode: "values" }))
      expected.push(plainJson(chunk));
    const thread = new DrivenThread(pair());
    const { frames } = await thread.invoke({ item: "x" }, streaming(["values"]));
    expect(frames.every((frame) => frame.kind === "state" && frame.event === "values" && frame.ns === "")).toBe(true);
    expect((await filled(thread, frames)).map(([, data]) => data)).toEqual(expected);
    expect(expected).toHaveLength(3);
  });

  it("are referred to only after their checkpoint has landed", async () => {
    const thread = new DrivenThread(pair());
    const checked: Promise<unknown>[] = [];
    const emit = (frame: Frame): void => {
      if (frame.kind !== "state") return;
      checked.push(
        thread.reader().getTuple({
          configurable: { thread_id: thread.threadId, checkpoint_ns: "", checkpoint_id: frame.checkpointId },
        }),
      );
    };
    await thread.invoke({}, { ...streaming(["values"]), emit });
    const history = await Array.fromAsync(
      thread.reader().list({ configurable: { thread_id: thread.threadId, checkpoint_ns: "" } }),
    );
    const first = history.at(-2)?.checkpoint.id ?? "";
    await thread.deliver({ payload: { checkpoint: { checkpointId: first } }, ...streaming(["values"]), emit });
    expect(checked.length).toBeGreaterThan(4);
    for (const tuple of await Promise.all(checked)) expect(tuple).toBeDefined();
  });

  it("that no checkpoint holds are kept as data: interrupts, and what siblings of an interrupted node have done", async () => {
    const graph = new StateGraph(State)
      .addNode("ask", () => ({ log: [String(interrupt("?"))] }))
      .addNode("beside", () => ({ log: ["beside"] }))
      .addConditionalEdges(START, () => ["ask", "beside"]);
    const thread = new DrivenThread(graph);
    const { frames, outcome } = await thread.invoke({}, streaming(["values"]));
    const [asked] = interruptsOf(outcome);
    expect(frames.map((frame) => frame.kind)).toEqual(["data", "data"]);
    expect((await filled(thread, frames)).map(([, data]) => data)).toEqual([
      { __interrupt__: [{ id: asked?.id, value: "?" }] },
      { log: ["beside"], item: "" },
    ]);
  });

  it("of subgraphs bear their namespace, and are data where the subgraph keeps no checkpoints", async () => {
    const inner = (name: string) => new StateGraph(State).addNode(name, () => ({ log: [name] })).addEdge(START, name);
    const graph = new StateGraph(State)
      .addNode("kept", inner("x").compile())
      .addNode("free", inner("y").compile({ checkpointer: false }))
      .addEdge(START, "kept")
      .addEdge("kept", "free");
    const thread = new DrivenThread(graph);
    const { frames } = await thread.invoke({}, streaming(["values"], true));
    const nested = frames.filter((frame) => frame.event.includes("|"));
    expect(nested.map((frame) => [frame.kind, frame.event.replace(/:.*/, "")])).toEqual([
      ["state", "values|kept"],
      ["state", "values|kept"],
      ["data", "values|free"],
      ["data", "values|free"],
    ]);
    expect((await filled(thread, nested)).map(([, data]) => (data as { log: string[] }).log)).toEqual([
      [],
      ["x"],
      ["x"],
      ["x", "y"],
    ]);
    expect(
      (await new DrivenThread(graph).invoke({}, streaming(["values"]))).frames.every(
        (frame) => frame.event === "values",
      ),
    ).toBe(true);
  });
});

describe("stream modes", () => {
  it("are asked of LangGraph only as far as somebody wants them", async () => {
    expect(libraryModes([])).toEqual([]);
    expect(libraryModes(["updates", "custom"])).toEqual(["updates", "custom"]);
    expect(libraryModes(["messages-tuple"])).toEqual(["messages"]);
    expect(libraryModes(["messages", "values"]).toSorted()).toEqual(["messages", "values"]);
    expect((await new DrivenThread(pair()).invoke({})).frames).toEqual([]);
  });

  it("updates and custom data come in their order", async () => {
    const graph = new StateGraph(State)
      .addNode("a", async (_, config: Config) => {
        config.writer?.({ progress: 1, at: new Date(0), big: 1n });
        return { log: ["a"] };
      })
      .addEdge(START, "a");
    const { frames } = await new DrivenThread(graph).invoke({}, streaming(["updates", "custom"]));
    expect(frames).toEqual([
      { kind: "data", event: "custom", data: { progress: 1, at: "1970-01-01T00:00:00.000Z", big: "1" } },
      { kind: "data", event: "updates", data: { a: { log: ["a"] } } },
    ]);
  });

  it("custom data that contains itself fails the run with the reason", async () => {
    const graph = new StateGraph(State)
      .addNode("a", async (_, config: Config) => {
        const loop: Record<string, unknown> = {};
        loop["self"] = loop;
        config.writer?.({ list: [loop] });
        return {};
      })
      .addEdge(START, "a");
    const { outcome } = await new DrivenThread(graph).invoke({}, streaming(["custom"]));
    expect(outcome).toEqual({
      kind: "failed",
      parks: false,
      error: {
        name: "invalid",
        message:
          "what a node gave to config.writer: a value that contains itself at list.0.self cannot be written as JSON",
      },
    });
  });

  it("updates show an interrupt as the peers do", async () => {
    const graph = new StateGraph(State)
      .addNode("ask", () => ({ log: [String(interrupt({ q: 1 }))] }))
      .addEdge(START, "ask");
    const { frames, outcome } = await new DrivenThread(graph).invoke({}, streaming(["updates"]));
    expect(frames).toEqual([
      {
        kind: "data",
        event: "updates",
        data: { __interrupt__: [{ id: interruptsOf(outcome)[0]?.id, value: { q: 1 } }] },
      },
    ]);
  });
});

describe("messages", () => {
  const chat = () =>
    new StateGraph(MessagesAnnotation)
      .addNode("model", async (state) => {
        const model = new FakeListChatModel({ responses: ["Hi you"] });
        return { messages: [await model.invoke(state.messages)] };
      })
      .addEdge(START, "model");
  const human = (content: string): Json => ({ messages: [{ type: "human", content, id: `h-${content}` }] });

  it("stream as tuples of a flattened message and its metadata, without credentials", async () => {
    const { frames, run } = await new DrivenThread(chat()).invoke(human("hello"), streaming(["messages-tuple"]));
    expect(frames.length).toBeGreaterThan(3);
    const text = frames.map((frame) =>
      frame.kind === "data" ? (frame.data as [{ content: string; type: string; id: string }])[0] : undefined,
    );
    expect(text.map((message) => message?.content).join("")).toBe("Hi you");
    expect(new Set(text.map((message) => message?.id)).size).toBe(1);
    expect(text[0]).toMatchObject({ type: "ai" });
    const [first] = frames;
    const [, metadata] = (first?.kind === "data" ? first.data : []) as [Json, Record<string, Json>];
    expect(metadata).toMatchObject({ langgraph_node: "model", run_id: run.runId, thread_id: run.threadId });
    expect(Object.keys(metadata).filter((key) => key.startsWith("__") || key.startsWith("langgraph_auth"))).toEqual([]);
    expect(JSON.stringify(frames)).not.toContain('"lc":1');
  });

  it("come in the legacy form: announced once, whole so far, then final, and never the history", async () => {
    const thread = new DrivenThread(chat());
    await thread.invoke(human("first"));
    const { frames } = await thread.invoke(human("second"), streaming(["messages"]));
    const events = frames.map((frame) => frame.event);
    expect(events.filter((event) => event === "messages/metadata")).toHaveLength(1);
    const partials = frames.flatMap((frame) =>
      frame.kind === "data" && frame.event === "messages/partial"
        ? [(frame.data as [{ content: string }])[0].content]
        : [],
    );
    expect(partials.at(-1)).toBe("Hi you");
    expect(partials.every((text, i) => i === 0 || text.length >= (partials[i - 1]?.length ?? 0))).toBe(true);
    const complete = frames.flatMap((frame) =>
      frame.kind === "data" && frame.event === "messages/complete"
        ? (frame.data as { type: string; content: string }[])
        : [],
    );
    expect(complete.map(({ type, content }) => [type, content])).toEqual([
      ["human", "second"],
      ["ai", "Hi you"],
    ]);
    expect(events).not.toContain("values");
  });

  it("of subgraphs appear only when they were asked for", async () => {
    const graph = new StateGraph(MessagesAnnotation).addNode("sub", chat().compile()).addEdge(START, "sub");
    const events = async (subgraphs: boolean) =>
      new Set(
        (await new DrivenThread(graph).invoke(human("x"), streaming(["messages-tuple"], subgraphs))).frames.map(
          ({ event }) => event.replace(/:.*/, ""),
        ),
      );
    expect([...(await events(true))]).toContain("messages|sub");
    expect([...(await events(false))].filter((event) => event.includes("|"))).toEqual([]);
  });
});

describe("frames of a delivery", () => {
  it("begin with metadata and end with the error, if there is one", () => {
    const run = new DrivenThread(pair()).newRun();
    expect(metadataFrame(run, 2)).toEqual({ kind: "data", event: "metadata", data: { run_id: run.runId, attempt: 2 } });
    expect(errorFrame({ name: "RangeError", message: "too far" })).toEqual({
      kind: "data",
      event: "error",
      data: { error: "RangeError", message: "too far" },
    });
  });
});

describe("plain JSON", () => {
  it("shows whatever a graph keeps", () => {
    const shown = plainJson({
      human: new HumanMessage({ content: "hi", id: "1" }),
      chunk: new AIMessageChunk({ content: "a", id: "2", tool_calls: [{ name: "f", args: { n: 1 }, id: "c" }] }),
      date: new Date(0),
      map: new Map([["k", new Set([1])]]),
      pairs: new Map([[1, 2]]),
      bytes: new Uint8Array([1, 2]),
      error: new RangeError("far"),
      nothing: undefined,
      list: [undefined, () => 1, Number.NaN],
      big: 1n,
      twice: [new AIMessage("x")],
      send: new Send("node", { a: 1 }),
    });
    expect(shown).toMatchObject({
      human: { type: "human", content: "hi", id: "1", additional_kwargs: {}, response_metadata: {} },
      chunk: { type: "ai", content: "a", id: "2", tool_calls: [{ name: "f", args: { n: 1 }, id: "c" }] },
      date: "1970-01-01T00:00:00.000Z",
      map: { k: [1] },
      pairs: [[1, 2]],
      bytes: "AQI=",
      error: { name: "RangeError", message: "far" },
      list: [null, null, null],
      big: "1",
    });
    expect(Object.keys(shown as object)).not.toContain("nothing");
    expect(JSON.stringify(shown)).not.toContain('"lc":1');
  });

  it("shows one thing twice but not inside itself, and no way to a prototype", () => {
    const shared = { a: 1 };
    expect(plainJson([shared, shared])).toEqual([{ a: 1 }, { a: 1 }]);
    const polluted = JSON.parse('{"__proto__": {"admin": true}, "a": 1}') as unknown;
    expect(plainJson(polluted)).toEqual({ a: 1 });
    let deep: unknown = 1;
    for (let i = 0; i < 10_000; i++) deep = [deep];
    expect(() => plainJson(deep)).toThrow("nested deeper than 256 levels");
  });

  it("for keeping refuses what would not come back as it was, and says where", () => {
    expect(strictJson({ a: [1, "x", null, undefined], b: undefined })).toEqual({ a: [1, "x", null, null] });
    for (const [value, message] of [
      [{ a: { b: new Date() } }, "an instance of Date at a.b"],
      [{ n: Number.POSITIVE_INFINITY }, "the number Infinity at n"],
      [[() => 1], "a function at 0"],
    ] as const) {
      expect(() => strictJson(value)).toThrow(message);
    }
  });
});
