/**
 * The saver against MemorySaver: random threads with forks, time travel, edits, copies, interrupts, and with the calls of
 * their lifecycle in between, must look the same.
 */
import { Annotation, Command, END, START, Send, StateGraph, interrupt } from "@langchain/langgraph";
import type { BaseCheckpointSaver, StateSnapshot } from "@langchain/langgraph";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { SaverOptions } from "../../src/checkpoint/options.ts";
import { isKept } from "../../src/checkpoint/pieces.ts";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { splice } from "../../src/checkpoint/splice.ts";
import { tenantId } from "../../src/core/ids.ts";
import type { Table } from "../../src/storage/table.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { ReferenceSaver } from "../support/reference-saver.ts";

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

const THREADS = ["t1", "t2", "t3"] as const;
type ThreadName = (typeof THREADS)[number];
/** What runs are called: a few names, so that a run that is deleted may have advanced a thread at several places. */
const RUNS = ["r1", "r2", "r3"] as const;

type Step = { readonly thread: ThreadName; readonly run: string } & Deed;
type Deed =
  | { readonly kind: "input"; readonly n: number; readonly ask: boolean }
  | { readonly kind: "resume" }
  | { readonly kind: "update"; readonly back: number }
  | { readonly kind: "copy"; readonly back: number }
  | { readonly kind: "replay"; readonly back: number }
  | { readonly kind: "branch"; readonly back: number; readonly n: number }
  | { readonly kind: "delete" }
  | { readonly kind: "prune" }
  | { readonly kind: "delete runs"; readonly runs: readonly string[] }
  | { readonly kind: "copy thread"; readonly to: ThreadName };

const back = fc.nat({ max: 12 });
/** Most happens on one thread: on several each would stay short. */
const threadArbitrary = fc.oneof(
  { weight: 6, arbitrary: fc.constant(THREADS[0]) },
  { weight: 1, arbitrary: fc.constantFrom(...THREADS) },
);
const deedArbitrary: fc.Arbitrary<Deed> = fc.oneof(
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
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("prune" as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("delete runs" as const), runs: fc.subarray([...RUNS], { minLength: 1 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("copy thread" as const), to: fc.constantFrom(...THREADS) }) },
);
const stepArbitrary: fc.Arbitrary<Step> = fc
  .tuple(threadArbitrary, fc.constantFrom(...RUNS), deedArbitrary)
  .map(([thread, run, deed]) => ({ thread, run, ...deed }));

const configOf = (thread: string, run?: string) => ({
  configurable: { thread_id: thread, ...(run === undefined ? {} : { run_id: run }) },
  ...(run === undefined ? {} : { metadata: { run_id: run } }),
  durability: "sync" as const,
  recursionLimit: 40,
});

/** A saver, a graph on it, and how it ends threads. */
interface Side {
  readonly saver: BaseCheckpointSaver;
  readonly graph: Graph;
  readonly lifecycle: {
    prune(thread: string): unknown;
    deleteForRuns(runs: readonly string[], thread: string): unknown;
    copyThread(from: string, to: string): unknown;
  };
}

function oursOf(saver: FencedSaver): Side {
  const lifecycle: Side["lifecycle"] = {
    prune: (thread) => saver.prune([thread], { strategy: "keep_latest" }),
    deleteForRuns: (runs, thread) => saver.deleteForRuns(runs, [thread]),
    copyThread: (from, to) => saver.copyThread(from, to),
  };
  return { saver, graph: build(saver), lifecycle };
}

function referenceOf(saver: ReferenceSaver): Side {
  const lifecycle: Side["lifecycle"] = {
    prune: (thread) => saver.keepLatest(thread),
    deleteForRuns: (runs, thread) => saver.deleteForRuns(runs, thread),
    copyThread: (from, to) => saver.copyThread(from, to),
  };
  return { saver, graph: build(saver), lifecycle };
}

async function history(graph: Graph, thread: string): Promise<StateSnapshot[]> {
  const snapshots: StateSnapshot[] = [];
  for await (const snapshot of graph.getStateHistory(configOf(thread))) snapshots.push(snapshot);
  return snapshots;
}

async function outcome(work: unknown): Promise<unknown> {
  try {
    return await work;
  } catch (error) {
    return `refused: ${error instanceof Error ? error.constructor.name : "?"}`;
  }
}

