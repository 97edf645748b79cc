/** What a thread has room for, and what happens to a run, and to a decision, that finds none. */
import { describe, expect, it } from "vitest";
import { runId, tenantId, threadId } from "../../src/core/ids.ts";
import { MAX_QUEUE } from "../../src/core/limits.ts";
import { reasonNoRoom } from "../../src/core/queue-room.ts";
import type { Run } from "../../src/core/run.ts";
import { appended, claimed } from "../../src/core/thread-changes.ts";
import { newThread } from "../../src/core/thread.ts";
import type { QueueEntry } from "../../src/core/thread.ts";
import type { DriveOutcome } from "../../src/langgraph/drive.ts";
import { sweepRun } from "../../src/runtime/worker/sweep.ts";
import { itemBytes } from "../../src/storage/item-size.ts";
import { threadKeys } from "../../src/storage/keys.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { pass, until } from "./runtime-pass.ts";

const ID = "0190a1b2-0000-7000-8000-000000000001";
/** As long as names may be, and one graph more than a header has room for. */
const GRAPHS = Array.from({ length: 9 }, (_, i) => `${"g".repeat(63)}${i}`);
const POOL = "p".repeat(32);
const OWNER = `${"h".repeat(64)}/${ID}/4026531836/1234567/9876543210/0123456789abcdef`;
const BOB = { ...ALICE, tenant: tenantId(ID) };
const kitWithGraphs = (limits = {}): Kit =>
  createKit(undefined, {
    graphs: Object.fromEntries(GRAPHS.map((id) => [id, { pool: POOL }])),
    settings: { pool: POOL, owner: OWNER },
    limits,
  });

const aThread = (kit: Kit) => threadId(kit.deps.ids.uuid());
const on = (thread: Run["threadId"], n: number) => ({ ...inputFor(thread), assistantId: GRAPHS[n] ?? "" });
const acceptOn = (kit: Kit, thread: Run["threadId"], n: number) => kit.runtime.runs.accept(BOB, on(thread, n));
const interruptId = (n: number): string => String(n).padStart(32, "0");
/** Answers interrupt `n` with a run of its own. */
const resume = (kit: Kit, thread: Run["threadId"], n: number) =>
  kit.runtime.runs.accept(BOB, { ...on(thread, 0), payload: { command: { resume: { [interruptId(n)]: "yes" } } } });
const runsOf = (kit: Kit, thread: Run["threadId"]) => kit.deps.runs.list({ tenant: BOB.tenant, threadId: thread }, 0);
const headerOf = async (kit: Kit, thread: Run["threadId"]) =>
  (await kit.deps.threads.get({ tenant: BOB.tenant, threadId: thread }))?.value;

const asks = (...ids: readonly number[]): DriveOutcome => ({
  kind: "interrupted",
  interrupts: ids.map((n) => {
    const id = interruptId(n);
    return {
      id,
      value: { question: "go on?" },
      node: "ask",
      raisedBy: { id, ns: "", checkpointId: "c", taskId: `t${n}`, ordinal: 0 },
    };
  }),
});

/** A thread whose only run, of graph `n`, has stopped and asks. */
async function asked(kit: Kit, n: number, outcome: DriveOutcome, thread = aThread(kit)): Promise<Run["threadId"]> {
  const run = await acceptOn(kit, thread, n);
  await using worker = kit.worker({ drive: async () => outcome });
  worker.start();
  await until(kit, async () => (await headerOf(kit, thread))?.waiting !== undefined);
  expect((await kit.deps.runs.get(run, run.runId))?.value.status).toBe("held");
  return thread;
}

/** Decides the first hold of the only thread. */
async function decideFirst(kit: Kit, thread: Run["threadId"]) {
  const [hold] = (await kit.runtime.reviews.list(BOB, { state: "open", limit: 1 })).items;
  if (!hold) throw new Error("a hold waits");
  const decision = { answer: { type: "value", value: "yes" }, digest: hold.digest } as const;
  return kit.runtime.reviews.decide(BOB, `${thread}.${hold.holdId}`, decision);
}

