/** Runs that are not to begin before a time. */
import { describe, expect, it } from "vitest";
import { threadId } from "../../src/core/ids.ts";
import { MAX_QUEUE } from "../../src/core/limits.ts";
import { LOOKED_AT_AFTER_MS } from "../../src/core/run.ts";
import type { Run } from "../../src/core/run.ts";
import { appended } from "../../src/core/thread-changes.ts";
import { begin } from "../../src/runtime/accept/scheduled.ts";
import { threadStatus } from "../../src/core/thread.ts";
import type { Drive, DriveOutcome } from "../../src/langgraph/drive.ts";
import { threadKeys } from "../../src/storage/keys.ts";
import { ALICE, createKit, inputFor, looseRun } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { pass, until } from "./runtime-pass.ts";
import { startProcess } from "./runtime-process.ts";

const DELAY_MS = 60_000;
const aThread = (kit: Kit) => threadId(kit.deps.ids.uuid());
const later = (thread: Run["threadId"] | undefined, afterMs = DELAY_MS) => ({ ...inputFor(thread), afterMs });
const accept = (kit: Kit, request = later(aThread(kit))) => kit.runtime.runs.accept(ALICE, request);
const runOf = async (kit: Kit, run: Run) => (await kit.deps.runs.get(run, run.runId))?.value;
const statusOf = async (kit: Kit, run: Run) => (await runOf(kit, run))?.status;
const headerOf = async (kit: Kit, run: Run) => (await kit.deps.threads.get(run))?.value;
const reaches = (kit: Kit, run: Run, status: Run["status"] | undefined) =>
  until(kit, async () => (await statusOf(kit, run)) === status, `${run.runId} ${status}`);

function recording() {
  const executed: string[] = [];
  const drive = async ({ run }: Drive): Promise<DriveOutcome> => {
    executed.push(run.runId);
    return { kind: "done" };
  };
  return { executed, drive };
}

/** An effect of the run has happened. */
const paid = (kit: Kit, { tenant, root, runId }: Run) =>
  kit.deps.effects.put(
    {
      tenant,
      root,
      runId,
      token: "t",
      name: "pay",
      policy: "unsafe",
      path: [],
      argsDigest: "",
      fence: 1,
      deadline: 0,
      outcome: { kind: "result", value: "receipt" },
      createdAt: kit.table.now(),
      updatedAt: kit.table.now(),
    },
    "absent",
  );

