import { describe, expect, it } from "vitest";
import { decisionId, threadId } from "../../src/core/ids.ts";
import { decided, handedTo, plainDigest } from "../../src/core/hold.ts";
import type { Hold } from "../../src/core/hold.ts";
import { reviewValue } from "../../src/core/review-value.ts";
import type { Json } from "../../src/core/json.ts";
import { isEnded } from "../../src/core/run.ts";
import type { Run } from "../../src/core/run.ts";
import type { DriveOutcome } from "../../src/langgraph/drive.ts";
import { cancelPlainHolds } from "../../src/runtime/decisions/cancel-holds.ts";
import { leaveHolds, raiseHolds } from "../../src/runtime/delivery/raise.ts";
import { eventKeys, threadKeys } from "../../src/storage/keys.ts";
import type { Value } from "../../src/storage/table.ts";
import { eventually } from "../support/eventually.ts";
import { ALICE, createKit, inputFor, looseRun } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { holdOf } from "../support/hold.ts";

/** As LangGraph's own: 32 hex digits. */
const interruptId = (n: number): string => String(n).padStart(32, "0");

const interrupted = (values: readonly Json[]): DriveOutcome => ({
  kind: "interrupted",
  interrupts: values.map((value, i) => {
    const id = interruptId(i);
    return { id, value, node: "ask", raisedBy: { id, ns: "", checkpointId: "c", taskId: `t${i}`, ordinal: 0 } };
  }),
});

async function endOf(kit: Kit, run: Run): Promise<Run> {
  return eventually(async () => {
    kit.clock.advance(500);
    const stored = await kit.deps.runs.get(run, run.runId);
    return stored && isEnded(stored.value.status) && stored.value;
  }, "the end of the run");
}

describe("a run whose end does not fit its item", () => {
  it("ends with as much of its error as is kept", async () => {
    const kit = createKit();
    const run = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
    const error = { name: "Error", message: "y".repeat(500_000) };
    await using worker = kit.worker({ drive: async () => ({ kind: "failed", error, parks: false }) });
    worker.start();
    const end = await endOf(kit, run);
    expect(end.status).toBe("error");
    expect(end.error?.message).toMatch(/^y{16384}…$/);
  });

  it("ends as error when its interrupts are too long, and leaves nothing to decide", async () => {
    const kit = createKit();
    const run = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
    const values = ["a".repeat(200_000), "b".repeat(250_000)];
    await using worker = kit.worker({ drive: async () => interrupted(values) });
    worker.start();
    const end = await endOf(kit, run);
    expect(end).toMatchObject({ status: "error", error: { name: "too_large" } });
    const next = await kit.runtime.runs.accept(ALICE, inputFor(run.threadId));
    expect(next.status).toBe("pending");
  });
});

