import { describe, expect, it } from "vitest";
import { applied, continuationId, decided, reopened, superseded } from "../../src/core/hold.ts";
import type { Hold, Vote } from "../../src/core/hold.ts";
import type { EffectEntry } from "../../src/core/effect.ts";
import type { Settlement } from "../../src/core/effect-settlement.ts";
import { outcomeValue } from "../../src/core/wait-value.ts";
import { decisionId, holdId, runId, tenantId, threadId } from "../../src/core/ids.ts";
import { cancelled, ended, marked, pendingRun, refused } from "../../src/core/run.ts";
import type { Run, RunEnd } from "../../src/core/run.ts";
import { appended, claimed, movedOn, released } from "../../src/core/thread-changes.ts";
import { newThread } from "../../src/core/thread.ts";
import type { Thread } from "../../src/core/thread.ts";
import type { Fact, RecordFact } from "./facts.ts";
import { INVARIANTS, check } from "./invariants.ts";

/**
 * A history made by hand: one thread, on which run 1 asks for a review, eve decides it, a continuation carries that on,
 * and run 2 follows. Each invariant is then broken in its own way.
 */
const THREAD = "00000000-0000-4000-8000-000000000001";
const LEASE_MS = 1000;
const ref = { tenant: tenantId("acme"), threadId: threadId(THREAD) };
const idOf = (n: number) => runId(`00000000-0000-7000-8000-00000000000${n}`);
const END: RunEnd = { at: 0, holds: [], waiting: "unchanged", interrupts: [] };

const newRun = (n: number, tag = `run-${n}`): Run =>
  pendingRun({
    ...ref,
    runId: idOf(n),
    kind: "input",
    generation: 0,
    root: idOf(n),
    assistantId: "a",
    graphId: "script",
    pool: "default",
    priority: 5,
    startedBy: "ann",
    stateless: false,
    settings: { streamModes: [], streamSubgraphs: false, streamResumable: false, multitaskStrategy: "enqueue" },
    payload: { metadata: { tag } },
    createdAt: 0,
  });

const hold: Hold = {
  ...ref,
  holdId: holdId("h1"),
  generation: 0,
  fence: 1,
  runId: idOf(1),
  root: idOf(1),
  graphId: "script",
  assistantId: "a",
  pool: "default",
  startedBy: "ann",
  node: "n",
  origin: "review",
  interruptId: "i1",
  raisedBy: { id: "i1", ns: "", checkpointId: "c2", taskId: "t", ordinal: 0 },
  value: null,
  digest: "d",
  state: "pending",
  followUpDue: false,
  raisedAt: 0,
  updatedAt: 0,
};
const decisionBy = (by: string) => {
  const id = decisionId(`decision of ${by}`);
  return {
    id,
    by,
    at: 0,
    comment: `${by}-1`,
    answer: { type: "approve" as const },
    continuation: continuationId(hold.holdId, id),
  };
};

const byTime = (at: number): Hold =>
  decided(
    { ...hold, times: { settlesAt: 100 } },
    { ...decisionBy("holdpoint:time"), by: "holdpoint:time", at, cause: "time" },
  );

type Bare<T> = T extends unknown ? Omit<T, "at" | "by"> & { readonly at?: number; readonly by?: string } : never;

/** Facts get their time from their place. */
const history = (facts: readonly Bare<Fact>[]): readonly Fact[] =>
  facts.map((fact, i): Fact => ({ by: "worker1", at: i, ...fact }));