/** Whether it was done; not why it was not, which each saver says in its own words. */
const done = async (work: () => unknown): Promise<boolean> => {
  try {
    await work();
    return true;
  } catch {
    return false;
  }
};

async function apply({ graph, saver, lifecycle }: Side, step: Step): Promise<unknown> {
  const { thread } = step;
  const config = configOf(thread, step.run);
  const at = async (steps: number, by = config) => {
    const snapshots = await history(graph, thread);
    const picked = snapshots[steps % Math.max(1, snapshots.length)];
    return picked === undefined
      ? undefined
      : { ...by, configurable: { ...by.configurable, ...picked.config.configurable } };
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
      // Of no run: LangGraph copies under the config that the saver gives back, and only MemorySaver's is the caller's.
      const from = await at(step.back, configOf(thread));
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
      await saver.deleteThread(thread);
      return undefined;
    case "prune":
      return done(() => lifecycle.prune(thread));
    case "delete runs":
      return done(() => lifecycle.deleteForRuns(step.runs, thread));
    case "copy thread":
      return done(() => lifecycle.copyThread(thread, step.to));
  }
}

/** What an observer can see of a thread. */
async function seen(
  graph: Graph,
  saver: BaseCheckpointSaver,
  thread: string,
): Promise<{ readonly text: string; readonly states: number }> {
  const snapshots = await history(graph, thread);
  const tuples: unknown[] = [];
  for await (const tuple of saver.list({ configurable: { thread_id: thread, checkpoint_ns: "" } })) {
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

/** A mistake that is made on purpose. */
interface Bug {
  /** How threads are laid out where it is found soonest. */
  readonly layout?: Layout;
  readonly splice?: NonNullable<SaverOptions["splice"]>;
  readonly tableOf?: (table: Table) => Table;
}

/** Threads until so many states have been compared. */
async function compare(states: number, seed: number, bug?: Bug): Promise<number> {
  const { tableOf = (table: Table) => table, layout, ...more } = bug ?? {};
  const counts: number[] = [];
  const oneThread = async (steps: readonly Step[], { small, chainRecords, fresh }: Layout): Promise<void> => {
    const limits = { chainRecords, ...(small ? SMALL : {}) };
    const options = {
      table: tableOf(createMemoryTable()),
      blobs: createMemoryBlobs(),
      tenant: tenantId("acme"),
      limits,
      ...more,
    };
    const [ours, theirs] = [oursOf(new FencedSaver(options)), referenceOf(new ReferenceSaver())];
    const touched = new Set<string>();
    for (const step of steps) {
      touched.add(step.thread);
      if (step.kind === "copy thread") touched.add(step.to);
      expect(withoutIds(await apply(ours, step))).toBe(withoutIds(await apply(theirs, step)));
      const { saver, graph } = fresh ? oursOf(new FencedSaver(options)) : ours;
      for (const thread of touched) {
        const expected = await seen(theirs.graph, theirs.saver, thread);
        expect((await seen(graph, saver, thread)).text).toBe(expected.text);
        counts.push(expected.states);
      }
    }
  };
  const steps = fc.array(stepArbitrary, { minLength: 2, maxLength: 7 });
  const compared = (): number => counts.reduce((sum, count) => sum + count, 0);
  for (let round = 0; ; round += 1) {
    if (compared() >= states) return compared();
    const threads = fc.asyncProperty(steps, layout === undefined ? layoutArbitrary : fc.constant(layout), oneThread);
    // What a planted bug comes to need not be made short.
    await fc.assert(threads, { numRuns: 20, seed: seed + round, endOnFailure: bug !== undefined });
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

  it("they would not if the removal of a segment took another along that is still needed (negative control)", async () => {
    const layout: Layout = { small: true, chainRecords: 2, fresh: true };
    const tableOf = (table: Table): Table => ({
      ...table,
      async remove(key, when) {
        if (key.sk.startsWith("S#")) {
          const [next] = (await table.query(key.pk, { from: `${key.sk}$`, to: "S$", limit: 1 })).items;
          if (next) await table.remove(next, "any");
        }
        return table.remove(key, when);
      },
    });
    await expect(compare(20_000, 20_260_101, { tableOf, layout })).rejects.toThrow(/Property failed/);
  });
});
