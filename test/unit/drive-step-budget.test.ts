/** Supersteps of a lineage: LangGraph alone counts anew on every resume, a delivery counts from the input. */
import { Annotation, Command, MemorySaver, START, StateGraph, interrupt } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { DrivenThread, interruptsOf, valuesOf } from "../support/drive-kit.ts";
import type { DeliveryOptions } from "../support/drive-kit.ts";

const State = Annotation.Root({
  rounds: Annotation<number>({ reducer: (a, b) => a + b, default: () => 0 }),
});

/** Goes round for ever, and asks in every round if it is told to. */
const endless = (asks: boolean) =>
  new StateGraph(State)
    .addNode("round", () => {
      if (asks) interrupt("go on?");
      return { rounds: 1 };
    })
    .addEdge(START, "round")
    .addEdge("round", "round");

const LIMIT = 4;
const limits = { steps: LIMIT };
const usedUp = {
  kind: "failed",
  parks: false,
  error: {
    name: "GraphRecursionError",
    message:
      "the run used up its supersteps (recursion_limit) before it ended " +
      `(limit: step budget, ${LIMIT}; setting: HOLDPOINT_MAX_STEPS)`,
  },
};

/** Answers every question until there is none, at most so often. */
async function answered(thread: DrivenThread, options: DeliveryOptions, times = 20) {
  let { outcome } = await thread.invoke({}, options);
  for (let n = 0; n < times; n++) {
    const [asked] = interruptsOf(outcome);
    if (asked === undefined) break;
    ({ outcome } = await thread.resume({ [asked.id]: "yes" }, options));
  }
  return outcome;
}

describe("LangGraph alone (negative control)", () => {
  it("goes round as often as it is resumed, whatever its recursion limit", async () => {
    const graph = endless(true).compile({ checkpointer: new MemorySaver() });
    const config = { configurable: { thread_id: "t" }, recursionLimit: LIMIT };
    await graph.invoke({}, config);
    for (let n = 0; n < 5 * LIMIT; n++) await graph.invoke(new Command({ resume: "yes" }), config);
    expect((await graph.getState(config)).values).toEqual({ rounds: 5 * LIMIT });
  });
});

