import { describe, expect, it } from "vitest";
import type { LogRecord } from "../../src/checkpoint/record.ts";
import { applied, decided } from "../../src/core/hold.ts";
import type { Hold } from "../../src/core/hold.ts";
import { decisionId, holdId, runId, tenantId, threadId } from "../../src/core/ids.ts";
import { ended, marked, pendingRun, untouchedEnd } from "../../src/core/run.ts";
import type { Run } from "../../src/core/run.ts";
import { newThread } from "../../src/core/thread.ts";
import type { Evidence, ThreadSeen } from "./evidence.ts";
import { BUSY_MACHINE_MS, INVARIANTS, recoveriesOf, violationsOf } from "./invariants.ts";
import type { Fact, Seen } from "./witness.ts";

/** Evidence made by hand: one thread, a run that asked, its continuation, one effect. Each invariant is broken in turn. */
const THREAD = "00000000-0000-4000-8000-000000000001";
const ref = { tenant: tenantId("acme"), threadId: threadId(THREAD) };
const [ASKED, CARRIER] = ["1", "2"].map((n) => runId(`00000000-0000-7000-8000-00000000000${n}`)) as [
  Run["runId"],
  Run["runId"],
];

function endedRun(id: Run["runId"], kind: Run["kind"], fence: number): Run {
  const pending = pendingRun({
    ...ref,
    runId: id,
    kind,
    generation: 0,
    root: ASKED,
    assistantId: "a",
    graphId: "g",
    pool: "default",
    priority: 5,
    startedBy: "ann",
    stateless: false,
    settings: { streamModes: [], streamSubgraphs: false, streamResumable: false, multitaskStrategy: "enqueue" },
    createdAt: 0,
  });
  const begun = marked(pending, { fence, firstEvent: 0, graphVersion: "1" }, 0);
  return ended(begun, fence, { status: kind === "input" ? "held" : "success", end: untouchedEnd(0) });
}

const pendingHold: Hold = {
  ...ref,
  holdId: holdId("h"),
  generation: 0,
  fence: 1,
  runId: ASKED,
  root: ASKED,
  graphId: "g",
  assistantId: "a",
  pool: "default",
  startedBy: "ann",
  node: "n",
  origin: "review",
  interruptId: "i",
  raisedBy: { id: "i", ns: "", checkpointId: "c", taskId: "t", ordinal: 0 },
  value: null,
  digest: "d",
  state: "pending",
  followUpDue: false,
  raisedAt: 0,
  updatedAt: 0,
};
const decision = {
  id: decisionId("e"),
  by: "eve",
  at: 0,
  comment: "mine",
  answer: { type: "approve" },
  continuation: CARRIER,
} as const;

const barrier = (seq: number, fence: number): LogRecord => ({ kind: "barrier", seq, fence, sealed: [] });
const checkpoint = (seq: number, fence: number, parentId?: string): LogRecord => ({
  kind: "checkpoint",
  format: 2,
  seq,
  fence,
  checkpointId: `c${seq}`,
  ...(parentId === undefined ? {} : { parentId }),
  baseSeq: seq,
  depth: 1,
  deltaBytes: 0,
  step: seq,
  source: "loop",
  hash: new Uint8Array(),
  body: new Uint8Array(),
});

const fact = (atMs: number, seen: Seen, pid = 1): Fact => ({ ...seen, pid, atMs });
const ran = (run: string, status: Run["status"], sentMs: number): Seen => ({
  is: "run",
  thread: THREAD,
  run,
  status,
  fence: 1,
  sentMs,
});
const claim = (fence: number, strikes = 0): Seen => ({ is: "claim", thread: THREAD, fence, strikes, sentMs: 0 });

const good: ThreadSeen = {
  told: {
    ...ref,
    runs: [ASKED],
    decisions: [{ reviewId: `${THREAD}.h`, type: "approve", comment: "mine", continuation: CARRIER }],
    effects: ["pay"],
    log: ["a", "b"],
  },
  header: newThread(ref, { kind: "inline", value: {} }, 0),
  runs: [endedRun(CARRIER, "continuation", 2), endedRun(ASKED, "input", 1)],
  holds: [applied(decided(pendingHold, decision), 0)],
  logs: new Map([["", [checkpoint(1, 1), barrier(2, 2), checkpoint(3, 2, "c1")]]]),
  events: { numbers: [0, 1, 2], fences: [1, 2] },
  log: ["a", "b"],
};
const evidence: Evidence = {
  threads: [good],
  facts: [
    fact(10, claim(1)),
    fact(11, ran(ASKED, "running", 10)),
    fact(20, ran(ASKED, "held", 19)),
    fact(30, { is: "stopped", thread: THREAD, kind: "beat", call: "put H" }),
    fact(40, claim(2), 2),
    fact(41, ran(CARRIER, "running", 40), 2),
    fact(50, ran(CARRIER, "success", 49), 2),
    fact(60, { is: "woke", thread: THREAD, kind: "beat", call: "put H", won: false, fence: 1 }),
  ],
  effects: [{ token: "t", what: `${THREAD} pay`, asked: 2 }],
  leaseMs: 1000,
  unwritableMs: 0,
};

