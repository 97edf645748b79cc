/** Cancelling a run that has ended as held, and updating a state over what waits: what they ask is cancelled on the record. */
import { Annotation, END, START, StateGraph, interrupt } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { cancelledHold, makeHoldId } from "../../src/core/hold.ts";
import type { Hold } from "../../src/core/hold.ts";
import { threadId } from "../../src/core/ids.ts";
import { entryOf } from "../../src/core/queue-room.ts";
import { reviewValue } from "../../src/core/review-value.ts";
import type { Run } from "../../src/core/run.ts";
import { appended } from "../../src/core/thread-changes.ts";
import type { Thread } from "../../src/core/thread.ts";
import { threadStatus } from "../../src/core/thread.ts";
import { review } from "../../src/graph/review.ts";
import type { DriveOutcome } from "../../src/langgraph/drive.ts";
import { registeredGraph } from "../../src/langgraph/registry.ts";
import { cancelHolds } from "../../src/runtime/decisions/cancel-holds.ts";
import { followUp } from "../../src/runtime/decisions/follow-up.ts";
import { leaveHolds } from "../../src/runtime/delivery/raise.ts";
import { langGraphEngine } from "../../src/runtime/engine.ts";
import type { CancelRun, Runtime, StateUpdate } from "../../src/runtime/runtime.ts";
import type { Item } from "../../src/storage/table.ts";
import { ALICE, createKit, inputFor, looseRun } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { pass, until } from "./runtime-pass.ts";
import { startApi } from "./runtime-process.ts";

const BOB = { ...ALICE, subject: "bob" };

const State = Annotation.Root({ said: Annotation<string>(), paid: Annotation<boolean>() });
type Text = typeof State.State;

/** Asks whether it may pay, with a review or with a plain interrupt, unless it is only greeted. */
const desk = new StateGraph(State)
  .addNode("ask", async ({ said }: Text, config) => {
    if (said === "plain") interrupt("well?");
    if (said === "ask") await review(config, { title: "Refund", action: "refund", args: { amount: 7 } });
    return {};
  })
  .addNode("pay", ({ said }: Text) => ({ paid: said !== "hello" }))
  .addEdge(START, "ask")
  .addEdge("ask", "pay")
  .addEdge("pay", END)
  .compile();

type Written = Pick<Item, "sk" | "attributes">;
const isHold = ({ sk }: Written): boolean => sk.startsWith("A#");
const isHeader = ({ sk }: Written): boolean => sk === "H";
const isRecord = ({ sk }: Written): boolean => sk.startsWith("C#");
/** The barrier of an update stands in the log before its own record. */
const second = (isMeant: (item: Written) => boolean): ((item: Written) => boolean) => {
  let seen = 0;
  return (item) => isMeant(item) && ++seen === 2;
};
const says = ({ attributes }: Written, text: string): boolean => JSON.stringify(attributes).includes(text);

interface Armed extends Kit {
  /** Something else happens right before the next write that is meant. */
  meet(isMeant: (item: Written) => boolean, what: () => Promise<unknown>): void;
  /** An API process that dies before the next write that is meant, or once that has landed. */
  dying(when: "before" | "after", isMeant: (item: Written) => boolean): Dying;
}

interface Dying {
  readonly runtime: Runtime;
  readonly dead: () => boolean;
}

type Act = (land: () => Promise<unknown>) => Promise<unknown>;

function armedKit(): Armed {
  let armed: { readonly isMeant: (item: Written) => boolean; readonly act: Act } | undefined;
  const kit = createKit(
    (table) => ({
      ...table,
      async put(item, ...args) {
        const now = armed;
        if (now?.isMeant(item) === true) {
          armed = undefined;
          await now.act(() => table.put(item, ...args));
        }
        return table.put(item, ...args);
      },
    }),
    { graphs: { desk: registeredGraph("desk", desk) } },
  );
  return {
    ...kit,
    meet: (isMeant, what) => void (armed = { isMeant, act: what }),
    dying(when, isMeant) {
      let isDead = false;
      const api = startApi(kit);
      const act: Act = async (land) => {
        if (when === "after") await land();
        isDead = true;
        api.kill();
        await new Promise(() => undefined);
      };
      armed = { isMeant, act };
      return { runtime: api.runtime, dead: () => isDead };
    },
  };
}

