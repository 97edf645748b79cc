/** Runs that meet others on their thread. */
import { describe, expect, it } from "vitest";
import { threadId } from "../../src/core/ids.ts";
import type { MultitaskStrategy, Run } from "../../src/core/run.ts";
import { appended, stopping } from "../../src/core/thread-changes.ts";
import type { Drive, DriveOutcome } from "../../src/langgraph/drive.ts";
import { createRuntime } from "../../src/runtime/create.ts";
import { createHints } from "../../src/runtime/hints.ts";
import type { Item } from "../../src/storage/table.ts";
import type { MemoryTable } from "../support/memory-table.ts";
import { ALICE, LEASE_MS, createKit, inputFor, looseRun } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { pass, until } from "./runtime-pass.ts";

const aThread = (kit: Kit) => threadId(kit.deps.ids.uuid());
const runOf = async (kit: Kit, run: Run) => (await kit.deps.runs.get(run, run.runId))?.value;
const statusOf = async (kit: Kit, run: Run) => (await runOf(kit, run))?.status;
const statuses = (kit: Kit, runs: readonly Run[]) => Promise.all(runs.map((run) => statusOf(kit, run)));
const reaches = (kit: Kit, run: Run, status: Run["status"]) =>
  until(kit, async () => (await statusOf(kit, run)) === status, `${run.runId} ${status}`);
const asking = (thread: Run["threadId"], multitaskStrategy: MultitaskStrategy) => {
  const request = inputFor(thread);
  return { ...request, settings: { ...request.settings, multitaskStrategy } };
};
const accept = (kit: Kit, thread: Run["threadId"], strategy: MultitaskStrategy = "enqueue") =>
  kit.runtime.runs.accept(ALICE, asking(thread, strategy));
/** Another process of the API, which wakes nobody in this one. */
const elsewhere = (kit: Kit) => createRuntime({ ...kit.deps, hints: createHints() });

/** The first run that is executed goes on until it is stopped; the others are done at once. */
function firstGoesOn() {
  const executed: string[] = [];
  const drive = ({ run, signal }: Drive): Promise<DriveOutcome> => {
    executed.push(run.runId);
    return new Promise((resolve) => {
      if (executed.length > 1) resolve({ kind: "done" });
      signal.addEventListener("abort", () => resolve({ kind: "aborted" }), { once: true });
    });
  };
  return { executed, drive };
}

/** Calls `meet` once, right before the first write that is meant. */
function before(isMeant: (item: Pick<Item, "sk" | "attributes">) => boolean, meet: () => Promise<unknown>) {
  let hasMet = false;
  return (table: MemoryTable): MemoryTable => ({
    ...table,
    async put(item, ...args) {
      if (!hasMet && isMeant(item)) {
        hasMet = true;
        await meet();
      }
      return table.put(item, ...args);
    },
  });
}

