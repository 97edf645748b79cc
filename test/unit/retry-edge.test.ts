/** The retry edge: when a node is tried again, what waits for it, who is asked at last, and what LangGraph does without it. */
import { Annotation, END, START, Send, StateGraph, interrupt } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { reviewRequestOf } from "../../src/core/review-value.ts";
import { callbackValue, outcomeValue, waitOf } from "../../src/core/wait-value.ts";
import { effect } from "../../src/graph/effect.ts";
import { EffectRejected } from "../../src/graph/effect-call.ts";
import { addRetry } from "../../src/graph/retry.ts";
import type { RetryOptions } from "../../src/graph/retry.ts";
import type { WaitingInterrupt } from "../../src/langgraph/drive.ts";
import { DrivenThread, interruptsOf, valuesOf } from "../support/drive-kit.ts";
import type { Delivered } from "../support/drive-kit.ts";
import { decision } from "../support/tool-graphs.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
  item: Annotation<number>(),
});
type S = typeof State.State;
type Config = LangGraphRunnableConfig;

/** Fails where told, by the number of the execution. */
function flaky(fails: (execution: number, state: S) => boolean) {
  const runs: string[] = [];
  const act = async (state: S, config: Config) => {
    const what = `charge${state.item ?? ""}`;
    runs.push(what);
    await effect(config, { name: "charge", policy: "idempotent" }, async () => 1);
    if (fails(runs.filter((one) => one === what).length, state)) throw new Error(`no ${runs.length}`);
    return { log: [what] };
  };
  return { runs, act };
}
const note = (name: string) => () => ({ log: [name] });
const four: RetryOptions = { attempts: 4, backoffMs: 1000 };

type Decide = (asked: WaitingInterrupt) => Parameters<typeof decision>[1];

/** Goes on, in the same run for timers and in a new one for answers, until nothing waits. */
async function play(thread: DrivenThread, first: Delivered, decide: Decide = () => ({ type: "approve" })) {
  const waits: string[] = [];
  let last = first;
  for (let asked = interruptsOf(last.outcome); asked.length > 0; asked = interruptsOf(last.outcome)) {
    const timers = asked.filter(({ value }) => waitOf(value) !== undefined);
    waits.push(timers.length > 0 ? "timer" : "review");
    const answers =
      timers.length > 0
        ? timers.map(({ id }) => [id, outcomeValue({ kind: "fired" })] as const)
        : asked.map((one) => [one.id, decision(one.value, decide(one))] as const);
    const run = timers.length > 0 ? { run: last.run } : {};
    last = await thread.resume(Object.fromEntries(answers), run);
  }
  return {
    outcome: last.outcome,
    waits,
    run: last.run,
    log: ((await valuesOf(thread)) as { readonly log?: unknown }).log,
  };
}

const start = async (graph: unknown, decide?: Decide) => {
  const thread = new DrivenThread(graph);
  return play(thread, await thread.invoke({ log: [] }), decide);
};
const withNext = (act: (state: S, config: Config) => Promise<Partial<S>>, options: RetryOptions) =>
  addRetry(new StateGraph(State).addNode("charge", act).addNode("next", note("next")), "charge", options)
    .addEdge(START, "charge")
    .addEdge("charge", "next");