describe("a run on a thread whose event log is damaged", () => {
  const damage = async (kit: Kit, attributes: Record<string, Value>): Promise<Run> => {
    const first = await kit.runtime.runs.accept(ALICE, inputFor(threadId(kit.deps.ids.uuid())));
    await using worker = kit.worker();
    worker.start();
    await endOf(kit, first);
    const page = await kit.table.query(eventKeys.partition(first), { prefix: eventKeys.prefix(0), limit: 10 });
    const last = page.items.at(-1);
    if (!last) throw new Error("a run says something");
    await kit.table.put({ ...last, attributes: { ...last.attributes, ...attributes } }, "any");
    return await kit.runtime.runs.accept(ALICE, inputFor(first.threadId));
  };

  it.each([
    ["text", { d: '[{"cut' }],
    ["bytes", { z: new Uint8Array([1, 2, 3]) }],
    ["a number", { n: "x" }],
  ])("ends, and names the item: %s", async (_, attributes) => {
    const kit = createKit();
    const run = await damage(kit, attributes);
    await using worker = kit.worker();
    worker.start();
    const end = await endOf(kit, run);
    expect(end).toMatchObject({ status: "error", error: { name: "corrupt" } });
    expect(end.error?.message).toMatch(/E#000000#/);
    const header = await kit.deps.threads.get(run);
    await eventually(async () => {
      kit.clock.advance(500);
      return (await kit.deps.threads.get(run))?.value.active === undefined;
    }, "the thread moves on");
    expect(header?.value.threadId).toBe(run.threadId);
  });
});

describe("a run whose own item is damaged", () => {
  it("is told of in the log, and its thread goes on with the next", async () => {
    const kit = createKit();
    const run = await kit.runtime.runs.accept(ALICE, inputFor(threadId(kit.deps.ids.uuid())));
    const next = await kit.runtime.runs.accept(ALICE, inputFor(run.threadId));
    const item = await kit.table.get(threadKeys.run(run, run.runId));
    if (!item) throw new Error("it was accepted");
    await kit.table.put({ ...item, attributes: { ...item.attributes, d: "{" } }, "any");
    await using worker = kit.worker();
    worker.start();
    expect(await endOf(kit, next)).toMatchObject({ status: "success" });
    expect(kit.lines).toContainEqual(
      expect.objectContaining({ level: "error", message: "a run could not be delivered" }),
    );
    await expect(kit.deps.runs.get(run, run.runId)).rejects.toMatchObject({ code: "corrupt" });
  });
});

describe("a run on a thread whose keys were dropped", () => {
  it("ends, and says why, also once the tenant has new keys", async () => {
    const kit = createKit(undefined, { encrypted: true });
    const first = await kit.runtime.runs.accept(ALICE, inputFor(threadId(kit.deps.ids.uuid())));
    await using worker = kit.worker();
    worker.start();
    await endOf(kit, first);
    await kit.dataKeys?.drop(first.tenant);
    await kit.dataKeys?.renew(first.tenant);
    const run = await kit.runtime.runs.accept(ALICE, inputFor(first.threadId));
    expect(await endOf(kit, run)).toMatchObject({ status: "error", error: { name: "gone" } });
  });
});

describe("a run that someone in this process waits for", () => {
  it("succeeds although what it ended with cannot be shown ahead", async () => {
    const kit = createKit();
    const run = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
    using _ = kit.deps.hints.onChanged(run, () => undefined);
    const adapted = kit.deps.graphs.get("g");
    if (!adapted) throw new Error("no graph");
    const drive = async ({ saver }: { readonly saver: object }) => {
      Object.assign(saver, { head: () => ({ checkpointId: "c", runId: run.runId }) });
      return { kind: "done" } as const;
    };
    await using worker = kit.worker({ drive });
    worker.start();
    expect((await endOf(kit, run)).status).toBe("success");
  });
});

describe("a continuation that fails outside of its graph", () => {
  it("leaves neither its decision nor its thread behind", async () => {
    const kit = createKit();
    const run = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
    const hasWorkLeft = () => Promise.reject(new Error("the graph could not be compiled"));
    await using worker = kit.worker({ drive: async () => interrupted(["age?"]), hasWorkLeft });
    worker.start();
    const held = await endOf(kit, run);
    const hold = (await kit.deps.holds.ofThread(run, 0))[0]?.value;
    if (!hold) throw new Error("no hold");
    const answer = { type: "value", value: 7 } as const;
    const decided = await kit.runtime.reviews.decide(ALICE, `${run.threadId}.${hold.holdId}`, {
      answer,
      digest: hold.digest,
    });
    const continuation = decided.decision?.continuation;
    if (!continuation) throw new Error("no continuation");
    expect(await endOf(kit, { ...held, runId: continuation })).toMatchObject({ status: "error" });
    expect((await kit.deps.holds.get(run, hold.holdId))?.value.state).not.toBe("decided");
    await eventually(async () => (await kit.deps.threads.get(run))?.value.waiting === undefined);
  });
});

describe("a question that new input has cancelled", () => {
  it("waits for an answer again when the run with that input asks it, although the same holder goes on", async () => {
    const kit = createKit();
    const thread = threadId(kit.deps.ids.uuid());
    const runs = [
      await kit.runtime.runs.accept(ALICE, inputFor(thread)),
      await kit.runtime.runs.accept(ALICE, inputFor(thread)),
    ] as const;
    await using worker = kit.worker({ drive: async () => interrupted(["age?"]) });
    worker.start();
    const [first, last] = [await endOf(kit, runs[0]), await endOf(kit, runs[1])];
    expect([first.status, last.status, last.fence]).toEqual(["held", "held", first.fence]);
    const holds = await kit.deps.holds.ofThread(last, 0);
    expect(holds.map(({ value }) => [value.state, value.runId])).toEqual([["pending", last.runId]]);
  });
});

describe("a holder that was overtaken", () => {
  async function laterHold(kit: Kit, run: Run, interruptId = "i"): Promise<Hold> {
    const { tenant, threadId, runId: asking } = run;
    const hold = holdOf({ tenant, threadId, runId: asking, interruptId, digest: plainDigest(null), fence: 2 });
    await kit.deps.holds.put(hold, "absent");
    return hold;
  }
  /** All that is asked of the saver of a thread without a log. */
  const withoutLog = (run: Run) =>
    ({
      pendingInterrupts: async () => [],
      interruptsThat: async () => [],
      whereabouts: { root: () => run.root },
      head: () => undefined,
    }) as never;
  const stateOf = async (kit: Kit, hold: Hold) => (await kit.deps.holds.get(hold, hold.holdId))?.value.state;

  it("drops no plain interrupt that was raised after it", async () => {
    const kit = createKit();
    const hold = await laterHold(kit, looseRun(kit));
    const by = { by: "alice", reason: "new input was sent", runId: looseRun(kit).runId };
    const dropping = { ...by, tenant: hold.tenant, threadId: hold.threadId, generation: 0 };
    await cancelPlainHolds(kit.deps, { ...dropping, fence: 1 });
    expect(await stateOf(kit, hold)).toBe("pending");
    await cancelPlainHolds(kit.deps, { ...dropping, fence: 2 });
    expect(await stateOf(kit, hold)).toBe("cancelled");
  });

  it("cancels none that the next delivery of its own run raised", async () => {
    const kit = createKit();
    const run = looseRun(kit);
    const hold = await laterHold(kit, run);
    const saver = withoutLog(run);
    const pause = { run, saver, handed: [], held: undefined, reason: "it failed" };
    await expect(leaveHolds(kit.deps, { ...pause, fence: 1 })).rejects.toMatchObject({ code: "lost" });
    expect(await stateOf(kit, hold)).toBe("pending");
    await leaveHolds(kit.deps, { ...pause, fence: 2 });
    expect(await stateOf(kit, hold)).toBe("cancelled");
  });

  it("raises none again that a later one has cancelled for its run", async () => {
    const kit = createKit();
    const run = looseRun(kit);
    const hold = await laterHold(kit, run);
    const saver = withoutLog(run);
    const pause = { run, saver, handed: [] };
    await leaveHolds(kit.deps, { ...pause, fence: 3, held: undefined, reason: "it was cancelled" });
    const { interruptId: id, raisedBy, value, node } = hold;
    const raising = (fence: number) =>
      raiseHolds(kit.deps, { ...pause, fence, interrupts: [{ id, raisedBy, value, node }] });
    await expect(raising(2)).rejects.toMatchObject({ code: "lost" });
    expect(await stateOf(kit, hold)).toBe("cancelled");
    // Its interrupt waits after all: whoever holds the thread then may ask again.
    await raising(4);
    expect(await stateOf(kit, hold)).toBe("pending");
  });

  it("raises none that a later one has given back to the held run, whether it had raised it before or not", async () => {
    const kit = createKit();
    const before = looseRun(kit);
    const holds = [await laterHold(kit, before, "i"), await laterHold(kit, before, "j")];
    const waiting = { reviews: 0, plain: 2 };
    const end = { at: 1, holds: holds.map(({ holdId }) => holdId), waiting, interrupts: [] };
    const held: Run = { ...before, status: "held", fence: 2, end };
    const run = looseRun(kit, { threadId: before.threadId });
    const interrupts = holds.map(({ interruptId: id, raisedBy, value, node }) => ({ id, raisedBy, value, node }));
    // A thread at whose head both wait.
    const saver = {
      pendingInterrupts: async () => interrupts.map(({ raisedBy, ...rest }) => ({ ...rest, owner: raisedBy })),
      interruptsThat: async () => interrupts.map(({ raisedBy }) => raisedBy),
      whereabouts: { root: () => run.root },
      head: () => undefined,
    } as never;
    const pause = { run, saver, handed: [] };
    const seen = async () =>
      (await kit.deps.holds.ofThread(run, 0)).map(({ value }) => [value.runId, value.fence, value.state]);
    await raiseHolds(kit.deps, { ...pause, fence: 3, interrupts: interrupts.slice(0, 1) });
    await leaveHolds(kit.deps, { ...pause, fence: 4, held, reason: "it failed" });
    const back = [held.runId, 2, "pending"];
    expect(await seen()).toEqual([back, back]);
    for (const interrupt of interrupts) {
      const raising = raiseHolds(kit.deps, { ...pause, fence: 3, interrupts: [interrupt] });
      await expect(raising).rejects.toMatchObject({ code: "lost" });
    }
    expect(await seen()).toEqual([back, back]);
    await raiseHolds(kit.deps, { ...pause, fence: 5, interrupts });
    const taken = [run.runId, 5, "pending"];
    expect(await seen()).toEqual([taken, taken]);
  });

  it("settles no decision that was handed to a later one", async () => {
    const kit = createKit();
    const run = looseRun(kit);
    const hold = await laterHold(kit, run);
    const id = decisionId("d");
    const decision = { id, by: "eve", at: 1, answer: { type: "value", value: 7 }, continuation: run.runId } as const;
    const handed = await kit.deps.holds.update(run, hold.holdId, (stored) =>
      handedTo(decided(stored, decision), 4, run.runId),
    );
    if (!handed) throw new Error("it was handed over");
    const saver = withoutLog(run);
    const pause = { run, saver, handed: [handed.value] };
    const [raising, leaving] = [{ interrupts: [] }, { held: undefined, reason: "it failed" }];
    const isLost = { code: "lost" };
    await expect(raiseHolds(kit.deps, { ...pause, fence: 3, ...raising })).rejects.toMatchObject(isLost);
    await expect(leaveHolds(kit.deps, { ...pause, fence: 3, ...leaving })).rejects.toMatchObject(isLost);
    expect(await stateOf(kit, hold)).toBe("decided");
    await raiseHolds(kit.deps, { ...pause, fence: 4, ...raising });
    expect(await stateOf(kit, hold)).toBe("applied");
  });
});

describe("answers to several interrupts at once", () => {
  it("are all taken or none", async () => {
    const kit = createKit();
    const first = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
    const guarded = reviewValue({ number: 1, title: "Pay", action: "pay", args: {}, groups: ["payers"] });
    const worker = kit.worker({ drive: async () => interrupted(["age?", guarded]) });
    worker.start();
    await endOf(kit, first);
    await eventually(async () => (await kit.deps.threads.get(first))?.value.waiting !== undefined);
    await worker.drain();
    const resume = { [interruptId(0)]: 7, [interruptId(1)]: { type: "approve" } };
    const request = { ...inputFor(first.threadId), payload: { command: { resume } } };
    await expect(kit.runtime.runs.accept(ALICE, request)).rejects.toMatchObject({ code: "forbidden" });
    const states = (await kit.deps.holds.ofThread(first, 0)).map(({ value }) => value.state);
    expect(states).toEqual(["pending", "pending"]);
  });
});
