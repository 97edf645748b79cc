import { describe, expect, it } from "vitest";
import { HoldpointError } from "../../src/core/errors.ts";
import { decided } from "../../src/core/hold.ts";
import type { Hold } from "../../src/core/hold.ts";
import { decisionId, runId, tenantId, threadId } from "../../src/core/ids.ts";
import { ended, marked } from "../../src/core/run.ts";
import type { Run } from "../../src/core/run.ts";
import { Lease } from "../../src/runtime/delivery/lease.ts";
import { FUTURE_PREFIX, LEASE_PREFIX, threadKeys } from "../../src/storage/keys.ts";
import { eventually } from "../support/eventually.ts";
import { ALICE, LEASE_MS, createKit, inputFor, looseRun } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { holdOf } from "../support/hold.ts";

const statusOf = async (kit: Kit, run: Run) => (await kit.deps.runs.get(run, run.runId))?.value.status;

/** Moves time on, little by little, until the probe is true. */
const within = (kit: Kit, probe: () => Promise<boolean>) =>
  eventually(async () => {
    kit.clock.advance(500);
    return probe();
  });

/** A decided hold whose continuation can never be made, since the request of the run that raised it is gone. */
async function poisonHold(kit: Kit): Promise<Hold> {
  const run = looseRun(kit, { threadId: threadId("00000000-0000-7000-8000-000000000000") });
  await kit.runtime.threads.create(ALICE, { threadId: run.threadId, metadata: {}, ifExists: "raise" });
  await kit.deps.runs.create({ ...run, payload: { input: "x".repeat(5000) } });
  await kit.table.remove(threadKeys.runBody(run, run.runId), "any");
  const hold = holdOf({ tenant: run.tenant, threadId: run.threadId, runId: run.runId });
  const decision = {
    id: decisionId("d"),
    by: "bob",
    at: 1,
    answer: { type: "value", value: 1 },
    continuation: runId(kit.deps.ids.uuid()),
  } as const;
  await kit.deps.holds.put(decided(hold, decision), "absent");
  return hold;
}

describe("a worker", () => {
  it("executes what is ready although something else that is due cannot be done", async () => {
    const kit = createKit();
    await poisonHold(kit);
    const run = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
    await using worker = kit.worker();
    worker.start();
    await within(kit, async () => (await statusOf(kit, run)) === "success");
    expect(kit.lines.some(({ message }) => message.startsWith("what is due could not be done"))).toBe(true);
  });

  it("sees the thread of a tenant behind another's hundreds", async () => {
    const kit = createKit();
    for (let i = 0; i < 70; i++) await kit.runtime.runs.accept(ALICE, inputFor(undefined));
    await kit.runtime.runs.accept({ ...ALICE, tenant: tenantId("globex") }, inputFor(undefined));
    const begun: string[] = [];
    const drive = async ({ run }: { readonly run: Run }) => {
      begun.push(run.tenant);
      return { kind: "done" } as const;
    };
    await using worker = kit.worker({ drive });
    worker.start();
    await within(kit, async () => begun.length > 1);
    expect(begun.slice(0, 2).toSorted()).toEqual(["acme", "globex"]);
  });

  it("takes over from a dead one although hundreds of follow-ups are due before", async () => {
    const kit = createKit();
    const run = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
    const header = await kit.deps.threads.get(run);
    const dead = header && (await Lease.claim(kit.deps, header));
    await dead?.[Symbol.asyncDispose]();
    const busy = await kit.runtime.runs.accept(ALICE, { ...inputFor(undefined), assistantId: "g" });
    await kit.deps.threads.update(busy, (thread) => ({
      ...thread,
      active: { kind: "update" },
      lease: { owner: "o", beat: 0, endsAt: kit.table.now() + 1e9 },
    }));
    for (let i = 0; i < 600; i++) await kit.deps.runs.create(looseRun(kit, { threadId: busy.threadId, followUpAt: 1 }));
    await using worker = kit.worker();
    // None of them gets done.
    kit.deps.runs.remove = () => Promise.reject(new HoldpointError("unavailable", "away"));
    worker.start();
    for (let gone = 0; gone < 3 * LEASE_MS; gone += LEASE_MS / 6) {
      kit.clock.advance(LEASE_MS / 6);
      await new Promise((resolve) => {
        setTimeout(resolve, 20);
      });
    }
    expect(await statusOf(kit, run)).toBe("success");
  });

  it("survives that a cancel cannot be read when it is told of one", async () => {
    let away = false;
    const kit = createKit((table) => ({
      ...table,
      batchGet: (keys) => (away ? Promise.reject(new HoldpointError("unavailable", "away")) : table.batchGet(keys)),
    }));
    const rejections: unknown[] = [];
    const onRejection = (error: unknown): void => void rejections.push(error);
    process.on("unhandledRejection", onRejection);
    const run = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
    await using worker = kit.worker({
      drive: ({ signal }) =>
        new Promise((resolve) => signal.addEventListener("abort", () => resolve({ kind: "aborted" }))),
    });
    worker.start();
    await within(kit, async () => (await statusOf(kit, run)) === "running");
    away = true;
    kit.deps.hints.cancelled(run);
    await eventually(() => kit.lines.some(({ message }) => message === "cancels could not be read"));
    await new Promise(setImmediate);
    process.off("unhandledRejection", onRejection);
    expect(rejections).toEqual([]);
  });
});

