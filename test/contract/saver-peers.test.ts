/** The saver against MemorySaver: random threads with forks, time travel, edits, copies and interrupts must look the same. */
import { Annotation, Command, END, MemorySaver, START, Send, StateGraph, interrupt } from "@langchain/langgraph";
import type { BaseCheckpointSaver, StateSnapshot } from "@langchain/langgraph";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { SaverOptions } from "../../src/checkpoint/options.ts";
import { isKept } from "../../src/checkpoint/pieces.ts";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { splice } from "../../src/checkpoint/splice.ts";
import { tenantId } from "../../src/core/ids.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b).slice(-12), default: () => [] }),
  files: Annotation<Record<string, string>>({ reducer: (a, b) => ({ ...a, ...b }), default: () => ({}) }),
  n: Annotation<number>({ reducer: (a, b) => a + b, default: () => 0 }),
  doc: Annotation<string>({ reducer: (_, b) => b, default: () => "" }),
  ask: Annotation<boolean>({ reducer: (_, b) => b, default: () => false }),
});

const build = (checkpointer: BaseCheckpointSaver) => {
  const sub = new StateGraph(State)
    .addNode("inside", (s) => ({ log: [`inside ${s.n}`], n: 1 }))
    .addNode("maybe", (s) => (s.ask ? { log: [`said ${String(interrupt("inside?"))}`] } : {}))
    .addEdge(START, "inside")
    .addEdge("inside", "maybe")
    .compile();
  return new StateGraph(State)
    .addNode("a", (s) => ({ log: [`a ${s.n}`], n: 1, files: { [`f${s.n % 3}`]: "x".repeat(20 * (s.n % 5)) } }))
    .addNode("b", (s) =>
      s.ask ? { log: [`b ${String(interrupt("b?"))}`] } : { log: ["b"], doc: `${s.doc}${"y".repeat(30)}` },
    )
    .addNode("leaf", (s) => ({ log: [`leaf ${s.doc}`] }))
    .addNode("sub", sub)
    .addNode("last", () => ({ log: ["last"], ask: false }))
    .addEdge(START, "a")
    .addConditionalEdges("a", () => ["b", "sub", new Send("leaf", { doc: "one" }), new Send("leaf", { doc: "two" })])
    .addEdge(["b", "sub"], "last")
    .addConditionalEdges("last", (s) => (s.n % 4 === 1 ? "a" : END))
    .compile({ checkpointer });
};
type Graph = ReturnType<typeof build>;

type Step =
  | { readonly kind: "input"; readonly n: number; readonly ask: boolean }
  | { readonly kind: "resume" }
  | { readonly kind: "update"; readonly back: number }
  | { readonly kind: "copy"; readonly back: number }
  | { readonly kind: "replay"; readonly back: number }
  | { readonly kind: "branch"; readonly back: number; readonly n: number }
  | { readonly kind: "delete" };

const back = fc.nat({ max: 12 });
const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("input" as const), n: fc.nat({ max: 6 }), ask: fc.boolean() }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("resume" as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("update" as const), back }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("copy" as const), back }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("replay" as const), back }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("branch" as const), back, n: fc.nat({ max: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("delete" as const) }) },
);

const config = { configurable: { thread_id: "t1" }, durability: "sync" as const, recursionLimit: 40 };

async function history(graph: Graph): Promise<StateSnapshot[]> {
  const snapshots: StateSnapshot[] = [];
  for await (const snapshot of graph.getStateHistory(config)) snapshots.push(snapshot);
  return snapshots;
}

async function apply(graph: Graph, saver: BaseCheckpointSaver, step: Step): Promise<unknown> {
  const at = async (steps: number) => {
    const snapshots = await history(graph);
    const picked = snapshots[steps % Math.max(1, snapshots.length)];
    return picked === undefined
      ? undefined
      : { ...config, configurable: { ...config.configurable, ...picked.config.configurable } };
  };
  const outcome = async (work: Promise<unknown>): Promise<unknown> => {
    try {
      return await work;
    } catch (error) {
      return `refused: ${error instanceof Error ? error.constructor.name : "?"}`;
    }
  };
  switch (step.kind) {
    case "input":
      return outcome(graph.invoke({ n: step.n, ask: step.ask, log: ["in"] }, config));
    case "resume": {
      const state = await graph.getState(config, { subgraphs: true });
      const waiting = state.tasks.flatMap((task) => task.interrupts.map(({ id = "" }) => id));
      if (waiting.length === 0) return outcome(graph.invoke(null, config));
      return outcome(
        graph.invoke(new Command({ resume: Object.fromEntries(waiting.map((id) => [id, "yes"])) }), config),
      );
    }
    case "update": {
      const from = await at(step.back);
      return from && outcome(graph.updateState(from, { log: ["edited"], doc: "edited" }, "a").then(() => undefined));
    }
    case "copy": {
      const from = await at(step.back);
      return from && outcome(graph.updateState(from, null, "__copy__").then(() => undefined));
    }
    case "replay": {
      const from = await at(step.back);
      return from && outcome(graph.invoke(null, from));
    }
    case "branch": {
      const from = await at(step.back);
      return from && outcome(graph.invoke({ n: step.n, ask: false, log: ["branch"] }, from));
    }
    case "delete":
      await saver.deleteThread("t1");
      return undefined;
  }
}

