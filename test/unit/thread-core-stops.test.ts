/** Runs that are to stop, and runs that sleep, as far as the header knows of them. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { runId, tenantId, threadId } from "../../src/core/ids.ts";
import type { RunId } from "../../src/core/ids.ts";
import {
  appended,
  claimed,
  movedOn,
  released,
  stopping,
  suspended,
  tombstone,
  woken,
} from "../../src/core/thread-changes.ts";
import { activeRunId, newThread, nextRunnable, threadDue, threadStatus } from "../../src/core/thread.ts";
import type { QueueEntry, Thread } from "../../src/core/thread.ts";
import { anyEntry, anyThread, plainRun } from "./thread-core-arbitraries.ts";

const NOW = 1_800_000_000_000;
const LATER = NOW + 60_000;
const claim = { owner: "w1", leaseMs: 5_000, now: NOW };
const action = fc.constantFrom("interrupt" as const, "rollback" as const);
const uuid = (n: number): RunId => runId(`00000000-0000-7000-8000-${String(n).padStart(12, "0")}`);
const input = (n: number): QueueEntry => ({ runId: uuid(n), kind: "input", pool: "default", graphId: "g" });
const fresh = (): Thread =>
  newThread({ tenant: tenantId("acme"), threadId: threadId("case") }, { kind: "inline", value: {} }, NOW);
const queueOf = (...all: QueueEntry[]): Thread => all.reduce((thread, entry) => appended(thread, entry, NOW), fresh());
const everything = (thread: Thread): QueueEntry[] => [
  ...(thread.active?.kind === "run" ? [thread.active.entry] : []),
  ...thread.queue,
];
const activeEntry = (thread: Thread): QueueEntry => {
  if (thread.active?.kind !== "run") throw new Error("no run is active");
  return thread.active.entry;
};
/** A thread on which a worker holds its first run. */
const held = (...all: QueueEntry[]): Thread => claimed(queueOf(...all), claim);
const sleeping = (...all: QueueEntry[]): Thread => {
  const thread = held(...all);
  return suspended(thread, activeEntry(thread), LATER, NOW);
};

describe("stopping what came before", () => {
  it("stops the active run and every input, and no continuation that has not begun", () => {
    fc.assert(
      fc.property(anyThread, action, (thread, stop) => {
        const stopped = stopping(thread, stop);
        if (stopped.active?.kind === "run") expect(stopped.active.entry.stop).toBeDefined();
        stopped.queue.forEach((entry, i) => {
          if (entry.kind === "input") expect(entry.stop).toBeDefined();
          else expect(entry).toEqual(thread.queue[i]);
        });
      }),
    );
  });

  it("changes nothing else: no order, no lease, no fence, and nothing that was said before", () => {
    fc.assert(
      fc.property(anyThread, action, (thread, stop) => {
        const stopped = stopping(thread, stop);
        const plain = (entry: QueueEntry) => ({ ...entry, stop: undefined });
        expect(everything(stopped).map(plain)).toEqual(everything(thread).map(plain));
        everything(thread).forEach((entry, i) => {
          if (entry.stop !== undefined) expect(everything(stopped)[i]).toEqual(entry);
        });
        const rest = { active: undefined, queue: undefined, wakeAt: undefined };
        expect({ ...stopped, ...rest }).toEqual({ ...thread, ...rest });
        expect(stopping(stopped, "rollback")).toEqual(stopped);
      }),
    );
  });

  it("lets nobody sleep on: a sleeping run gives its place up now", () => {
    expect(threadDue(stopping(sleeping(input(1)), "interrupt"))).toMatchObject({ kind: "ready" });
    fc.assert(
      fc.property(anyThread, action, (thread, stop) => {
        expect(threadDue(stopping(thread, stop))?.kind).not.toBe("timer");
      }),
    );
  });
});

describe("a run that sleeps", () => {
  it("gives the lease up, stays active, and is due at its time", () => {
    fc.assert(
      fc.property(anyThread, (thread) => {
        fc.pre(thread.active?.kind === "run");
        const asleep = suspended(thread, activeEntry(thread), LATER, NOW);
        expect(asleep.lease).toBeUndefined();
        expect(activeRunId(asleep)).toBe(activeRunId(thread));
        expect(threadDue(asleep)).toMatchObject({ kind: "timer", at: LATER });
        expect(asleep.strikes).toEqual(thread.strikes);
      }),
    );
  });

  it("keeps those behind it waiting, and the thread busy", () => {
    const thread = appended(sleeping(input(1), input(2)), input(3), NOW + 5);
    expect(threadDue(thread)).toMatchObject({ kind: "timer", at: LATER });
    expect(nextRunnable(thread)?.runId).toBe(uuid(1));
    expect(threadStatus(thread)).toBe("busy");
  });

  it("is ready from the time at which it is woken, and begins again with the next claim", () => {
    const awake = woken(sleeping(input(1), input(2)), LATER);
    expect(threadDue(awake)).toMatchObject({ kind: "ready", at: LATER });
    const taken = claimed(awake, { ...claim, now: LATER });
    expect([activeRunId(taken), taken.wakeAt]).toEqual([uuid(1), undefined]);
  });

  it("does not send the run to sleep that has taken its place", () => {
    const thread = held(input(1), input(2));
    const cancelled = movedOn(thread, plainRun(uuid(1), "cancelled"), NOW);
    const after = suspended(cancelled, activeEntry(thread), LATER, NOW);
    expect(activeRunId(after)).toBe(uuid(2));
    expect(threadDue(after)).toMatchObject({ kind: "ready" });
    const idle = suspended({ ...movedOn(held(input(1)), undefined, NOW) }, input(1), LATER, NOW);
    expect(threadDue(idle)).toBeUndefined();
  });

  it("does not fall asleep when it is to stop since its delivery began", () => {
    const thread = held(input(1));
    const told = appended(stopping(thread, "interrupt"), input(2), NOW);
    expect(threadDue(suspended(told, activeEntry(thread), LATER, NOW))).toMatchObject({ kind: "ready" });
    // One that knew and sleeps all the same could not be stopped here.
    expect(threadDue(suspended(told, activeEntry(told), LATER, NOW))).toMatchObject({ kind: "timer" });
  });

  it("leaves nothing of its sleep behind when it is moved past or its thread is deleted", () => {
    const asleep = { ...sleeping(input(1), input(2)), strikes: { count: 3, owner: "w" } };
    for (const after of [
      movedOn(asleep, plainRun(uuid(1), "cancelled"), NOW),
      tombstone(asleep, NOW),
      movedOn(asleep, undefined, NOW),
    ])
      expect([after.wakeAt, after.strikes]).toEqual([undefined, undefined]);
  });

  it("is never due before its time, whatever is appended or released meanwhile", () => {
    fc.assert(
      fc.property(fc.array(anyEntry, { maxLength: 5 }), (more) => {
        const thread = more.reduce((before, entry) => released(appended(before, entry, NOW), NOW), sleeping(input(1)));
        expect(threadDue(thread)).toMatchObject({ kind: "timer", at: LATER });
      }),
    );
  });
});
