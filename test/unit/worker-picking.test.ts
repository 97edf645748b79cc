/** What a worker begins, when more is ready than it has slots. */
import { describe, expect, it } from "vitest";
import { tenantId, threadId } from "../../src/core/ids.ts";
import type { Run } from "../../src/core/run.ts";
import type { Drive, DriveOutcome } from "../../src/langgraph/drive.ts";
import { createRuntime } from "../../src/runtime/create.ts";
import { createHints } from "../../src/runtime/hints.ts";
import { Lease } from "../../src/runtime/delivery/lease.ts";
import { ALICE, LEASE_MS, createKit, inputFor, registryOf } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { pass, settle, until } from "./runtime-pass.ts";

const aThread = (kit: Kit) => threadId(kit.deps.ids.uuid());
const as = (tenant: string) => ({ ...ALICE, tenant: tenantId(tenant) });
const accept = (kit: Kit, tenant = "acme", assistantId = "g") =>
  kit.runtime.runs.accept(as(tenant), { ...inputFor(aThread(kit)), assistantId });
const statusOf = async (kit: Kit, run: Run) => (await kit.deps.runs.get(run, run.runId))?.value.status;

async function backlog(kit: Kit, size: number, tenant?: string, graphId?: string): Promise<Run[]> {
  const runs: Run[] = [];
  for (let i = 0; i < size; i++) runs.push(await accept(kit, tenant, graphId));
  return runs;
}

/** A graph whose runs go on until they are let go, and what of it is executed now. */
function gated() {
  const running = new Map<Run, () => void>();
  const begun: Run[] = [];
  const most = { inAll: 0, ofTenant: 0, ofGraph: 0 };
  const drive = ({ run, signal }: Drive): Promise<DriveOutcome> => {
    begun.push(run);
    return new Promise((resolve) => {
      const end = (kind: "done" | "aborted") => (): void => {
        running.delete(run);
        resolve({ kind });
      };
      running.set(run, end("done"));
      signal.addEventListener("abort", end("aborted"), { once: true });
      const all = [...running.keys()];
      most.inAll = Math.max(most.inAll, all.length);
      most.ofTenant = Math.max(most.ofTenant, all.filter(({ tenant }) => tenant === run.tenant).length);
      most.ofGraph = Math.max(most.ofGraph, all.filter(({ graphId }) => graphId === "narrow").length);
    });
  };
  const finish = (which: (run: Run) => boolean = () => true): void => {
    for (const [run, end] of running) if (which(run)) end();
  };
  return { begun, drive, finish, most, running };
}

/** The lease of somebody who died with it. */
async function abandon(kit: Kit, run: Run): Promise<void> {
  const header = await kit.deps.threads.get(run);
  const lease = header && (await Lease.claim(kit.deps, header));
  await lease?.[Symbol.asyncDispose]();
}

describe("a worker that lacks a graph", () => {
  const elsewhere = () => ({ graphs: registryOf({}), hints: createHints() });

  it("leaves its runs to one that has it, however often it comes first", async () => {
    const kit = createKit();
    const { begun, drive, finish } = gated();
    await using poor = kit.worker({ drive: () => Promise.reject(new Error("it has no graph")) }, elsewhere());
    poor.start();
    const runs = await backlog(kit, 3);
    await pass(kit, 500);
    await using able = kit.worker({ drive });
    able.start();
    await until(kit, () => begun.length === 3, "the runs begin");
    finish();
    await until(kit, async () => (await statusOf(kit, runs[2] as Run)) === "success");
    for (const run of runs) expect((await kit.deps.runs.get(run, run.runId))?.value.sleep).toBeUndefined();
  });

  it("says why they wait once nobody has come", async () => {
    const kit = createKit();
    await using poor = kit.worker({ drive: () => Promise.reject(new Error("it has no graph")) }, elsewhere());
    poor.start();
    const run = await accept(kit);
    await pass(kit, 2500);
    expect((await kit.deps.runs.get(run, run.runId))?.value.sleep).toBeUndefined();
    await pass(kit, 2500);
    expect((await kit.deps.runs.get(run, run.runId))?.value.sleep?.reason).toBe("graph g is not registered here");
  });
});

