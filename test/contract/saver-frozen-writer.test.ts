/**
 * A writer that has read a thread, is frozen, and wakes while the thread, or a part of it, is being ended by somebody else:
 * at every one of the calls that this takes. Under a lease it is told that it has lost. Without one its checkpoint is
 * there, whole, or it is told why not.
 */
import type { RunnableConfig } from "@langchain/core/runnables";
import { describe, expect, it } from "vitest";
import type { FencedSaver } from "../../src/checkpoint/saver.ts";
import type { Table } from "../../src/storage/table.ts";
import { configOf } from "../support/checkpoints.ts";
import { idsIn, leaseOf, line, savers, seen, step, steps, strays, THREAD } from "../support/long-thread.ts";
import { createManualClock } from "../support/manual-clock.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { createTracedTable } from "../support/traced-table.ts";

const open = savers();
const COUNT = 11;
type MemoryTable = ReturnType<typeof createMemoryTable>;
type Seen = Awaited<ReturnType<typeof seen>>;
type Ending = readonly [name: string, run: (saver: FencedSaver) => Promise<void>];
const endings: readonly Ending[] = [
  ["prune", (saver) => saver.prune([THREAD])],
  ["deleteForRuns", (saver) => saver.deleteForRuns(["b"], [THREAD])],
  ["deleteForRuns of the last", (saver) => saver.deleteForRuns(["c"], [THREAD])],
];

const inRuns = (n: number) => ({ run: "aabbbc"[Math.floor(n / 2)] ?? "c" });

/** Runs something just before the n-th call to a table, from 1; says whether there was one. */
async function interrupted(
  table: Table,
  n: number,
  by: () => Promise<void>,
  run: (table: Table) => Promise<void>,
): Promise<boolean> {
  let calls = 0;
  await run(createTracedTable(table, { before: () => (++calls === n ? by() : undefined) }));
  return calls >= n;
}

interface Frozen {
  /** What it has read is this much older than the thread is. */
  readonly behind: number;
  /** It goes on from a checkpoint so far below the latest that it has read. */
  readonly below: number;
}

/** A thread, and the one who has read it; `copy` is another table with the same in it. */
async function world() {
  const clock = createManualClock();
  const table = createMemoryTable({ now: () => clock.wall() });
  const configs = await line(open(table), steps(COUNT, inRuns));
  const copy = async () => {
    const other = createMemoryTable({ now: () => clock.wall() });
    await other.batchPut(table.dump());
    return other;
  };
  return { clock, configs, copy };
}

/** A writer without a lease that has the older state of the thread in memory. */
async function asleep(table: Table, configs: readonly RunnableConfig[], { behind, below }: Frozen) {
  const top = COUNT - behind;
  const old = createMemoryTable();
  for (const item of (await table.query("acme#t#t1", {})).items) {
    const seq = Number(item.sk.slice(item.sk.lastIndexOf("#") + 1));
    if (!item.sk.startsWith("C#") || seq <= top) await old.put(item, "any");
  }
  let now: Table = old;
  const moving: Table = new Proxy(old, { get: (_, name) => Reflect.get(now, name) as unknown });
  const saver = open(moving);
  const from = configs[top - 1 - below];
  await saver.getTuple(configOf(THREAD));
  await saver.getTuple(from ?? configOf(THREAD));
  const wake = (): void => {
    now = table;
  };
  return { saver, from, wake };
}

/** A checkpoint by somebody who may be told that what it goes on from was pruned. */
const lateStep = (saver: FencedSaver, from: RunnableConfig | undefined): Promise<RunnableConfig | undefined> =>
  step(saver, { n: 50, run: "late", from }).catch((error: unknown) => {
    expect(error).toMatchObject({ code: "conflict", detail: { reason: "pruned" } });
    return undefined;
  });