const header = (thread: Thread): Bare<Fact> => ({ kind: "header", thread });
const run = (value: Run): Bare<Fact> => ({ kind: "run", run: value });
const record = (seq: number, fence: number, source: string, fields: Partial<RecordFact> = {}): Bare<Fact> => ({
  kind: "record",
  record: {
    thread: THREAD,
    generation: 0,
    ns: "",
    seq,
    fence,
    kind: "checkpoint",
    source,
    checkpointId: `c${seq}`,
    ...(seq > 1 ? { parentId: `c${seq - 1}` } : {}),
    overwritten: false,
    ...fields,
  },
});
const barrier = (seq: number, fence: number): Bare<Fact> => ({
  kind: "record",
  record: { thread: THREAD, generation: 0, ns: "", seq, fence, kind: "barrier", overwritten: false },
});
const reset = (seq: number, targetSeq: number): Bare<Fact> => ({
  kind: "record",
  record: { thread: THREAD, generation: 0, ns: "", seq, fence: 1, kind: "reset", targetSeq, overwritten: false },
});
const said = (
  wish: Extract<Fact, { kind: "answer" }>["wish"],
  answer: Extract<Fact, { kind: "answer" }>["answer"],
): Bare<Fact> => ({ kind: "answer", wish, answer });
const accept = (tag: string) => ({ do: "accept" as const, thread: THREAD, tag, strategy: "enqueue" as const });
const decide = (tag: string) => ({ do: "decide" as const, thread: THREAD, tag, hold: "h1" });
const yes = (id: string) => ({ is: "yes" as const, id });
const no = { is: "no" as const, code: "conflict" };
const events = (first: number, fence: number): Bare<Fact> => ({
  kind: "events",
  thread: THREAD,
  generation: 0,
  run: idOf(first + 1),
  first,
  count: 1,
  fence,
});

const idle = newThread(ref, { kind: "inline", value: {} }, 0);
const input = (n: number) => ({ runId: idOf(n), kind: "input" as const, pool: "default", graphId: "g" });
const claim = (thread: Thread, owner = "worker1/a"): Thread => claimed(thread, { owner, leaseMs: LEASE_MS, now: 0 });
const mark = (value: Run, fence: number): Run => marked(value, { fence, firstEvent: 0, graphVersion: undefined }, 0);

const one = newRun(1);
const two = newRun(2);
const [oneMarked, twoMarked] = [mark(one, 1), mark(two, 3)];
const oneHeld = ended(oneMarked, 1, {
  status: "held",
  end: { ...END, holds: [hold.holdId], waiting: { reviews: 1, plain: 0 } },
});
const won = decided(hold, decisionBy("eve"));
const next: Run = { ...newRun(3), runId: won.decision?.continuation ?? idOf(3), kind: "continuation" };
const nextDone = ended(mark(next, 2), 2, { status: "success", end: { ...END, waiting: { reviews: 0, plain: 0 } } });
const twoDone = ended(twoMarked, 3, { status: "success", end: END });

const queued = appended(appended(idle, input(1), 0), input(2), 0);
const first = claim(queued);
const held = released(movedOn(first, oneHeld, 0), 0);
const carried = appended(held, { runId: next.runId, kind: "continuation", pool: "default", graphId: "g" }, 0);
const second = claim(carried);
const afterNext = released(movedOn(second, nextDone, 0), 0);
const third = claim(afterNext);
const done = released(movedOn(third, twoDone, 0), 0);

const GOOD: readonly Bare<Fact>[] = [
  run(one),
  run(two),
  header(appended(idle, input(1), 0)),
  said(accept("run-1"), yes(one.runId)),
  header(queued),
  said(accept("run-2"), yes(two.runId)),
  header(first),
  run(oneMarked),
  events(0, 1),
  record(1, 1, "input"),
  record(2, 1, "loop"),
  { kind: "effect", token: "t1", run: one.runId, what: "run-1 0.0" },
  { kind: "hold", hold },
  run(oneHeld),
  header(held),
  { kind: "hold", hold: won },
  said(decide("eve-1"), yes("decision of eve")),
  said(decide("bob-1"), no),
  run(next),
  header(carried),
  { kind: "hold", hold: { ...won, followUpDue: false } },
  header(second),
  run(mark(next, 2)),
  events(1, 2),
  barrier(3, 2),
  record(4, 2, "loop", { parentId: "c2" }),
  { kind: "heard", tag: "eve-1" },
  { kind: "hold", hold: applied(won, 0) },
  run(nextDone),
  header(afterNext),
  header(third),
  run(twoMarked),
  events(2, 3),
  record(5, 3, "input"),
  run(twoDone),
  header(done),
  { kind: "calm" },
  { kind: "read", run: one.runId, numbers: [0], end: "held" },
  { kind: "waited", run: two.runId, end: "success" },
  { kind: "state", thread: THREAD, log: ["in run-1", "answer i1 approve eve-1", "in run-2"] },
];

