import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { runId, tenantId, threadId } from "../../src/core/ids.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { Run, RunStatus } from "../../src/core/run.ts";
import { isEnded } from "../../src/core/run.ts";
import {
  appended,
  claimed,
  claimedForUpdate,
  cleared,
  heartbeat,
  movedOn,
  nothingWaits,
  recreated,
  released,
  tombstone,
} from "../../src/core/thread-changes.ts";
import {
  activeRunId,
  holds,
  isBusy,
  names,
  newThread,
  nextRunnable,
  threadDue,
  threadStatus,
} from "../../src/core/thread.ts";
import type { QueueEntry, Thread } from "../../src/core/thread.ts";
import { STATUSES, anyEntry, anyThread, entries, plainRun } from "./thread-core-arbitraries.ts";

const NOW = 1_800_000_000_000;
const claim = { owner: "w1", leaseMs: 5_000, now: NOW };
const fresh = (): Thread =>
  newThread({ tenant: tenantId("acme"), threadId: threadId("case") }, { kind: "inline", value: {} }, NOW);
const uuid = (n: number): RunId => runId(`00000000-0000-7000-8000-${String(n).padStart(12, "0")}`);
const input = (n: number): QueueEntry => ({ runId: uuid(n), kind: "input", pool: "default", graphId: "g" });
const continuation = (n: number): QueueEntry => ({
  runId: uuid(n),
  kind: "continuation",
  pool: "default",
  graphId: "g",
});
const queueOf = (...all: QueueEntry[]): Thread => all.reduce((thread, entry) => appended(thread, entry, NOW), fresh());
/** Everything the header still names, the active run first. */
const everything = (thread: Thread): QueueEntry[] => [
  ...(thread.active?.kind === "run" ? [thread.active.entry] : []),
  ...thread.queue,
];
const ids = (thread: Thread): RunId[] => everything(thread).map((entry) => entry.runId);
const ENDED = STATUSES.filter((status) => isEnded(status));
const reviewsWait = (thread: Thread): boolean => (thread.waiting?.reviews ?? 0) > 0;

describe("the queue of a thread", () => {
  it("keeps the order in which runs were appended, whatever their ids", () => {
    fc.assert(
      fc.property(entries(20), (all) => {
        expect(queueOf(...all).queue).toEqual(all);
      }),
    );
  });

  it("hands out every run exactly once and in its order", () => {
    fc.assert(
      fc.property(entries(12), fc.array(fc.constantFrom(...ENDED), { minLength: 12, maxLength: 12 }), (all, ends) => {
        let thread = claimed(queueOf(...all), claim);
        const executed: RunId[] = [];
        for (let active = activeRunId(thread); active; active = activeRunId(thread)) {
          executed.push(active);
          thread = movedOn(thread, plainRun(active, ends[executed.length] ?? "success"), NOW);
        }
        expect(executed).toEqual(all.map((entry) => entry.runId));
        expect(isBusy(released(thread, NOW))).toBe(false);
      }),
    );
  });

  it("never skips, doubles or loses an entry, in any sequence of accepts, claims, ends and releases", () => {
    type Step =
      | { do: "append"; entry: QueueEntry }
      | { do: "claim" }
      | { do: "end"; status: RunStatus }
      | { do: "release" };
    const step: fc.Arbitrary<Step> = fc.oneof(
      anyEntry.map((entry) => ({ do: "append" as const, entry })),
      fc.constant({ do: "claim" as const }),
      fc.constantFrom(...ENDED).map((status) => ({ do: "end" as const, status })),
      fc.constant({ do: "release" as const }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let thread = fresh();
        const open = new Set<RunId>();
        const seen = new Set<RunId>();
        for (const s of steps) {
          if (s.do === "append" && !seen.has(s.entry.runId)) {
            thread = appended(thread, s.entry, NOW);
            open.add(s.entry.runId);
            seen.add(s.entry.runId);
          } else if (s.do === "claim") {
            thread = claimed(thread, claim);
          } else if (s.do === "end") {
            const active = activeRunId(thread);
            if (!active) continue;
            open.delete(active);
            const held = {
              at: NOW,
              holds: [],
              waiting: { reviews: s.status === "held" ? 1 : 0, plain: 0 },
              interrupts: [],
            };
            thread = movedOn(thread, plainRun(active, s.status, { end: held }), NOW);
          } else {
            thread = released(thread, NOW);
          }
          expect(ids(thread).toSorted()).toEqual([...open].toSorted());
        }
      }),
    );
  });
});

