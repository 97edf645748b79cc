/** What a delivery asked before it died, and the next one does not ask, is not left to look open. */
import { describe, expect, it } from "vitest";
import { auditId } from "../../src/core/audit.ts";
import { decisionId, runId } from "../../src/core/ids.ts";
import { deskVersion, worked } from "../../src/core/hold-desk.ts";
import { isEnded } from "../../src/core/run.ts";
import type { Hold, ReviewRequest } from "../../src/core/hold.ts";
import { reviewRequestOf, reviewValue } from "../../src/core/review-value.ts";
import type { Json } from "../../src/core/json.ts";
import type { Run } from "../../src/core/run.ts";
import type { DriveOutcome } from "../../src/langgraph/drive.ts";
import { eventually } from "../support/eventually.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { holdOf } from "../support/hold.ts";

const INTERRUPT = "0".repeat(32);
const RAISED_BY = { id: INTERRUPT, ns: "", checkpointId: "c", taskId: "t", ordinal: 0 };
const asking = (amount: number, policy: Partial<ReviewRequest> = {}): Json =>
  reviewValue({ number: 0, title: "Pay", action: "pay", args: { amount }, ...policy });

const asks = (amount: number, policy: Partial<ReviewRequest> = {}): DriveOutcome => ({
  kind: "interrupted",
  interrupts: [{ id: INTERRUPT, value: asking(amount, policy), node: "ask", raisedBy: RAISED_BY }],
});

/** A hold as a delivery of fence 0 put it before it died with its run still to end. */
async function leftBehind(kit: Kit, run: Run, amount: number, desk: Partial<Hold> = {}): Promise<Hold> {
  const value = asking(amount);
  const raised = reviewRequestOf(value);
  if (!raised) throw new Error("no review");
  const { request, digest } = raised;
  const { tenant, threadId } = run;
  const hold = holdOf({
    tenant,
    threadId,
    runId: run.runId,
    origin: "review",
    interruptId: INTERRUPT,
    raisedBy: RAISED_BY,
    value,
    request,
    digest,
    fence: 0,
    raisedAt: kit.table.now(),
    ...desk,
  });
  await kit.deps.holds.put(hold, "absent");
  return hold;
}

interface Taken {
  /** What people have made of the hold before. */
  readonly desk?: (run: Run) => Partial<Hold>;
  /** What they make of it while the next delivery executes. */
  readonly meanwhile?: Partial<Hold>;
}

/** A run whose first delivery died; the next one comes to `outcome`. */
async function takenOver(amount: number, outcome: DriveOutcome, { desk = () => ({}), meanwhile }: Taken = {}) {
  const kit = createKit();
  const run = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
  const old = await leftBehind(kit, run, amount, desk(run));
  await kit.deps.runs.update(run, run.runId, (now) => ({ ...now, deliveries: 1 }));
  const drive = async (): Promise<DriveOutcome> => {
    if (meanwhile) await kit.deps.holds.update(old, old.holdId, (hold) => ({ ...hold, ...meanwhile }));
    return outcome;
  };
  await using worker = kit.worker({ drive });
  worker.start();
  await eventually(async () => {
    kit.clock.advance(500);
    const stored = await kit.deps.runs.get(run, run.runId);
    return stored !== undefined && isEnded(stored.value.status);
  }, "the end of the run");
  const { items } = await kit.runtime.reviews.list(ALICE, { state: "open", limit: 9 });
  return { kit, old, open: items, id: `${old.threadId}.${old.holdId}` };
}

