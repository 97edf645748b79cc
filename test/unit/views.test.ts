import { Annotation, END, MessagesAnnotation, START, StateGraph, interrupt } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import {
  applyUpdate,
  emptyState,
  historyViews,
  interruptsView,
  stateView,
  valuesAt,
  wireState,
} from "../../src/langgraph/views.ts";
import { visibleValues } from "../../src/langgraph/visible.ts";
import { DrivenThread, interruptsOf } from "../support/drive-kit.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
  "x~retry": Annotation<number>({ reducer: (_, b) => b, default: () => 0 }),
});

const asking = () => {
  const sub = new StateGraph(State)
    .addNode("inner", () => ({ log: [String(interrupt({ q: "inside?" }))] }))
    .addEdge(START, "inner")
    .compile();
  return new StateGraph(State)
    .addNode("a", () => ({ log: ["a"], "x~retry": 1 }))
    .addNode("sub", sub)
    .addEdge(START, "a")
    .addEdge("a", "sub")
    .addEdge("sub", END);
};

const view = (thread: DrivenThread, of: { graph?: undefined; checkpointId?: string; subgraphs?: boolean } = {}) =>
  stateView({
    graph: "graph" in of ? undefined : thread.graph,
    saver: thread.reader(),
    threadId: thread.threadId,
    subgraphs: of.subgraphs ?? false,
    ...(of.checkpointId === undefined ? {} : { checkpoint: { checkpointId: of.checkpointId } }),
  });

describe("the state of a thread", () => {
  it("is empty when it has never run", async () => {
    const thread = new DrivenThread(asking());
    expect(await view(thread)).toEqual(emptyState);
    expect(await view(thread, { graph: undefined })).toEqual(emptyState);
    expect(wireState(emptyState)).toMatchObject({
      values: {},
      next: [],
      tasks: [],
      created_at: null,
      checkpoint: null,
      parent_checkpoint: null,
    });
  });

  it("shows values, what is next, the tasks and who waits, without bookkeeping or credentials", async () => {
    const thread = new DrivenThread(asking());
    const { outcome, run } = await thread.invoke(
      {},
      { payload: { metadata: { langgraph_auth_user: "x", purpose: "test" } } },
    );
    const [asked] = interruptsOf(outcome);
    const state = await view(thread);
    expect(state.values).toEqual({ log: ["a"] });
    expect(state.next).toEqual(["sub"]);
    expect(state.tasks).toMatchObject([
      {
        name: "sub",
        error: null,
        interrupts: [{ id: asked?.id, value: { q: "inside?" } }],
        state: null,
        checkpoint: { checkpoint_ns: expect.stringMatching(/^sub:/) as string },
      },
    ]);
    expect(state.interrupts).toEqual([{ id: asked?.id, value: { q: "inside?" } }]);
    expect(Object.values(interruptsView(state))).toEqual([[{ id: asked?.id, value: { q: "inside?" } }]]);
    expect(state.metadata).toMatchObject({
      source: "loop",
      step: 1,
      run_id: run.runId,
      purpose: "test",
      thread_id: thread.threadId,
    });
    expect(Object.keys(state.metadata).filter((key) => key.startsWith("langgraph_auth"))).toEqual([]);
    expect(state.checkpoint).toMatchObject({ thread_id: thread.threadId, checkpoint_ns: "" });
    expect(state.parentCheckpoint).toMatchObject({ thread_id: thread.threadId });
    expect(state.createdAt).toMatch(/^\d{4}-/);
  });

  it("holds the states of subgraphs when they are asked for", async () => {
    const thread = new DrivenThread(asking());
    await thread.invoke({});
    const { tasks } = await view(thread, { subgraphs: true });
    expect(tasks).toMatchObject([
      {
        name: "sub",
        state: {
          next: ["inner"],
          values: { log: ["a"] },
          tasks: [{ name: "inner", interrupts: [{ value: { q: "inside?" } }] }],
        },
      },
    ]);
  });

  it("is what is stored, where the graph is not on this machine", async () => {
    const thread = new DrivenThread(asking());
    const [asked] = interruptsOf((await thread.invoke({})).outcome);
    const state = await view(thread, { graph: undefined });
    expect(state).toMatchObject({
      values: { log: ["a"] },
      next: ["sub"],
      interrupts: [{ id: asked?.id, value: { q: "inside?" } }],
    });
  });

  it("can be seen at any checkpoint, and as history: newest first, limited, before one, by metadata", async () => {
    const thread = new DrivenThread(asking());
    const { run } = await thread.invoke({});
    const base = { saver: thread.reader(), threadId: thread.threadId };
    for (const graph of [thread.graph, undefined]) {
      const all = await historyViews({ ...base, graph, limit: 10 });
      expect(all.map((state) => state.metadata["step"])).toEqual([1, 0, -1]);
      const idOf = (i: number) => (all[i]?.checkpoint?.["checkpoint_id"] ?? "") as string;
      expect((await historyViews({ ...base, graph, limit: 1 })).map((state) => state.metadata["step"])).toEqual([1]);
      expect(
        (await historyViews({ ...base, graph, limit: 10, before: idOf(0) })).map((state) => state.metadata["step"]),
      ).toEqual([0, -1]);
      expect(await historyViews({ ...base, graph, limit: 10, metadata: { run_id: run.runId } })).toHaveLength(3);
      expect(await historyViews({ ...base, graph, limit: 10, metadata: { run_id: "other" } })).toEqual([]);
      expect((await view(thread, { checkpointId: idOf(1) })).values).toEqual({ log: [] });
    }
    expect(
      await valuesAt({
        ...base,
        graph: thread.graph,
        checkpoint: { checkpointId: "1f000000-0000-6000-8000-000000000000" },
      }),
    ).toEqual({});
  });

  it("shows messages flattened", async () => {
    const thread = new DrivenThread(
      new StateGraph(MessagesAnnotation)
        .addNode("a", () => ({ messages: [{ type: "ai", content: "hi", id: "2" }] }))
        .addEdge(START, "a"),
    );
    await thread.invoke({ messages: [{ role: "user", content: "hello" }] });
    const { values } = await view(thread);
    expect(values).toMatchObject({
      messages: [
        { type: "human", content: "hello" },
        { type: "ai", content: "hi", id: "2" },
      ],
    });
    expect(JSON.stringify(values)).not.toContain('"lc"');
    expect((await view(thread, { graph: undefined })).values).toEqual(values);
  });

  it("hides channels that are nobody's state", () => {
    expect(visibleValues({ a: 1, __start__: 1, "branch:to:x": null, "join:a:b": 1, "pay~retry": 2 })).toEqual({ a: 1 });
    expect(visibleValues({ __root__: [1, 2] })).toEqual([1, 2]);
  });
});