const runOf = async (kit: Kit, run: Run) => (await kit.deps.runs.get(run, run.runId))?.value;
const headerOf = async (kit: Kit, run: Run): Promise<Thread> => {
  const header = await kit.deps.threads.get(run);
  if (!header) throw new Error("the thread is there");
  return header.value;
};
const holdsOf = async (kit: Kit, run: Run): Promise<readonly Hold[]> =>
  (await kit.deps.holds.ofThread(run, 0)).map(({ value }) => value);
const statesOf = async (kit: Kit, run: Run) => (await holdsOf(kit, run)).map(({ state }) => state);
const reaches = (kit: Kit, run: Run, status: Run["status"]) =>
  until(kit, async () => (await runOf(kit, run))?.status === status, `${run.runId} ${status}`);
const accept = (kit: Kit, thread: Run["threadId"], said: string, onPending?: "cancel") =>
  kit.runtime.runs.accept(ALICE, {
    ...inputFor(thread),
    assistantId: "desk",
    payload: { input: { said } },
    ...(onPending === undefined ? {} : { onPending }),
  });
const cancel = (kit: Pick<Kit, "runtime">, run: Run, how: Partial<CancelRun> = {}) =>
  kit.runtime.runs.cancel(ALICE, { ...run, wait: false, signal: new AbortController().signal, ...how });
const update = (kit: Pick<Kit, "runtime">, run: Run, how: Partial<StateUpdate> = {}) =>
  kit.runtime.threads.updateState(ALICE, run.threadId, { values: { said: "updated" }, asNode: "pay", ...how });
async function decide(kit: Kit, run: Run, n = 0) {
  const hold = (await holdsOf(kit, run))[n];
  if (!hold) throw new Error("it has asked");
  const answer = hold.origin === "review" ? ({ type: "approve" } as const) : ({ type: "value", value: 7 } as const);
  return kit.runtime.reviews.decide(BOB, `${run.threadId}.${hold.holdId}`, { answer, digest: hold.digest });
}

/** A run that has stopped and asks; nobody works any more. */
async function asked(kit: Kit, said = "ask"): Promise<Run> {
  const run = await accept(kit, threadId(kit.deps.ids.uuid()), said);
  await using worker = kit.worker(langGraphEngine);
  worker.start();
  await reaches(kit, run, "held");
  await until(kit, async () => (await headerOf(kit, run)).waiting !== undefined);
  return run;
}

/** A scripted run that has stopped and asks two reviews, side by side. */
const twoReviews = {
  kind: "interrupted",
  interrupts: ["1", "2"].map((n) => {
    const id = n.padStart(32, "0");
    const value = reviewValue({ number: 1, title: "Pay", action: "pay", args: { n } });
    return { id, value, node: "ask", raisedBy: { id, ns: "", checkpointId: "c", taskId: `t${n}`, ordinal: 0 } };
  }),
} as const satisfies DriveOutcome;
async function askedTwice(kit: Kit): Promise<Run> {
  const run = await kit.runtime.runs.accept(ALICE, inputFor(threadId(kit.deps.ids.uuid())));
  await using worker = kit.worker({ drive: async () => twoReviews });
  worker.start();
  await until(kit, async () => (await headerOf(kit, run)).waiting?.reviews === 2);
  return run;
}