const sizeOf = async (kit: Kit, thread: Run["threadId"]): Promise<number> => {
  const item = await kit.table.get(threadKeys.header({ tenant: BOB.tenant, threadId: thread }));
  return item ? itemBytes(item) : 0;
};

describe("the queue of a thread", () => {
  it("has room for runs of seven graphs; what comes with an eighth is refused, and says which limit it met", async () => {
    const kit = kitWithGraphs();
    const thread = aThread(kit);
    for (let n = 0; n < 7; n++) await acceptOn(kit, thread, n);
    await acceptOn(kit, thread, 3);
    await expect(acceptOn(kit, thread, 7)).rejects.toMatchObject({
      code: "limit",
      message: expect.stringContaining("limit: graphs in the queue of one thread, 7") as string,
      detail: { limit: "graphs in the queue of one thread", value: 7 },
      retryAfterMs: expect.any(Number) as number,
    });
    expect((await headerOf(kit, thread))?.queue).toHaveLength(8);
    const others = (await runsOf(kit, thread)).filter(({ status }) => status !== "pending");
    expect(others.map(({ status }) => status)).toEqual([]);
  });

  it("leaves what found no room refused, and no pending run for the sweep", async () => {
    const kit = kitWithGraphs();
    const thread = aThread(kit);
    for (let n = 0; n < 7; n++) await acceptOn(kit, thread, n);
    const request = { ...on(thread, 7), idempotency: { key: "k", bodyHash: "h" } };
    const first = await kit.runtime.runs.accept(BOB, request).catch((error: unknown) => error);
    expect(first).toMatchObject({ code: "limit" });
    const items = kit.table.dump().filter(({ sk }) => sk.startsWith("R#"));
    expect(items.filter(({ attributes }) => attributes["s"] === "refused")).toHaveLength(1);
    expect(items.filter(({ attributes }) => attributes["s"] === "pending")).toHaveLength(7);
    // A repeat under the same key hears the same.
    await expect(kit.runtime.runs.accept(BOB, request)).rejects.toMatchObject({ code: "limit" });
  });

  it("lets a run that begins later wait until there is room for its graph", async () => {
    const kit = kitWithGraphs();
    const thread = aThread(kit);
    const later = await kit.runtime.runs.accept(BOB, { ...on(thread, 7), afterMs: 60_000 });
    let isHeldUp = true;
    await using worker = kit.worker({
      drive: async ({ run, signal }) => {
        if (run.graphId === GRAPHS[0]) await until(kit, () => !isHeldUp || signal.aborted);
        return { kind: "done" };
      },
    });
    for (let n = 0; n < 7; n++) await acceptOn(kit, thread, n);
    worker.start();
    await pass(kit, 65_000);
    expect((await headerOf(kit, thread))?.queue.some(({ runId: id }) => id === later.runId)).toBe(false);
    isHeldUp = false;
    await until(kit, async () => (await kit.deps.runs.get(later, later.runId))?.value.status === "success");
  });

  it("lets a run that begins later wait where it is as full as it was set to be", async () => {
    const kit = kitWithGraphs({ queuePerThread: 2 });
    const thread = await asked(kit, 0, asks(1));
    const later = await kit.runtime.runs.accept(BOB, { ...on(thread, 0), afterMs: 1000 });
    for (let n = 0; n < 2; n++) await acceptOn(kit, thread, 0);
    kit.clock.advance(2000);
    await sweepRun(kit.deps, later, later.runId);
    expect((await headerOf(kit, thread))?.queue).toHaveLength(2);
    expect((await kit.deps.runs.get(later, later.runId))?.value.followUpAt).toBeGreaterThan(kit.table.now());
  });

  it("always takes the continuation of a decision, and stays within 4 KB with it, however long the names", async () => {
    const kit = kitWithGraphs();
    const thread = aThread(kit);
    // With what its first run adds, as much as is kept inline.
    await kit.runtime.threads.create(BOB, { threadId: thread, metadata: { note: "m".repeat(16) }, ifExists: "raise" });
    await asked(kit, 7, asks(1), thread);
    expect((await headerOf(kit, thread))?.metadata.kind).toBe("inline");
    for (let n = 0; n < MAX_QUEUE; n++) await acceptOn(kit, thread, n % 7);
    await expect(acceptOn(kit, thread, 0)).rejects.toMatchObject({ detail: { setting: "HOLDPOINT_MAX_QUEUE" } });

    const decided = await decideFirst(kit, thread);
    const after = await headerOf(kit, thread);
    expect(decided.followUpDue).toBe(false);
    expect(after?.queue).toHaveLength(MAX_QUEUE + 1);
    expect(after?.queue.filter(({ kind }) => kind === "continuation")).toHaveLength(1);
    expect(new Set(after?.queue.map(({ graphId }) => graphId)).size).toBe(8);
    const sizes = [await sizeOf(kit, thread)];
    await using worker = kit.worker({
      drive: async ({ run }) => {
        sizes.push(await sizeOf(kit, run.threadId));
        return { kind: "done" };
      },
    });
    worker.start();
    await until(kit, async () => ((await headerOf(kit, thread))?.queue.length ?? 0) < MAX_QUEUE - 2);
    expect(sizes.length).toBeGreaterThan(3);
    expect(Math.max(...sizes)).toBeGreaterThan(3500);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(4096);
  });

  it("gives the kept place to one answer: the next one with a run of its own is refused, and has decided nothing", async () => {
    const kit = kitWithGraphs({ queuePerThread: 1 });
    const thread = await asked(kit, 0, asks(1, 2));
    await acceptOn(kit, thread, 1);
    await expect(acceptOn(kit, thread, 0)).rejects.toMatchObject({ code: "limit" });
    await resume(kit, thread, 1);
    expect((await headerOf(kit, thread))?.queue.map(({ kind }) => kind)).toEqual(["input", "continuation"]);
    await expect(resume(kit, thread, 2)).rejects.toMatchObject({ code: "limit" });
    expect((await kit.runtime.reviews.list(BOB, { state: "open", limit: 9 })).items).toHaveLength(1);
    // It needs no run of its own: the one that is queued carries it on.
    expect(await decideFirst(kit, thread)).toMatchObject({ state: "decided", followUpDue: false });
  });

  describe("whose runs were cancelled in it", () => {
    const cancel = (kit: Kit, run: Run) =>
      kit.runtime.runs.cancel(BOB, { ...run, wait: false, signal: new AbortController().signal });
    const queueOf = async (kit: Kit, thread: Run["threadId"]) =>
      (await headerOf(kit, thread))?.queue.map(({ runId: id }) => id);

    /** An hour-long run, and behind it two that are cancelled and take every place. */
    async function full(kit: Kit): Promise<Run["threadId"]> {
      const thread = aThread(kit);
      const long = await acceptOn(kit, thread, 0);
      await kit.deps.threads.update(long, (header) =>
        claimed(header, { owner: "somebody", leaseMs: 3_600_000, now: kit.table.now() }),
      );
      const behind = [await acceptOn(kit, thread, 1), await acceptOn(kit, thread, 2)];
      await expect(acceptOn(kit, thread, 0)).rejects.toMatchObject({ code: "limit" });
      for (const run of behind) await cancel(kit, run);
      return thread;
    }

    it("has room for as many others", async () => {
      const kit = kitWithGraphs({ queuePerThread: 2 });
      const thread = await full(kit);
      const next = [await acceptOn(kit, thread, 3), await acceptOn(kit, thread, 4)];
      expect(await queueOf(kit, thread)).toEqual(next.map((run) => run.runId));
      await expect(acceptOn(kit, thread, 0)).rejects.toMatchObject({ code: "limit" });
      expect(await queueOf(kit, thread)).toEqual(next.map((run) => run.runId));
    });

    it("has room for one that begins later, when it is accepted and at its time", async () => {
      const kit = kitWithGraphs({ queuePerThread: 2 });
      const thread = await full(kit);
      const later = await kit.runtime.runs.accept(BOB, { ...on(thread, 5), afterMs: 1000 });
      expect(await queueOf(kit, thread)).toEqual([]);
      for (const n of [1, 2]) await cancel(kit, await acceptOn(kit, thread, n));
      kit.clock.advance(2000);
      await sweepRun(kit.deps, later, later.runId);
      expect(await queueOf(kit, thread)).toEqual([later.runId]);
    });

    it("has room for an answer with a run of its own", async () => {
      const kit = kitWithGraphs({ queuePerThread: 2 });
      const thread = await asked(kit, 0, asks(1, 2));
      const waiting = await acceptOn(kit, thread, 1);
      await resume(kit, thread, 1);
      await expect(resume(kit, thread, 2)).rejects.toMatchObject({ code: "limit" });
      await cancel(kit, waiting);
      await resume(kit, thread, 2);
      expect((await headerOf(kit, thread))?.queue.map(({ kind }) => kind)).toEqual(["continuation", "continuation"]);
    });

    it("keeps the place of one that it cannot read", async () => {
      const kit = kitWithGraphs({ queuePerThread: 2 });
      const thread = await full(kit);
      const ref = { tenant: BOB.tenant, threadId: thread };
      const first = (await kit.deps.threads.get(ref))?.value.queue[0];
      const item = first && (await kit.table.get(threadKeys.run(ref, first.runId)));
      if (!first || !item) throw new Error("it is queued");
      await kit.table.put({ ...item, attributes: { ...item.attributes, v: 99 } }, "any");
      const next = await acceptOn(kit, thread, 3);
      expect(await queueOf(kit, thread)).toEqual([first.runId, next.runId]);
    });
  });

  it("would lose the way of a decision if input could take every graph's place (negative control)", async () => {
    const kit = kitWithGraphs();
    const thread = await asked(kit, 8, asks(1));
    const entry = (n: number): QueueEntry => ({
      runId: runId(kit.deps.ids.uuid()),
      kind: "input",
      pool: POOL,
      graphId: GRAPHS[n] ?? "",
    });
    const ref = { tenant: BOB.tenant, threadId: thread };
    await kit.deps.threads.update(ref, (header) =>
      [0, 1, 2, 3, 4, 5, 6, 7].reduce((before, n) => appended(before, entry(n), kit.table.now()), header),
    );
    expect(await decideFirst(kit, thread)).toMatchObject({ state: "decided", followUpDue: true });
    expect(kit.lines.some(({ message }) => message === "a follow-up of a hold is left to a worker")).toBe(true);
  });
});