describe("a worker with more work than slots", () => {
  it("executes as many threads as it has slots, and never more", async () => {
    const kit = createKit();
    const { begun, drive, finish, most } = gated();
    await backlog(kit, 30);
    await using worker = kit.worker({ drive });
    worker.start();
    await until(kit, () => {
      finish();
      return begun.length === 30;
    });
    expect(most.inAll).toBe(4);
  });

  /** As DynamoDB does, the table tells of no changes; `looksIn` counts what is asked of the due index. */
  function createWatched() {
    let looks = 0;
    const kit = createKit((table) => ({
      ...table,
      changes: undefined,
      queryIndex: (index, pk, range) => {
        if (index === "due" && range.from !== undefined) looks += 1;
        return table.queryIndex(index, pk, range);
      },
    }));
    const looksIn = async (ms: number): Promise<number> => {
      const before = looks;
      for (let gone = 0; gone < ms; gone += 10) {
        kit.clock.advance(10);
        await settle();
      }
      return looks - before;
    };
    return { kit, looksIn };
  }

  it("hardly looks for more while every slot is taken, and as soon as one is free again", async () => {
    const { kit, looksIn } = createWatched();
    const { begun, drive, finish } = gated();
    await backlog(kit, 3);
    await using worker = kit.worker({ drive }, { hints: createHints() });
    worker.start();
    await until(kit, () => begun.length === 3);
    expect(await looksIn(2000)).toBeGreaterThan(25);
    await backlog(kit, 1);
    await until(kit, () => begun.length === 4);
    expect(await looksIn(2000)).toBeLessThan(8);
    while ((await looksIn(10)) === 0);
    await looksIn(110);
    await backlog(kit, 1);
    finish((run) => run === begun[0]);
    expect(await looksIn(20)).toBe(1);
    expect(begun).toHaveLength(5);
  });

  it("takes what it has seen waiting, without looking again, when a slot becomes free", async () => {
    const { kit, looksIn } = createWatched();
    const { begun, drive, finish } = gated();
    await backlog(kit, 8);
    await using worker = kit.worker({ drive }, { hints: createHints() });
    worker.start();
    await until(kit, () => begun.length === 4);
    while ((await looksIn(10)) === 0);
    await looksIn(110);
    finish((run) => run === begun[0]);
    expect(await looksIn(20)).toBe(0);
    expect(begun).toHaveLength(5);
  });

  it("serves a tenant with little beside one with much", async () => {
    const kit = createKit();
    const { begun, drive, finish } = gated();
    await backlog(kit, 60, "flood");
    await using worker = kit.worker({ drive });
    worker.start();
    await until(kit, () => begun.length === 4);
    await accept(kit, "small");
    await pass(kit, 1000);
    finish();
    await until(kit, () => begun.length > 4);
    expect(begun.slice(4, 6).map(({ tenant }) => String(tenant))).toContain("small");
  });

  it("executes no more of one tenant than it may, and lets others have the rest", async () => {
    const kit = createKit(undefined, { limits: { tenantConcurrency: 2 } });
    const { begun, drive, finish, most } = gated();
    await backlog(kit, 10, "flood");
    await using worker = kit.worker({ drive });
    worker.start();
    await pass(kit, 2000);
    expect(begun).toHaveLength(2);
    await backlog(kit, 2, "small");
    await until(kit, () => begun.length === 4);
    await until(kit, () => {
      finish();
      return begun.length === 12;
    });
    expect(most.ofTenant).toBe(2);
  });

  it("executes no more of one graph than that allows, and others beside it", async () => {
    const kit = createKit(undefined, { graphs: { narrow: { concurrency: 1 } } });
    const { begun, drive, finish, most } = gated();
    await backlog(kit, 6, "acme", "narrow");
    await backlog(kit, 2, "acme");
    await using worker = kit.worker({ drive });
    worker.start();
    await until(kit, () => begun.length === 3);
    expect(begun.map(({ graphId }) => graphId).toSorted()).toEqual(["g", "g", "narrow"]);
    await until(kit, () => {
      finish();
      return begun.length === 8;
    });
    expect(most.ofGraph).toBe(1);
  });

  it("takes the caps of what it is asked in this process as seriously as those of what it finds", async () => {
    const kit = createKit(undefined, { limits: { tenantConcurrency: 1 }, graphs: { narrow: { concurrency: 1 } } });
    const { begun, drive, most } = gated();
    await using worker = kit.worker({ drive });
    worker.start();
    await accept(kit, "acme");
    await accept(kit, "acme");
    await accept(kit, "globex", "narrow");
    await accept(kit, "initech", "narrow");
    await pass(kit, 3000);
    expect(begun).toHaveLength(2);
    expect([most.ofTenant, most.ofGraph]).toEqual([1, 1]);
  });
});

describe("threads of a worker that died", () => {
  it("are all taken over as fast as there are slots, although they are many", async () => {
    const kit = createKit();
    const runs = await backlog(kit, 100);
    for (const run of runs) await abandon(kit, run);
    await using worker = kit.worker();
    worker.start();
    const startedAt = kit.clock.monotonic();
    await until(kit, async () => {
      const statuses = await Promise.all(runs.map((run) => statusOf(kit, run)));
      return statuses.every((status) => status === "success");
    });
    expect(kit.clock.monotonic() - startedAt).toBeLessThan(2 * LEASE_MS);
  });

  it("are taken over although new work keeps every slot busy", async () => {
    const kit = createKit();
    const { begun, drive, finish } = gated();
    const [orphan] = await backlog(kit, 1, "orphan");
    if (!orphan) throw new Error("no run");
    await abandon(kit, orphan);
    await backlog(kit, 400, "flood");
    await using worker = kit.worker({ drive });
    worker.start();
    // One ends in every quarter of a second, and its slot is taken at once.
    await until(kit, () => {
      const [next] = begun.filter((run) => run.tenant === "flood").slice(-4);
      finish((run) => run === next);
      return begun.some(({ runId }) => runId === orphan.runId);
    });
    expect(kit.clock.monotonic()).toBeLessThan(2 * LEASE_MS);
  });

  it("stay within their tenant's cap", async () => {
    const kit = createKit(undefined, { limits: { tenantConcurrency: 2 } });
    const { begun, drive, most } = gated();
    for (const run of await backlog(kit, 4)) await abandon(kit, run);
    await using worker = kit.worker({ drive });
    worker.start();
    await until(kit, () => begun.length >= 2);
    await pass(kit, LEASE_MS);
    expect(most.ofTenant).toBe(2);
  });
});