const withThread = (thread: Partial<ThreadSeen>): Evidence => ({ ...evidence, threads: [{ ...good, ...thread }] });
const withFacts = (...facts: readonly Fact[]): Evidence => ({ ...evidence, facts: [...evidence.facts, ...facts] });

const BROKEN: Readonly<Record<string, Evidence>> = {
  "no accepted run is missing, and each has come to its end": withThread({ runs: good.runs.slice(0, 1) }),
  "no run is on the thread that nobody asked for": withThread({
    runs: [...good.runs, endedRun(runId("00000000-0000-7000-8000-000000000003"), "input", 3)],
  }),
  "nothing is left to run, and nobody holds the thread": withThread({
    header: {
      ...newThread(ref, { kind: "inline", value: {} }, 0),
      lease: { owner: "somebody", beat: 1, endsAt: 1 },
    },
  }),
  "checkpoints are one chain, under fences that only rise": withThread({
    logs: new Map([["", [checkpoint(1, 1), barrier(2, 2), checkpoint(3, 1, "c1")]]]),
  }),
  "events follow each other, under fences that only rise": withThread({
    events: { numbers: [0, 1, 2, 3], fences: [1, 2, 1] },
  }),
  "an acknowledged decision stands, and is applied by the run that it names": withThread({
    holds: [decided(pendingHold, decision)],
  }),
  "the state has a line for everything that took place, once": withThread({ log: ["a", "b", "b"] }),
  "what was owed happened once, under one token": {
    ...evidence,
    effects: [...evidence.effects, { token: "another", what: `${THREAD} pay`, asked: 1 }],
  },
  "a fence is given out once": withFacts(fact(70, claim(2), 3)),
  "at most one run of a thread is active": withFacts(
    fact(45, ran("another", "running", 44), 3),
    fact(90, ran("another", "success", 89), 3),
  ),
  "no write of a holder that was overtaken is accepted": withFacts(
    fact(70, { is: "woke", thread: THREAD, kind: "events", call: "put E#", won: true, fence: 1 }),
  ),
  "no dead lease stands for more than two leases": withFacts(fact(70, { is: "died" }, 2), fact(60_000, claim(3), 3)),
};

describe("the checker", () => {
  it("finds nothing wrong with a thread on which all went well", () => {
    expect(violationsOf(evidence)).toEqual([]);
  });

  it("has an invariant for each way to break it", () => {
    expect(Object.keys(BROKEN).toSorted()).toEqual(INVARIANTS.toSorted());
  });

  it.each(Object.entries(BROKEN))("sees that this does not hold: %s", (invariant, broken) => {
    expect([...new Set(violationsOf(broken).map((found) => found.invariant))]).toEqual([invariant]);
  });

  it("counts continuations that were executed, and none that was refused", () => {
    const id = runId("00000000-0000-7000-8000-000000000004");
    const another = endedRun(id, "continuation", 3);
    const broken = withThread({ runs: [...good.runs, another] });
    const message = expect.stringContaining(`${id} (success)`) as string;
    expect(violationsOf(broken)).toMatchObject([{ what: message }]);
    const superseded = withThread({ runs: [...good.runs, { ...another, status: "refused" }] });
    expect(violationsOf(superseded)).toEqual([]);
  });

  it("measures recovery from the moment at which the holder was lost", () => {
    expect(recoveriesOf(evidence.facts)).toEqual([{ thread: THREAD, tookMs: 10 }]);
  });

  it.each([
    ["allows two leases, and what a busy machine adds", 0, false],
    ["sees a moment more", 1, true],
  ])("from a death until another takes the thread %s, whatever the lease", (_, moreMs, isSeen) => {
    for (const [leaseMs, unwritableMs] of [
      [1000, 0],
      [8000, 0],
      [1000, 3000],
    ] as const) {
      const takenAt = 70 + 2 * leaseMs + unwritableMs + BUSY_MACHINE_MS + moreMs;
      const facts = [...evidence.facts, fact(70, { is: "died" }, 2), fact(takenAt, claim(3), 3)];
      expect(violationsOf({ ...evidence, facts, leaseMs, unwritableMs })).toHaveLength(isSeen ? 1 : 0);
    }
  });

  it("lets a suspect wait for a worker of its own", () => {
    const facts = [fact(1, claim(1)), fact(2, { is: "died" }), fact(90_000, claim(2, 2), 2)];
    expect(recoveriesOf(facts)).toEqual([]);
  });
});
