/** A run that is aborted: its nodes may go on, but nothing of what they do then is kept. */
import { Annotation, GraphDrained, MemorySaver, START, StateGraph, interrupt, task } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { effect } from "../../src/graph/effect.ts";
import { DrivenThread, interruptsOf, valuesOf } from "../support/drive-kit.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
});
type S = typeof State.State;
type Config = LangGraphRunnableConfig;

/** A node that goes on after the abort and does whatever a node can do. */
function stubborn() {
  const did: string[] = [];
  const started = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  const signals: (AbortSignal | undefined)[] = [];
  const charge = task("charge", async () => {
    did.push("task");
  });
  const called = new StateGraph(State)
    .addNode("inner", () => {
      did.push("graph");
      return { log: ["inner"] };
    })
    .addEdge(START, "inner")
    .compile();
  const attempt = async (act: () => Promise<unknown>): Promise<void> => {
    await act().catch(() => undefined);
  };
  const graph = new StateGraph(State)
    .addNode("quick", () => ({ log: ["quick"] }))
    .addNode("stubborn", async (_: S, config: Config): Promise<Partial<S>> => {
      signals.push(config.signal);
      started.resolve();
      await goOn.promise;
      config.writer?.("late frame");
      await attempt(async () => charge());
      await attempt(async () => called.invoke({}, config));
      await attempt(async () =>
        effect(config, { name: "pay", policy: "idempotent" }, async () => {
          did.push("effect");
        }),
      );
      // What comes after the node's own last line.
      setImmediate(() => setImmediate(ended.resolve));
      return { log: ["late"] };
    })
    .addEdge(START, "quick")
    .addEdge(START, "stubborn");
  return { graph, did, started: started.promise, goOn: goOn.resolve, ended: ended.promise, signals };
}

describe("a node that goes on after the abort", () => {
  it("still calls, and still writes to the saver, with LangGraph alone (negative control)", async () => {
    const { graph, did, started, goOn, ended } = stubborn();
    const saver = new MemorySaver();
    const abort = new AbortController();
    const config = { configurable: { thread_id: "t" }, signal: abort.signal };
    const invoked = graph.compile({ checkpointer: saver }).invoke({}, config);
    await started;
    abort.abort();
    await expect(invoked).rejects.toThrow("abort");
    const written = async () => (await Array.fromAsync(saver.list({ configurable: { thread_id: "t" } }))).length;
    const before = await written();
    goOn();
    await ended;
    expect(did).toContain("task");
    expect(await written()).toBeGreaterThan(before);
  });

  it("has its signal aborted, and whatever it does then is refused or not heard", async () => {
    const { graph, did, started, goOn, ended, signals } = stubborn();
    const abort = new AbortController();
    const thread = new DrivenThread(graph);
    const settings = { streamModes: ["custom", "updates"] as const };
    const delivery = thread.invoke({}, { signal: abort.signal, settings });
    await started;
    abort.abort();
    const { outcome, frames, run } = await delivery;
    expect(outcome).toEqual({ kind: "aborted" });
    expect(signals[0]?.aborted).toBe(true);
    const items = await stored(thread);
    const heard = [...frames];
    goOn();
    await ended;
    expect(did).toEqual([]);
    expect(frames).toEqual(heard);
    expect(JSON.stringify(frames)).not.toContain("late");
    expect(await stored(thread)).toEqual(items);
    expect(await thread.effects(run.root)).toEqual([]);
  });

  it("cannot hold the delivery, though LangGraph stops listening once a task of the superstep has finished", async () => {
    const { graph, started, goOn, ended } = stubborn();
    const abort = new AbortController();
    const thread = new DrivenThread(graph);
    const delivery = thread.invoke(
      {},
      { signal: abort.signal, settings: { streamModes: ["updates"] }, emit: quickDone },
    );
    const quick = Promise.withResolvers<void>();
    function quickDone(): void {
      quick.resolve();
    }
    await Promise.all([started, quick.promise]);
    abort.abort();
    expect((await delivery).outcome).toEqual({ kind: "aborted" });
    goOn();
    await ended;
    // What had finished before is there for the next delivery.
    const { pendingWrites = [] } =
      (await thread.reader().getTuple({ configurable: { thread_id: thread.threadId } })) ?? {};
    expect(pendingWrites.filter(([, channel]) => channel === "log").map(([, , value]) => value)).toEqual([["quick"]]);
  });
});

describe("a run that is stopped while a node is on its way out", () => {
  it("ends without the node's edges with LangGraph alone, which takes it for finished (negative control)", async () => {
    let stops = true;
    const graph = new StateGraph(State)
      .addNode("x", () => ({ log: ["x"] }))
      .addNode("next", () => ({ log: ["next"] }))
      .addEdge(START, "x")
      .addConditionalEdges("x", () => {
        if (stops) throw new GraphDrained("stopped");
        return "next";
      })
      .compile({ checkpointer: new MemorySaver() });
    const config = { configurable: { thread_id: "t" }, durability: "sync" as const };
    await expect(graph.invoke({}, config)).rejects.toThrow("stopped");
    stops = false;
    expect(await graph.invoke(null, config)).toEqual({ log: ["x"] });
  });

  it("keeps nothing of that node but the answer that it was given", async () => {
    const graph = new StateGraph(State)
      .addNode("x", () => ({ log: [String(interrupt("?"))] }))
      .addNode("next", () => ({ log: ["next"] }))
      .addEdge(START, "x")
      .addConditionalEdges("x", async (_, config) => {
        await effect(config as Config, { name: "pay", policy: "unsafe" }, async () => {
          throw new Error("who knows");
        });
        return "next";
      });
    const thread = new DrivenThread(graph);
    const [asked] = interruptsOf((await thread.invoke({})).outcome);
    const { outcome } = await thread.resume({ [asked?.id ?? ""]: "yes" });
    expect(outcome).toMatchObject({ kind: "failed", parks: true, error: { name: "effect_ambiguous" } });
    const { pendingWrites = [] } =
      (await thread.reader().getTuple({ configurable: { thread_id: thread.threadId } })) ?? {};
    const ofTask = pendingWrites.filter(([taskId]) => !taskId.startsWith("00000000"));
    expect(ofTask.map(([, channel]) => channel).toSorted()).toEqual(["__interrupt__", "__resume__"]);
    expect(await valuesOf(thread)).toMatchObject({ log: [] });
  });
});

/** Everything that the thread has in the table. */
const stored = async (thread: DrivenThread) =>
  (await thread.table.query(`${thread.tenant}#t#${thread.threadId}`, { prefix: "" })).items.map(({ sk, version }) => [
    sk,
    version,
  ]);
