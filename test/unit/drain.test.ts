/** What becomes of running graphs, and of their leases, when a worker is asked to stop. */
import { describe, expect, it } from "vitest";
import { threadId } from "../../src/core/ids.ts";
import type { Run } from "../../src/core/run.ts";
import type { Drive, DriveOutcome } from "../../src/langgraph/drive.ts";
import { createRuntime } from "../../src/runtime/create.ts";
import { createHints } from "../../src/runtime/hints.ts";
import { ALICE, LEASE_MS, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { pass, until } from "./runtime-pass.ts";
import { startProcess } from "./runtime-process.ts";

const runOf = async (kit: Kit, run: Run) => (await kit.deps.runs.get(run, run.runId))?.value;
const headerOf = async (kit: Kit, run: Run) => (await kit.deps.threads.get(run))?.value;
const accept = (kit: Kit) => kit.runtime.runs.accept(ALICE, inputFor(threadId(kit.deps.ids.uuid())));
const reaches = (kit: Kit, run: Run, status: Run["status"]) =>
  until(kit, async () => (await runOf(kit, run))?.status === status, status);

/** It never comes to a superstep's end, and stops when it is aborted. */
const longStep = ({ signal }: Drive): Promise<DriveOutcome> =>
  new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve({ kind: "aborted" }), { once: true });
  });

describe("a worker that drains", () => {
  it("keeps the leases of what still runs, aborts it after 75 seconds, and leaves it without a strike", async () => {
    const kit = createKit();
    const run = await accept(kit);
    await using worker = kit.worker({ drive: longStep });
    worker.start();
    await reaches(kit, run, "running");
    const drained = worker.drain();
    const before = (await headerOf(kit, run))?.lease;
    await pass(kit, 74_000);
    const header = await headerOf(kit, run);
    expect(header?.lease?.owner).toBe(before?.owner);
    expect(header?.lease?.beat).toBeGreaterThan(before?.beat ?? 0);
    expect(worker.busy).toBe(1);
    await pass(kit, 2_000);
    await drained;
    const after = await headerOf(kit, run);
    expect(after).toMatchObject({ fence: 1, active: { kind: "run" } });
    expect(after?.lease).toBeUndefined();
    expect(after?.strikes).toBeUndefined();
  });

  it("leaves to others at once what stops at its next superstep", async () => {
    const kit = createKit();
    const run = await accept(kit);
    const stops = ({ drain }: Drive): Promise<DriveOutcome> =>
      new Promise((resolve) => {
        drain.addEventListener("abort", () => resolve({ kind: "drained" }), { once: true });
      });
    await using worker = kit.worker({ drive: stops });
    worker.start();
    await reaches(kit, run, "running");
    const { worker: other } = startProcess(kit, { drive: async () => ({ kind: "done" }) });
    await using _ = other;
    const at = kit.clock.monotonic();
    void worker.drain();
    await reaches(kit, run, "success");
    expect(kit.clock.monotonic() - at).toBeLessThan(LEASE_MS / 3);
    expect((await runOf(kit, run))?.deliveries).toBe(2);
  });

  it("leaves what it had to abort to others at once, who count no strike", async () => {
    const kit = createKit();
    const run = await accept(kit);
    await using worker = kit.worker({ drive: longStep });
    worker.start();
    await reaches(kit, run, "running");
    const drained = worker.drain();
    await pass(kit, 70_000);
    await using other = startProcess(kit, { drive: async () => ({ kind: "done" }) }).worker;
    expect(other.busy).toBe(0);
    expect((await runOf(kit, run))?.deliveries).toBe(1);
    const at = kit.clock.monotonic();
    await reaches(kit, run, "success");
    await drained;
    expect(kit.clock.monotonic() - at).toBeLessThan(5000 + LEASE_MS / 3);
    expect((await runOf(kit, run))?.deliveries).toBe(2);
    expect((await headerOf(kit, run))?.strikes).toBeUndefined();
  });

  it("gives a thread away too soon if its heartbeats end with the picking (negative control)", async () => {
    const kit = createKit();
    const run = await accept(kit);
    const process = startProcess(kit, { drive: longStep });
    await reaches(kit, run, "running");
    process.kill();
    void process.worker.drain();
    await using other = startProcess(kit, { drive: async () => ({ kind: "done" }) }).worker;
    await pass(kit, 2 * LEASE_MS);
    expect(other.busy).toBe(0);
    expect(await runOf(kit, run)).toMatchObject({ status: "success", deliveries: 2 });
  });

  it("begins nothing new", async () => {
    const kit = createKit();
    await using worker = kit.worker();
    worker.start();
    await pass(kit, 1000);
    await worker.drain();
    const run = await accept(kit);
    await pass(kit, 5_000);
    expect(await runOf(kit, run)).toMatchObject({ status: "pending" });
  });
});

