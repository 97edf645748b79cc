/** Graphs reach the tenant's long-term memory wherever their code runs. */
import { readFile } from "node:fs/promises";
import { AIMessage } from "@langchain/core/messages";
import { Annotation, END, InMemoryStore, START, StateGraph, getStore, task } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { applyUpdate } from "../../src/langgraph/views.ts";
import { DrivenThread } from "../support/drive-kit.ts";
import { rememberingAgent } from "./graphs/long-term-memory.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
});
type S = typeof State.State;
type Config = LangGraphRunnableConfig;

/** Leaves a note of where it was called. */
const note = async (where: string, config?: Config): Promise<Partial<S>> => {
  await (config ? config.store : getStore())?.put(["notes"], where, { where });
  return { log: [where] };
};

const notesOf = async (thread: DrivenThread): Promise<readonly string[]> =>
  (await thread.store.search(["notes"], { limit: 50 })).map(({ key }) => key);

const inner = (name: string) =>
  new StateGraph(State)
    .addNode("deep", (_: S, config: Config) => note(`${name} node`, config))
    .addEdge(START, "deep")
    .addConditionalEdges("deep", async (_: S, config: Config) => {
      await note(`${name} condition`, config);
      return END;
    });

const everywhere = () => {
  const aTask = task("aTask", async () => void (await note("functional task")));
  const called = inner("called").compile();
  return new StateGraph(State)
    .addNode("plain", (_: S, config: Config) => note("node", config))
    .addNode("implicit", async () => note("getStore()"))
    .addNode("tasks", async () => {
      await aTask();
      return {};
    })
    .addNode("sub", inner("sub").compile())
    .addNode("calls", async (_: S, config: Config) => {
      await called.invoke({ log: [] }, config);
      return {};
    })
    .addEdge(START, "plain")
    .addEdge("plain", "implicit")
    .addEdge("implicit", "tasks")
    .addEdge("tasks", "sub")
    .addConditionalEdges("sub", async (_: S, config: Config) => {
      await note("condition after a graph", config);
      return "calls";
    })
    .addEdge("calls", END);
};

describe("the store of a delivery", () => {
  it("is there in nodes, tasks, conditions, and in graphs that are nodes or that nodes call", async () => {
    const thread = new DrivenThread(everywhere());
    const { outcome } = await thread.invoke({});
    expect(outcome).toEqual({ kind: "done" });
    expect(await notesOf(thread)).toEqual([
      "called condition",
      "called node",
      "condition after a graph",
      "functional task",
      "getStore()",
      "node",
      "sub condition",
      "sub node",
    ]);
  });

  it("is whole: it lists, takes batches and hears what is said about the index", async () => {
    const graph = new StateGraph(State)
      .addNode("x", async (_: S, { store }: Config) => {
        await store?.batch([{ namespace: ["n"], key: "k", value: { a: 1 }, index: false }]);
        return { log: [JSON.stringify(await store?.listNamespaces())] };
      })
      .addEdge(START, "x");
    const { outcome, frames } = await new DrivenThread(graph).invoke({}, { settings: { streamModes: ["updates"] } });
    expect(outcome).toEqual({ kind: "done" });
    expect(JSON.stringify(frames)).toContain(JSON.stringify(JSON.stringify([["n"]])));
  });

  it("would not be, the way LangGraph hands on a store that it is given (negative control)", async () => {
    const store = new InMemoryStore();
    const graph = new StateGraph(State)
      .addNode("x", async (_: S, config: Config) => ({ log: [JSON.stringify(await config.store?.listNamespaces())] }))
      .addEdge(START, "x")
      .compile({ store });
    await expect(graph.invoke({})).rejects.toThrow(/batch/);
  });

  it("takes the place of one that was compiled into the graph", async () => {
    const own = new InMemoryStore();
    const thread = new DrivenThread(everywhere().compile({ store: own }));
    await thread.invoke({});
    expect(await own.search([])).toEqual([]);
    expect(await notesOf(thread)).toHaveLength(8);
  });

  it("is there for conditions when a state is updated from outside", async () => {
    const thread = new DrivenThread(everywhere());
    const { saver } = await thread.invoke({});
    await thread.store.delete(["notes"], "condition after a graph");
    const { graph, store, threadId } = thread;
    await applyUpdate({ graph, saver, store, threadId, values: { log: [] }, asNode: "sub" });
    expect(await notesOf(thread)).toContain("condition after a graph");
  });

  it("throws in the node that uses it, whose retry policy is asked", async () => {
    let calls = 0;
    const thread = new DrivenThread(
      new StateGraph(State)
        .addNode(
          "x",
          async (_: S, config: Config) => {
            if (++calls === 1) await config.store?.put(["n.o"], "k", {});
            return note("second attempt", config);
          },
          { retryPolicy: { maxAttempts: 2, retryOn: () => true } },
        )
        .addEdge(START, "x"),
    );
    expect((await thread.invoke({})).outcome).toEqual({ kind: "done" });
    expect(await notesOf(thread)).toEqual(["second attempt"]);
  });
});

describe("the example of docs/store.md", () => {
  it("is the file that is executed here", async () => {
    const [docs, file] = await Promise.all(
      ["../../docs/store.md", "./graphs/long-term-memory.ts"].map((path) =>
        readFile(new URL(path, import.meta.url), "utf8"),
      ),
    );
    expect(docs).toContain(`\`\`\`ts\n${file}\`\`\`\n`);
  });

  it("knows later what it was told, of this user and of no other", async () => {
    const known: (readonly string[])[] = [];
    const graph = rememberingAgent(async (_, facts) => {
      known.push(facts);
      return new AIMessage("Fine.");
    });
    const thread = new DrivenThread(graph);
    const say = (content: string, user: string) =>
      thread.invoke(
        { messages: [{ role: "user", content }] },
        { payload: { input: { messages: [{ role: "user", content }] }, context: { user } } },
      );
    await say("remember: likes tea", "ada");
    await say("What do I like?", "ada");
    await say("What do I like?", "bob");
    expect(known).toEqual([["likes tea"], ["likes tea"], []]);
  });
});