describe("a run that begins later", () => {
  it("is executed at its time and not before, and keeps nobody waiting until then", async () => {
    const kit = createKit();
    const { executed, drive } = recording();
    await using worker = kit.worker({ drive });
    worker.start();
    const run = await accept(kit);
    const header = await headerOf(kit, run);
    expect(header && threadStatus(header)).toBe("idle");
    const now = await kit.runtime.runs.accept(ALICE, inputFor(run.threadId));
    await reaches(kit, now, "success");
    await pass(kit, DELAY_MS - 10_000);
    expect(await runOf(kit, run)).toMatchObject({ status: "pending", deliveries: 0 });
    await reaches(kit, run, "success");
    expect(kit.clock.monotonic()).toBeGreaterThanOrEqual(DELAY_MS);
    expect(executed).toEqual([now.runId, run.runId]);
    expect((await runOf(kit, run))?.followUpAt).toBeUndefined();
  });

  it("on no thread in particular gets one, which goes when it has ended", async () => {
    const kit = createKit();
    await using worker = kit.worker();
    worker.start();
    const run = await accept(kit, later(undefined));
    await reaches(kit, run, "success");
    await reaches(kit, run, undefined);
    expect(await headerOf(kit, run)).toMatchObject({ deleted: true });
  });

  it("is executed once, although two workers and a repeat of its request meet at its time", async () => {
    const kit = createKit();
    const { executed, drive } = recording();
    const request = { ...later(aThread(kit)), idempotency: { key: "k", bodyHash: "h" } };
    const run = await accept(kit, request);
    await using one = startProcess(kit, { drive }).worker;
    await using two = startProcess(kit, { drive }).worker;
    expect([one, two]).toHaveLength(2);
    await pass(kit, DELAY_MS - 250);
    kit.clock.advance(250);
    expect(await accept(kit, request)).toMatchObject({ runId: run.runId });
    await reaches(kit, run, "success");
    await pass(kit, LOOKED_AT_AFTER_MS + 100_000);
    expect(executed).toEqual([run.runId]);
    expect(await accept(kit, request)).toMatchObject({ runId: run.runId, status: "success" });
  });

  it("is not refused to a repeat of its request for what its thread has come to since it was acknowledged", async () => {
    const kit = createKit();
    const { drive } = recording();
    const request = { ...later(aThread(kit)), idempotency: { key: "k", bodyHash: "h" } };
    const rejecting = { ...request, settings: { ...request.settings, multitaskStrategy: "reject" as const } };
    const run = await accept(kit, rejecting);
    await kit.runtime.runs.accept(ALICE, inputFor(run.threadId)); // The thread is busy from now on.
    await expect(accept(kit, { ...rejecting, idempotency: { key: "other", bodyHash: "h" } })).rejects.toMatchObject({
      code: "conflict",
    });
    expect(await accept(kit, rejecting)).toMatchObject({ runId: run.runId, status: "pending" });
    await using worker = kit.worker({ drive });
    worker.start();
    await reaches(kit, run, "success");
  });

  it("is executed once, although who gave it its place died before it could say so", async () => {
    let armed = true;
    const kit = createKit((table) => ({
      ...table,
      put(item, ...args) {
        const isFollowUp = item.sk.startsWith("R#") && item.attributes["s"] === "pending" && kit.clock.monotonic() > 0;
        if (!isFollowUp || !armed) return table.put(item, ...args);
        armed = false;
        first.kill();
        return new Promise(() => undefined);
      },
    }));
    const { executed, drive } = recording();
    const run = await accept(kit);
    const first = startProcess(kit, { drive });
    await until(kit, () => !armed);
    await using second = kit.worker({ drive });
    second.start();
    await reaches(kit, run, "success");
    await pass(kit, LOOKED_AT_AFTER_MS + 100_000);
    expect(executed).toEqual([run.runId]);
  });

  it("is not begun again by who found it due before it was executed, and sees its thread only afterwards", async () => {
    const kit = createKit();
    const { executed, drive } = recording();
    const run = await accept(kit);
    kit.clock.advance(DELAY_MS);
    const found = await kit.deps.runs.get(run, run.runId);
    if (!found) throw new Error("the run is there");
    await using worker = kit.worker({ drive });
    worker.start();
    await reaches(kit, run, "success");
    await begin(kit.deps, found);
    expect(await headerOf(kit, run)).toMatchObject({ queue: [] });
    expect(executed).toEqual([run.runId]);
  });

  it("stops what is executed then, if that is its strategy", async () => {
    const kit = createKit();
    const drive = ({ run, signal }: Drive): Promise<DriveOutcome> =>
      new Promise((resolve) => {
        if (run.startAt !== undefined) resolve({ kind: "done" });
        signal.addEventListener("abort", () => resolve({ kind: "aborted" }), { once: true });
      });
    const request = later(aThread(kit));
    const run = await accept(kit, { ...request, settings: { ...request.settings, multitaskStrategy: "interrupt" } });
    const long = await kit.runtime.runs.accept(ALICE, inputFor(run.threadId));
    await using worker = kit.worker({ drive });
    worker.start();
    await pass(kit, DELAY_MS / 2);
    expect(await statusOf(kit, long)).toBe("running");
    await reaches(kit, run, "success");
    expect(await statusOf(kit, long)).toBe("cancelled");
  });

  it.each([
    [true, true],
    [false, undefined],
  ])("rolls what is executed then back over its effects, if it insisted on that: %s", async (force, rolledBack) => {
    const kit = createKit();
    const drive = async ({ run, signal }: Drive): Promise<DriveOutcome> => {
      if (run.startAt !== undefined) return { kind: "done" };
      await paid(kit, run);
      return new Promise((resolve) =>
        signal.addEventListener("abort", () => resolve({ kind: "aborted" }), { once: true }),
      );
    };
    const request = later(aThread(kit));
    const settings = { ...request.settings, multitaskStrategy: "rollback" } as const;
    const run = await accept(kit, { ...request, settings, force });
    const long = await kit.runtime.runs.accept(ALICE, inputFor(run.threadId));
    await using worker = kit.worker({ drive });
    worker.start();
    await reaches(kit, run, "success");
    const stopped = await runOf(kit, long);
    expect([stopped?.status, stopped?.rolledBack]).toEqual(["cancelled", rolledBack]);
  });

  it("waits for room where the queue of its thread is full", async () => {
    const kit = createKit();
    const run = await accept(kit);
    const queued = Array.from({ length: MAX_QUEUE }, () => looseRun(kit, { threadId: run.threadId, pool: "other" }));
    for (const one of queued) await kit.deps.runs.create(one);
    const entries = queued.map(({ runId, kind, pool, graphId }) => ({ runId, kind, pool, graphId }));
    await kit.deps.threads.update(run, (thread) =>
      entries.reduce((before, entry) => appended(before, entry, kit.table.now()), thread),
    );
    await using worker = kit.worker();
    worker.start();
    await pass(kit, 2 * DELAY_MS);
    expect(await statusOf(kit, run)).toBe("pending");
    await kit.deps.threads.update(run, (thread) => ({ ...thread, queue: [] }));
    expect(await reaches(kit, run, "success")).toBe(true);
  });
});