describe("a thread with many runs", () => {
  it("is left after ten of them, and gone on with", async () => {
    const kit = createKit();
    const thread = threadId(kit.deps.ids.uuid());
    const runs: Run[] = [];
    for (let n = 0; n < 11; n++) runs.push(await kit.runtime.runs.accept(ALICE, inputFor(thread)));
    const fences: number[] = [];
    await using worker = kit.worker({
      drive: async ({ run }) => {
        fences.push((await headerOf(kit, run))?.fence ?? 0);
        return { kind: "done" };
      },
    });
    worker.start();
    for (const run of runs) await reaches(kit, run, "success");
    expect(fences).toEqual([...Array<number>(10).fill(1), 2]);
  });
});

describe("a thread with long runs", () => {
  it.each([
    ["is left after 30 seconds of them, and gone on with", 16_000, [1, 1, 2]],
    ["is kept for as many as fit into 30 seconds (negative control)", 5000, [1, 1, 1]],
  ])("%s", async (_, ms, expected) => {
    const kit = createKit();
    const thread = threadId(kit.deps.ids.uuid());
    const runs: Run[] = [];
    for (let n = 0; n < 3; n++) runs.push(await kit.runtime.runs.accept(ALICE, inputFor(thread)));
    const fences: number[] = [];
    await using worker = kit.worker({
      drive: async ({ run }) => {
        fences.push((await headerOf(kit, run))?.fence ?? 0);
        await kit.clock.sleep(ms);
        return { kind: "done" };
      },
    });
    worker.start();
    for (const run of runs) await reaches(kit, run, "success");
    expect(fences).toEqual(expected);
  });
});

describe("a run of another pool", () => {
  it("is left alone by workers of this one", async () => {
    const kit = createKit(undefined, { graphs: { far: { pool: "other" } } });
    await using worker = kit.worker();
    worker.start();
    // The worker hears of it, since it is accepted in its own process.
    const run = await kit.runtime.runs.accept(ALICE, {
      ...inputFor(threadId(kit.deps.ids.uuid())),
      assistantId: "far",
    });
    await pass(kit, 2 * LEASE_MS);
    expect(await runOf(kit, run)).toMatchObject({ status: "pending", deliveries: 0 });
    const settings = { ...kit.deps.settings, pool: "other" };
    await using other = startProcess(kit, { drive: async () => ({ kind: "done" }) }, { settings }).worker;
    expect(other).toBeDefined();
    await reaches(kit, run, "success");
  });
});

describe("a cancel", () => {
  it("reaches a run that another process executes within two seconds", async () => {
    const kit = createKit();
    const run = await accept(kit);
    await using worker = startProcess(kit, { drive: longStep }).worker;
    await reaches(kit, run, "running");
    const at = kit.clock.monotonic();
    const elsewhere = createRuntime({ ...kit.deps, hints: createHints() });
    await elsewhere.runs.cancel(ALICE, { ...run, wait: false, signal: new AbortController().signal });
    await reaches(kit, run, "cancelled");
    expect(kit.clock.monotonic() - at).toBeLessThanOrEqual(2000);
    await pass(kit, 250);
    expect(worker.busy).toBe(0);
  });
});