/** What an observer can see. */
async function seen(
  graph: Graph,
  saver: BaseCheckpointSaver,
): Promise<{ readonly text: string; readonly states: number }> {
  const snapshots = await history(graph);
  const tuples: unknown[] = [];
  for await (const tuple of saver.list({ configurable: { thread_id: "t1", checkpoint_ns: "" } })) {
    const { metadata, checkpoint, parentConfig } = tuple;
    // The echo of a resume map, which this saver leaves out.
    const pendingWrites = tuple.pendingWrites?.filter(([taskId]) => !/^[0-9a-f]{32}$/.test(taskId));
    tuples.push({
      metadata,
      pendingWrites,
      id: checkpoint.id,
      values: checkpoint.channel_values,
      versions: checkpoint.channel_versions,
      parentConfig,
    });
  }
  const states = snapshots.map((snapshot) => {
    const { createdAt: _, ...rest } = snapshot;
    return rest;
  });
  return { text: withoutIds({ states, tuples }), states: snapshots.length };
}

const AN_ID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|"id":"[0-9a-f]{32}"/g;

/** As text in which every id is named by the order of its first appearance. */
function withoutIds(value: unknown): string {
  const names = new Map<string, string>();
  return JSON.stringify({ value }, sortedKeys).replaceAll(AN_ID, (id) => {
    const name = names.get(id) ?? `#${names.size}`;
    names.set(id, name);
    return name;
  });
}

const sortedKeys = (_: string, value: unknown): unknown =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    : value;

/** How the saver lays a thread out: what it looks like must not depend on it. */
const layoutArbitrary = fc.record({
  small: fc.boolean(),
  chainRecords: fc.constantFrom(1, 2, 3, 32),
  /** Whether the saver that reads is one that has not seen the thread before. */
  fresh: fc.boolean(),
});
type Layout = typeof layoutArbitrary extends fc.Arbitrary<infer T> ? T : never;

const SMALL = {
  inlineBytes: 200,
  insertBytes: 100,
  channelBytes: 50,
  pieceBytes: 300,
  recordBytes: 2_000,
  blobBytes: 600,
};
const isNightly = process.env["HOLDPOINT_NIGHTLY"] !== undefined;
const STATES = isNightly ? 100_000 : 2000;

/** Threads until so many states have been compared. */
async function compare(states: number, seed: number, more: Partial<SaverOptions> = {}): Promise<number> {
  const counts: number[] = [];
  const oneThread = async (steps: readonly Step[], { small, chainRecords, fresh }: Layout): Promise<void> => {
    const limits = { chainRecords, ...(small ? SMALL : {}) };
    const options = {
      table: createMemoryTable(),
      blobs: createMemoryBlobs(),
      tenant: tenantId("acme"),
      limits,
      ...more,
    };
    const [ours, peer] = [new FencedSaver(options), new MemorySaver()];
    const [mine, theirs] = [build(ours), build(peer)];
    for (const step of steps) {
      expect(withoutIds(await apply(mine, ours, step))).toBe(withoutIds(await apply(theirs, peer, step)));
      const expected = await seen(theirs, peer);
      const reader = fresh ? new FencedSaver(options) : ours;
      expect((await seen(build(reader), reader)).text).toBe(expected.text);
      counts.push(expected.states);
    }
  };
  const steps = fc.array(stepArbitrary, { minLength: 2, maxLength: 7 });
  const compared = (): number => counts.reduce((sum, count) => sum + count, 0);
  for (let round = 0; ; round += 1) {
    if (compared() >= states) return compared();
    const threads = fc.asyncProperty(steps, layoutArbitrary, oneThread);
    await fc.assert(threads, { numRuns: 20, seed: seed + round });
  }
}

describe("against MemorySaver", () => {
  it(
    `random threads look the same after every step, ${STATES} states`,
    { timeout: isNightly ? 7_200_000 : 180_000 },
    async () => {
      expect(await compare(STATES, Number(process.env["HOLDPOINT_FUZZ_SEED"] ?? 20_260_101))).toBeGreaterThanOrEqual(
        STATES,
      );
    },
  );

  it("they would not with a splice that is wrong by one byte (negative control)", async () => {
    const wrong: typeof splice = (before, after) => {
      const edits = splice(before, after);
      const [first] = edits;
      return first && isKept(first) && edits.length > 1 ? [{ keep: [0, first.keep[1] - 1] }, ...edits.slice(1)] : edits;
    };
    await expect(compare(2000, 20_260_101, { splice: wrong })).rejects.toThrow(/Property failed/);
  });
});
