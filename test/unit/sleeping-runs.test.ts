import { describe, expect, it } from "vitest";
import { threadId } from "../../src/core/ids.ts";
import type { Run } from "../../src/core/run.ts";
import { appended, stopping } from "../../src/core/thread-changes.ts";
import type { DriveOutcome } from "../../src/langgraph/drive.ts";
import type { Engine } from "../../src/runtime/engine.ts";
import { createHints } from "../../src/runtime/hints.ts";
import { threadKeys } from "../../src/storage/keys.ts";
import type { MemoryTable } from "../support/memory-table.ts";
import { ALICE, LEASE_MS, createKit, inputFor, looseRun, registryOf } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { pass, until } from "./runtime-pass.ts";
import { startProcess } from "./runtime-process.ts";

const DELAY_MS = 600_000;
const BACKOFF: DriveOutcome = {
  kind: "backoff",
  delayMs: DELAY_MS,
  retries: { task: 1 },
  error: { name: "Error", message: "the model is away" },
};

const aThread = (kit: Kit) => threadId(kit.deps.ids.uuid());
const runOf = async (kit: Kit, run: Run) => (await kit.deps.runs.get(run, run.runId))?.value;
const statusOf = async (kit: Kit, run: Run) => (await runOf(kit, run))?.status;
const headerOf = async (kit: Kit, run: Run) => (await kit.deps.threads.get(run))?.value;
const reaches = (kit: Kit, run: Run, status: Run["status"]) =>
  until(kit, async () => (await statusOf(kit, run)) === status, `${run.runId} ${status}`);
const cancel = (kit: Kit, run: Run) =>
  kit.runtime.runs.cancel(ALICE, { ...run, wait: false, signal: new AbortController().signal });

/** A graph that backs off once, and what it was begun with. */
function backingOff(kit: Kit, times = 1) {
  const begun: { readonly run: Run["runId"]; readonly at: number; readonly retries: object }[] = [];
  const drive: Engine["drive"] = async ({ run, retries }) => {
    begun.push({ run: run.runId, at: kit.clock.monotonic(), retries });
    return begun.length <= times ? BACKOFF : { kind: "done" };
  };
  return { begun, drive };
}

/** Calls `meet` once, when a worker is about to say in the header that its run sleeps. */
function beforeHeaderSleeps(meet: () => Promise<unknown>): (table: MemoryTable) => MemoryTable {
  let hasMet = false;
  return (table) => ({
    ...table,
    async put(item, ...args) {
      if (item.sk === "H" && JSON.stringify(item.attributes).includes("wakeAt") && !hasMet) {
        hasMet = true;
        await meet();
      }
      return table.put(item, ...args);
    },
  });
}