const at = (is: (fact: Bare<Fact>) => boolean): number => {
  const found = GOOD.findIndex(is);
  if (found < 0) throw new Error("no such fact in the history");
  return found;
};
const place = (fact: Bare<Fact>): number =>
  at((other) => other === fact || JSON.stringify(other) === JSON.stringify(fact));
const without = (...facts: readonly Bare<Fact>[]): Bare<Fact>[] =>
  GOOD.filter((_, i) => !facts.some((fact) => place(fact) === i));
const after = (fact: Bare<Fact>, ...more: readonly Bare<Fact>[]): Bare<Fact>[] =>
  GOOD.toSpliced(place(fact) + 1, 0, ...more);
const instead = (fact: Bare<Fact>, ...other: readonly Bare<Fact>[]): Bare<Fact>[] =>
  GOOD.toSpliced(place(fact), 1, ...other);
const finally_ = (...more: readonly Bare<Fact>[]): Bare<Fact>[] => [...GOOD, ...more];
const stateOf = (...log: string[]): Bare<Fact>[] =>
  instead(
    { kind: "state", thread: THREAD, log: ["in run-1", "answer i1 approve eve-1", "in run-2"] },
    { kind: "state", thread: THREAD, log },
  );

const WORKER2: Bare<Fact> = { kind: "started", by: "worker2" };

const holds = (...values: readonly Hold[]): Bare<Fact>[] => values.map((value) => ({ kind: "hold", hold: value }));
const quorum: Hold = { ...hold, request: { number: 1, title: "Pay", action: "pay", args: {}, quorum: 2 } };
const voteBy = (by: string): Vote => {
  const { continuation: _, ...vote } = decisionBy(by);
  return { ...vote, id: decisionId(`vote of ${by}`) };
};
const callBack = (tag: string) => ({ do: "call back" as const, thread: THREAD, tag, hold: "h1" });
const called = (tag: string): Hold => {
  const value = outcomeValue({ kind: "arrived", result: tag });
  const { comment: _, ...decision } = decisionBy("holdpoint:callback");
  return decided({ ...hold, origin: "callback" }, { ...decision, answer: { type: "value", value } });
};
const settle = (verdict: "happened" | "not_happened") =>
  ({ do: "settle", thread: THREAD, tag: verdict, token: "t1", intent: 1, verdict }) as const;
const word = (id: string, by: string): Settlement => ({
  id,
  by,
  intent: 1,
  verdict: "happened",
  at: 0,
  reason: "seen",
});
const entry = (fields: Partial<EffectEntry>): Bare<Fact> => ({
  kind: "entry",
  entry: {
    tenant: ref.tenant,
    root: one.runId,
    token: "t1",
    name: "pay",
    policy: "unsafe",
    path: [["0.0"]],
    argsDigest: "d",
    fence: 1,
    runId: one.runId,
    deadline: 0,
    createdAt: 0,
    updatedAt: 0,
    ...fields,
  },
});