describe("a node with a retry edge", () => {
  it("is tried again after ever longer timers, and only then its edges fire", async () => {
    const { runs, act } = flaky((n) => n <= 3);
    const thread = new DrivenThread(withNext(act, four));
    const due: number[] = [];
    let last = await thread.invoke({ log: [] });
    for (let asked = interruptsOf(last.outcome); asked.length > 0; asked = interruptsOf(last.outcome)) {
      const wait = waitOf(asked[0]?.value);
      if (wait?.kind === "timer") due.push(wait.dueAt - thread.clock.wall());
      last = await thread.resume({ [asked[0]?.id ?? ""]: outcomeValue({ kind: "fired" }) }, { run: last.run });
    }
    expect(due).toEqual([1000, 2000, 4000]);
    expect(last.outcome).toEqual({ kind: "done" });
    expect(runs).toHaveLength(4);
    expect(await valuesOf(thread)).toEqual({ log: ["charge", "next"] });
  });

  it("counts anew in each round of a loop", async () => {
    const { runs, act } = flaky((n) => n % 2 === 1);
    const graph = addRetry(new StateGraph(State).addNode("charge", act).addNode("next", note("next")), "charge", {
      ...four,
      attempts: 2,
    })
      .addEdge(START, "charge")
      .addEdge("charge", "next")
      .addConditionalEdges("next", ({ log }) => (log.filter((x) => x === "next").length < 3 ? "charge" : END));
    const { outcome, waits } = await start(graph);
    expect([outcome, waits.length, runs.length]).toEqual([{ kind: "done" }, 3, 6]);
  });

  it("is waited for by a join behind a barrier edge, and not by one behind two edges", async () => {
    const parallel = (join: "barrier" | "edges") => {
      const graph = new StateGraph(State)
        .addNode("charge", flaky((n) => n <= 2).act)
        .addNode("other", () => ({}))
        .addNode("join", note("join"))
        .addEdge(START, "charge")
        .addEdge(START, "other");
      addRetry(graph, "charge", four);
      return join === "barrier"
        ? graph.addEdge(["charge", "other"], "join")
        : graph.addEdge("charge", "join").addEdge("other", "join");
    };
    expect((await start(parallel("barrier"))).log).toEqual(["charge", "join"]);
    expect((await start(parallel("edges"))).log).toEqual(["join", "charge", "join"]);
  });

  it("may be a subgraph, in a graph with a Zod state", async () => {
    const { act, runs } = flaky((n) => n <= 1);
    const inner = new StateGraph(State).addNode("in", act).addEdge(START, "in").compile();
    const graph = new StateGraph(z.object({ log: z.array(z.string()).default([]), amount: z.number().optional() }))
      .addNode("charge", inner)
      .addEdge(START, "charge");
    const { outcome } = await start(addRetry(graph, "charge", four));
    expect([outcome, runs.length]).toEqual([{ kind: "done" }, 2]);
  });

  it("takes a question that it asks for no failure", async () => {
    let executions = 0;
    const ask = async () => {
      executions++;
      const answer = String(interrupt("go on?"));
      if (executions === 2) throw new Error("after the answer");
      return { log: [answer] };
    };
    const thread = new DrivenThread(withNext(ask, four));
    const [asked] = interruptsOf((await thread.invoke({ log: [] })).outcome);
    const answered = await thread.resume({ [asked?.id ?? ""]: "yes" });
    const [timer] = interruptsOf(answered.outcome);
    expect(waitOf(timer?.value)?.kind).toBe("timer");
  });

  it("shows nothing of itself: not in values, nor in what may be put in", async () => {
    const graph = withNext(flaky((n) => n <= 1).act, four);
    const thread = new DrivenThread(graph);
    const frames: string[] = [];
    const first = await thread.invoke(
      { log: [] },
      { settings: { streamModes: ["values"] }, emit: (frame) => frames.push(JSON.stringify(frame)) },
    );
    const { outcome } = await play(thread, first);
    expect(outcome).toEqual({ kind: "done" });
    expect(await valuesOf(thread)).toEqual({ log: ["charge", "next"] });
    expect(frames.join()).not.toContain("charge~retry");
  });

  it("cannot be started by a Send: it fails and says so; in a subgraph of its own it can", async () => {
    const items = () => [1, 2, 3].map((item) => new Send("charge", { item, log: [] }));
    const sent = new StateGraph(State)
      .addNode("charge", flaky((n, { item }) => item === 2 && n <= 2).act)
      .addConditionalEdges(START, items, ["charge"]);
    const refused = await start(addRetry(sent, "charge", four));
    expect(refused.outcome).toMatchObject({
      kind: "failed",
      error: { name: "RetryExhausted", message: expect.stringContaining("put it into a subgraph") as unknown },
    });

    const { act, runs } = flaky((n, { item }) => item === 2 && n <= 2);
    const Out = Annotation.Root({ log: State.spec.log });
    const one = addRetry(new StateGraph({ state: State, output: Out }).addNode("charge", act), "charge", four)
      .addEdge(START, "charge")
      .compile();
    const outer = new StateGraph(State)
      .addNode("one", one)
      .addNode("join", note("join"))
      .addConditionalEdges(START, () => [1, 2, 3].map((item) => new Send("one", { item, log: [] })), ["one"])
      .addEdge("one", "join");
    const { outcome, log } = await start(outer);
    expect(outcome).toEqual({ kind: "done" });
    expect(log).toEqual(["charge1", "charge2", "charge3", "join"]);
    expect(runs.toSorted()).toEqual(["charge1", "charge2", "charge2", "charge2", "charge3"]);
  });
});