describe("a held run that is cancelled", () => {
  it.each(["ask", "plain"])("has what it asks cancelled, and stays held: %s", async (said) => {
    const kit = armedKit();
    const run = await asked(kit, said);
    expect(await cancel(kit, run, { reason: "not needed" })).toMatchObject({ status: "held" });
    expect(await holdsOf(kit, run)).toMatchObject([
      { state: "cancelled", reason: "not needed (alice)", followUpDue: false },
    ]);
    expect((await headerOf(kit, run)).waiting).toBeUndefined();
    await expect(decide(kit, run)).rejects.toMatchObject({ code: "gone", detail: { reason: "not needed (alice)" } });
    // Once more is the same.
    expect(await cancel(kit, run)).toMatchObject({ status: "held" });
    const next = await accept(kit, run.threadId, "hello");
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    await reaches(kit, next, "success");
    expect(await statesOf(kit, run)).toEqual(["cancelled"]);
    expect(threadStatus(await headerOf(kit, run))).toBe("idle");
  });

  it("lets go of what waits behind its review", async () => {
    const kit = armedKit();
    const first = await accept(kit, threadId(kit.deps.ids.uuid()), "ask");
    const behind = await accept(kit, first.threadId, "hello");
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    await reaches(kit, first, "held");
    await pass(kit, 60_000);
    expect((await runOf(kit, behind))?.status).toBe("pending");
    await cancel(kit, first);
    await reaches(kit, behind, "success");
  });

  it("is 409 once it was answered, before its continuation begins and after it has ended", async () => {
    const kit = armedKit();
    const run = await asked(kit);
    const { decision } = await decide(kit, run);
    const refusal = { code: "conflict", detail: { continuation: decision?.continuation } };
    await expect(cancel(kit, run)).rejects.toMatchObject(refusal);
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    await until(kit, async () => (await statesOf(kit, run))[0] === "applied");
    await until(kit, async () => (await headerOf(kit, run)).active === undefined);
    await expect(cancel(kit, run)).rejects.toMatchObject(refusal);
    expect(await kit.runtime.threads.get(ALICE, run.threadId)).toMatchObject({ values: { paid: true } });
  });

  it("loses to a decision that is made right before its own write: 409, and the answer is carried on", async () => {
    const kit = armedKit();
    const run = await asked(kit);
    kit.meet(
      (item) => isHold(item) && says(item, "cancelled"),
      () => decide(kit, run),
    );
    await expect(cancel(kit, run)).rejects.toMatchObject({ code: "conflict" });
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    await until(kit, async () => (await statesOf(kit, run))[0] === "applied");
  });

  it("wins against a decision that comes right after its own write", async () => {
    const kit = armedKit();
    const run = await asked(kit);
    kit.meet(
      (item) => isHold(item) && says(item, "decided"),
      () => cancel(kit, run),
    );
    await expect(decide(kit, run)).rejects.toMatchObject({ code: "gone" });
    expect(await statesOf(kit, run)).toEqual(["cancelled"]);
    expect((await headerOf(kit, run)).waiting).toBeUndefined();
  });

  it("of two reviews whose second is decided meanwhile is 409, and the first is asked again", async () => {
    const kit = armedKit();
    const run = await askedTwice(kit);
    kit.meet(isHold, () => decide(kit, run, 1));
    await expect(cancel(kit, run)).rejects.toMatchObject({ code: "conflict" });
    expect((await statesOf(kit, run)).toSorted()).toEqual(["cancelled", "decided"]);
    const again = (await holdsOf(kit, run)).find(({ state }) => state === "cancelled")?.interruptId;
    const interrupts = twoReviews.interrupts.filter(({ id }) => id === again);
    await using worker = kit.worker({
      drive: async () => ({ kind: "interrupted", interrupts }),
      hasWorkLeft: async () => true,
    });
    worker.start();
    await until(kit, async () => (await statesOf(kit, run)).includes("pending"));
    await until(kit, async () => (await headerOf(kit, run)).waiting?.reviews === 1);
    expect((await holdsOf(kit, run)).find(({ state }) => state === "pending")?.runId).not.toBe(run.runId);
  });

  it.each(["before", "after"] as const)("although the API dies %s it corrects the header", async (when) => {
    const kit = armedKit();
    const run = await asked(kit);
    const api = kit.dying(when, isHeader);
    void cancel(api, run);
    await until(kit, api.dead);
    expect(await statesOf(kit, run)).toEqual(["cancelled"]);
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    await until(kit, async () => (await headerOf(kit, run)).waiting === undefined);
    await until(kit, async () => (await holdsOf(kit, run)).every(({ followUpDue }) => !followUpDue));
    await reaches(kit, await accept(kit, run.threadId, "hello"), "success");
  });

  it("at once after its end, before the header knows: the thread does not wait for what is cancelled", async () => {
    const kit = armedKit();
    const run = await accept(kit, threadId(kit.deps.ids.uuid()), "ask");
    await using worker = kit.worker(langGraphEngine);
    let isCancelled = false;
    kit.meet(
      (item) => item.sk.startsWith("R#") && item.attributes["s"] === "held",
      async () => {
        kit.meet(isHeader, async () => {
          await cancel(kit, run);
          isCancelled = true;
        });
      },
    );
    worker.start();
    await until(kit, () => isCancelled);
    await until(kit, async () => (await headerOf(kit, run)).lease === undefined);
    await pass(kit, 5000);
    expect(await statesOf(kit, run)).toEqual(["cancelled"]);
    expect((await headerOf(kit, run)).waiting).toBeUndefined();
  });

  it("lets its thread go although a continuation that had nothing to carry on asks the same by now", async () => {
    for (const which of ["the first", "the second"]) {
      const kit = armedKit();
      const run = await accept(kit, threadId(kit.deps.ids.uuid()), "ask");
      const second = looseRun(kit, { threadId: run.threadId, kind: "continuation", graphId: "desk", root: run.root });
      await kit.deps.runs.create(second);
      await kit.deps.threads.update(run, (thread) => appended(thread, entryOf(second), kit.table.now()));
      await using worker = kit.worker(langGraphEngine);
      worker.start();
      await reaches(kit, second, "held");
      await until(kit, async () => (await headerOf(kit, run)).lease === undefined);
      expect((await headerOf(kit, run)).waiting).toMatchObject({ runId: second.runId, reviews: 1 });
      expect(await holdsOf(kit, run)).toMatchObject([{ runId: run.runId, state: "pending" }]);
      await cancel(kit, which === "the first" ? run : second);
      expect(await statesOf(kit, run)).toEqual(["cancelled"]);
      expect((await headerOf(kit, run)).waiting).toBeUndefined();
    }
  });

  it("is asked the same again by a run without input", async () => {
    const kit = armedKit();
    const run = await asked(kit);
    await cancel(kit, run);
    const request = { ...inputFor(run.threadId), assistantId: "desk", payload: { input: null } };
    const next = await kit.runtime.runs.accept(ALICE, request);
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    await reaches(kit, next, "held");
    expect(await holdsOf(kit, run)).toMatchObject([{ state: "pending", runId: next.runId }]);
    await until(kit, async () => (await headerOf(kit, run)).waiting !== undefined);
    expect((await headerOf(kit, run)).waiting).toMatchObject({ runId: next.runId, reviews: 1 });
  });

  it("keeps its steps: a rollback is 409", async () => {
    const kit = armedKit();
    const run = await asked(kit);
    await expect(cancel(kit, run, { action: "rollback" })).rejects.toMatchObject({ code: "conflict" });
    expect(await statesOf(kit, run)).toEqual(["pending"]);
  });

  it("keeps its questions where only what it does was to stop", async () => {
    const kit = armedKit();
    const run = await asked(kit);
    await cancel(kit, run, { onlyUnfinished: true });
    const which = { kind: "status", status: "all" } as const;
    await kit.runtime.runs.cancelMany(ALICE, { which, signal: new AbortController().signal });
    expect(await statesOf(kit, run)).toEqual(["pending"]);
    expect((await headerOf(kit, run)).waiting).toMatchObject({ reviews: 1 });
    const named = { kind: "named", runIds: [run.runId] } as const;
    await kit.runtime.runs.cancelMany(ALICE, { which: named, signal: new AbortController().signal });
    expect(await statesOf(kit, run)).toEqual(["cancelled"]);
  });
});

