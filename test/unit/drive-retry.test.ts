/** Retry policies of nodes: what LangGraph makes of them alone, and what a delivery does. */
import { END, MemorySaver, RunControl, START, StateGraph, interrupt } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { backoffMs, wantsAnother } from "../../src/langgraph/retry-policy.ts";
import { DrivenThread, backoffOf, interruptsOf, valuesOf } from "../support/drive-kit.ts";
import { eventually } from "../support/eventually.ts";
import { State, fixed, flaky, single } from "../support/flaky-nodes.ts";
import type { S } from "../support/flaky-nodes.ts";
import { createManualClock } from "../support/manual-clock.ts";

function raise(thrown: unknown): never {
  throw thrown;
}

describe("LangGraph alone (negative controls)", () => {
  const config = { configurable: { thread_id: "t" }, durability: "sync" as const };

  it("sleeps through a drain and makes the next attempt all the same", async () => {
    const control = new RunControl();
    const { node, attempts } = flaky(1);
    const graph = single((state, c) => {
      control.requestDrain("stop");
      return node(state, c);
    }, fixed(1)).compile({ checkpointer: new MemorySaver() });
    await graph.invoke({}, { ...config, control });
    expect(attempts).toEqual([1, 2]);
  });

  it("begins to count anew after a crash, however many attempts there were", async () => {
    const abort = new AbortController();
    const { node, attempts } = flaky(Infinity);
    const graph = single(
      (state, c) => {
        if (attempts.length === 0) abort.abort();
        return node(state, c);
      },
      fixed(1, 2),
    ).compile({ checkpointer: new MemorySaver() });
    await expect(graph.invoke({}, { ...config, signal: abort.signal })).rejects.toThrow("abort");
    await expect(graph.invoke(null, config)).rejects.toThrow("failure 3");
    expect(attempts).toEqual([1, 1, 2]);
  });
});

