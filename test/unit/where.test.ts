/** Where code stands in its graph: the same place after every crash, resume and fork, another for every new visit. */
import { Annotation, END, START, Send, StateGraph, getConfig, interrupt, task } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import type { PathPart } from "../../src/core/effect.ts";
import { effect } from "../../src/graph/effect.ts";
import { where } from "../../src/graph/where.ts";
import { DrivenThread, interruptsOf } from "../support/drive-kit.ts";

const State = Annotation.Root({
  n: Annotation<number>({ reducer: (a, b) => a + b, default: () => 0 }),
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
  item: Annotation<string>(),
});
type S = typeof State.State;
type Config = LangGraphRunnableConfig;

/** The far side of all effects: every token once counts as one payment, however often it is sent. */
class Ledger {
  readonly asked: string[] = [];
  readonly paid = new Map<string, string>();
  /** Name of the effect after which its node throws, once. */
  failAfter: string | undefined;

  readonly pay = async (config: Config, name: string): Promise<void> => {
    const path = JSON.stringify(await where(config));
    this.asked.push(`${path} ${name}`);
    await effect(config, { name, policy: "idempotent" }, async (token) => {
      this.paid.set(token, `${path} ${name}`);
    });
    if (this.failAfter !== name) return;
    this.failAfter = undefined;
    throw new Error(`after ${name}`);
  };

  /** What was paid, by place and name; tokens that differ at one place show as repetitions. */
  entries(): string[] {
    return [...this.paid.values()].toSorted();
  }
}

/** Parallel nodes, a loop, Sends to nodes and to subgraphs, a subgraph called twice by a node, effects everywhere. */
function reference(ledger: Ledger) {
  const paying =
    (name: string, result: Partial<S> = {}) =>
    async (_: S, config: Config) => {
      await ledger.pay(config, name);
      return result;
    };
  const inner = () =>
    new StateGraph(State)
      .addNode("work", paying("work", { n: 1 }))
      .addNode("leaf", paying("leaf"))
      .addEdge(START, "work")
      .addConditionalEdges(
        "work",
        (s) => (s.n % 10 < 2 ? "work" : [new Send("leaf", { item: "x" }), new Send("leaf", { item: "y" })]),
        ["work", "leaf"],
      )
      .addEdge("leaf", END)
      .compile();
  return new StateGraph(State)
    .addNode("a", paying("a"))
    .addNode("p1", paying("p1"))
    .addNode("p2", paying("p2"))
    .addNode("m", async (s, config: Config) => {
      await ledger.pay(config, "m");
      await ledger.pay(config, "m");
      return { log: [s.item] };
    })
    .addNode("sub", inner())
    .addNode("call", async (_, config: Config) => {
      const graph = inner();
      await graph.invoke({ n: 0 }, config);
      await graph.invoke({ n: 0 }, config);
      await ledger.pay(config, "call");
      return { log: ["round"] };
    })
    .addNode("last", paying("last"))
    .addEdge(START, "a")
    .addEdge("a", "p1")
    .addEdge("a", "p2")
    .addConditionalEdges(
      "p1",
      () => [
        new Send("m", { item: "1" }),
        new Send("m", { item: "2" }),
        new Send("sub", { n: 0 }),
        new Send("sub", { n: 0 }),
      ],
      ["m", "sub"],
    )
    .addEdge("p2", "call")
    .addEdge("call", "last")
    .addConditionalEdges("last", (s) => (s.log.filter((entry) => entry === "round").length < 2 ? "a" : END), [
      "a",
      END,
    ]);
}

async function cleanRun() {
  const ledger = new Ledger();
  const thread = new DrivenThread(reference(ledger));
  const delivered = await thread.invoke({ n: 0 });
  expect(delivered.outcome).toEqual({ kind: "done" });
  return { ledger, thread, delivered, entries: ledger.entries() };
}

