/**
 * What LangGraph alone does where a runtime has to do something else: first what it does, then what we do. Others of
 * the kind have files of their own: racing decisions, and one that is given again after it was applied (drive), retries
 * (drive-retry), limits (drive-limits, drive-step-budget), aborts (drive-abort), thrown values (drive-thrown), nodes
 * that are gone (compatibility), tools (tool-node, tool-node-errors).
 */
import { Annotation, Command, MemorySaver, START, StateGraph, interrupt } from "@langchain/langgraph";
import type { CheckpointTuple } from "@langchain/langgraph-checkpoint";
import { describe, expect, it } from "vitest";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { hasWorkLeft } from "../../src/langgraph/work-left.ts";
import { DrivenThread, interruptsOf, valuesOf } from "../support/drive-kit.ts";
import { startService } from "../support/service.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
});
type S = typeof State.State;

const config = { configurable: { thread_id: "t" }, durability: "sync" as const };
const single = (node: (state: S) => Partial<S> | Promise<Partial<S>>) =>
  new StateGraph(State).addNode("x", node).addEdge(START, "x");

describe("parallel questions", () => {
  const both = () =>
    new StateGraph(State)
      .addNode("pay", () => ({ log: [`pay ${String(interrupt("pay?"))}`] }))
      .addNode("delete", () => ({ log: [`delete ${String(interrupt("delete?"))}`] }))
      .addEdge(START, "pay")
      .addEdge(START, "delete");

  it("are all answered by one bare value with LangGraph alone", async () => {
    const graph = both().compile({ checkpointer: new MemorySaver() });
    await graph.invoke({}, config);
    expect(await graph.invoke(new Command({ resume: "yes" }), config)).toEqual({ log: ["delete yes", "pay yes"] });
  });

  it("are answered one by one, by their ids", async () => {
    const thread = new DrivenThread(both());
    const asked = interruptsOf((await thread.invoke({})).outcome);
    const pay = asked.find(({ node }) => node === "pay")?.id ?? "";
    const left = interruptsOf((await thread.resume({ [pay]: "yes" })).outcome);
    expect(left.map(({ node }) => node)).toEqual(["delete"]);
  });
});

describe("an answer", () => {
  const twice = () => single(() => ({ log: [String(interrupt("pay 1?")), String(interrupt("pay 1,000,000?"))] }));

  it("once given stays about and answers the next question on a mere retry, with LangGraph alone", async () => {
    const graph = twice().compile({ checkpointer: new MemorySaver() });
    await graph.invoke({}, config);
    await graph.invoke(new Command({ resume: "yes" }), config);
    expect(await graph.invoke(null, config)).toEqual({ log: ["yes", "yes"] });
  });

  it("is for its question: a later delivery that goes on asks the next one", async () => {
    const thread = new DrivenThread(twice());
    const [first] = interruptsOf((await thread.invoke({})).outcome);
    const { run } = await thread.resume({ [first?.id ?? ""]: "yes" });
    const again = await thread.deliver({ payload: {}, run });
    expect(interruptsOf(again.outcome)).toMatchObject([{ value: "pay 1,000,000?" }]);
    expect(await valuesOf(thread)).toEqual({ log: [] });
  });

  /** Says what was stored when the node went on with the answer. */
  const watched = (stored: () => Promise<CheckpointTuple | undefined>) => {
    const seen: boolean[] = [];
    const graph = single(async () => {
      const answer = String(interrupt("?"));
      const { pendingWrites = [] } = (await stored()) ?? {};
      seen.push(
        pendingWrites.some(([, channel, value]) => channel === "__resume__" && JSON.stringify(value).includes("yes")),
      );
      return { log: [answer] };
    });
    return { graph, seen };
  };

  it("is not stored when the node goes on with it, with LangGraph alone: a crash there loses it", async () => {
    const saver = new SlowSaver();
    const { graph, seen } = watched(() => saver.getTuple(config));
    const compiled = graph.compile({ checkpointer: saver });
    await compiled.invoke({}, config);
    await compiled.invoke(new Command({ resume: "yes" }), config);
    expect(seen).toEqual([false]);
  });

  it("is handed over again on every delivery, from a record that LangGraph has no part in", async () => {
    const attempts: string[] = [];
    const graph = () =>
      single(() => {
        const answer = String(interrupt("?"));
        attempts.push(answer);
        return { log: [answer] };
      });
    const thread = new DrivenThread(graph());
    const [asked] = interruptsOf((await thread.invoke({})).outcome);
    const answers = { [asked?.id ?? ""]: "yes" };
    const counted = await measured(graph());
    attempts.length = 0;
    // The process dies before the answer, or anything that came of it, is stored.
    const crashed = await thread.resume(answers, { dieAt: counted - 1 });
    expect(crashed.thrown).toMatchObject({ code: "unavailable" });
    expect((await thread.resume(answers, { run: crashed.run })).outcome).toEqual({ kind: "done" });
    expect(attempts).toEqual(["yes", "yes"]);
    expect(await valuesOf(thread)).toEqual({ log: ["yes"] });
  });
});