describe("a review that a dead delivery asked", () => {
  it("is superseded when the next one asks something else", async () => {
    const { kit, old, open, id } = await takenOver(100, asks(101));
    expect(open.map(({ request }) => request?.args)).toEqual([{ amount: 101 }]);
    expect((await kit.runtime.reviews.get(ALICE, id)).state).toBe("superseded");
    const decision = { answer: { type: "approve" }, digest: old.digest } as const;
    await expect(kit.runtime.reviews.decide(ALICE, id, decision)).rejects.toMatchObject({ code: "gone" });
  });

  it("is superseded when the next one asks nothing", async () => {
    const { open } = await takenOver(100, { kind: "done" });
    expect(open).toEqual([]);
  });

  it("is superseded, on the record, also when it was decided: the answer was to what is not asked any more", async () => {
    const id = decisionId("d");
    const decision = { id, by: "bob", at: 1, answer: { type: "approve" as const }, continuation: runId("r") };
    const { kit, old } = await takenOver(100, asks(101), {
      meanwhile: { state: "decided", decision },
    });
    const stored = await kit.deps.holds.get(old, old.holdId);
    expect(stored?.value).toMatchObject({ state: "superseded", reason: "asked again with other content" });
    const { tenant, threadId } = old;
    const entry = auditId({ tenant, kind: "decision", key: [threadId, old.holdId, id] });
    expect(await kit.deps.audit.kept(tenant, [entry])).toHaveLength(1);
  });

  it("is superseded also when its answer was taken, and nothing came of that before its code asked for something else", async () => {
    const answer = { type: "approve" as const };
    const decision = { id: decisionId("d"), by: "bob", at: 1, answer, continuation: runId("r") };
    const id = "1".repeat(32);
    const nextAsks = (instead: Json): DriveOutcome => ({
      kind: "interrupted",
      interrupts: [{ id, value: instead, node: "ask", raisedBy: { ...RAISED_BY, id, ordinal: 1 } }],
    });
    const request = { number: 0, title: "Pay", action: "pay", args: { amount: 101 } };
    const supersedes = reviewRequestOf(asking(100))?.digest ?? "";
    const meanwhile = { state: "applied", decision } as const;
    const stateAfter = async (outcome: DriveOutcome): Promise<string | undefined> => {
      const { kit, old } = await takenOver(100, outcome, { meanwhile });
      return (await kit.deps.holds.get(old, old.holdId))?.value.state;
    };
    expect(await stateAfter(nextAsks(reviewValue(request, { supersedes })))).toBe("superseded");
    // A question that comes after it takes nothing back.
    expect(await stateAfter(nextAsks(reviewValue({ ...request, number: 1 })))).toBe("applied");
  });

  it("is open again when its code comes back to what it had asked before", async () => {
    const { old, open } = await takenOver(100, asks(100), {
      desk: () => ({ state: "superseded" }),
    });
    expect(open).toMatchObject([{ holdId: old.holdId, state: "pending" }]);
  });

  it("stays, with all that people made of it, when the next one asks the same", async () => {
    const at = 1;
    const vote = { id: "v" as never, by: "bob", at, answer: { type: "approve" } } as const;
    const comments = [{ by: "bob", at, text: "looks odd" }];
    const desk = { votes: [vote], comments, assignee: "bob", claim: { by: "bob", until: 9e12 } };
    const { old, open } = await takenOver(100, asks(100), { desk: () => desk });
    expect(open).toMatchObject([{ holdId: old.holdId, ...desk }]);
    expect(open[0]?.fence).toBeGreaterThan(old.fence);
  });

  it.each([
    ["and has been escalated is still for the groups that were added", { done: true }, ["desk", "leads"]],
    ["and was not escalated yet is for the groups that are named now", {}, ["desk"]],
  ] as const)("%s, when the next one asks the same", async (_name, done, groups) => {
    const request = { number: 0, title: "Pay", action: "pay", args: { amount: 100 }, groups: ["desk", "leads"] };
    const times = { escalation: { at: 9e12, groups: ["leads"], ...done } } as const;
    const { open } = await takenOver(100, asks(100, { groups: ["desk"] }), { desk: () => ({ request, times }) });
    expect(open).toMatchObject([{ request: { groups }, times }]);
  });
});

describe("a review that nobody waits for", () => {
  it("is nothing to work on either", async () => {
    const kit = createKit();
    const run = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
    const hold = await leftBehind(kit, run, 1);
    await kit.deps.runs.update(run, run.runId, (now) => ({ ...now, status: "success" }));
    const id = `${run.threadId}.${hold.holdId}`;
    for (const work of [
      { kind: "claim", forMs: 1000 },
      { kind: "comment", text: "hm" },
    ] as const)
      await expect(kit.runtime.reviews.work(ALICE, id, { work })).rejects.toMatchObject({ code: "gone" });
    expect((await kit.runtime.reviews.get(ALICE, id)).claim).toBeUndefined();
  });
});

describe("the interrupts of a run", () => {
  const plain = (n: number, bytes: number) => {
    const id = String(n).repeat(32);
    return { id, value: "x".repeat(bytes), node: "ask", raisedBy: { ...RAISED_BY, id } };
  };
  const ended = async (interrupts: readonly ReturnType<typeof plain>[]): Promise<Run> => {
    const kit = createKit();
    const run = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
    await using worker = kit.worker({ drive: async () => ({ kind: "interrupted", interrupts }) });
    worker.start();
    return await eventually(async () => {
      kit.clock.advance(500);
      const now = (await kit.deps.runs.get(run, run.runId))?.value;
      return now && isEnded(now.status) ? now : undefined;
    }, "the end of the run");
  };

  it("are at most 256 KB in all: more of them end it with the reason", async () => {
    const half = 128 * 1024;
    expect(await ended([plain(1, half - 100), plain(2, half - 100)])).toMatchObject({ status: "held" });
    const failed = await ended([plain(1, half), plain(2, half)]);
    expect(failed).toMatchObject({ status: "error", end: { holds: [] } });
    expect(failed.error?.message).toContain("more than the limit of 262144");
  });
});

describe("the version of a review", () => {
  it("is another one after any work, and the same after what only the runtime does", async () => {
    const kit = createKit();
    const run = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
    const hold = await leftBehind(kit, run, 1);
    const works = [
      { kind: "claim", forMs: 1000 },
      { kind: "snooze", until: 5 },
      { kind: "assign", to: "bob" },
      { kind: "comment", text: "hm" },
    ] as const;
    const versions = works.map((work) => deskVersion(worked(hold, ALICE, work, 1)));
    expect(new Set([deskVersion(hold), ...versions]).size).toBe(works.length + 1);
    expect(deskVersion({ ...hold, fence: 9, runId: run.root, handedTo: 9, updatedAt: 7 })).toBe(deskVersion(hold));
  });
});
