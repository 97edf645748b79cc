import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { tenantId, threadId } from "../../src/core/ids.ts";
import { Lease } from "../../src/runtime/delivery/lease.ts";
import { Contenders } from "../../src/runtime/worker/contenders.ts";
import type { DueRow } from "../../src/runtime/worker/due-rows.ts";
import { readySort } from "../../src/storage/keys.ts";
import { createManualClock } from "../support/manual-clock.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";

const tenant = tenantId("acme");

function row(n: number): DueRow {
  const subject = `thread-${n}`;
  return {
    ref: { tenant, threadId: threadId(subject) },
    sk: "H",
    sort: readySort({ tenant, priority: 5, dueAt: 1_000_000 + n, subject }),
  };
}

const rows = Array.from({ length: 64 }, (_, n) => row(n));

/** Workers on one clock, which look at the same rows. */
function crew(...names: readonly string[]) {
  const clock = createManualClock();
  const workers = names.map((name) => new Contenders(clock, name));
  return { workers, pass: (ms: number) => clock.advance(ms) };
}

/** How many of the workers would try each row now. */
function triers(workers: readonly Contenders[]): readonly number[] {
  const takes = workers.map((worker) => new Set(worker.take(rows)));
  return rows.map((some) => takes.filter((take) => take.has(some)).length);
}

/** Each has lost a claim to each. */
function meet(workers: readonly Contenders[], names: readonly string[]): void {
  for (const worker of workers) for (const name of names) worker.lostTo(name);
}

const someNames = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 12 }), { minLength: 2, maxLength: 5 });

describe("workers that have lost claims to each other", () => {
  it("leave each row to one of them for a moment, and then to whoever is free", () => {
    fc.assert(
      fc.property(someNames, (names) => {
        const { workers, pass } = crew(...names);
        meet(workers, names);
        expect(triers(workers)).toEqual(rows.map(() => 1));
        pass(99);
        expect(triers(workers)).toEqual(rows.map(() => 1));
        pass(101);
        expect(triers(workers)).toEqual(rows.map(() => names.length));
      }),
      { numRuns: 30 },
    );
  });

  it("share them", () => {
    const { workers } = crew("one", "two");
    meet(workers, ["one", "two"]);
    for (const worker of workers) expect(worker.take(rows).length).toBeGreaterThan(rows.length / 4);
  });

  it("forget each other after a minute", () => {
    const { workers, pass } = crew("one", "two");
    meet(workers, ["one", "two"]);
    pass(60_000);
    expect(triers(workers)).toEqual(rows.map(() => 2));
  });

  it("reckon a row's moment anew when it has become ready again", () => {
    const { workers, pass } = crew("one", "two");
    meet(workers, ["one", "two"]);
    triers(workers);
    pass(200);
    for (const worker of workers) worker.take([]);
    expect(triers(workers)).toEqual(rows.map(() => 1));
  });
});

describe("a worker that has lost no claim to another", () => {
  it("tries all at once (negative control)", () => {
    const { workers } = crew("one", "two");
    expect(triers(workers)).toEqual(rows.map(() => 2));
  });

  it("is not its own contender", () => {
    const { workers } = crew("one");
    meet(workers, ["one"]);
    expect(triers(workers)).toEqual(rows.map(() => 1));
  });
});

describe("a claim that came too late", () => {
  it("says which worker has the thread; an append to the queue and an update of the state say nothing", async () => {
    const kit = createKit();
    const lostTo: string[] = [];
    const late = { lostTo: (worker: string) => void lostTo.push(worker) };
    const thread = threadId(kit.deps.ids.uuid());
    const run = await kit.runtime.runs.accept(ALICE, inputFor(thread));
    const seen = await kit.deps.threads.get(run);
    if (!seen) throw new Error("the thread is not there");
    await kit.runtime.runs.accept(ALICE, inputFor(thread));
    expect(await Lease.claim(kit.deps, seen, late)).toBeUndefined();
    expect(lostTo).toEqual([]);
    const free = await kit.deps.threads.get(run);
    if (!free) throw new Error("the thread is not there");
    {
      await using update = await Lease.claim(kit.deps, free, { purpose: "update" });
      expect(update).toBeDefined();
      expect(await Lease.claim(kit.deps, free, late)).toBeUndefined();
      await update?.release();
    }
    expect(lostTo).toEqual([]);
    const fresh = await kit.deps.threads.get(run);
    await using lease = fresh && (await Lease.claim(kit.deps, fresh));
    expect(lease?.owner).toMatch(/^test\/owner\//);
    expect(fresh && (await Lease.claim(kit.deps, fresh, late))).toBeUndefined();
    expect(lostTo).toEqual(["test/owner"]);
  });
});