describe("the room in a header", () => {
  const thread = newThread({ tenant: BOB.tenant, threadId: threadId(ID) }, { kind: "inline", value: {} }, 0);
  const entry = (kind: QueueEntry["kind"], graphId: string): QueueEntry => ({
    runId: runId(ID),
    kind,
    pool: "default",
    graphId,
  });
  const seven = ["a", "b", "c", "d", "e", "f", "g"].map((graphId) => entry("input", graphId));
  const limitOf = (queue: readonly QueueEntry[], active: QueueEntry | undefined, next: QueueEntry) =>
    reasonNoRoom({ ...thread, queue, ...(active ? { active: { kind: "run", entry: active } } : {}) }, next, 100)?.code;

  it("counts the graph of the run that is executed", () => {
    expect(limitOf(seven.slice(1), seven[0], entry("input", "h"))).toBe("limit");
    expect(limitOf(seven.slice(2), seven[0], entry("input", "h"))).toBeUndefined();
  });

  it("lets input of a queued graph in while a continuation of an eighth is executed, but not of that eighth", () => {
    const executed = entry("continuation", "h");
    expect(limitOf(seven, executed, entry("input", "a"))).toBeUndefined();
    expect(limitOf(seven, executed, entry("input", "h"))).toBe("limit");
    expect(limitOf(seven, executed, entry("continuation", "h"))).toBeUndefined();
  });

  it("has no ninth graph for anybody", () => {
    expect(limitOf(seven, entry("continuation", "h"), entry("continuation", "i"))).toBe("limit");
    expect(limitOf(seven.slice(1), entry("continuation", "h"), entry("continuation", "i"))).toBeUndefined();
  });
});