describe("when the attempts are used up", () => {
  const always = (options: RetryOptions) => {
    const { act, runs } = flaky(() => true);
    return { graph: withNext(act, options), runs };
  };

  it("the run ends as an error; delivered again it does so without another attempt, and a later run tries again", async () => {
    let broken = true;
    const { act, runs } = flaky(() => broken);
    const thread = new DrivenThread(withNext(act, { ...four, attempts: 2 }));
    const failed = await play(thread, await thread.invoke({ log: [] }));
    const error = {
      kind: "failed",
      parks: false,
      error: { name: "RetryExhausted", message: "charge failed 2 times: no 2" },
    };
    expect(failed.outcome).toMatchObject(error);
    const again = await thread.deliver({ payload: { input: { log: [] } }, run: failed.run });
    expect([again.outcome, runs.length]).toMatchObject([error, 2]);
    broken = false;
    const replay = await play(thread, await thread.deliver({ payload: { input: null } }));
    expect([replay.outcome, runs.length]).toEqual([{ kind: "done" }, 3]);
    expect(replay.log).toEqual(["charge", "next"]);
  });

  it("a person may have it tried again, with all attempts anew", async () => {
    const { act, runs } = flaky((n) => n <= 3);
    const shown: unknown[] = [];
    const { outcome, waits } = await start(
      withNext(act, { ...four, attempts: 2, exhausted: "ask-a-person", ask: { groups: ["ops"] } }),
      ({ value }) => {
        shown.push(reviewRequestOf(value)?.request);
        return { type: "approve" };
      },
    );
    expect([outcome, runs.length, waits]).toEqual([{ kind: "done" }, 4, ["timer", "review", "timer"]]);
    expect(shown).toMatchObject([
      {
        title: "charge failed 2 times",
        description: "no 2",
        action: "retry charge",
        args: { node: "charge", attempts: 2, error: { message: "no 2" } },
        groups: ["ops"],
      },
    ]);
  });

  it("a person may say no: the run ends so, or goes another way", async () => {
    const no: Decide = () => ({ type: "reject", message: "leave it" });
    const ends = await start(always({ ...four, attempts: 1, exhausted: "ask-a-person" }).graph, no);
    expect(ends.outcome).toMatchObject({
      error: { message: expect.stringMatching(/^charge failed once: no 1; .*leave it$/) as unknown },
    });
    const goesOn = await start(
      always({
        ...four,
        attempts: 1,
        exhausted: "ask-a-person",
        rejected: { goto: "next", update: ({ answer }) => ({ log: [`by hand: ${answer?.type}`] }) },
      }).graph,
      no,
    );
    expect([goesOn.outcome, goesOn.log]).toEqual([{ kind: "done" }, ["by hand: reject", "next"]]);
  });

  it("an edit of the question is an approval, and a response is a rejection", async () => {
    const { act, runs } = flaky((n) => n <= 1);
    const asking: RetryOptions = { ...four, attempts: 1, exhausted: "ask-a-person" };
    const edited = await start(withNext(act, asking), () => ({ type: "edit", args: { node: "next", attempts: 99 } }));
    expect([edited.outcome, edited.log, runs.length]).toEqual([{ kind: "done" }, ["charge", "next"], 2]);
    const answered = await start(always(asking).graph, () => ({ type: "response", message: "call them" }));
    expect(answered.outcome).toMatchObject({
      error: { name: "RetryExhausted", message: expect.stringMatching(/call them$/) as unknown },
    });
  });

  it("another node may take over", async () => {
    const { graph, runs } = always({
      ...four,
      attempts: 2,
      exhausted: { goto: "next", update: ({ error }) => ({ log: [error.message] }) },
    });
    const { outcome, log } = await start(graph);
    expect([outcome, log, runs.length]).toEqual([{ kind: "done" }, ["no 2", "next"], 2]);
  });

  it("comes at once for an error that is not worth another attempt", async () => {
    const { graph, runs } = always({
      ...four,
      retryOn: ({ message }) => message !== "no 1",
      exhausted: { goto: "next" },
    });
    expect((await start(graph)).waits).toEqual([]);
    expect(runs).toHaveLength(1);
  });
});

