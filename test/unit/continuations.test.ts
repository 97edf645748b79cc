/** What becomes of decisions when the run that carries them on sleeps, is cancelled or fails. LangGraph executes it. */
import { Annotation, END, START, StateGraph, interrupt } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { handedTo } from "../../src/core/hold.ts";
import type { Hold, HoldAnswer } from "../../src/core/hold.ts";
import { runId, threadId } from "../../src/core/ids.ts";
import { untouchedEnd } from "../../src/core/run.ts";
import type { Run } from "../../src/core/run.ts";
import { review } from "../../src/graph/review.ts";
import { registeredGraph } from "../../src/langgraph/registry.ts";
import type { Engine } from "../../src/runtime/engine.ts";
import { followUp } from "../../src/runtime/decisions/follow-up.ts";
import { langGraphEngine } from "../../src/runtime/engine.ts";
import { moveOn } from "../../src/runtime/worker/sweep.ts";
import type { MemoryTable } from "../support/memory-table.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { until } from "./runtime-pass.ts";

const BOB = { ...ALICE, subject: "bob" };
const DELAY_MS = 600_000;
const APPROVE = { type: "approve" } as const;

const State = Annotation.Root({ said: Annotation<string>() });
type Text = typeof State.State;

/** Asks, then pays; the far side is away, and it is tried again after ten minutes. New input only says something. */
const desk = new StateGraph(State)
  .addNode("ask", async ({ said }: Text, config) => {
    if (said === "hello") return {};
    await review(config, { title: "Refund", action: "refund", args: { amount: 7 } });
    return {};
  })
  .addNode(
    "pay",
    ({ said }: Text) => {
      if (said !== "hello") throw new Error("the far side is away");
      return {};
    },
    { retryPolicy: { initialInterval: DELAY_MS, maxInterval: DELAY_MS, maxAttempts: 5, jitter: false } },
  )
  .addEdge(START, "ask")
  .addEdge("ask", "pay")
  .addEdge("pay", END)
  .compile();

/** Asks, and says what it was answered. */
const plain = new StateGraph(State)
  .addNode("ask", () => ({ said: String(interrupt("well?")) }))
  .addEdge(START, "ask")
  .addEdge("ask", END)
  .compile();

const kitOf = (adapt?: (table: MemoryTable) => MemoryTable): Kit =>
  createKit(adapt, { graphs: { desk: registeredGraph("desk", desk), plain: registeredGraph("plain", plain) } });

const runOf = async (kit: Kit, run: Run) => (await kit.deps.runs.get(run, run.runId))?.value;
const headerOf = async (kit: Kit, run: Run) => (await kit.deps.threads.get(run))?.value;
const reaches = (kit: Kit, run: Run, status: Run["status"]) =>
  until(kit, async () => (await runOf(kit, run))?.status === status, `${run.runId} ${status}`);
const accept = (kit: Kit, graph: string, thread: Run["threadId"], said = "") =>
  kit.runtime.runs.accept(ALICE, { ...inputFor(thread), assistantId: graph, payload: { input: { said } } });
const cancel = (kit: Kit, run: Run) =>
  kit.runtime.runs.cancel(ALICE, { ...run, wait: false, signal: new AbortController().signal });
const holdOf = async (kit: Kit, run: Run): Promise<Hold> => {
  const [hold] = await kit.deps.holds.ofThread(run, 0);
  if (!hold) throw new Error("the run has asked for something");
  return hold.value;
};
const decide = async (kit: Kit, run: Run, answer: HoldAnswer, who = ALICE): Promise<Hold> => {
  const { holdId, digest } = await holdOf(kit, run);
  return kit.runtime.reviews.decide(who, `${run.threadId}.${holdId}`, { answer, digest });
};

/** A run that has stopped and asks; nobody works any more. */
async function asked(kit: Kit, graph: string): Promise<Run> {
  const run = await accept(kit, graph, threadId(kit.deps.ids.uuid()));
  await using worker = kit.worker(langGraphEngine);
  worker.start();
  await reaches(kit, run, "held");
  await until(kit, async () => (await headerOf(kit, run))?.waiting !== undefined);
  return run;
}

/** A run that asked, was approved, and whose continuation sleeps. */
async function asleep(kit: Kit): Promise<{ readonly run: Run; readonly continuation: Run }> {
  const run = await asked(kit, "desk");
  const { decision } = await decide(kit, run, APPROVE);
  const continuation = { ...run, runId: decision?.continuation ?? run.runId };
  return { run, continuation };
}