describe("a node that is tried again", () => {
  it("waits in the delivery for up to two seconds, on the clock that was passed in", async () => {
    const { node, attempts } = flaky(2);
    const thread = new DrivenThread(single(node, fixed(500)));
    const before = thread.clock.monotonic();
    expect((await thread.invoke({})).outcome).toEqual({ kind: "done" });
    expect(attempts).toEqual([1, 2, 3]);
    expect(thread.clock.monotonic() - before).toBe(500 + 1000);
    expect(await valuesOf(thread)).toMatchObject({ log: ["done"] });
  });

  it("is left to a later delivery for what is longer, and its attempts are counted over deliveries", async () => {
    const { node, attempts } = flaky(Infinity);
    const thread = new DrivenThread(single(node, fixed(700, 4)));
    const first = await thread.invoke({});
    const left = backoffOf(first.outcome);
    expect(left).toMatchObject({ delayMs: 1400, error: { name: "Error", message: "failure 2" } });
    expect(Object.values(left.retries)).toEqual([2]);
    const second = await thread.deliver({ payload: { input: {} }, run: first.run, retries: left.retries });
    const more = backoffOf(second.outcome);
    expect(more).toMatchObject({ delayMs: 2800 });
    const last = await thread.deliver({ payload: { input: {} }, run: first.run, retries: more.retries });
    expect(last.outcome).toMatchObject({ kind: "failed", error: { message: "failure 4" } });
    expect(attempts).toEqual([1, 2, 3, 4]);
  });

  it("makes as many attempts as its policy allows, whatever crashes in between", async () => {
    const { node, attempts } = flaky(Infinity);
    const thread = new DrivenThread(single(node, fixed(60_000, 3)));
    const first = await thread.invoke({});
    const { retries } = backoffOf(first.outcome);
    const crashed = await thread.deliver({ payload: { input: {} }, run: first.run, retries, dieAt: 3 });
    expect(crashed.outcome.kind).toBe("aborted");
    const again = await thread.deliver({ payload: { input: {} }, run: first.run, retries });
    const last = await thread.deliver({
      payload: { input: {} },
      run: first.run,
      retries: backoffOf(again.outcome).retries,
    });
    expect(last.outcome).toMatchObject({ kind: "failed", error: { message: "failure 3" } });
    expect(attempts).toEqual([1, 2, 3]);
  });

  it("takes LangGraph's defaults: half a second, doubled, up to a second of jitter, three attempts", () => {
    const seeds = Array.from({ length: 200 }, (_, i) => `task ${i}`);
    for (const [failures, intervalMs] of [
      [1, 500],
      [2, 1000],
      [3, 2000],
    ] as const) {
      const waits = seeds.map((seed) => backoffMs({}, failures, seed));
      expect(Math.min(...waits)).toBeGreaterThanOrEqual(intervalMs);
      expect(Math.max(...waits)).toBeLessThan(intervalMs + 1000);
      expect(new Set(waits).size).toBe(seeds.length);
      expect(wantsAnother({}, failures, new Error("no"))).toBe(failures < 3);
    }
  });

  it("is not tried again after what its policy, or the default, takes for final", async () => {
    for (const [thrown, policy] of [
      [Object.assign(new Error("no"), { status: 404 }), {}],
      [{ status: 404 }, {}],
      [new Error("final"), { retryOn: (error: Error) => error.message !== "final" }],
      ["final", { retryOn: (thrown: unknown) => thrown !== "final" }],
    ] as const) {
      let attempts = 0;
      const failing = (): Partial<S> => {
        attempts++;
        return raise(thrown);
      };
      expect((await new DrivenThread(single(failing, policy)).invoke({})).outcome.kind).toBe("failed");
      expect(attempts).toBe(1);
    }
  });

  it("keeps what its siblings have done, and does not repeat them", async () => {
    let siblings = 0;
    const { node } = flaky(1);
    const graph = new StateGraph(State)
      .addNode("x", node, { retryPolicy: fixed(60_000) })
      .addNode("y", () => ({ log: [`sibling ${++siblings}`] }))
      .addEdge(START, "x")
      .addEdge(START, "y");
    const thread = new DrivenThread(graph);
    const { outcome, run } = await thread.invoke({});
    const { retries } = backoffOf(outcome);
    expect((await thread.deliver({ payload: { input: {} }, run, retries })).outcome).toEqual({ kind: "done" });
    expect(await valuesOf(thread)).toMatchObject({ log: ["done", "sibling 1"] });
  });

  it("writes nothing of the attempt that failed, also when a condition on its way out failed", async () => {
    let asked = 0;
    const graph = new StateGraph(State)
      .addNode("x", () => ({ log: ["x"] }), { retryPolicy: fixed(60_000) })
      .addEdge(START, "x")
      .addConditionalEdges("x", () => {
        if (++asked === 1) throw new Error("undecided");
        return END;
      });
    const thread = new DrivenThread(graph);
    const { outcome, run } = await thread.invoke({});
    const { retries } = backoffOf(outcome);
    expect(await valuesOf(thread)).toMatchObject({ log: [] });
    expect((await thread.deliver({ payload: { input: {} }, run, retries })).outcome).toEqual({ kind: "done" });
    expect(await valuesOf(thread)).toMatchObject({ log: ["x"] });
  });

  it("gives its errorHandler the error only once the attempts are used up", async () => {
    const { node, attempts } = flaky(Infinity);
    const graph = new StateGraph(State)
      .addNode("x", node, {
        retryPolicy: fixed(60_000, 2),
        errorHandler: (_: S, { error }: { error: Error }) => ({ log: [`handled ${error.message}`] }),
      })
      .addEdge(START, "x");
    const thread = new DrivenThread(graph);
    const { outcome, run } = await thread.invoke({});
    const { retries } = backoffOf(outcome);
    expect((await thread.deliver({ payload: { input: {} }, run, retries })).outcome).toEqual({ kind: "done" });
    expect(await valuesOf(thread)).toMatchObject({ log: ["handled failure 2"] });
    expect(attempts).toEqual([1, 2]);
  });

  it("is asked no question twice: answers stay with the attempt that needs them", async () => {
    let fails = true;
    const graph = single(() => {
      const answers = [String(interrupt("one?")), String(interrupt("two?"))];
      if (fails) throw new Error("after the answers");
      return { log: answers };
    }, fixed(60_000));
    const thread = new DrivenThread(graph);
    const [one] = interruptsOf((await thread.invoke({})).outcome);
    const [two] = interruptsOf((await thread.resume({ [one?.id ?? ""]: "first" })).outcome);
    const answers = { [two?.id ?? ""]: "second" };
    const failed = await thread.resume(answers);
    const { retries } = backoffOf(failed.outcome);
    fails = false;
    // The decision stands in its own record and is handed over again, as on every delivery of a continuation.
    expect((await thread.resume(answers, { run: failed.run, retries })).outcome).toEqual({ kind: "done" });
    expect(await valuesOf(thread)).toMatchObject({ log: ["first", "second"] });
  });

  it("comes before the question of a sibling, which is asked when the superstep is over", async () => {
    const { node } = flaky(1);
    const graph = new StateGraph(State)
      .addNode("x", node, { retryPolicy: fixed(60_000) })
      .addNode("ask", () => ({ log: [String(interrupt("?"))] }))
      .addEdge(START, "x")
      .addEdge(START, "ask");
    const thread = new DrivenThread(graph);
    const { outcome, run } = await thread.invoke({});
    const { retries } = backoffOf(outcome);
    const second = await thread.deliver({ payload: { input: {} }, run, retries });
    expect(interruptsOf(second.outcome)).toMatchObject([{ value: "?", node: "ask" }]);
  });
});