describe("a run that backs off", () => {
  it("frees its worker, is begun again at its time and not before, and knows its attempts", async () => {
    const kit = createKit();
    const { begun, drive } = backingOff(kit);
    const run = await kit.runtime.runs.accept(ALICE, inputFor(aThread(kit)));
    await using worker = kit.worker({ drive });
    worker.start();
    await reaches(kit, run, "waiting");
    await until(kit, () => worker.busy === 0);
    expect((await runOf(kit, run))?.sleep?.reason).toBe("a node is tried again: the model is away");
    await pass(kit, DELAY_MS - 10_000);
    expect(begun).toHaveLength(1);
    await reaches(kit, run, "success");
    expect(begun[1]?.retries).toEqual({ task: 1 });
    expect((begun[1]?.at ?? 0) - (begun[0]?.at ?? 0)).toBeGreaterThanOrEqual(DELAY_MS);
    expect((await headerOf(kit, run))?.strikes).toBeUndefined();
  });

  it("says from its first sleep to its end how often its nodes were tried again", async () => {
    const kit = createKit();
    const { begun, drive } = backingOff(kit);
    const run = await kit.runtime.runs.accept(ALICE, inputFor(aThread(kit)));
    await using worker = kit.worker({
      drive(d) {
        d.retried("pay");
        return drive(d);
      },
    });
    worker.start();
    await reaches(kit, run, "waiting");
    expect((await runOf(kit, run))?.nodeRetries).toEqual({ pay: 1 });
    await reaches(kit, run, "success");
    expect([begun.length, (await runOf(kit, run))?.nodeRetries]).toEqual([2, { pay: 2 }]);
  });

  it("says nothing more once it was cancelled, although a worker was about to begin it again", async () => {
    let marks = 0;
    const kit = createKit((table) => ({
      ...table,
      async put(item, ...args) {
        const isMark = item.sk.startsWith("R#") && item.attributes["s"] === "running";
        if (isMark && ++marks === 2) await cancel(kit, run);
        return table.put(item, ...args);
      },
    }));
    const run = await kit.runtime.runs.accept(ALICE, inputFor(aThread(kit)));
    await using worker = kit.worker(backingOff(kit));
    worker.start();
    await reaches(kit, run, "cancelled");
    await until(kit, async () => (await headerOf(kit, run))?.active === undefined);
    expect(marks).toBe(2);
    expect((await kit.deps.events.read(run, run.generation, 0)).frames).toHaveLength(1);
  });

  it("is waited for until its end", async () => {
    const kit = createKit();
    const run = await kit.runtime.runs.accept(ALICE, inputFor(aThread(kit)));
    await using worker = kit.worker(backingOff(kit));
    worker.start();
    let result: string | undefined;
    const waiting = kit.runtime.runs
      .wait(ALICE, run.threadId, run.runId, new AbortController().signal)
      .then((end) => (result = end.run.status));
    await reaches(kit, run, "waiting");
    await pass(kit, 5000);
    expect(result).toBeUndefined();
    await until(kit, () => result !== undefined);
    expect(await waiting).toBe("success");
  });

  it("keeps those behind it in their order", async () => {
    const kit = createKit();
    const thread = aThread(kit);
    const { begun, drive } = backingOff(kit);
    const runs: Run[] = [];
    for (let i = 0; i < 3; i++) runs.push(await kit.runtime.runs.accept(ALICE, inputFor(thread)));
    await using worker = kit.worker({ drive });
    worker.start();
    const [first, second, third] = runs as [Run, Run, Run];
    await reaches(kit, first, "waiting");
    runs.push(await kit.runtime.runs.accept(ALICE, inputFor(thread)));
    await pass(kit, 30_000);
    expect(begun).toHaveLength(1);
    await until(kit, () => begun.length === 5);
    expect(begun.map(({ run }) => run)).toEqual(
      [first, first, second, third, runs[3] as Run].map(({ runId }) => runId),
    );
  });

  it("is not begun early when its worker died before the header said that it sleeps", async () => {
    const die = (): Promise<never> => {
      process.kill();
      return new Promise(() => undefined);
    };
    const kit = createKit(beforeHeaderSleeps(die));
    const { begun, drive } = backingOff(kit);
    const run = await kit.runtime.runs.accept(ALICE, inputFor(aThread(kit)));
    const process = startProcess(kit, { drive });
    await until(kit, () => begun.length === 1);
    await pass(kit, 1000);
    expect(await headerOf(kit, run)).toMatchObject({ lease: {}, active: {} });
    await using other = kit.worker({ drive });
    other.start();
    await until(kit, async () => (await headerOf(kit, run))?.wakeAt !== undefined, "the sleep in the header");
    await pass(kit, DELAY_MS - 4 * LEASE_MS);
    expect(begun).toHaveLength(1);
    await reaches(kit, run, "success");
    expect(begun[1]?.retries).toEqual({ task: 1 });
  });
});