describe("the thread of a stateless run", () => {
  const endedRun = async (kit: Kit): Promise<Run> => {
    const run = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
    await using worker = kit.worker();
    worker.start();
    await within(kit, async () => (await statusOf(kit, run)) === "success");
    return run;
  };

  it("is deleted a minute after its end by a worker that has nothing else to do", async () => {
    const kit = createKit();
    const run = await endedRun(kit);
    await using worker = kit.worker();
    worker.start();
    await within(kit, async () => (await statusOf(kit, run)) === undefined);
    expect((await kit.deps.threads.get(run))?.value).toMatchObject({ deleted: true });
  });

  it("is kept while somebody goes on with it", async () => {
    const kit = createKit();
    const run = await endedRun(kit);
    const next = await kit.runtime.runs.accept(ALICE, inputFor(run.threadId));
    kit.clock.advance(61_000);
    const drive = () => new Promise<never>(() => undefined);
    const worker = kit.worker({ drive });
    worker.start();
    await eventually(async () => {
      kit.clock.advance(1000);
      return ((await kit.deps.runs.get(run, run.runId))?.value.followUpAt ?? 0) > kit.table.now();
    });
    expect((await kit.deps.threads.get(run))?.value.deleted).toBe(false);
    expect(await statusOf(kit, next)).not.toBeUndefined();
  });

  it("is not confused with one that was created in its place", async () => {
    const kit = createKit();
    const run = await endedRun(kit);
    await kit.deps.threads.update(run, (thread) => ({ ...thread, generation: thread.generation + 1 }));
    await using worker = kit.worker();
    worker.start();
    kit.clock.advance(61_000);
    await within(kit, async () => (await statusOf(kit, run)) === undefined);
    expect((await kit.deps.threads.get(run))?.value.deleted).toBe(false);
  });

  it("answers a repeat of its request with gone rather than to execute it again", async () => {
    const kit = createKit();
    const request = { ...inputFor(undefined), idempotency: { key: "k", bodyHash: "h" } };
    const run = await kit.runtime.runs.accept(ALICE, request);
    await kit.runtime.threads.remove(ALICE, run.threadId);
    await expect(kit.runtime.runs.accept(ALICE, request)).rejects.toMatchObject({ code: "gone" });
    expect((await kit.deps.threads.get(run))?.value.queue).toEqual([]);
  });
});

describe("deleting a thread", () => {
  it("is completed by a worker when who began it died", async () => {
    let calls = Infinity;
    const kit = createKit((table) => ({
      ...table,
      remove: (...args) =>
        calls-- > 0 ? table.remove(...args) : Promise.reject(new HoldpointError("unavailable", "away")),
    }));
    const run = await kit.runtime.runs.accept(ALICE, { ...inputFor(threadId(kit.deps.ids.uuid())) });
    await kit.deps.runs.update(run, run.runId, (current) =>
      marked(current, { fence: 1, firstEvent: 0, graphVersion: "1" }, kit.table.now()),
    );
    await kit.runtime.threads.patch(ALICE, run.threadId, { metadata: { note: "x".repeat(2000) } });
    calls = 0;
    await expect(kit.runtime.threads.remove(ALICE, run.threadId)).rejects.toMatchObject({ code: "unavailable" });
    calls = Infinity;
    await using worker = kit.worker();
    worker.start();
    await within(kit, async () => (await statusOf(kit, run)) === undefined);
    await within(kit, async () => (await kit.deps.threads.get(run))?.value.remnants === undefined);
    const left = kit.table.dump().filter(({ pk }) => pk === threadKeys.partition(run));
    expect(left.map(({ sk, index }) => ({ sk, index: index ?? {} }))).toEqual([{ sk: "H", index: {} }]);
  });
});

describe("waiting for a run", () => {
  it("that ends while the reader sits down needs no second look at the table", async () => {
    const kit = createKit();
    const run = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
    const { runs } = kit.deps;
    const original = { ...runs };
    runs.get = async (...args) => {
      const before = await original.get(...args);
      Object.assign(runs, original);
      const end = { at: kit.table.now(), holds: [], waiting: "unchanged", interrupts: [] } as const;
      await kit.deps.runs.update(run, run.runId, (current) => ended(current, 1, { status: "success", end }));
      return before;
    };
    const result = await kit.runtime.runs.wait(ALICE, run.threadId, run.runId, new AbortController().signal);
    expect(result.run.status).toBe("success");
  });
});

describe("the look for leases", () => {
  /** Rows of the index that a look has read, while so many runs wait that have not begun. */
  async function rowsRead(leaseMs: number, waitedMs: number): Promise<number> {
    let rows = 0;
    const kit = createKit(
      (table) => ({
        ...table,
        async queryIndex(index, pk, range) {
          const page = await table.queryIndex(index, pk, range);
          if (range.prefix === LEASE_PREFIX || range.prefix === FUTURE_PREFIX) rows += page.items.length;
          return page;
        },
      }),
      { settings: { leaseMs, concurrency: 1 } },
    );
    const accept = () => kit.runtime.runs.accept(ALICE, inputFor(threadId(kit.deps.ids.uuid())));
    const first = await accept();
    await using worker = kit.worker({
      drive: ({ signal }) =>
        new Promise((resolve) => signal.addEventListener("abort", () => resolve({ kind: "aborted" }))),
    });
    worker.start();
    await within(kit, async () => (await statusOf(kit, first)) === "running");
    for (let n = 0; n < 50; n++) await accept();
    for (let gone = 0; gone < waitedMs; gone += leaseMs / 3) {
      kit.clock.advance(leaseMs / 3);
      await eventually(async () => (await kit.deps.threads.get(first))?.value.lease !== undefined);
    }
    rows = 0;
    await within(kit, async () => rows > 0);
    return rows;
  }

  it.each([
    [5_000, 0],
    [30_000, 0],
    [120_000, 0],
    [30_000, 40 * 60_000],
  ])(
    "reads none of the runs that have not begun: leases of %i ms, which have waited %i ms",
    async (leaseMs, waited) => {
      expect(await rowsRead(leaseMs, waited)).toBe(1);
    },
  );
});