describe("what runs next", () => {
  it("is the active run, then the first of the queue", () => {
    const thread = queueOf(input(1), continuation(2));
    expect(nextRunnable(thread)?.runId).toBe(uuid(1));
    expect(nextRunnable(claimed(thread, claim))?.runId).toBe(uuid(1));
  });

  it("is only ever a continuation while reviews wait", () => {
    fc.assert(
      fc.property(anyThread, fc.integer({ min: 1, max: 3 }), (thread, reviews) => {
        const { active: _, ...idle } = thread;
        const held: Thread = { ...idle, waiting: { runId: uuid(9), reviews, plain: 0 } };
        const next = nextRunnable(held);
        expect(next).toEqual(held.queue.find((entry) => entry.kind === "continuation"));
        const { lease: __, ...free } = held;
        if (!next) expect(threadDue(free)?.kind).not.toBe("ready");
      }),
    );
  });

  it("leaves the runs that a review holds back in their order", () => {
    const held: Thread = {
      ...queueOf(input(1), input(2), continuation(3), input(4)),
      waiting: { runId: uuid(9), reviews: 1, plain: 0 },
    };
    const taken = claimed(held, claim);
    expect(activeRunId(taken)).toBe(uuid(3));
    expect(taken.queue.map((entry) => entry.runId)).toEqual([uuid(1), uuid(2), uuid(4)]);
  });

  it("is not held back by plain interrupts", () => {
    const thread: Thread = { ...queueOf(input(1)), waiting: { runId: uuid(9), reviews: 0, plain: 2 } };
    expect(nextRunnable(thread)?.runId).toBe(uuid(1));
    expect(threadDue(thread)?.kind).toBe("ready");
  });

  it("opens the queue again once no review waits", () => {
    const held: Thread = { ...queueOf(input(1)), waiting: { runId: uuid(9), reviews: 1, plain: 0 } };
    expect(threadDue(held)).toBeUndefined();
    expect(threadDue(nothingWaits(held, NOW))).toMatchObject({ kind: "ready", at: NOW });
  });
});

describe("claiming", () => {
  it("gives the next fence, a new lease and the run that was next", () => {
    fc.assert(
      fc.property(anyThread, (thread) => {
        const taken = claimed(thread, claim);
        expect(taken.fence).toBe(thread.fence + 1);
        expect(taken.lease).toEqual({ owner: "w1", beat: 0, endsAt: NOW + 5_000 });
        expect(holds(taken, "w1", thread.fence + 1)).toBe(true);
        expect(holds(taken, "w1", thread.fence)).toBe(false);
        expect(ids(taken).toSorted()).toEqual(ids(thread).toSorted());
        if (thread.active?.kind !== "update") expect(activeRunId(taken)).toBe(nextRunnable(thread)?.runId);
      }),
    );
  });

  it("finds an interrupted update and executes nothing under its name", () => {
    const dead = { ...claimedForUpdate(fresh(), claim), queue: [input(1)] };
    const taken = claimed(dead, { ...claim, owner: "w2" });
    expect(taken.active).toEqual({ kind: "update" });
    expect(activeRunId(movedOn(taken, undefined, NOW))).toBe(uuid(1));
  });

  it("for an update takes a fence and names no run", () => {
    fc.assert(
      fc.property(anyThread, (thread) => {
        const taken = claimedForUpdate({ ...thread, queue: [] }, claim);
        expect(taken.fence).toBe(thread.fence + 1);
        expect(activeRunId(taken)).toBeUndefined();
        expect(isBusy(taken)).toBe(true);
      }),
    );
  });

  it("is followed by heartbeats that change only the lease, and always its beat", () => {
    fc.assert(
      fc.property(anyThread, fc.nat(100_000), (thread, passed) => {
        const taken = claimed(thread, claim);
        const beaten = heartbeat(taken, { ...claim, now: NOW + passed });
        expect(beaten.lease?.beat).toBe((taken.lease?.beat ?? 0) + 1);
        expect(beaten.lease?.endsAt).toBe(NOW + passed + 5_000);
        expect({ ...beaten, lease: undefined }).toEqual({ ...taken, lease: undefined });
      }),
    );
  });
});