describe("holds that are cancelled while a continuation is about to leave them waiting", () => {
  const fails = async (): Promise<DriveOutcome> => ({
    kind: "failed",
    error: { name: "Error", message: "no" },
    parks: false,
  });
  const isEnd = (item: Written): boolean => item.sk.startsWith("R#") && item.attributes["s"] === "error";

  /** Decided, and given back by a continuation that failed: `meet` happens right before the next write that is meant. */
  async function givenBack(kit: Armed, isMeant: (item: Written) => boolean, meet: (run: Run) => Promise<unknown>) {
    const run = await asked(kit);
    await decide(kit, run);
    await using worker = kit.worker({ ...langGraphEngine, drive: fails });
    kit.meet(isMeant, () => meet(run));
    worker.start();
    await until(kit, async () => (await headerOf(kit, run)).lease === undefined && !(await headerOf(kit, run)).active);
    return run;
  }

  it("keep no thread waiting for what nobody can decide", async () => {
    const kit = armedKit();
    const run = await givenBack(kit, isEnd, async ({ threadId: thread }) => accept(kit, thread, "hello", "cancel"));
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    await pass(kit, 5000);
    expect(await statesOf(kit, run)).toEqual(["cancelled"]);
    expect((await headerOf(kit, run)).waiting).toBeUndefined();
    expect(threadStatus(await headerOf(kit, run))).toBe("idle");
  });

  it("are not by who cancels the held run while it carries an answer on; once that has failed they are", async () => {
    const kit = armedKit();
    const refusals: unknown[] = [];
    const run = await givenBack(kit, isEnd, async (held) =>
      cancel(kit, held).catch((error: unknown) => refusals.push(error)),
    );
    expect(refusals).toMatchObject([{ code: "conflict" }]);
    expect(await statesOf(kit, run)).toEqual(["pending"]);
    await cancel(kit, run);
    expect(await statesOf(kit, run)).toEqual(["cancelled"]);
    expect((await headerOf(kit, run)).waiting).toBeUndefined();
  });

  it("are by who cancels the held run before the header knows that the continuation has ended", async () => {
    const kit = armedKit();
    const run = await givenBack(kit, isEnd, async (held) => kit.meet(isHeader, () => cancel(kit, held)));
    expect(await statesOf(kit, run)).toEqual(["cancelled"]);
    expect((await headerOf(kit, run)).waiting).toBeUndefined();
  });
});