/** What was written late is read, whole; nothing else is there that was not; and a later prune finds all that is left. */
async function expectWhole(table: MemoryTable, before: Seen, put: RunnableConfig | undefined): Promise<void> {
  const known = new Set((before.listed[""] ?? []).map((tuple) => JSON.stringify(tuple)));
  const { listed } = await seen(open(table));
  const news = (listed[""] ?? []).filter((tuple) => !known.has(JSON.stringify(tuple)));
  expect(news.length).toBe(put === undefined ? 0 : 1);
  for (const config of put === undefined ? [] : [put, configOf(THREAD)]) {
    const tuple = await open(table).getTuple(config);
    expect(tuple).toMatchObject({ checkpoint: { channel_values: { n: 50, log: { length: 51 } } } });
    expect(tuple?.pendingWrites).toHaveLength(3);
  }
  await open(table).prune([THREAD]);
  expect(await idsIn(open(table))).toHaveLength(1);
  // What a refused writer had written already goes with the next cut.
  await step(open(table), { n: 51, from: (await open(table).getTuple(configOf(THREAD)))?.config });
  await open(table).prune([THREAD]);
  expect(strays(table.dump())).toEqual([]);
}

describe.each(endings)("a writer without a lease that wakes during %s", (_, run) => {
  it.each([
    ["has read the latest", { behind: 0, below: 0 }],
    ["has read an older thread", { behind: 4, below: 0 }],
    ["goes on from an older checkpoint", { behind: 0, below: 5 }],
    ["goes on from an older checkpoint of an older thread", { behind: 3, below: 4 }],
  ])("and %s loses nothing, and leaves nothing half", { timeout: 120_000 }, async (__, frozen) => {
    const { configs, copy } = await world();
    const outcomes = new Set<string>();
    for (let n = 1; ; n++) {
      const table = await copy();
      const before = await seen(open(table));
      const { saver, from, wake } = await asleep(table, configs, frozen);
      let put: RunnableConfig | undefined;
      const write = async (): Promise<void> => {
        wake();
        put = await lateStep(saver, from);
      };
      const wasWoken = await interrupted(table, n, write, (slow) => run(open(slow)));
      if (!wasWoken) await write();
      outcomes.add(put === undefined ? "refused" : "written");
      await expectWhole(table, before, put);
      if (!wasWoken) break;
    }
    expect(outcomes).toContain("written");
  });
});

describe.each(endings)("a writer without a lease that sleeps within its put, during %s", (_, run) => {
  it.each([0, 5])("and goes on from %i below the latest, writes where it is read, or is refused", async (below) => {
    const { configs, copy } = await world();
    for (let n = 1; ; n++) {
      const table = await copy();
      const before = await seen(open(table));
      let put: RunnableConfig | undefined;
      const wasWoken = await interrupted(
        table,
        n,
        () => run(open(table)),
        async (slow) => {
          put = await lateStep(open(slow), configs[COUNT - 1 - below]);
        },
      );
      await expectWhole(table, before, put);
      if (!wasWoken) break;
    }
  });
});

describe("a holder that wakes after another has the thread", () => {
  it.each(endings)("during %s is told so, and nothing of it is seen", { timeout: 120_000 }, async (_, run) => {
    for (let n = 1; ; n++) {
      const table = createMemoryTable();
      const first = open(table, leaseOf(1));
      const configs = await line(first, steps(12, inRuns));
      const second = open(table, leaseOf(2));
      await second.barrier();
      await step(second, { n: 12, run: "c", from: configs.at(-1) });
      const write = async (): Promise<void> => {
        await expect(step(first, { n: 60, run: "late", from: configs.at(-1) })).rejects.toMatchObject({ code: "lost" });
      };
      const wasWoken = await interrupted(table, n, write, (slow) => run(open(slow, leaseOf(3))));
      if (!wasWoken) await write();
      expect(JSON.stringify(await seen(open(table)))).not.toContain('"late"');
      if (!wasWoken) break;
    }
  });

  it("finds its place free again once nothing stands there (negative control)", async () => {
    const clock = createManualClock();
    const table = createMemoryTable({ now: () => clock.wall() });
    const first = open(table, leaseOf(1));
    const configs = await line(first, steps(5));
    const second = open(table, leaseOf(2));
    await second.barrier();
    await line(second, [{ n: 5, from: configs.at(-1) }, { n: 6 }, { n: 7 }]);
    await second.prune([THREAD]);
    clock.advance(7 * 24 * 3_600_000 + 1000);
    const config = await step(first, { n: 60, run: "late", from: configs.at(-1) });
    expect(await open(table).getTuple(config)).toBeUndefined();
  });
});