describe("an update of the state", () => {
  const update = async (thread: DrivenThread, of: { values?: JsonObject; asNode?: string; checkpointId?: string }) => {
    const { saver } = await thread.deliver({ payload: { input: null } });
    return applyUpdate({
      graph: thread.graph,
      saver,
      store: thread.store,
      threadId: thread.threadId,
      values: of.values,
      ...(of.asNode === undefined ? {} : { asNode: of.asNode }),
      ...(of.checkpointId === undefined ? {} : { checkpoint: { checkpointId: of.checkpointId } }),
    });
  };
  const graph = () =>
    new StateGraph(State)
      .addNode("a", () => ({ log: ["a"] }))
      .addNode("b", () => ({ log: ["b"] }))
      .addEdge(START, "a")
      .addEdge("a", "b")
      .addEdge("b", END);

  it("is a checkpoint of its own, from which the thread goes on", async () => {
    const thread = new DrivenThread(graph());
    await thread.invoke({}, { payload: { interruptBefore: ["b"] } });
    const selector = await update(thread, { values: { log: ["edited"] }, asNode: "a" });
    expect(selector).toMatchObject({ thread_id: thread.threadId, checkpoint_ns: "" });
    const state = await view(thread);
    expect(state.checkpoint).toMatchObject({ checkpoint_id: selector["checkpoint_id"] });
    expect(state.metadata).toMatchObject({ source: "update" });
    expect(state.next).toEqual(["b"]);
    expect((await thread.deliver({ payload: { input: null } })).outcome).toEqual({ kind: "done" });
    expect((await view(thread)).values).toMatchObject({ log: expect.arrayContaining(["edited", "b"]) as string[] });
  });

  it("ends the thread when it stands for the end", async () => {
    const thread = new DrivenThread(asking());
    const { saver } = await thread.invoke({});
    const { graph, store, threadId } = thread;
    await applyUpdate({ graph, saver, store, threadId, values: undefined, asNode: "__end__" });
    expect(await view(thread)).toMatchObject({ next: [], tasks: [] });
  });

  it("is refused with the graph's reason", async () => {
    const thread = new DrivenThread(graph());
    await thread.invoke({});
    await expect(update(thread, { values: { log: ["x"] }, asNode: "nowhere" })).rejects.toMatchObject({
      code: "invalid",
      message: 'Node "nowhere" does not exist',
    });
  });
});