describe("what a later holder has asked", () => {
  it.each([false, true])("is nobody's to cancel under an older fence, raised before the look: %s", async (early) => {
    const kit = armedKit();
    const run = await asked(kit);
    const [hold] = await holdsOf(kit, run);
    if (!hold) throw new Error("it has asked");
    const raise = () => kit.deps.holds.update(run, hold.holdId, (now) => ({ ...now, fence: hold.fence + 1 }));
    if (early) await raise();
    else kit.meet(isHold, raise);
    const cancelling = { ...run, fence: hold.fence, by: "alice", reason: "no" };
    expect(await cancelHolds(kit.deps, cancelling)).toEqual({ decided: undefined, cancelled: [] });
    expect(await holdsOf(kit, run)).toMatchObject([{ state: "pending", fence: hold.fence + 1 }]);
    const after = await cancelHolds(kit.deps, { ...cancelling, fence: hold.fence + 1 });
    expect(after.cancelled).toMatchObject([{ holdId: hold.holdId }]);
  });
});

describe("the summary of what waits", () => {
  /** As `hold`, asked by another run. */
  const like = (hold: Hold, interruptId: string, fields: Partial<Hold>): Hold => ({
    ...hold,
    interruptId,
    holdId: makeHoldId({ ...hold, interruptId }),
    ...fields,
  });
  const cancelFirst = (kit: Kit, hold: Hold) =>
    kit.deps.holds.update(hold, hold.holdId, (now) =>
      cancelledHold(now, "alice", "no", { now: kit.table.now(), followUpDue: true }),
    );

  it("is not kept up by a question that no run that has ended as held asks", async () => {
    const kit = armedKit();
    const run = await asked(kit);
    const [hold] = await holdsOf(kit, run);
    if (!hold) throw new Error("it has asked");
    await kit.deps.holds.put(like(hold, "1".repeat(32), { fence: hold.fence - 1 }), "absent");
    await cancelFirst(kit, hold);
    await followUp(kit.deps, hold, hold.holdId);
    expect((await headerOf(kit, run)).waiting).toBeUndefined();
  });

  it("is left to a run that is about to ask, and to another one's questions", async () => {
    for (const waiting of [undefined, { reviews: 0, plain: 1 }]) {
      const kit = armedKit();
      const run = await asked(kit);
      const [hold] = await holdsOf(kit, run);
      if (!hold) throw new Error("it has asked");
      const other = looseRun(kit, { threadId: run.threadId });
      await kit.deps.runs.create(other);
      if (waiting)
        await kit.deps.threads.update(run, (thread) => ({ ...thread, waiting: { runId: other.runId, ...waiting } }));
      else await kit.deps.holds.put(like(hold, "1".repeat(32), { runId: other.runId, fence: 9 }), "absent");
      const before = await headerOf(kit, run);
      await cancelFirst(kit, hold);
      await followUp(kit.deps, hold, hold.holdId);
      expect(await headerOf(kit, run)).toEqual(before);
      expect(await holdsOf(kit, run)).toContainEqual(
        expect.objectContaining({ state: "cancelled", followUpDue: false }),
      );
    }
  });

  it("counts nothing that was cancelled while a run that failed leaves the rest", async () => {
    const kit = armedKit();
    const run = await asked(kit);
    const [first] = await holdsOf(kit, run);
    const held = await runOf(kit, run);
    if (!first || !held) throw new Error("it has asked");
    const failing = looseRun(kit, { threadId: run.threadId, kind: "continuation" });
    const own = like(first, "1".repeat(32), { runId: failing.runId, fence: 9 });
    await kit.deps.holds.put(own, "absent");
    kit.meet(isHold, () => cancelFirst(kit, first));
    const waits = [first, own].map(({ raisedBy, interruptId: id, value }) => ({
      id,
      value,
      owner: { ...raisedBy, id },
    }));
    const saver = {
      pendingInterrupts: async () => waits,
      interruptsThat: async (_: unknown, all: unknown) => all,
    } as never; // all it asks
    const left = await leaveHolds(kit.deps, { run: failing, saver, fence: 9, handed: [], held, reason: "it failed" });
    expect(left.waiting).toEqual({ reviews: 0, plain: 0 });
  });
});

