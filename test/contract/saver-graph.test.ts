/** Real LangGraph graphs driven to their end through the saver, under a lease. */
import { Annotation, Command, END, MemorySaver, START, Send, StateGraph, interrupt } from "@langchain/langgraph";
import type { BaseCheckpointSaver } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { tenantId, threadId } from "../../src/core/ids.ts";
import type { Table } from "../../src/storage/table.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { createTracedTable } from "../support/traced-table.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
  rounds: Annotation<number>({ reducer: (_, b) => b, default: () => 0 }),
  item: Annotation<string>(),
});

const inner = new StateGraph(State)
  .addNode("one", () => ({ log: ["one"] }))
  .addNode("two", () => ({ log: ["two"] }))
  .addEdge(START, "one")
  .addEdge("one", "two")
  .addEdge("two", END)
  .compile();

/** Parallel nodes, a subgraph, Sends, a loop of three rounds. */
const looping = (checkpointer: BaseCheckpointSaver) =>
  new StateGraph(State)
    .addNode("plan", (s) => ({ log: ["plan"], rounds: s.rounds + 1 }))
    .addNode("left", () => ({ log: ["left"] }))
    .addNode("right", () => ({ log: ["right"] }))
    .addNode("sub", async (_, config) => {
      const result = await inner.invoke({ log: [] }, config);
      return { log: result.log };
    })
    .addNode("leaf", (s) => ({ log: [`leaf ${s.item}`] }))
    .addNode("join", () => ({ log: ["join"] }))
    .addEdge(START, "plan")
    .addEdge("plan", "left")
    .addEdge("plan", "right")
    .addEdge("plan", "sub")
    .addConditionalEdges("left", () => [new Send("leaf", { item: "a" }), new Send("leaf", { item: "b" })])
    .addEdge(["right", "sub", "leaf"], "join")
    .addConditionalEdges("join", (s) => (s.rounds < 3 ? "plan" : END))
    .compile({ checkpointer });

const asking = (checkpointer: BaseCheckpointSaver) => {
  const sub = new StateGraph(State)
    .addNode("prepare", () => ({ log: ["prepared"] }))
    .addNode("ask", () => ({ log: [`answer ${String(interrupt({ question: "go?" }))}`] }))
    .addEdge(START, "prepare")
    .addEdge("prepare", "ask")
    .compile();
  return new StateGraph(State)
    .addNode("before", () => ({ log: ["before"] }))
    .addNode("sub", sub)
    .addNode("beside", () => ({ log: [`beside ${String(interrupt({ question: "beside?" }))}`] }))
    .addNode("after", () => ({ log: ["after"] }))
    .addEdge(START, "before")
    .addEdge("before", "sub")
    .addEdge("before", "beside")
    .addEdge(["sub", "beside"], "after")
    .compile({ checkpointer });
};

const thread = threadId("t1");
const config = { configurable: { thread_id: thread }, durability: "sync" as const, recursionLimit: 60 };

interface Held {
  readonly fence?: number;
  readonly newRoot?: string;
  readonly blobs?: ReturnType<typeof createMemoryBlobs>;
}
const held = (table: Table, { fence = 1, newRoot, blobs = createMemoryBlobs() }: Held = {}) =>
  new FencedSaver({
    table,
    blobs,
    tenant: tenantId("acme"),
    lease: { threadId: thread, generation: 0, fence },
    ...(newRoot === undefined ? {} : { newRoot }),
  });

describe("a graph under a lease", () => {
  it("ends with the state that MemorySaver gives, at one put a superstep and no read of the root", async () => {
    const table = createTracedTable(createMemoryTable());
    const saver = held(table, { newRoot: "run-1" });
    await saver.preload();
    const before = table.calls.length;
    const graph = looping(saver);
    const result = await graph.invoke({ rounds: 0 }, config);
    const expected = await looping(new MemorySaver()).invoke({ rounds: 0 }, config);
    expect(result).toEqual(expected);

    const calls = table.calls.slice(before);
    const rootPuts = calls.filter((c) => c.method === "put" && c.sk.startsWith("C#000000##")).length;
    const rootReads = calls.filter((c) => c.method !== "put" && c.sk.startsWith("C#000000##"));
    // Input, then plan, the parallel three, the Sends, join: three times.
    expect(rootPuts).toBe(1 + 1 + 3 * 4);
    expect(rootReads).toEqual([]);
    // Per subgraph call: one read and one barrier of its own namespace, then one put a superstep.
    const subPuts = calls.filter((c) => c.method === "put" && c.sk.startsWith("C#000000#sub")).length;
    expect(subPuts).toBe(3 * (1 + 1 + 3));
    expect(saver.head()).toMatchObject({ root: "run-1", fence: 1, source: "loop" });
    expect(saver.head()?.step).toBe(rootPuts - 2);
  });

  it("counts visits of a loop and inherits the root", async () => {
    const saver = held(createMemoryTable(), { newRoot: "run-1" });
    await saver.preload();
    await looping(saver).invoke({ rounds: 0 }, config);
    const head = saver.head();
    const facts = await saver.whereabouts.record("", head?.checkpointId ?? "");
    expect(facts).toMatchObject({ root: "run-1", visits: { plan: 3, left: 3, right: 3, sub: 3, leaf: 3, join: 3 } });
  });

  it("keeps interrupts of a subgraph across a takeover and applies both answers once", async () => {
    const table = createMemoryTable();
    const first = held(table, { newRoot: "run-1" });
    await first.preload();
    await asking(first).invoke({ rounds: 0 }, config);
    const shown = await first.pendingInterrupts();
    expect(shown.map(({ value }) => value)).toEqual(
      expect.arrayContaining([{ question: "go?" }, { question: "beside?" }]),
    );
    const inSub = shown.find(({ owner }) => owner?.ns !== "");
    expect(inSub?.owner?.ns).toMatch(/^sub:/);

    const second = held(table, { fence: 2 });
    await second.preload();
    await second.barrier();
    const again = await second.pendingInterrupts();
    expect(again).toEqual(shown);
    const owners = again.flatMap(({ owner }) => (owner ? [owner] : []));
    expect(await second.waitingInterrupts(owners)).toEqual(owners);
    const answers = (raised: readonly { readonly id?: string; readonly value?: unknown }[]): Record<string, string> =>
      Object.fromEntries(raised.map(({ id = "", value }) => [id, `yes to ${JSON.stringify(value)}`]));
    const strict = { ...config, configurable: { ...config.configurable, __pregel_strict_resume: true } };
    const result = await asking(second).invoke(new Command({ resume: answers(again) }), strict);
    const peer = asking(new MemorySaver());
    await peer.invoke({ rounds: 0 }, config);
    const asked = (await peer.getState(config)).tasks.flatMap(({ interrupts }) => interrupts);
    expect(result).toEqual(await peer.invoke(new Command({ resume: answers(asked) }), config));
    expect(await second.waitingInterrupts(owners)).toEqual([]);
    expect(await second.pendingInterrupts()).toEqual([]);
    expect(second.head()).toMatchObject({ root: "run-1", fence: 2 });
  });
});