describe("tokens", () => {
  it("are one per effect, and others when a loop comes again", async () => {
    const { ledger, entries } = await cleanRun();
    // In each of its four places, `m` pays twice: the number of the call tells those apart.
    expect(new Set(entries).size).toBe(entries.length - 4);
    expect(ledger.asked.length).toBe(entries.length);
    expect(entries).toEqual(
      expect.arrayContaining([
        '[["a",0,null]] a',
        '[["a",1,null]] a',
        '[["m",0,0]] m',
        '[["m",0,1]] m',
        '[["sub",0,2],["work",1,null]] work',
        '[["sub",1,3],["leaf",0,1]] leaf',
        '[["call",0,null],["work",0,null]] work',
        '[["call",1,null],["#",1],["leaf",0,0]] leaf',
      ]),
    );
  });

  it("are the same after a crash before any call of the table", async () => {
    const { delivered, entries } = await cleanRun();
    const different: number[] = [];
    let askedAgain = 0;
    for (let dieAt = 1; dieAt <= delivered.calls; dieAt++) {
      const ledger = new Ledger();
      const thread = new DrivenThread(reference(ledger));
      const crashed = await thread.invoke({ n: 0 }, { dieAt });
      await new Promise((done) => setImmediate(done));
      const done = await thread.invoke({ n: 0 }, { run: crashed.run });
      if (done.outcome.kind !== "done" || JSON.stringify(ledger.entries()) !== JSON.stringify(entries))
        different.push(dieAt);
      askedAgain += ledger.asked.length - entries.length;
    }
    expect(different).toEqual([]);
    expect(askedAgain).toBeGreaterThan(0);
  }, 120_000);

  it("are the same after an error in any node", async () => {
    const { entries } = await cleanRun();
    for (const name of ["a", "p1", "p2", "m", "work", "leaf", "call", "last"]) {
      const ledger = new Ledger();
      ledger.failAfter = name;
      const thread = new DrivenThread(reference(ledger));
      const failed = await thread.invoke({ n: 0 });
      expect(failed.outcome.kind).toBe("failed");
      expect((await thread.deliver({ payload: { input: null } })).outcome).toEqual({ kind: "done" });
      expect(ledger.entries()).toEqual(entries);
    }
  });

  it("are the same in a fork from any checkpoint", async () => {
    const { ledger, thread, entries } = await cleanRun();
    const history = await Array.fromAsync(
      thread.reader().list({ configurable: { thread_id: thread.threadId, checkpoint_ns: "" } }),
    );
    for (const { checkpoint } of history) {
      expect((await thread.deliver({ payload: { checkpoint: { checkpointId: checkpoint.id } } })).outcome).toEqual({
        kind: "done",
      });
    }
    expect(ledger.asked.length).toBeGreaterThan(entries.length);
    expect(ledger.entries()).toEqual(entries);
  });

  it("are others for new input, even on the same thread", async () => {
    const { ledger, thread, entries } = await cleanRun();
    await thread.invoke({ n: 0 });
    expect(ledger.paid.size).toBeGreaterThan(entries.length);
  });

  it("are the same when a run waits in between, also inside a subgraph", async () => {
    const ledger = new Ledger();
    const sub = new StateGraph(State)
      .addNode("ask", async (_, config: Config) => {
        await ledger.pay(config, "before");
        const answer = String(interrupt("?"));
        await ledger.pay(config, "after");
        return { log: [answer] };
      })
      .addEdge(START, "ask")
      .compile();
    const graph = new StateGraph(State)
      .addNode("a", async (_, config: Config) => {
        await ledger.pay(config, "a");
        return {};
      })
      .addNode("sub", sub)
      .addEdge(START, "a")
      .addConditionalEdges("a", () => [new Send("sub", { item: "1" }), new Send("sub", { item: "2" })], ["sub"]);
    const thread = new DrivenThread(graph);
    const waiting = interruptsOf((await thread.invoke({})).outcome);
    expect(waiting).toHaveLength(2);
    for (const { id } of waiting) await thread.resume({ [id]: "yes" });
    expect(ledger.entries()).toEqual([
      '[["a",0,null]] a',
      '[["sub",0,0],["ask",0,null]] after',
      '[["sub",0,0],["ask",0,null]] before',
      '[["sub",0,1],["ask",0,null]] after',
      '[["sub",0,1],["ask",0,null]] before',
    ]);
    expect(ledger.asked.length).toBeGreaterThan(ledger.entries().length);
  });
});

describe("where()", () => {
  const placeIn = async (graph: (seen: PathPart[][]) => unknown): Promise<PathPart[][]> => {
    const seen: PathPart[][] = [];
    const { outcome } = await new DrivenThread(graph(seen)).invoke({});
    expect(outcome).toEqual({ kind: "done" });
    return seen;
  };
  const noting = (seen: PathPart[][]) => async (_: S, config: Config) => {
    seen.push([...(await where(config))]);
    return {};
  };

  it("names a subgraph without a checkpointer by the superstep in it", async () => {
    const places = await placeIn((seen) => {
      const inner = new StateGraph(State)
        .addNode("x", noting(seen))
        .addNode("y", noting(seen))
        .addEdge(START, "x")
        .addEdge("x", "y")
        .compile({ checkpointer: false });
      return new StateGraph(State)
        .addNode("sub", inner)
        .addConditionalEdges(START, () => [new Send("sub", {}), new Send("sub", {})], ["sub"]);
    });
    expect(places.map((place) => JSON.stringify(place)).toSorted()).toEqual([
      '[["sub",0,0],["x","s1",null]]',
      '[["sub",0,0],["y","s2",null]]',
      '[["sub",0,1],["x","s1",null]]',
      '[["sub",0,1],["y","s2",null]]',
    ]);
  });

  it("cannot name code in a subgraph without a checkpointer inside another, and says so", async () => {
    const inner = (node: (s: S, c: Config) => Promise<Partial<S>>) =>
      new StateGraph(State).addNode("x", node).addEdge(START, "x").compile({ checkpointer: false });
    const graph = new StateGraph(State)
      .addNode(
        "outer",
        new StateGraph(State)
          .addNode("middle", inner(noting([])))
          .addEdge(START, "middle")
          .compile({ checkpointer: false }),
      )
      .addEdge(START, "outer");
    const { outcome } = await new DrivenThread(graph).invoke({});
    expect(outcome).toMatchObject({
      kind: "failed",
      error: { name: "unsupported", message: expect.stringContaining("outer|middle") as string },
    });
  });

  it("names a functional task by the number of its call", async () => {
    const places = await placeIn((seen) => {
      const step = task({ name: "step" }, async (_number: number) => {
        seen.push([...(await where(getConfig()))]);
      });
      return new StateGraph(State)
        .addNode("x", async () => {
          await Promise.all([step(1), step(2)]);
          return {};
        })
        .addEdge(START, "x");
    });
    expect(places.map((place) => JSON.stringify(place)).toSorted()).toEqual([
      '[["x",0,null],["step","call",0]]',
      '[["x",0,null],["step","call",1]]',
    ]);
  });
});