describe("an update of the state over a review that waits", () => {
  it("is refused, unless it cancels it: then the thread is free at once, without any worker", async () => {
    const kit = armedKit();
    const run = await asked(kit);
    await expect(update(kit, run)).rejects.toMatchObject({ code: "conflict" });
    expect(await statesOf(kit, run)).toEqual(["pending"]);
    await update(kit, run, { onPending: "cancel" });
    expect(await holdsOf(kit, run)).toMatchObject([
      { state: "cancelled", reason: "the state was updated (alice)", followUpDue: false },
    ]);
    const header = await headerOf(kit, run);
    expect([header.waiting, header.lease, header.active]).toEqual([undefined, undefined, undefined]);
    expect(await kit.runtime.threads.get(ALICE, run.threadId)).toMatchObject({ values: { said: "updated" } });
    expect(await accept(kit, run.threadId, "hello")).toMatchObject({ status: "pending" });
  });

  it("is 409 and writes nothing once the review is decided, also right before its own write", async () => {
    for (const early of [true, false]) {
      const kit = armedKit();
      const run = await asked(kit);
      if (early) await decide(kit, run);
      else
        kit.meet(
          (item) => isHold(item) && says(item, "cancelled"),
          () => decide(kit, run),
        );
      await expect(update(kit, run, { onPending: "cancel" })).rejects.toMatchObject({ code: "conflict" });
      expect(await kit.runtime.threads.get(ALICE, run.threadId)).toMatchObject({ values: { said: "ask" } });
      await using worker = kit.worker(langGraphEngine);
      worker.start();
      await until(kit, async () => (await statesOf(kit, run))[0] === "applied");
    }
  });

  it("cancels nothing when the graph refuses it", async () => {
    const kit = armedKit();
    const run = await asked(kit);
    const refused = update(kit, run, { onPending: "cancel", asNode: "nowhere" });
    await expect(refused).rejects.toMatchObject({ code: "invalid" });
    expect(await statesOf(kit, run)).toEqual(["pending"]);
    expect((await headerOf(kit, run)).waiting).toMatchObject({ reviews: 1 });
    expect(await decide(kit, run)).toMatchObject({ state: "decided" });
  });

  it.each([
    ["before the review is won", "before", isHold, "pending"],
    ["between the review and its record", "after", isHold, "cancelled"],
    ["before its record", "before", second(isRecord), "cancelled"],
    ["after its record", "after", second(isRecord), "cancelled"],
  ] as const)("whose API dies %s leaves a thread that goes on", async (_name, when, isMeant, state) => {
    const kit = armedKit();
    const run = await asked(kit);
    const api = kit.dying(when, isMeant);
    void update(api, run, { onPending: "cancel" });
    await until(kit, api.dead);
    expect(await statesOf(kit, run)).toEqual([state]);
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    await until(kit, async () => (await headerOf(kit, run)).lease === undefined);
    if (state === "pending") {
      expect(await decide(kit, run)).toMatchObject({ state: "decided" });
      await until(kit, async () => (await statesOf(kit, run))[0] === "applied");
    } else {
      await until(kit, async () => (await headerOf(kit, run)).waiting === undefined);
      await reaches(kit, await accept(kit, run.threadId, "hello"), "success");
    }
    expect((await holdsOf(kit, run)).every(({ followUpDue }) => !followUpDue)).toBe(true);
  });
});