describe("a run that interrupts", () => {
  it("stops what is executed and what waits, and is executed itself", async () => {
    const kit = createKit();
    const thread = aThread(kit);
    const { executed, drive } = firstGoesOn();
    await using worker = kit.worker({ drive });
    worker.start();
    const runs = [await accept(kit, thread), await accept(kit, thread)];
    await reaches(kit, runs[0] as Run, "running");
    runs.push(await accept(kit, thread, "interrupt"));
    await reaches(kit, runs[2] as Run, "success");
    expect(await statuses(kit, runs)).toEqual(["cancelled", "cancelled", "success"]);
    expect(executed).toEqual([runs[0]?.runId, runs[2]?.runId]);
  });

  it("stops nobody if it only asks to wait, or is refused (negative control)", async () => {
    const kit = createKit(undefined, { limits: { queuePerThread: 1 } });
    const thread = aThread(kit);
    const { drive } = firstGoesOn();
    await using worker = kit.worker({ drive });
    worker.start();
    const first = await accept(kit, thread);
    await reaches(kit, first, "running");
    const second = await accept(kit, thread);
    await expect(accept(kit, thread, "interrupt")).rejects.toMatchObject({ code: "limit" });
    await expect(accept(kit, thread, "reject")).rejects.toMatchObject({ code: "conflict" });
    await pass(kit, LEASE_MS);
    expect(await statuses(kit, [first, second])).toEqual(["running", "pending"]);
  });

  it("takes the place of a sleeping one at once", async () => {
    const kit = createKit();
    const thread = aThread(kit);
    const error = { name: "Error", message: "away" };
    const drive = async ({ run }: Drive): Promise<DriveOutcome> =>
      run.runId === first.runId ? { kind: "backoff", delayMs: 3_600_000, retries: {}, error } : { kind: "done" };
    const first = await accept(kit, thread);
    await using worker = kit.worker({ drive });
    worker.start();
    await until(kit, async () => (await kit.deps.threads.get(first))?.value.wakeAt !== undefined);
    const next = await accept(kit, thread, "interrupt");
    await reaches(kit, next, "success");
    expect(await statusOf(kit, first)).toBe("cancelled");
    expect(kit.clock.monotonic()).toBeLessThan(60_000);
  });

  it("is told by the header alone when its client died before it could tell the others", async () => {
    const kit = createKit();
    const { drive } = firstGoesOn();
    await using worker = kit.worker({ drive });
    worker.start();
    const first = await accept(kit, aThread(kit));
    await reaches(kit, first, "running");
    const waiting = await accept(kit, first.threadId);
    const later = looseRun(kit, { threadId: first.threadId });
    await kit.deps.runs.create(later);
    const { runId, kind, pool, graphId } = later;
    await kit.deps.threads.update(first, (thread) =>
      appended(stopping(thread, "interrupt"), { runId, kind, pool, graphId }, kit.table.now()),
    );
    await reaches(kit, later, "success");
    expect(await statuses(kit, [first, waiting])).toEqual(["cancelled", "cancelled"]);
    expect((await runOf(kit, first))?.cancelAsked).toBeUndefined();
    expect((await runOf(kit, waiting))?.cancelAsked).toMatchObject({ by: "a later run" });
  });

  it("meets the end of the other: whichever comes first, both have an end and none is executed twice", async () => {
    const runItem = (status: string) => (item: Pick<Item, "sk" | "attributes">) =>
      item.sk.startsWith("R#") && item.attributes["s"] === status;
    const header = (item: Pick<Item, "sk" | "attributes">) => item.sk === "H";
    for (const isMeant of [runItem("success"), header]) {
      let next: Run | undefined;
      let isArmed = false;
      const kit: Kit = createKit(
        before(
          (item) => isArmed && isMeant(item),
          async () => (next = await elsewhere(kit).runs.accept(ALICE, asking(first.threadId, "interrupt"))),
        ),
      );
      const executed: string[] = [];
      const drive = async ({ run }: Drive): Promise<DriveOutcome> => {
        executed.push(run.runId);
        isArmed = true;
        return { kind: "done" };
      };
      const first = await accept(kit, aThread(kit));
      await using worker = kit.worker({ drive });
      worker.start();
      const second = await until(kit, () => next);
      await reaches(kit, second, "success");
      expect(["success", "cancelled"]).toContain(await statusOf(kit, first));
      expect(executed).toEqual([first.runId, second.runId]);
      expect((await kit.deps.threads.get(first))?.value.queue).toEqual([]);
    }
  });

  it("meets others that do: the last one of them is executed to its end", async () => {
    const kit = createKit();
    const thread = aThread(kit);
    const first = await accept(kit, thread);
    const all = await Promise.all([1, 2, 3].map(() => elsewhere(kit).runs.accept(ALICE, asking(thread, "interrupt"))));
    const queue = (await kit.deps.threads.get(first))?.value.queue ?? [];
    const last = all.find(({ runId }) => runId === queue.at(-1)?.runId) as Run;
    await using worker = kit.worker();
    worker.start();
    await reaches(kit, last, "success");
    const others = [first, ...all].filter((run) => run !== last);
    expect(await statuses(kit, others)).toEqual(["cancelled", "cancelled", "cancelled"]);
  });
});

describe("a run that interrupts, and someone who answers", () => {
  const interrupted: DriveOutcome = {
    kind: "interrupted",
    interrupts: [
      {
        id: "0".repeat(32),
        value: "age?",
        node: "ask",
        raisedBy: { id: "0".repeat(32), ns: "", checkpointId: "c", taskId: "t", ordinal: 0 },
      },
    ],
  };
  const holdsOf = async (kit: Kit, run: Run) => (await kit.deps.holds.ofThread(run, 0)).map(({ value }) => value);

  it("leaves a decision that waits to be carried on to its continuation", async () => {
    const kit = createKit();
    const first = await accept(kit, aThread(kit));
    const worker = kit.worker({ drive: async () => interrupted });
    worker.start();
    await until(kit, async () => (await kit.deps.threads.get(first))?.value.waiting !== undefined);
    await worker.drain();
    const [hold] = await holdsOf(kit, first);
    if (!hold) throw new Error("no hold");
    const answer = { type: "value", value: 7 } as const;
    const decided = await kit.runtime.reviews.decide(ALICE, `${first.threadId}.${hold.holdId}`, {
      answer,
      digest: hold.digest,
    });
    const next = await accept(kit, first.threadId, "interrupt");
    const executed: string[] = [];
    await using other = kit.worker({
      drive: async ({ run }) => {
        executed.push(run.runId);
        return { kind: "done" };
      },
      hasWorkLeft: async () => true,
    });
    other.start();
    await reaches(kit, next, "success");
    expect(executed).toEqual([decided.decision?.continuation, next.runId]);
    const continuation = { ...first, runId: decided.decision?.continuation as Run["runId"] };
    expect(await statusOf(kit, continuation)).toBe("success");
  });

  it("comes while the other asks: that is not left waiting for an answer", async () => {
    const kit = createKit();
    let next: Run | undefined;
    const drive = async ({ run }: Drive): Promise<DriveOutcome> => {
      if (run.runId !== first.runId) return { kind: "done" };
      next = await elsewhere(kit).runs.accept(ALICE, asking(run.threadId, "interrupt"));
      return interrupted;
    };
    const first = await accept(kit, aThread(kit));
    await using worker = kit.worker({ drive });
    worker.start();
    const second = await until(kit, () => next);
    await reaches(kit, second, "success");
    expect(await statusOf(kit, first)).toBe("cancelled");
    expect((await holdsOf(kit, first)).map(({ state }) => state)).toEqual(["cancelled"]);
    expect((await kit.deps.threads.get(first))?.value.waiting).toBeUndefined();
  });
});