/** Invariant → histories that break it. */
const BROKEN: Readonly<Record<string, readonly (readonly Bare<Fact>[])[]>> = {
  "an acknowledged run ends, or waits behind a review that is open": [
    finally_({ kind: "run-removed", run: two }),
    without(run(twoDone)),
    finally_(run(newRun(4)), said(accept("run-4"), yes(idOf(4)))),
    finally_(run(refused(newRun(4), { name: "conflict", message: "" }, 0)), said(accept("run-4"), yes(idOf(4)))),
  ],
  "a refused run is never executed, nor acknowledged": [
    finally_(said(accept("run-2"), no)),
    finally_(run(mark(newRun(4), 3)), said(accept("run-4"), no)),
  ],
  "a run never leaves a status in which it has ended": [finally_(run({ ...twoDone, status: "cancelled" }))],
  "runs start in the order of the queue": [
    [header(queued), run(mark(two, 1)), run(oneMarked)],
    [run(mark(newRun(4), 1))],
  ],
  "a header names a run once, and drops none that has not ended": [
    [run(one), run(two), header(queued), header({ ...queued, queue: [input(1)] })],
    [header({ ...queued, queue: [input(1), input(1)] })],
  ],
  "a run that no header names is not kept for ever": [finally_(run({ ...newRun(4), followUpAt: -6_000 }))],
  "a run that was asked to stop does not end in success": [
    finally_(
      run({ ...twoDone, cancelAsked: { by: "ann", at: 0 } }),
      said({ do: "cancel", thread: THREAD, run: two.runId }, yes(two.runId)),
    ),
  ],
  "at the end nobody holds a lease, and nothing is left to run": [
    finally_(header(third)),
    finally_(header(released(third, 0))),
  ],
  "no thread stays under a dead lease for more than two leases": [
    [
      WORKER2,
      { kind: "calm" },
      header(first),
      { kind: "crashed" },
      { ...header(claim(first, "worker2/a")), by: "worker2", at: 5_000 },
    ],
    [
      WORKER2,
      { kind: "calm" },
      header(first),
      { kind: "crashed" },
      { kind: "state", thread: THREAD, log: [], at: 5_000 },
    ],
  ],
  "every holder has a fence of its own, and fences only rise": [
    [header(first), header(claim(queued, "worker2/a"))],
    [header(second), header(first)],
  ],
  "no record of a lower fence stands above one of a higher": [
    [record(1, 2, "input"), record(2, 1, "loop")],
    [record(1, 1, "input"), record(3, 1, "loop")],
    [record(1, 1, "input", { overwritten: true })],
  ],
  "the checkpoints of a thread are one chain": [
    [record(1, 1, "input"), record(2, 1, "loop"), record(3, 1, "loop", { parentId: "c1" })],
    [record(1, 1, "input"), record(2, 1, "loop"), reset(3, 1), record(4, 1, "input", { parentId: "c2" })],
  ],
  "no event of a lower fence follows one of a higher, and none is missing": [
    [events(0, 2), events(1, 1)],
    [events(0, 1), events(2, 1)],
  ],
  "a run is never written under a lower fence than before": [[run(mark(one, 2)), run(mark(one, 1))]],
  "a decision never changes, unless the run that carried it on did not": [
    finally_({ kind: "hold", hold: applied(decided(hold, decisionBy("bob")), 0) }),
    finally_({ kind: "hold", hold: reopened(won, "why not", 0) }),
  ],
  "nobody decides what somebody else has claimed": [
    [
      { kind: "hold", hold: { ...hold, claim: { by: "bob", until: 1 } } },
      { kind: "hold", hold: won },
    ],
  ],
  "two decisions of one hold are never both acknowledged": [finally_(said(decide("bob-1"), yes("decision of bob")))],
  "who is told that a decision lost does not stand as the one who decided, unless the review has come back since": [
    finally_(said(decide("eve-1"), no)),
  ],
  "an acknowledged decision is applied exactly once": [
    without({ kind: "hold", hold: applied(won, 0) }),
    without({ kind: "heard", tag: "eve-1" }).map((fact) =>
      fact.kind === "state" ? { ...fact, log: ["in run-1", "in run-2"] } : fact,
    ),
    stateOf("in run-1", "answer i1 approve eve-1", "answer i1 approve eve-1", "in run-2"),
    finally_({ kind: "hold", hold: { ...won, state: "cancelled", followUpDue: false } }),
    finally_({ kind: "hold", hold: superseded(won, "the thread moved on", 0) }),
  ],
  "no input and no update runs over a review that nobody has cancelled": [
    after(run(oneHeld), record(3, 1, "input")),
    after({ kind: "hold", hold: won }, record(3, 1, "update")),
  ],
  "a thread that waits for a review has one that somebody can decide": [
    finally_(
      { kind: "hold", hold: { ...hold, holdId: holdId("h2"), fence: 0 } },
      header({ ...done, waiting: { runId: one.runId, reviews: 1, plain: 0 } }),
    ),
  ],
  "who is told that a held run was cancelled finds nothing that it still asks, or that was answered just then": [
    after(header(held), said({ do: "cancel", thread: THREAD, run: one.runId }, yes(one.runId))),
    after({ kind: "hold", hold: won }, said({ do: "cancel", thread: THREAD, run: one.runId }, yes(one.runId))),
  ],
  "time decides nothing before its time": [
    [
      { kind: "hold", hold: { ...hold, times: { settlesAt: 100 } } },
      { kind: "hold", hold: byTime(50) },
    ],
    [{ kind: "hold", hold: byTime(50) }],
  ],
  "what time has decided is carried on, once": [
    [{ kind: "hold", hold: byTime(0) }],
    [{ kind: "state", thread: THREAD, log: ["answer i1 holdpoint:time i1", "answer i1 holdpoint:time i1"] }],
  ],
  "what time has decided was heard by the code that asked": [
    [{ kind: "hold", hold: { ...byTime(0), state: "applied", node: "script" } }],
  ],
  "nothing that waits is overdue at the end": [
    [
      run(oneHeld),
      { kind: "hold", hold: { ...hold, fence: oneHeld.fence, times: { settlesAt: 0 } } },
      { kind: "calm", at: 60_000 },
    ],
  ],
  "a hold that is due is followed up": [finally_({ kind: "hold", hold: won })],
  "every decision that was won is in the audit log, and in one link of its chain": [
    finally_({ kind: "audit", chained: [], problems: [] }),
    finally_({ kind: "audit", chained: [], problems: ["link 2: does not follow link 1"] }),
  ],
  "no effect takes place twice, also under another token": [
    finally_({ kind: "effect", token: "t1", run: one.runId, what: "run-1 1.0" }),
    finally_({ kind: "effect", token: "t2", run: one.runId, what: "run-1 0.0" }),
  ],
  "a quorum counts different people who said the same": [
    holds(quorum, decided(quorum, decisionBy("eve"))),
    holds(decided({ ...quorum, votes: [voteBy("eve")] }, decisionBy("eve"))),
    holds({ ...quorum, votes: [voteBy("eve"), voteBy("eve")] }),
    holds(decided({ ...quorum, votes: [{ ...voteBy("bob"), answer: { type: "edit", args: {} } }] }, decisionBy("eve"))),
  ],
  "an acknowledged vote is counted, and stays until its review is over": [
    holds({ ...quorum, votes: [voteBy("bob")] }, quorum),
    holds({ ...quorum, votes: [voteBy("bob")] }, decided(quorum, decisionBy("eve"))),
    [...holds(quorum), said(decide("bob-1"), { ...yes("vote of bob"), vote: true })],
  ],
  "nobody takes what somebody else has claimed": [
    holds({ ...hold, claim: { by: "bob", until: 1 } }, { ...hold, claim: { by: "eve", until: 2 } }),
  ],
  "a hold that is over stays as it is, unless a later delivery finds that it waits after all": [
    holds(applied(won, 0), { ...hold, fence: 2 }),
    holds(superseded(won, "why not", 0), hold),
    holds({ ...superseded(won, "why not", 0), fence: 2 }, { ...hold, runId: two.runId }),
    holds(superseded(won, "why not", 0), { ...applied(won, 0), fence: 2 }),
  ],
  "a callback is used once, and what it brought is what its code hears": [
    [said(callBack("one"), yes("one")), said(callBack("two"), yes("two"))],
    [said(callBack("one"), no), { kind: "heard", tag: "one" }],
    [...holds(applied(called("one"), 0)), said(callBack("one"), yes("one"))],
    [...holds(called("two")), said(callBack("one"), yes("one"))],
  ],
  "of one run one retry at a time is under way": [
    [run({ ...mark(newRun(4), 4), replayOf: one.runId }), run({ ...mark(newRun(5), 5), replayOf: one.runId })],
  ],
  "only a run that failed is tried again": [finally_(run({ ...mark(newRun(4), 4), replayOf: two.runId }))],
  "of one intent of an effect one word stands, and it is never another": [
    [said(settle("happened"), yes("s-1")), said(settle("not_happened"), yes("s-2"))],
    [entry({ settlement: word("s-1", "olga") }), entry({ settlement: word("s-2", "omar") })],
  ],
  "what cannot be undone is settled by two people": [
    [entry({ irreversible: true, settlement: word("s-1", "olga") })],
    [entry({ irreversible: true, settlement: { ...word("s-1", "olga"), proposedBy: "olga" } })],
  ],
  "what was said of an effect is followed up, and in the audit log": [
    [entry({ settlement: word("s-1", "olga"), followUp: { pool: "default", at: 0 } })],
    [entry({ settlement: word("s-1", "olga") }), { kind: "audit", chained: [], problems: [] }],
  ],
  "an effect is in doubt only after an earlier delivery broke off": [
    finally_(run(ended(mark(newRun(4), 3), 3, { status: "parked", end: END }))),
  ],
  "a run is in the state once if it ended in success, and never twice": [
    stateOf("in run-1", "answer i1 approve eve-1"),
    stateOf("in run-1", "in run-1", "answer i1 approve eve-1", "in run-2"),
  ],
  "an acknowledged update is in the state once, a refused one is not": [
    finally_(said({ do: "update", thread: THREAD, tag: "u" }, yes("u"))),
    [
      ...stateOf("in run-1", "answer i1 approve eve-1", "in run-2", "update u"),
      said({ do: "update", thread: THREAD, tag: "u" }, no),
    ],
  ],
  "a reader gets every frame of its run once, in order, and then its end": [
    finally_({ kind: "read", run: idOf(1), numbers: [], end: "held" }),
    finally_({ kind: "read", run: idOf(1), numbers: [0, 0], end: "held" }),
    finally_({ kind: "read", run: idOf(1), numbers: [0, 1], end: "held" }),
    finally_({ kind: "read", run: idOf(1), numbers: [0], end: "success" }),
    finally_({ kind: "read", run: idOf(1), numbers: [0], end: undefined }),
  ],
  "who waits for a run is told how it ended": [finally_({ kind: "waited", run: two.runId, end: "held" })],
  "nothing in the product fails in a way that nobody expected": [finally_({ kind: "defect", message: "TypeError" })],
};

