/** Timers: the run sleeps, is woken at its time and not before, and goes on as the same run. LangGraph executes it. */
import { Annotation, END, START, Send, StateGraph } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import type { Hold } from "../../src/core/hold.ts";
import { threadId } from "../../src/core/ids.ts";
import type { Run } from "../../src/core/run.ts";
import type { NodeConfig } from "../../src/graph/context.ts";
import { effect } from "../../src/graph/effect.ts";
import { review } from "../../src/graph/review.ts";
import { until as untilTime } from "../../src/graph/until.ts";
import { registeredGraph } from "../../src/langgraph/registry.ts";
import { langGraphEngine } from "../../src/runtime/engine.ts";
import { settleDue } from "../../src/runtime/decisions/expiry.ts";
import type { MemoryTable } from "../support/memory-table.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";
import type { Given, Kit } from "./runtime-kit.ts";
import { pass, until } from "./runtime-pass.ts";
import { startProcess } from "./runtime-process.ts";

const HOUR_MS = 3_600_000;
const State = Annotation.Root({
  in: Annotation<number>(),
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
});
type S = typeof State.State;

/** What happened outside, and how often the nodes were executed. */
interface Outside {
  readonly paid: string[];
  readonly tokens: Set<string>;
  executed: number;
}

/** As one does who heeds tokens: what is asked again is paid once. */
const payInto =
  ({ paid, tokens }: Outside, what: string) =>
  async (token: string): Promise<void> => {
    if (!tokens.has(token)) paid.push(what);
    tokens.add(token);
  };

function graphs(outside: Outside, now: () => number) {
  const nap = async ({ in: ms }: S, config: NodeConfig): Promise<Partial<S>> => {
    outside.executed++;
    await effect(config, { name: "before", policy: "idempotent" }, payInto(outside, "before"));
    // Executed again it would ask for another time: the first one stands.
    await untilTime(config, now() + ms);
    await effect(config, { name: "after", policy: "idempotent" }, payInto(outside, "after"));
    return { log: ["woke"] };
  };
  const ask = async (_: S, config: NodeConfig): Promise<Partial<S>> => ({
    log: [(await review(config, { title: "?", action: "refund", args: {} })).type],
  });
  const naps = new StateGraph(State).addNode("nap", nap).addEdge(START, "nap").addEdge("nap", END);
  const loop = new StateGraph(State)
    .addNode("nap", nap)
    .addEdge(START, "nap")
    .addConditionalEdges("nap", ({ log }) => (log.length < 3 ? "nap" : END));
  const both = new StateGraph(State)
    .addNode("nap", nap)
    .addNode("ask", ask)
    .addEdge(START, "nap")
    .addEdge(START, "ask")
    .addEdge("nap", END)
    .addEdge("ask", END);
  const each = new StateGraph(State)
    .addNode("nap", nap)
    .addConditionalEdges(START, ({ in: ms }) => [1, 2, 3].map((n) => new Send("nap", { in: n * ms })), ["nap"])
    .addEdge("nap", END);
  const all = { naps, loop, both, each };
  return Object.fromEntries(Object.entries(all).map(([id, graph]) => [id, registeredGraph(id, graph.compile())]));
}

function kitOf(adapt?: (table: MemoryTable) => MemoryTable, given: Given = {}): { kit: Kit; outside: Outside } {
  const outside: Outside = { paid: [], tokens: new Set(), executed: 0 };
  const kit: Kit = createKit(adapt, { ...given, graphs: graphs(outside, () => kit.table.now()) });
  return { kit, outside };
}

const runOf = async (kit: Kit, run: Run) => (await kit.deps.runs.get(run, run.runId))?.value;
const reaches = (kit: Kit, run: Run, status: Run["status"]) =>
  until(kit, async () => (await runOf(kit, run))?.status === status, `${run.runId} ${status}`);
