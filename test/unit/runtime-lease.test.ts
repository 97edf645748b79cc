import { describe, expect, it } from "vitest";
import { ended, untouchedEnd } from "../../src/core/run.ts";
import type { Run } from "../../src/core/run.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import { Lease } from "../../src/runtime/delivery/lease.ts";
import { eventually } from "../support/eventually.ts";
import { ALICE, LEASE_MS, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";

async function claimed(kit: Kit): Promise<{ readonly lease: Lease; readonly run: Run }> {
  const run = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
  const header = await kit.deps.threads.get(run);
  const lease = header && (await Lease.claim(kit.deps, header));
  if (!lease) throw new Error("the thread was not claimed");
  return { lease, run };
}

async function endRun(deps: Deps, run: Run, fence: number): Promise<Run> {
  const outcome = { status: "success", end: untouchedEnd(deps.table.now()) } as const;
  const stored = await deps.runs.update(run, run.runId, (current) => ended(current, fence, outcome));
  if (!stored) throw new Error("the run is gone");
  return stored.value;
}

describe("a lease whose holder was silent for too long", () => {
  it("is lost with a warning that names the run, and for how long", async () => {
    const kit = createKit();
    const { lease, run } = await claimed(kit);
    await using _ = lease;
    // What a blocked event loop looks like: time has passed, and nothing was sent.
    kit.clock.advance(LEASE_MS * 2);
    lease.lose();
    lease.lose();
    const warned = kit.lines.filter(({ level, message }) => level === "warn" && message.startsWith("a lease was lost"));
    expect(warned).toMatchObject([{ fields: { run: run.runId, silentMs: LEASE_MS * 2 } }]);
  });

  it("is not warned of where it was lost for another reason", async () => {
    const kit = createKit();
    const { lease } = await claimed(kit);
    await using _ = lease;
    lease.lose();
    expect(kit.lines.filter(({ level }) => level === "warn")).toEqual([]);
  });
});

describe("moving on from a run that has ended", () => {
  it("goes on with the run of a client that was faster than the worker", async () => {
    const kit = createKit();
    const { lease, run } = await claimed(kit);
    await using _ = lease;
    const past = lease.thread.active;
    const over = await endRun(kit.deps, run, lease.fence);
    const next = await kit.runtime.runs.accept(ALICE, inputFor(run.threadId));
    const moved = await lease.moveOn(past, over);
    expect(moved).toMatchObject({ first: true, thread: { active: { entry: { runId: next.runId } }, queue: [] } });
  });

  it("gives the lease up where that client's run was cancelled and nothing is left", async () => {
    const kit = createKit();
    const { lease, run } = await claimed(kit);
    await using _ = lease;
    const past = lease.thread.active;
    const over = await endRun(kit.deps, run, lease.fence);
    await kit.deps.threads.update(run, ({ active: _active, ...idle }) => idle);
    expect(await lease.moveOn(past, over)).toBeUndefined();
    expect((await kit.deps.threads.get(run))?.value.lease).toBeUndefined();
  });

  it("leaves another run that is active already where it is", async () => {
    const kit = createKit();
    const { lease, run } = await claimed(kit);
    await using _ = lease;
    const next = await kit.runtime.runs.accept(ALICE, inputFor(run.threadId));
    const past = lease.thread.active;
    const over = await endRun(kit.deps, run, lease.fence);
    await kit.runtime.runs.accept(ALICE, inputFor(run.threadId));
    const moved = await lease.moveOn(past, over);
    expect(moved).toMatchObject({ first: false, thread: { active: { entry: { runId: next.runId } } } });
  });
});

describe("a heartbeat", () => {
  it("that failed is tried again before the lease is in doubt", async () => {
    let away = false;
    const kit = createKit((table) => ({
      ...table,
      put: (...args) => (away ? Promise.reject(new Error("away")) : table.put(...args)),
    }));
    const { lease } = await claimed(kit);
    await using _ = lease;
    away = true;
    kit.clock.advance(LEASE_MS / 3);
    await eventually(
      () => kit.lines.some(({ message }) => message === "a heartbeat failed") && kit.clock.sleepers() > 0,
    );
    away = false;
    await eventually(() => {
      kit.clock.advance(LEASE_MS / 60);
      return (lease.thread.lease?.beat ?? 0) > 0;
    });
    expect(lease.lost.aborted).toBe(false);
  });

  it("that fails and then hangs loses the lease with two thirds of it gone, and not later", async () => {
    let away = false;
    let failures = 0;
    const fail = (): Promise<never> =>
      failures++ === 0 ? Promise.reject(new Error("away")) : new Promise<never>(() => undefined);
    const kit = createKit((table) => ({ ...table, put: (...args) => (away ? fail() : table.put(...args)) }));
    const { lease } = await claimed(kit);
    await using _ = lease;
    away = true;
    for (let gone = 0; gone < LEASE_MS * 0.66; gone += LEASE_MS / 100) {
      kit.clock.advance(LEASE_MS / 100);
      await new Promise(setImmediate);
    }
    expect(lease.lost.aborted).toBe(false);
    for (let more = 0; more < 3; more++) {
      kit.clock.advance(LEASE_MS / 100);
      await new Promise(setImmediate);
    }
    expect(lease.lost.aborted).toBe(true);
  });
});