const broken = (facts: readonly Bare<Fact>[]): readonly string[] =>
  check(history(facts), { leaseMs: LEASE_MS }).map((violation) => violation.invariant);

describe("the checker", () => {
  it("finds nothing in a history in which everything went well", () => {
    expect(check(history(GOOD), { leaseMs: LEASE_MS })).toEqual([]);
  });

  it("has a broken history for every invariant", () => {
    expect(Object.keys(BROKEN).toSorted()).toEqual(Object.keys(INVARIANTS).toSorted());
  });

  it.each(Object.entries(BROKEN))("sees it when this is broken: %s", (invariant, histories) => {
    for (const facts of histories) expect(broken(facts)).toContain(invariant);
  });

  it("lets a queued run wait behind a review that is open", () => {
    expect(broken([...GOOD.slice(0, place(header(held)) + 1), { kind: "calm" }])).toEqual([]);
  });

  it("lets a decision be given back by a continuation that failed, and be taken again", () => {
    const failed = ended(mark(next, 2), 2, { status: "error", end: END });
    const handed: Hold = { ...won, handedTo: 2 };
    const facts = GOOD.slice(0, place(run(nextDone))).filter(
      (fact) => fact.kind !== "heard" && !(fact.kind === "hold" && fact.hold.state === "applied"),
    );
    const again = [
      { kind: "hold" as const, hold: handed },
      { kind: "hold" as const, hold: reopened(handed, "failed", 0) },
      run(failed),
    ];
    const settled = header({ ...released(movedOn(second, failed, 0), 0), queue: [] });
    const found = broken([...facts, ...again, settled, said(decide("bob-2"), yes("decision of bob"))]);
    expect(found).not.toContain("a decision never changes, unless the run that carried it on did not");
    expect(found).not.toContain("two decisions of one hold are never both acknowledged");
  });

  it("lets a thread go on from where a rollback has led it back to", () => {
    const back = [record(1, 1, "input"), record(2, 1, "loop"), reset(3, 1), record(4, 1, "input", { parentId: "c1" })];
    expect(broken(back)).toEqual([]);
  });

  it("lets a pending run be cancelled at once", () => {
    const result = cancelled(newRun(4), { by: "ann", at: 0 });
    if (result.kind !== "written") throw new Error("a pending run can be cancelled");
    expect(
      broken([run(newRun(4)), run(result.run), said({ do: "cancel", thread: THREAD, run: idOf(4) }, yes(idOf(4)))]),
    ).toEqual([]);
  });
});