describe("a sleeping continuation that is cancelled", () => {
  it("is ended by a worker, which settles its decision: the thread waits for nobody, and goes on", async () => {
    const kit = kitOf();
    const { run, continuation } = await asleep(kit);
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    await reaches(kit, continuation, "waiting");
    await until(kit, async () => (await headerOf(kit, run))?.wakeAt !== undefined);
    expect((await headerOf(kit, run))?.waiting).toMatchObject({ reviews: 1 });

    expect(await cancel(kit, continuation)).toMatchObject({ status: "waiting", cancelAsked: { by: "alice" } });
    await reaches(kit, continuation, "cancelled");
    expect(await holdOf(kit, run)).toMatchObject({ state: "applied" });
    await until(kit, async () => (await headerOf(kit, run))?.waiting === undefined);
    const next = await accept(kit, "desk", run.threadId, "hello");
    await reaches(kit, next, "success");
    expect(kit.clock.monotonic()).toBeLessThan(DELAY_MS);
  });

  it("is ended also when who cancelled it died before it could wake it", async () => {
    let isAway = false;
    const kit = kitOf((table) => ({
      ...table,
      put: (item, ...args) =>
        isAway && item.sk === "H" ? new Promise<never>(() => undefined) : table.put(item, ...args),
    }));
    const { run, continuation } = await asleep(kit);
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    await reaches(kit, continuation, "waiting");
    await until(kit, async () => (await headerOf(kit, run))?.wakeAt !== undefined);
    isAway = true;
    void cancel(kit, continuation);
    await until(kit, async () => (await runOf(kit, continuation))?.cancelAsked !== undefined);
    isAway = false;
    await reaches(kit, continuation, "cancelled");
    expect(kit.clock.monotonic()).toBeLessThan(DELAY_MS);
  });

  it("gives its decision back to the reviewers when the graph never heard of it", async () => {
    const kit = kitOf();
    const { run, continuation } = await asleep(kit);
    const graphs = { ...kit.deps.graphs, get: () => undefined };
    await using without = kit.worker(langGraphEngine, { graphs });
    without.start();
    await reaches(kit, continuation, "waiting");
    await until(kit, async () => (await headerOf(kit, run))?.wakeAt !== undefined);
    await cancel(kit, continuation);
    await reaches(kit, continuation, "cancelled");
    const hold = await holdOf(kit, run);
    expect(hold).toMatchObject({ state: "pending", reason: expect.stringContaining("it was cancelled") as string });
    expect((await headerOf(kit, run))?.waiting).toMatchObject({ reviews: 1 });
    expect(await decide(kit, run, APPROVE, BOB)).toMatchObject({ state: "decided", decision: { by: "bob" } });
  });

  it("would leave the thread waiting for what nobody can decide if it ended at once (negative control)", async () => {
    const kit = kitOf();
    const { run, continuation } = await asleep(kit);
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    await reaches(kit, continuation, "waiting");
    await until(kit, async () => (await headerOf(kit, run))?.wakeAt !== undefined);
    const ended = await kit.deps.runs.update(continuation, continuation.runId, (sleeping) => ({
      ...sleeping,
      status: "cancelled",
      end: untouchedEnd(kit.table.now()),
    }));
    if (!ended) throw new Error("it is there");
    await moveOn(kit.deps, ended.value);
    expect((await headerOf(kit, run))?.waiting).toMatchObject({ reviews: 1 });
    await expect(decide(kit, run, APPROVE, BOB)).rejects.toMatchObject({ code: "conflict" });
    await expect(accept(kit, "desk", run.threadId, "hello")).rejects.toMatchObject({ code: "conflict" });
  });
});