describe("a run whose graph is not on this worker", () => {
  const elsewhere = { graphs: registryOf({}), hints: createHints() };

  it("sleeps with the reason until a worker that has it comes by", async () => {
    const kit = createKit();
    const run = await kit.runtime.runs.accept(ALICE, inputFor(aThread(kit)));
    await using without = kit.worker({}, elsewhere);
    without.start();
    await reaches(kit, run, "waiting");
    expect((await runOf(kit, run))?.sleep?.reason).toBe("graph g is not registered here");
    await pass(kit, 300_000);
    expect(await runOf(kit, run)).toMatchObject({ status: "waiting", deliveries: 0 });
    await without.drain();
    await using withGraph = kit.worker();
    withGraph.start();
    await reaches(kit, run, "success");
  });

  it("is begun in the version it was accepted with, where that is pinned", async () => {
    const kit = createKit(undefined, { graphs: { g: { pinned: true } } });
    const run = await kit.runtime.runs.accept(ALICE, inputFor(aThread(kit)));
    const graphs = registryOf({ g: { pinned: true, version: "2" } });
    await using later = kit.worker({}, { graphs, hints: createHints() });
    later.start();
    await reaches(kit, run, "waiting");
    expect((await runOf(kit, run))?.sleep?.reason).toContain("is pinned, and its version 1");
    await using same = kit.worker();
    same.start();
    await reaches(kit, run, "success");
  });

  it("is begun in the version that is there, where that is not pinned, and says which it was", async () => {
    const kit = createKit();
    const run = await kit.runtime.runs.accept(ALICE, inputFor(aThread(kit)));
    expect(run.graphVersion).toBe("1");
    await using other = kit.worker({}, { graphs: registryOf({ g: { version: "2" } }), hints: createHints() });
    other.start();
    await reaches(kit, run, "success");
    expect((await runOf(kit, run))?.graphVersion).toBe("2");
  });

  it("ends when it has waited long enough, although each worker gives another reason", async () => {
    const kit = createKit(undefined, { graphs: { g: { pinned: true } }, limits: { graphWaitMs: 600_000 } });
    const run = await kit.runtime.runs.accept(ALICE, inputFor(aThread(kit)));
    const one = kit.worker({}, elsewhere);
    one.start();
    await pass(kit, 400_000);
    await one.drain();
    expect((await runOf(kit, run))?.sleep?.reason).toBe("graph g is not registered here");
    const graphs = registryOf({ g: { pinned: true, version: "2" } });
    await using two = kit.worker({}, { graphs, hints: createHints() });
    two.start();
    await reaches(kit, run, "error");
    expect((await runOf(kit, run))?.error).toMatchObject({ name: "graph_unavailable" });
    expect(kit.clock.monotonic()).toBeLessThan(720_000);
  });

  it("has not waited for it while it slept for another reason, or executed", async () => {
    const kit = createKit(undefined, { limits: { graphWaitMs: 300_000 } });
    const run = await kit.runtime.runs.accept(ALICE, inputFor(aThread(kit)));
    const { drive } = backingOff(kit);
    const has = kit.worker({ drive });
    has.start();
    await reaches(kit, run, "waiting");
    await has.drain();
    await pass(kit, DELAY_MS);
    await using without = kit.worker({}, elsewhere);
    without.start();
    await until(kit, async () => (await runOf(kit, run))?.sleep?.kind === "graph");
    await pass(kit, 60_000);
    expect(await statusOf(kit, run)).toBe("waiting");
  });
});