describe("a run that has ended with its worker before", () => {
  /** Two deliveries of it have ended with their worker. */
  async function suspect(kit: Kit): Promise<Run> {
    const { runs } = createRuntime({ ...kit.deps, hints: createHints() });
    const run = await runs.accept(ALICE, { ...inputFor(aThread(kit)), assistantId: "suspect" });
    await kit.deps.threads.update(run, ({ queue: [entry], ...thread }) =>
      entry
        ? { ...thread, active: { kind: "run", entry }, queue: [], strikes: { count: 2, owner: "gone" } }
        : undefined,
    );
    return run;
  }
  const graphs = { suspect: {} };
  const isSuspect = (run: Run): boolean => run.graphId === "suspect";

  it("is executed alone: not before the others have ended, and nothing begins beside it", async () => {
    const kit = createKit(undefined, { graphs });
    const { begun, drive, finish, running } = gated();
    await backlog(kit, 2);
    await using worker = kit.worker({ drive });
    worker.start();
    await until(kit, () => begun.length === 2);
    await suspect(kit);
    await pass(kit, 2000);
    await backlog(kit, 2);
    await pass(kit, 2000);
    expect(begun).toHaveLength(2);
    finish();
    await until(kit, () => begun.some(isSuspect));
    await pass(kit, 2000);
    expect([...running.keys()].map(isSuspect)).toEqual([true]);
    finish();
    await until(kit, () => begun.length === 5);
  });

  it("is executed beside others where it is none (negative control)", async () => {
    const kit = createKit(undefined, { graphs });
    const { begun, drive } = gated();
    await backlog(kit, 2);
    await using worker = kit.worker({ drive });
    worker.start();
    await until(kit, () => begun.length === 2);
    await accept(kit, "acme", "suspect");
    expect(await until(kit, () => begun.some(isSuspect))).toBe(true);
  });

  it("keeps no slot free once another worker has taken it", async () => {
    const kit = createKit(undefined, { graphs });
    const [busy, idle] = [gated(), gated()];
    await backlog(kit, 1);
    await using one = kit.worker(busy);
    one.start();
    await until(kit, () => busy.begun.length === 1);
    const run = await suspect(kit);
    await pass(kit, 2000);
    await using two = kit.worker(idle, { hints: createHints() });
    two.start();
    await until(kit, () => idle.begun.some(({ runId }) => runId === run.runId));
    await backlog(kit, 2);
    await until(kit, () => busy.begun.length === 3, "the first worker goes on");
    expect(busy.begun.some(isSuspect)).toBe(false);
  });

  it("keeps no slot free once it is gone", async () => {
    const kit = createKit(undefined, { graphs });
    const { begun, drive } = gated();
    await backlog(kit, 1);
    await using worker = kit.worker({ drive });
    worker.start();
    await until(kit, () => begun.length === 1);
    const run = await suspect(kit);
    await pass(kit, 2000);
    await kit.runtime.threads.remove(ALICE, run.threadId);
    await backlog(kit, 2);
    expect(await until(kit, () => begun.length === 3)).toBe(true);
  });

  it("is offered again when its header has changed while it waited for its turn", async () => {
    const kit = createKit(undefined, { graphs });
    const { begun, drive, finish } = gated();
    await backlog(kit, 1);
    await using worker = kit.worker({ drive });
    worker.start();
    await until(kit, () => begun.length === 1);
    const run = await suspect(kit);
    await pass(kit, 2000);
    await kit.runtime.runs.accept(ALICE, { ...inputFor(run.threadId), assistantId: "suspect" });
    finish();
    await until(kit, () => begun.filter(isSuspect).length === 1);
    finish();
    expect(await until(kit, () => begun.filter(isSuspect).length === 2)).toBe(true);
  });

  it("does not keep a worker from draining", async () => {
    const kit = createKit(undefined, { graphs });
    const { begun, drive, finish } = gated();
    await backlog(kit, 1);
    const worker = kit.worker({ drive });
    worker.start();
    await until(kit, () => begun.length === 1);
    const run = await suspect(kit);
    await pass(kit, 2000);
    const drained = worker.drain();
    finish();
    await drained;
    await settle();
    expect(begun.some(isSuspect)).toBe(false);
    await using other = kit.worker();
    other.start();
    await until(kit, async () => (await statusOf(kit, run)) === "success");
  });
});