const accept = (kit: Kit, graph: string, ms: number, thread = threadId(kit.deps.ids.uuid())) =>
  kit.runtime.runs.accept(ALICE, { ...inputFor(thread), assistantId: graph, payload: { input: { in: ms } } });
const holdsOf = async (kit: Kit, run: Run): Promise<readonly Hold[]> =>
  (await kit.deps.holds.ofThread(run, 0)).map(({ value }) => value);
const logOf = async (kit: Kit, run: Run) => {
  const result = await kit.runtime.runs.wait(ALICE, run.threadId, run.runId, new AbortController().signal);
  return result.kind === "values" ? (result.values as { readonly log: readonly string[] }).log : result;
};
const asleep = (kit: Kit, run: Run) =>
  until(kit, async () => (await kit.deps.threads.get(run))?.value.wakeAt !== undefined, "asleep");

describe("a timer", () => {
  it("lets its run sleep, and the same run goes on at its time, not a moment before and no second after", async () => {
    const { kit, outside } = kitOf();
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    const run = await accept(kit, "naps", 60_000);
    await asleep(kit, run);
    expect(await runOf(kit, run)).toMatchObject({ status: "waiting", sleep: { kind: "hold" } });
    const [hold] = await holdsOf(kit, run);
    expect(hold).toMatchObject({ origin: "timer", state: "pending", digest: "" });
    const at = hold?.times?.settlesAt ?? 0;
    await pass(kit, at - kit.table.now() - 1);
    expect((await holdsOf(kit, run))[0]?.state).toBe("pending");
    await reaches(kit, run, "success");
    const [settled] = await holdsOf(kit, run);
    expect(settled?.state).toBe("applied");
    expect((settled?.decision?.at ?? 0) - at).toBeGreaterThanOrEqual(0);
    expect((settled?.decision?.at ?? 0) - at).toBeLessThanOrEqual(1000);
    expect(outside).toMatchObject({ paid: ["before", "after"], executed: 2 });
    expect(await logOf(kit, run)).toEqual(["woke"]);
    expect((await runOf(kit, run))?.deliveries).toBe(2);
  });

  it("shows its thread as busy and its interrupt as one, and keeps those behind it in their order", async () => {
    const { kit } = kitOf();
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    const run = await accept(kit, "naps", 60_000);
    await asleep(kit, run);
    const state = await kit.runtime.threads.state(ALICE, run.threadId, { subgraphs: false });
    expect(JSON.stringify(state)).toContain('"holdpoint":"timer"');
    const next = await accept(kit, "naps", 0, run.threadId);
    expect(next.status).toBe("pending");
    await reaches(kit, next, "success");
    expect(await logOf(kit, run)).toEqual(["woke"]);
    expect(await logOf(kit, next)).toEqual(["woke", "woke"]);
  });

  it("in a loop and in parallel Sends is each its own", async () => {
    const { kit, outside } = kitOf();
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    const [loop, each] = [await accept(kit, "loop", 60_000), await accept(kit, "each", 60_000)];
    await reaches(kit, loop, "success");
    await reaches(kit, each, "success");
    expect(await logOf(kit, loop)).toEqual(["woke", "woke", "woke"]);
    expect(await logOf(kit, each)).toEqual(["woke", "woke", "woke"]);
    for (const what of ["before", "after"]) expect(outside.paid.filter((one) => one === what)).toHaveLength(6);
    expect((await holdsOf(kit, loop)).map(({ state }) => state)).toEqual(["applied", "applied", "applied"]);
  });

  it("beside a review goes on at its time, while the review waits on", async () => {
    const { kit } = kitOf();
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    const run = await accept(kit, "both", 60_000);
    await reaches(kit, run, "held");
    await until(kit, async () => (await holdsOf(kit, run)).some(({ state }) => state === "applied"), "fired");
    const held = (await holdsOf(kit, run)).find(({ origin }) => origin === "review");
    if (!held) throw new Error("no review waits");
    expect(held.state).toBe("pending");
    const id = `${held.threadId}.${held.holdId}`;
    const decision = { answer: { type: "approve" }, digest: held.digest } as const;
    const answered = await until(kit, () =>
      kit.runtime.reviews.decide(ALICE, id, decision).catch(() => false as const),
    );
    const last = { ...run, runId: answered.decision?.continuation ?? run.runId };
    await reaches(kit, last, "success");
    expect((await logOf(kit, last)) as readonly string[]).toEqual(expect.arrayContaining(["approve", "woke"]));
  });

  it("does not count into the time that its run may take", async () => {
    const { kit } = kitOf(undefined, { limits: { runTimeoutMs: 120_000 } });
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    const run = await accept(kit, "naps", 600_000);
    await reaches(kit, run, "success");
    expect((await runOf(kit, run))?.pausedMs).toBeGreaterThanOrEqual(600_000);
  });

  it("fires once, whoever finds it due and however often", async () => {
    const { kit, outside } = kitOf();
    await using one = kit.worker(langGraphEngine);
    await using other = kit.worker(langGraphEngine, { settings: { ...kit.deps.settings, owner: "test/other" } });
    one.start();
    other.start();
    const run = await accept(kit, "naps", 60_000);
    await asleep(kit, run);
    const [hold] = await holdsOf(kit, run);
    if (!hold) throw new Error("a timer waits");
    expect(await settleDue(kit.deps, run, hold.holdId)).toBe(true);
    expect((await holdsOf(kit, run))[0]?.state).toBe("pending");
    await pass(kit, 59_000);
    await Promise.all(Array.from({ length: 20 }, () => settleDue(kit.deps, run, hold.holdId)));
    await reaches(kit, run, "success");
    expect(outside.paid).toEqual(["before", "after"]);
    const said = kit.lines.filter(({ message }) => message === "the time of a hold has come");
    expect(said).toHaveLength(1);
  });

  it("of a run that is cancelled fires for nobody, and is not found again", async () => {
    const { kit, outside } = kitOf();
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    const run = await accept(kit, "naps", 60_000);
    await asleep(kit, run);
    await kit.runtime.runs.cancel(ALICE, { ...run, wait: false, signal: new AbortController().signal });
    await reaches(kit, run, "cancelled");
    await pass(kit, 70_000);
    expect((await holdsOf(kit, run))[0]?.state).toBe("cancelled");
    expect(outside.paid).toEqual(["before"]);
    const { items } = await kit.table.queryIndex("due", "default#0", { limit: 10 });
    expect(items).toEqual([]);
    const next = await accept(kit, "naps", 0, run.threadId);
    await reaches(kit, next, "success");
  });

  it("is not lost at any crash between its settling and the wake of its run", async () => {
    for (let dies = 1; dies <= 12; dies++) {
      const { kit, outside } = kitOf();
      const first = startProcess(kit, langGraphEngine);
      const run = await accept(kit, "naps", 60_000);
      await asleep(kit, run);
      await pass(kit, 55_000);
      let writes = 0;
      const put = kit.table.put.bind(kit.table);
      Object.assign(kit.table, {
        put: async (...args: Parameters<MemoryTable["put"]>) => {
          const answer = await put(...args);
          if (++writes === dies) first.kill();
          return answer;
        },
      });
      await pass(kit, 8_000);
      const second = startProcess(kit, langGraphEngine);
      await reaches(kit, run, "success");
      expect(outside.paid.toSorted()).toEqual(["after", "before"]);
      first.kill();
      await second.worker.drain();
    }
  });
});

describe("time that passes while nobody works", () => {
  it("is caught up with as soon as somebody does", async () => {
    const { kit } = kitOf();
    const run = await accept(kit, "naps", 60_000);
    {
      await using worker = kit.worker(langGraphEngine);
      worker.start();
      await asleep(kit, run);
    }
    kit.clock.advance(48 * HOUR_MS);
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    await reaches(kit, run, "success");
    expect(await logOf(kit, run)).toEqual(["woke"]);
  });
});