describe("a sleeping run that is cancelled", () => {
  it("ends at once, and who waits behind it begins", async () => {
    const kit = createKit();
    const { begun, drive } = backingOff(kit);
    const first = await kit.runtime.runs.accept(ALICE, inputFor(aThread(kit)));
    await using worker = kit.worker({ drive });
    worker.start();
    await reaches(kit, first, "waiting");
    const second = await kit.runtime.runs.accept(ALICE, inputFor(first.threadId));
    expect(await cancel(kit, first)).toMatchObject({ status: "cancelled" });
    await reaches(kit, second, "success");
    expect(kit.clock.monotonic()).toBeLessThan(DELAY_MS);
    expect(begun.map(({ run }) => run)).toEqual([first.runId, second.runId]);
  });

  it("is moved past by a worker when who cancelled it died", async () => {
    let isAway = false;
    const kit = createKit((table) => ({
      ...table,
      put: (item, ...args) =>
        isAway && item.sk === "H" ? new Promise<never>(() => undefined) : table.put(item, ...args),
    }));
    const first = await kit.runtime.runs.accept(ALICE, inputFor(aThread(kit)));
    await using worker = kit.worker(backingOff(kit));
    worker.start();
    await reaches(kit, first, "waiting");
    await until(kit, async () => (await headerOf(kit, first))?.wakeAt !== undefined);
    const second = await kit.runtime.runs.accept(ALICE, inputFor(first.threadId));
    isAway = true;
    void cancel(kit, first);
    await until(kit, async () => (await statusOf(kit, first)) === "cancelled");
    isAway = false;
    await reaches(kit, second, "success");
    expect(kit.clock.monotonic()).toBeLessThan(DELAY_MS);
    await until(kit, async () => (await runOf(kit, first))?.followUpAt === undefined, "the end of its follow-up");
  });

  it("before the header says that it sleeps does not send the next one to sleep", async () => {
    const kit = createKit(beforeHeaderSleeps(() => cancel(kit, first)));
    const first = await kit.runtime.runs.accept(ALICE, inputFor(aThread(kit)));
    const second = await kit.runtime.runs.accept(ALICE, inputFor(first.threadId));
    await using worker = kit.worker(backingOff(kit));
    worker.start();
    await reaches(kit, second, "success");
    expect(kit.clock.monotonic()).toBeLessThan(DELAY_MS);
    expect(await statusOf(kit, first)).toBe("cancelled");
  });

  it("by a later run whose client died before it could tell it gives its place up at once", async () => {
    const kit: Kit = createKit(beforeHeaderSleeps(intendToStop));
    const first = await kit.runtime.runs.accept(ALICE, inputFor(aThread(kit)));
    const later = looseRun(kit, { threadId: first.threadId });
    async function intendToStop(): Promise<void> {
      await kit.deps.runs.create(later);
      const entry = { ...later, kind: "input", graphId: "g" } as const;
      const { runId, kind, pool, graphId } = entry;
      await kit.deps.threads.update(first, (thread) =>
        appended(stopping(thread, "interrupt"), { runId, kind, pool, graphId }, kit.table.now()),
      );
    }
    await using worker = kit.worker(backingOff(kit));
    worker.start();
    await reaches(kit, later, "success");
    expect(kit.clock.monotonic()).toBeLessThan(DELAY_MS);
    expect(await runOf(kit, first)).toMatchObject({ status: "cancelled", cancelAsked: { by: "a later run" } });
  });
});

describe("a run on a thread that a later version wrote", () => {
  it("that is to be rolled back is looked at now and then, and not all the time", async () => {
    const kit = createKit();
    const key = threadKeys.log({ tenant: ALICE.tenant, threadId: aThread(kit) }, 0, "", 1);
    const thread = threadId(key.pk.split("#")[2] ?? "");
    await kit.table.put({ ...key, attributes: { v: 99, k: "z", f: 0 } }, "any");
    const run = await kit.runtime.runs.accept(ALICE, inputFor(thread));
    await using worker = kit.worker();
    worker.start();
    await reaches(kit, run, "waiting");
    const signal = new AbortController().signal;
    await kit.runtime.runs.cancel(ALICE, { ...run, wait: false, action: "rollback", signal });
    const before = (await headerOf(kit, run))?.fence ?? 0;
    await pass(kit, 60_000);
    const after = (await headerOf(kit, run))?.fence ?? 0;
    expect(after - before).toBeGreaterThan(1);
    expect(after - before).toBeLessThan(40);
    await kit.table.remove(key, "any");
    await reaches(kit, run, "cancelled");
  });
});