describe("moving on", () => {
  const ran = (thread: Thread, status: RunStatus, fields: Partial<Run> = {}): Run => {
    const active = activeRunId(thread);
    if (!active) throw new Error("no run is active");
    return plainRun(active, status, fields);
  };

  it("leaves lease and fence alone", () => {
    fc.assert(
      fc.property(anyThread, fc.constantFrom(...ENDED), (thread, status) => {
        const active = activeRunId(thread);
        const next = movedOn(thread, active && plainRun(active, status), NOW);
        expect(next.lease).toEqual(thread.lease);
        expect(next.fence).toBe(thread.fence);
      }),
    );
  });

  it("takes an ended active run off and touches no other", () => {
    fc.assert(
      fc.property(anyThread, fc.constantFrom(...ENDED), (thread, status) => {
        const active = activeRunId(thread);
        const next = movedOn(thread, active && plainRun(active, status), NOW);
        expect(ids(next).toSorted()).toEqual(thread.queue.map((entry) => entry.runId).toSorted());
        expect(next.queue).toEqual(thread.queue.filter((entry) => entry.runId !== activeRunId(next)));
      }),
    );
  });

  it("keeps a run active that has not ended", () => {
    const thread = claimed(queueOf(input(1), input(2)), claim);
    for (const status of ["pending", "running", "waiting"] as const) {
      expect(ids(movedOn(thread, ran(thread, status), NOW))).toEqual([uuid(1), uuid(2)]);
    }
  });

  it("applied twice for the same ended run moves past it only once", () => {
    fc.assert(
      fc.property(anyThread, fc.constantFrom(...ENDED), (thread, status) => {
        const active = activeRunId(thread);
        if (!active) return;
        const run = plainRun(active, status);
        const once = movedOn(thread, run, NOW);
        expect(movedOn(once, run, NOW)).toEqual(once);
      }),
    );
  });

  it("is moved past a run whose item is gone, and past an update", () => {
    expect(ids(movedOn(claimed(queueOf(input(1), input(2)), claim), undefined, NOW))).toEqual([uuid(2)]);
    expect(movedOn(claimedForUpdate(fresh(), claim), undefined, NOW).active).toBeUndefined();
  });

  it("sets the summary of what waits when a run ends as held, and only a continuation follows", () => {
    const thread = claimed(queueOf(input(1), input(2), continuation(3)), claim);
    const end = { at: NOW, holds: [], waiting: { reviews: 1, plain: 0 }, interrupts: [] };
    const next = movedOn(thread, ran(thread, "held", { end }), NOW);
    expect(next.waiting).toEqual({ runId: uuid(1), reviews: 1, plain: 0 });
    expect(activeRunId(next)).toBe(uuid(3));
    expect(threadStatus(movedOn({ ...thread, queue: [input(2)] }, ran(thread, "held", { end }), NOW))).toBe(
      "interrupted",
    );
  });

  it("clears the summary when the continuation leaves nothing waiting", () => {
    const held: Thread = { ...queueOf(input(2), continuation(3)), waiting: { runId: uuid(1), reviews: 1, plain: 0 } };
    const thread = claimed(held, claim);
    const end = { at: NOW, holds: [], waiting: { reviews: 0, plain: 0 }, interrupts: [] };
    const next = movedOn(thread, ran(thread, "success", { end }), NOW);
    expect(next.waiting).toBeUndefined();
    expect(activeRunId(next)).toBe(uuid(2));
  });

  it("keeps the summary when a run never got as far as looking", () => {
    fc.assert(
      fc.property(anyThread, fc.constantFrom(...ENDED), (thread, status) => {
        const active = activeRunId(thread);
        if (!active) return;
        expect(movedOn(thread, plainRun(active, status), NOW).waiting).toEqual(thread.waiting);
      }),
    );
  });

  it("leaves a thread without a lease findable exactly when something can run", () => {
    fc.assert(
      fc.property(anyThread, fc.constantFrom(...ENDED), (thread, status) => {
        const { lease: _, ...free } = thread;
        const active = activeRunId(free);
        const next = movedOn(free, active && plainRun(active, status), NOW);
        const runnable = nextRunnable(next) !== undefined;
        expect(threadDue(next)?.kind === "ready").toBe(runnable);
        if (reviewsWait(next)) expect(activeRunId(next) === undefined || next.active?.kind === "run").toBe(true);
      }),
    );
  });
});