describe("the step budget", () => {
  it("is shared by all that continues from an input, and ends where an unbroken run ends", async () => {
    const unbroken = new DrivenThread(endless(false));
    expect((await unbroken.invoke({}, { limits })).outcome).toEqual(usedUp);
    const resumed = new DrivenThread(endless(true));
    expect(await answered(resumed, { limits })).toEqual(usedUp);
    expect(await valuesOf(resumed)).toEqual(await valuesOf(unbroken));
  });

  it("is what LangGraph itself would have stopped at", async () => {
    const graph = endless(false).compile({ checkpointer: new MemorySaver() });
    const config = { configurable: { thread_id: "t" }, recursionLimit: LIMIT };
    await expect(graph.invoke({}, config)).rejects.toThrow("Recursion limit");
    const unbroken = new DrivenThread(endless(false));
    await unbroken.invoke({}, { limits });
    expect((await graph.getState(config)).values).toEqual(await valuesOf(unbroken));
  });

  it("is shared by deliveries that were drained", async () => {
    let drain = new AbortController();
    const graph = new StateGraph(State)
      .addNode("round", () => {
        drain.abort();
        return { rounds: 1 };
      })
      .addEdge(START, "round")
      .addEdge("round", "round");
    const thread = new DrivenThread(graph);
    const run = thread.newRun();
    for (let n = 0; n < LIMIT - 1; n++) {
      drain = new AbortController();
      expect((await thread.invoke({}, { run, limits, drain: drain.signal })).outcome).toEqual({ kind: "drained" });
    }
    expect((await thread.invoke({}, { run, limits })).outcome).toEqual(usedUp);
  });

  it("once used up lets no node run, unless the next run brings a larger one", async () => {
    let rounds = 0;
    const graph = new StateGraph(State)
      .addNode("round", () => ({ rounds: ++rounds && 1 }))
      .addEdge(START, "round")
      .addConditionalEdges("round", ({ rounds: n }) => (n < 10 ? "round" : "__end__"));
    const thread = new DrivenThread(graph);
    expect((await thread.invoke({}, { limits })).outcome).toEqual(usedUp);
    const before = rounds;
    expect((await thread.deliver({ payload: { input: null }, limits })).outcome).toEqual(usedUp);
    expect(rounds).toBe(before);
    const more = { payload: { input: null, config: { recursionLimit: 20 } }, limits };
    expect((await thread.deliver(more)).outcome).toEqual({ kind: "done" });
  });

  it("begins anew with new input", async () => {
    const graph = new StateGraph(State).addNode("round", () => ({ rounds: 1 })).addEdge(START, "round");
    const thread = new DrivenThread(graph);
    for (let n = 0; n < 2 * LIMIT; n++)
      expect((await thread.invoke({ rounds: 0 }, { limits })).outcome).toEqual({ kind: "done" });
    expect(await valuesOf(thread)).toEqual({ rounds: 2 * LIMIT });
  });

  it("is inherited by a fork from where it was", async () => {
    const thread = new DrivenThread(endless(true));
    await answered(thread, { limits });
    const history = await Array.fromAsync(
      thread.reader().list({ configurable: { thread_id: thread.threadId, checkpoint_ns: "" } }),
    );
    const second = history.find(({ metadata }) => metadata?.step === 1)?.checkpoint.id ?? "";
    let { outcome } = await thread.deliver({ payload: { checkpoint: { checkpointId: second } }, limits });
    let resumed = 0;
    for (let [asked] = interruptsOf(outcome); asked; [asked] = interruptsOf(outcome), resumed++)
      ({ outcome } = await thread.resume({ [asked.id]: "yes" }, { limits }));
    expect(outcome).toEqual(usedUp);
    expect(resumed).toBeLessThan(LIMIT);
  });

  it("counts inside a graph that is a node as well", async () => {
    const graph = new StateGraph(State).addNode("sub", endless(true).compile()).addEdge(START, "sub");
    const inSub = { ...usedUp, error: { ...usedUp.error, node: "sub" } };
    expect(await answered(new DrivenThread(graph), { limits })).toEqual(inSub);
  });

  it("does not bound a graph that a node calls with a limit of its own", async () => {
    const inner = new StateGraph(State)
      .addNode("round", () => ({ rounds: 1 }))
      .addEdge(START, "round")
      .addConditionalEdges("round", ({ rounds }) => (rounds < 10 ? "round" : "__end__"))
      .compile();
    const graph = new StateGraph(State)
      .addNode("call", async (_, config) => inner.invoke({}, { ...config, recursionLimit: 30 }))
      .addEdge(START, "call");
    expect((await new DrivenThread(graph).invoke({}, { limits })).outcome).toEqual({ kind: "done" });
  });

  it("is LangGraph's own where an older version wrote the records", async () => {
    const thread = new DrivenThread(endless(true));
    let { outcome } = await thread.invoke({}, { limits });
    await forgetInputSteps(thread);
    for (let n = 0; n < 3 * LIMIT; n++) {
      const [asked] = interruptsOf(outcome);
      ({ outcome } = await thread.resume({ [asked?.id ?? ""]: "yes" }, { limits }));
    }
    expect(await valuesOf(thread)).toEqual({ rounds: 3 * LIMIT });
  });
});

/** Takes out of every log record what older versions did not write. */
async function forgetInputSteps(thread: DrivenThread): Promise<void> {
  const pk = `${thread.tenant}#t#${thread.threadId}`;
  const { items } = await thread.table.query(pk, { prefix: "C#" });
  for (const { attributes, ...item } of items) {
    const { is, ...rest } = attributes;
    expect(is).toBeTypeOf("number");
    await thread.table.put({ pk: item.pk, sk: item.sk, attributes: rest }, "any");
  }
}