describe("two runs of one thread at once", () => {
  const racing = () => {
    let arrived = 0;
    const both = Promise.withResolvers<void>();
    return single(async ({ log }) => {
      if (++arrived === 2) both.resolve();
      await both.promise;
      return { log: [`after ${log.at(-1)}`] };
    });
  };

  it("both succeed with LangGraph alone, and one of them is lost", async () => {
    const graph = racing().compile({ checkpointer: new MemorySaver() });
    const both = await Promise.all(["a", "b"].map((from) => graph.invoke({ log: [from] }, config)));
    expect(both.map(({ log }) => log)).toEqual([
      ["a", "after a"],
      ["b", "after b"],
    ]);
    const { log } = (await graph.getState(config)).values as S;
    expect(log).toHaveLength(2);
  });

  it("come one after the other, whichever holder is overtaken: nothing that succeeded is lost", async () => {
    const thread = new DrivenThread(single(({ log }) => ({ log: [`after ${log.at(-1)}`] })));
    const delivered = async (from: string, turns: number): Promise<string> => {
      const run = thread.newRun();
      for (;;) {
        const { outcome } = await thread.invoke({ log: [from] }, { run });
        // What a worker does with a head that moved; a holder that was overtaken leaves the thread to the other for a
        // while. Two that came back at once would overtake one another for ever.
        if (outcome.kind !== "moved" && outcome.kind !== "lost") return outcome.kind;
        for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      }
    };
    expect(await Promise.all([delivered("a", 1), delivered("b", 1000)])).toEqual(["done", "done"]);
    const { log } = (await valuesOf(thread)) as S;
    expect(log.toSorted()).toEqual(["a", "after a", "after b", "b"]);
  });
});

describe("a crash between a node's writes and the checkpoint", () => {
  it("leaves a thread that has nothing to do next, as LangGraph alone tells it", async () => {
    const saver = new DyingSaver();
    const graph = single(() => ({ log: ["x"] })).compile({ checkpointer: saver });
    saver.putsLeft = 2;
    await expect(graph.invoke({}, config)).rejects.toThrow("the process died");
    expect(await graph.getState(config)).toMatchObject({ next: [], values: { log: ["x"] } });
    // It is not done: its superstep was never completed.
    expect((await saver.getTuple(config))?.checkpoint.channel_values).not.toHaveProperty("log", ["x"]);
  });

  it("is seen as work that is left, and a later delivery completes it without running the node again", async () => {
    let ran = 0;
    const graph = () =>
      single(() => {
        ran++;
        return { log: ["x"] };
      });
    const { calls } = await new DrivenThread(graph()).invoke({});
    ran = 0;
    const thread = new DrivenThread(graph());
    const crashed = await thread.invoke({}, { dieAt: calls });
    const reader = thread.reader();
    await reader.preload();
    expect(await hasWorkLeft(thread.graph, reader, thread.threadId)).toBe(true);
    const completed = await thread.invoke({}, { run: crashed.run });
    expect(completed.outcome).toEqual({ kind: "done" });
    expect(await hasWorkLeft(thread.graph, completed.saver, thread.threadId)).toBe(false);
    expect(ran).toBe(1);
    expect(await valuesOf(thread)).toEqual({ log: ["x"] });
  });
});

describe("new input on a thread that waits", () => {
  const asking = () => single(() => ({ log: [String(interrupt("?"))] }));

  it("drops the question without a word, with LangGraph alone", async () => {
    const graph = asking().compile({ checkpointer: new MemorySaver() });
    await graph.invoke({}, config);
    const before = (await graph.getState(config)).tasks[0]?.interrupts[0]?.id;
    await graph.invoke({ log: ["new input"] }, config);
    const open = (await graph.getState(config)).tasks.flatMap(({ interrupts }) => interrupts.map(({ id }) => id));
    expect(before).toBeTypeOf("string");
    expect(open).not.toContain(before);
  });

  it("cancels a plain interrupt on the record", async () => {
    const registry = createRegistry([registeredGraph("asking", asking())]);
    await using service = await startService({ graphs: registry });
    const client = service.client("acme");
    const { thread_id: thread } = await client.threads.create();
    await client.runs.wait(thread, "asking", { input: {} });
    const holds = async () => {
      const answer = await service.app.call("GET", "/v1/reviews?state=done");
      return answer.text();
    };
    await client.runs.wait(thread, "asking", { input: { log: ["new input"] } });
    expect(await holds()).toContain('"cancelled"');
  });
});

/** Stores what it is told a moment later, as a table does. */
class SlowSaver extends MemorySaver {
  override async putWrites(...args: Parameters<MemorySaver["putWrites"]>): Promise<void> {
    await new Promise((done) => setTimeout(done, 5));
    return super.putWrites(...args);
  }
}

/** Puts so many checkpoints, and then dies. */
class DyingSaver extends MemorySaver {
  putsLeft = Infinity;

  override async put(...args: Parameters<MemorySaver["put"]>): ReturnType<MemorySaver["put"]> {
    if (--this.putsLeft < 0) throw new Error("the process died");
    return super.put(...args);
  }
}

/** Calls of the table that a resume takes. */
async function measured(graph: unknown): Promise<number> {
  const thread = new DrivenThread(graph);
  const [asked] = interruptsOf((await thread.invoke({})).outcome);
  return (await thread.resume({ [asked?.id ?? ""]: "yes" })).calls;
}