describe("the due row", () => {
  it("stands at the end of the lease while somebody holds the thread", () => {
    fc.assert(
      fc.property(anyThread, (thread) => {
        const taken = claimed(thread, claim);
        expect(threadDue(taken)).toMatchObject({ kind: "lease", at: NOW + 5_000 });
      }),
    );
  });

  it("is ready as soon as a free thread has a run, in the pool of the run that is next", () => {
    const thread = queueOf({ ...input(1), pool: "gpu" }, input(2));
    expect(threadDue(thread)).toEqual({ kind: "ready", at: NOW, pool: "gpu" });
    expect(threadDue(fresh())).toBeUndefined();
  });

  it("keeps the time at which the thread became ready when more is appended", () => {
    const first = appended(fresh(), input(1), NOW);
    expect(threadDue(appended(first, input(2), NOW + 60_000))?.at).toBe(NOW);
  });

  it("is new after a release, and gone when nothing is left to run", () => {
    const thread = claimed(queueOf(input(1), input(2)), claim);
    expect(threadDue(released(thread, NOW + 9))).toMatchObject({ kind: "ready", at: NOW + 9 });
    const empty = released(movedOn(claimed(queueOf(input(1)), claim), plainRun(uuid(1), "success"), NOW), NOW);
    expect(threadDue(empty)).toBeUndefined();
  });
});

describe("deleting", () => {
  it("raises generation and fence, names nothing any more and stays findable until what it kept is removed", () => {
    fc.assert(
      fc.property(anyThread, (thread) => {
        const dead = tombstone(thread, NOW);
        expect(dead).toMatchObject({ deleted: true, generation: thread.generation + 1, fence: thread.fence + 1 });
        expect(everything(dead)).toEqual([]);
        expect(threadDue(dead)?.kind).toBe("removal");
        expect(threadDue(cleared(dead))).toBeUndefined();
      }),
    );
  });

  it("lets the thread be created again without forgetting what is still to be removed", () => {
    const again = recreated(fresh(), tombstone(claimed(queueOf(input(1)), claim), NOW));
    expect(again).toMatchObject({ deleted: false, generation: 1, fence: 2, queue: [] });
    expect(threadDue(again)?.kind).toBe("removal");
    expect(threadDue(appended(again, input(2), NOW))).toMatchObject({ kind: "ready", at: NOW });
  });
});

describe("naming", () => {
  it("is true for the active run and everything queued, and for nothing else", () => {
    fc.assert(
      fc.property(anyThread, anyEntry, (thread, other) => {
        for (const id of ids(thread)) expect(names(thread, id)).toBe(true);
        expect(names(thread, other.runId)).toBe(ids(thread).includes(other.runId));
      }),
    );
  });
});