describe("a run that would begin later", () => {
  it("does not, once it is cancelled", async () => {
    const kit = createKit();
    const { executed, drive } = recording();
    await using worker = kit.worker({ drive });
    worker.start();
    const run = await accept(kit);
    await kit.runtime.runs.cancel(ALICE, { ...run, wait: true, signal: new AbortController().signal });
    expect(await runOf(kit, run)).toMatchObject({ status: "cancelled" });
    await pass(kit, 2 * DELAY_MS);
    expect(executed).toEqual([]);
    expect((await runOf(kit, run))?.followUpAt).toBeUndefined();
  });

  it("does not, once its thread is deleted, also if that is there again", async () => {
    const kit = createKit();
    const { executed, drive } = recording();
    const [run, other] = [await accept(kit), await accept(kit)];
    for (const { threadId: deleted } of [run, other]) await kit.runtime.threads.remove(ALICE, deleted);
    const again = await kit.runtime.runs.accept(ALICE, inputFor(other.threadId));
    await using worker = kit.worker({ drive });
    worker.start();
    await pass(kit, 2 * DELAY_MS);
    expect(executed).toEqual([again.runId]);
    expect(await Promise.all([runOf(kit, run), runOf(kit, other)])).toEqual([undefined, undefined]);
  });

  it("is not taken for one that nobody accepted while its accept makes the thread", async () => {
    let meet: (() => Promise<void>) | undefined;
    const kit = createKit((table) => ({
      ...table,
      async put(item, ...args) {
        const before = item.sk === "H" ? meet : undefined;
        if (before) meet = undefined;
        await before?.();
        return table.put(item, ...args);
      },
    }));
    const { executed, drive } = recording();
    await using worker = kit.worker({ drive });
    worker.start();
    meet = () => pass(kit, 5000);
    const run = await accept(kit, later(aThread(kit), 10));
    await reaches(kit, run, "success");
    expect(executed).toEqual([run.runId]);
  });

  it("goes away when its accept died before the thread was there", async () => {
    const kit = createKit();
    const run = looseRun(kit, { startAt: kit.table.now() + 1000, followUpAt: kit.table.now() + 1000 });
    await kit.deps.runs.create(run);
    await using worker = kit.worker();
    worker.start();
    await reaches(kit, run, undefined);
    expect(kit.table.dump().filter(({ pk }) => pk === threadKeys.partition(run))).toEqual([]);
  });
});