describe("a follow-up that is repeated while its continuation runs", () => {
  /** The number of continuations that there are once both the continuation and a second follow-up have come to their ends. */
  async function continuations(spoil: (hold: Hold) => Hold): Promise<number> {
    const kit = kitOf();
    const run = await asked(kit, "plain");
    const { holdId, ...ref } = await holdOf(kit, run);
    const { decision } = await decide(kit, run, { type: "value", value: "yes" });
    const marked = Promise.withResolvers<undefined>();
    const goOn = Promise.withResolvers<undefined>();
    const drive: Engine["drive"] = async (driven) => {
      await goOn.promise;
      return langGraphEngine.drive(driven);
    };
    const holds = {
      ...kit.deps.holds,
      ofThread: async (...args: Parameters<typeof kit.deps.holds.ofThread>) => {
        marked.resolve(undefined);
        await goOn.promise;
        return kit.deps.holds.ofThread(...args);
      },
    };
    await using worker = kit.worker({ ...langGraphEngine, drive }, { holds });
    worker.start();
    await marked.promise;
    await reaches(kit, { ...run, runId: decision?.continuation ?? run.runId }, "running");
    // The header named the continuation, but its decider has not said so yet on the hold.
    await kit.deps.holds.update(ref, holdId, (hold) => {
      const { carriedBy: _, ...uncarried } = hold;
      return spoil({ ...uncarried, followUpDue: true });
    });
    await followUp(kit.deps, ref, holdId);
    goOn.resolve(undefined);
    await until(kit, async () => (await holdOf(kit, run)).state === "applied");
    await until(kit, async () => {
      const header = await headerOf(kit, run);
      return header?.active === undefined && header?.lease === undefined && header?.queue.length === 0;
    });
    const runs = await kit.runtime.runs.list(ALICE, run.threadId);
    return runs.filter(({ kind, status }) => kind === "continuation" && status !== "refused").length;
  }

  it("makes no second one: the first, which was made for this decision, has yet to read it", async () => {
    expect(await continuations((hold) => hold)).toBe(1);
  });

  it("makes another where the hold was given back before: the first may have read its decisions (negative control)", async () => {
    expect(await continuations((hold) => ({ ...hold, handedTo: 1 }))).toBe(2);
  });
});

describe("a follow-up that loses its hold once it has queued a continuation", () => {
  it("leaves it to those who rely on it: another decision may have found it in the queue", async () => {
    let meet: (() => Promise<unknown>) | undefined;
    const kit = kitOf((table) => ({
      ...table,
      async put(item, ...args) {
        const written = await table.put(item, ...args);
        const isQueue = item.sk === "H" && item.attributes["q"] !== undefined;
        const then = isQueue ? meet : undefined;
        if (then) meet = undefined;
        await then?.();
        return written;
      },
    }));
    const run = await asked(kit, "plain");
    const hold = await holdOf(kit, run);
    const other = runId(kit.deps.ids.uuid());
    // Somebody else's run is given the decision right after this one's is in the queue.
    meet = () => kit.deps.holds.update(hold, hold.holdId, (now) => handedTo(now, 9, other));
    const { decision } = await decide(kit, run, { type: "value", value: "yes" });
    expect(meet).toBeUndefined();
    expect(await holdOf(kit, run)).toMatchObject({ carriedBy: other, followUpDue: false });
    const queued = await kit.deps.runs.get(run, decision?.continuation ?? run.runId);
    expect(queued?.value.status).toBe("pending");
    expect((await headerOf(kit, run))?.queue).toMatchObject([{ runId: queued?.value.runId }]);
  });
});

describe("a decision that has come back before it was answered", () => {
  it("is answered as it was made, although somebody else has decided since", async () => {
    let meet: (() => Promise<unknown>) | undefined;
    const isHold = ({ sk }: { readonly sk: string }): boolean => sk.startsWith("A#");
    let isDecided = false;
    const kit = kitOf((table) => ({
      ...table,
      async get(key) {
        const before = isDecided && isHold(key) ? meet : undefined;
        if (before) meet = undefined;
        await before?.();
        return table.get(key);
      },
      async put(item, ...args) {
        const written = await table.put(item, ...args);
        isDecided ||= isHold(item) && JSON.stringify(item.attributes).includes("first");
        return written;
      },
    }));
    const run = await asked(kit, "plain");
    let hasFailed = false;
    const failsOnce: Engine["drive"] = async (driven) => {
      if (hasFailed) return langGraphEngine.drive(driven);
      hasFailed = true;
      return { kind: "failed", error: { name: "Error", message: "it did not get that far" }, parks: false };
    };
    await using worker = kit.worker({ ...langGraphEngine, drive: failsOnce });
    let second: Hold | undefined;
    meet = async () => {
      worker.start();
      await until(kit, async () => (await holdOf(kit, run)).state === "pending");
      second = await decide(kit, run, { type: "value", value: "second" }, BOB);
    };
    const first = await decide(kit, run, { type: "value", value: "first" });
    expect(second).toMatchObject({ decision: { by: "bob", answer: { value: "second" } } });
    expect(first).toMatchObject({ decision: { by: "alice", answer: { value: "first" } } });
    await until(kit, async () => (await holdOf(kit, run)).state === "applied");
    expect(await holdOf(kit, run)).toMatchObject({ decision: { by: "bob" } });
  });
});