describe("an effect in a retried node", () => {
  it("has another token in the next attempt once it was refused", async () => {
    const tokens: string[] = [];
    const charge = async (_: S, config: Config) => {
      const receipt = await effect(config, { name: "pay", policy: "unsafe" }, async (token) => {
        if (tokens.push(token) === 1) throw new EffectRejected("try later");
        return "paid";
      });
      return { log: [receipt] };
    };
    const { outcome, log } = await start(withNext(charge, four));
    expect([outcome, log]).toEqual([{ kind: "done" }, ["paid", "next"]]);
    expect(new Set(tokens).size).toBe(2);
  });

  it("parks the run where nobody knows whether it happened, and is never tried again by the edge", async () => {
    let calls = 0;
    const charge = async (_: S, config: Config) => {
      await effect(config, { name: "pay", policy: "unsafe" }, async () => {
        calls++;
        throw new Error("connection reset");
      });
      return {};
    };
    const { outcome, waits } = await start(withNext(charge, four));
    expect(outcome).toMatchObject({ parks: true, error: { name: "effect_ambiguous" } });
    expect([calls, waits]).toEqual([1, []]);
  });
});

describe("LangGraph without it", () => {
  it("ends a run as a success when an error handler throws what it was given (why the handler never throws)", async () => {
    const graph = new StateGraph(State)
      .addNode(
        "charge",
        () => {
          throw new TypeError("bad");
        },
        {
          errorHandler: (_, failure) => {
            throw failure.error;
          },
        },
      )
      .addNode("next", note("next"))
      .addEdge(START, "charge")
      .addEdge("charge", "next");
    const thread = new DrivenThread(graph);
    await thread.invoke({ log: [] });
    const resumed = await thread.deliver({ payload: { input: null } });
    expect(resumed.outcome.kind).toBe("done");
    expect(await valuesOf(thread)).toEqual({ log: [] });
  });
});

describe("the timer of a retry edge", () => {
  it("is told from a callback by what it raises", async () => {
    const thread = new DrivenThread(withNext(flaky(() => true).act, four));
    const [timer] = interruptsOf((await thread.invoke({ log: [] })).outcome);
    expect(waitOf(timer?.value)?.kind).toBe("timer");
    expect(waitOf(callbackValue({ key: "k", timeoutMs: 1 }))?.kind).toBe("callback");
  });
});

describe("a specification that nobody has type-checked", () => {
  it("is refused when the graph is built", () => {
    const builder = () => new StateGraph(State).addNode("charge", note("x"));
    expect(() => addRetry(builder(), "gone" as "charge", four)).toThrow("there is no node gone");
    expect(() => addRetry(builder(), "charge", { ...four, attempts: 0 })).toThrow("at least 1");
    const misspelt = { ...four, exausted: "ask-a-person" };
    expect(() => addRetry(builder(), "charge", misspelt)).toThrow("there is no `exausted`");
    const asking = (ask: object) => () => addRetry(builder(), "charge", { ...four, exhausted: "ask-a-person", ask });
    expect(asking({ group: ["leads"] })).toThrow("there is no `group`");
    expect(asking({ groups: [] })).toThrow("`ask.groups` of charge is empty");
    expect(asking({ groups: ["leads"], risk: "high" })).not.toThrow();
    expect(() => addRetry(builder(), "charge", { ...four, backoffMs: NaN })).toThrow("milliseconds");
    expect(() => addRetry(addRetry(builder(), "charge", four), "charge", four)).toThrow("error handler of its own");
  });
});