describe("a rest between attempts", () => {
  const resting = () => {
    const clock = createManualClock();
    const { node, attempts } = flaky(1);
    const drain = new AbortController();
    const abort = new AbortController();
    const thread = new DrivenThread(single(node, fixed(1500)));
    const delivery = thread.invoke({}, { clock, drain: drain.signal, signal: abort.signal });
    return { clock, attempts, drain, abort, thread, delivery };
  };

  it("ends with a drain, and what is left of it is left to a later delivery", async () => {
    const { clock, attempts, drain, delivery } = resting();
    await eventually(() => clock.sleepers() === 1);
    clock.advance(500);
    drain.abort();
    const left = backoffOf((await delivery).outcome);
    expect(left.delayMs).toBe(1000);
    expect(Object.values(left.retries)).toEqual([1]);
    expect(attempts).toEqual([1]);
  });

  it("does not begin once a drain was asked for", async () => {
    const drain = new AbortController();
    const { node, attempts } = flaky(1, () => ({}));
    const thread = new DrivenThread(
      single((state, config) => {
        drain.abort();
        return node(state, config);
      }, fixed(1)),
    );
    expect(backoffOf((await thread.invoke({}, { drain: drain.signal })).outcome).retries).not.toEqual({});
    expect(attempts).toEqual([1]);
  });

  it("ends with an abort", async () => {
    const { clock, attempts, abort, thread, delivery } = resting();
    await eventually(() => clock.sleepers() === 1);
    abort.abort();
    expect((await delivery).outcome).toEqual({ kind: "aborted" });
    expect(attempts).toEqual([1]);
    expect(await valuesOf(thread)).toMatchObject({ log: [] });
  });

  it("ends when a sibling fails for good, and its own error is what is kept of it", async () => {
    const clock = createManualClock();
    const { node } = flaky(Infinity);
    const sibling = Promise.withResolvers<void>();
    const graph = new StateGraph(State)
      .addNode("x", node, { retryPolicy: fixed(1500) })
      .addNode("y", async (): Promise<Partial<S>> => {
        await sibling.promise;
        throw new Error("for good");
      })
      .addEdge(START, "x")
      .addEdge(START, "y");
    const thread = new DrivenThread(graph);
    const delivery = thread.invoke({}, { clock });
    await eventually(() => clock.sleepers() === 1);
    sibling.resolve();
    expect((await delivery).outcome).toMatchObject({ kind: "failed", error: { message: "for good" } });
    const { pendingWrites = [] } =
      (await thread.reader().getTuple({ configurable: { thread_id: thread.threadId } })) ?? {};
    const errors = pendingWrites.filter(([, channel]) => channel === "__error__").map(([, , value]) => value);
    expect(errors).toEqual(
      expect.arrayContaining([
        { name: "Error", message: "failure 1" },
        { name: "Error", message: "for good" },
      ]),
    );
  });

  it("counts for no time-out of the node", async () => {
    const clock = createManualClock();
    const { node, attempts } = flaky(1);
    const graph = new StateGraph(State)
      .addNode("x", node, { retryPolicy: fixed(1500), timeout: 5 })
      .addEdge(START, "x");
    const thread = new DrivenThread(graph);
    const delivery = thread.invoke({}, { clock });
    await eventually(() => clock.sleepers() === 1);
    // Longer than the time-out, and real: LangGraph counts on a clock of its own.
    await new Promise((done) => setTimeout(done, 25));
    await eventually(() => clock.sleepers() === 1);
    clock.advance(1500);
    expect((await delivery).outcome).toEqual({ kind: "done" });
    expect(attempts).toEqual([1, 2]);
  });
});
