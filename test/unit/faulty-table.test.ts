import { describe, expect, it } from "vitest";
import { isHoldpointError } from "../../src/core/errors.ts";
import type { IndexRow, Key, Table } from "../../src/storage/table.ts";
import { createRandom } from "../sim/random.ts";
import { createFaultyTable, TableKilled } from "../support/faulty-table.ts";
import type { Faults, FaultyTable, Kill } from "../support/faulty-table.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import type { MemoryTable } from "../support/memory-table.ts";

const key: Key = { pk: "p", sk: "s" };

function tables(faults: Faults, seed = 1, kill?: Kill): { inner: MemoryTable; table: FaultyTable } {
  const inner = createMemoryTable();
  const random = createRandom(seed);
  const table = createFaultyTable(inner, {
    random: () => random.next(),
    faults,
    ...(kill === undefined ? {} : { kill }),
  });
  return { inner, table };
}

/** What a call came to: its result, or the code of its error. */
const outcome = async (call: Promise<unknown>): Promise<unknown> => {
  try {
    return await call;
  } catch (error) {
    return isHoldpointError(error) ? error.code : error;
  }
};

/** Still pending after everything that could have settled it has had its turn. */
const hangs = async (call: Promise<unknown>): Promise<boolean> => {
  let settled = false;
  void call.finally(() => (settled = true)).catch(() => {});
  for (let n = 0; n < 5; n++) await new Promise((resolve) => void setImmediate(resolve));
  return !settled;
};

describe("a faulty table", () => {
  it("is the table inside when no fault is asked for", async () => {
    const { table } = tables({});
    expect(await table.put({ ...key, attributes: { n: 1 } }, "absent")).toMatchObject({ won: true });
    expect(await table.add(key, "n", 2)).toBe(3);
    await table.batchPut([{ pk: "p", sk: "t", attributes: {}, index: { due: { pk: "pool", sk: "r#1" } } }]);
    expect((await table.batchGet([key])).length).toBe(1);
    expect((await table.query("p", {})).items.map((item) => item.sk)).toEqual(["s", "t"]);
    expect((await table.queryIndex("due", "pool", {})).items).toEqual([{ sort: "r#1", key: { pk: "p", sk: "t" } }]);
    expect(await table.remove(key, "any")).toEqual({ outcome: "removed" });
    expect(table.calls.map(({ n, method, sk, fault }) => [n, method, sk, fault])).toEqual([
      [1, "put", "s", undefined],
      [2, "add", "s", undefined],
      [3, "batchPut", "t", undefined],
      [4, "batchGet", "s", undefined],
      [5, "query", "", undefined],
      [6, "queryIndex", "", undefined],
      [7, "remove", "s", undefined],
    ]);
  });

  it("applies nothing of what it refuses", async () => {
    const { inner, table } = tables({ refused: 1 });
    expect(await outcome(table.put({ ...key, attributes: {} }, "absent"))).toBe("unavailable");
    expect(await outcome(table.add(key, "n", 1))).toBe("unavailable");
    expect(await outcome(table.batchPut([{ ...key, attributes: {} }]))).toBe("unavailable");
    expect(await outcome(table.get(key))).toBe("unavailable");
    expect(inner.dump()).toEqual([]);
  });

  it("applies a write whose reply it loses", async () => {
    const { inner, table } = tables({ replyLost: 1 });
    expect(await outcome(table.put({ ...key, attributes: { n: 1 } }, "absent", { writeId: "w" }))).toBe("unavailable");
    expect(inner.dump()).toMatchObject([{ attributes: { n: 1 }, writeId: "w" }]);
    expect(await outcome(table.remove(key, "any"))).toBe("unavailable");
    expect(inner.dump()).toEqual([]);
  });

  it("repeats a write under its own id, so that it has won; a fresh id each time would lose", async () => {
    const { inner, table } = tables({ repeated: 1 });
    const created = await table.put({ ...key, attributes: { n: 1 } }, "absent");
    expect(created).toEqual({ won: true, version: (await inner.get(key))?.version });
    const version = created.won ? created.version : 0;
    expect(await table.put({ ...key, attributes: { n: 2 } }, { version })).toMatchObject({ won: true });
    expect(await table.remove(key, { version: (await inner.get(key))?.version ?? 0 })).toEqual({ outcome: "gone" });
    const again = () => inner.put({ ...key, attributes: {} }, "absent", { writeId: crypto.randomUUID() });
    expect([(await again()).won, (await again()).won]).toEqual([true, false]);
  });

  it("counts a repeated `add` twice, as the port allows", async () => {
    const { table } = tables({ repeated: 1 });
    expect(await table.add(key, "n", 1)).toBe(2);
  });

  it("lands some of a batch, and fails", async () => {
    const { inner, table } = tables({ partialBatch: 1 });
    const drafts = Array.from({ length: 40 }, (_, n) => ({ pk: "p", sk: `${n}`, attributes: {} }));
    expect(await outcome(table.batchPut(drafts))).toBe("unavailable");
    expect(inner.dump().length).toBeGreaterThan(5);
    expect(inner.dump().length).toBeLessThan(35);
  });

  it("shows index rows that are gone and hides rows that are new, but never on the base table", async () => {
    const { inner, table } = tables({ staleIndex: 1 });
    const place = (sort: string, table_: Table): Promise<unknown> =>
      table_.put({ ...key, attributes: { sort }, index: { due: { pk: "pool", sk: sort } } }, "any");
    await place("r#1", table);
    await place("r#2", table);
    const seen = new Set<string>();
    for (let n = 0; n < 60; n++) {
      const { items } = await table.queryIndex("due", "pool", { prefix: "r#" });
      seen.add(items.map((row: IndexRow) => row.sort).join(" "));
      expect((await table.get(key))?.attributes).toEqual({ sort: "r#2" });
    }
    expect([...seen].toSorted()).toEqual(["", "r#1", "r#1 r#2", "r#2"]);
    expect((await table.queryIndex("due", "pool", { prefix: "t#" })).items).toEqual([]);
    table.heal();
    expect(await table.queryIndex("due", "pool", {})).toEqual(await inner.queryIndex("due", "pool", {}));
  });

  it.each([1, 2, 3])("killed before call %d applies the calls before it and nothing more", async (n) => {
    const { inner, table } = tables({}, 1, { n, when: "before", callers: "throw" });
    for (let call = 1; call <= 4; call++) {
      const putting = outcome(table.put({ pk: "p", sk: `${call}`, attributes: {} }, "absent"));
      if (call < n) expect(await putting).toMatchObject({ won: true });
      else expect(await putting).toBeInstanceOf(TableKilled);
    }
    expect(inner.dump()).toHaveLength(n - 1);
    expect(table.killed).toBe(true);
  });

  it.each([1, 2, 3])("killed after call %d applies it too, and nobody hears of it", async (n) => {
    const { inner, table } = tables({}, 1, { n, when: "after", callers: "throw" });
    for (let call = 1; call <= 4; call++) {
      await outcome(table.put({ pk: "p", sk: `${call}`, attributes: {} }, "absent"));
    }
    expect(inner.dump()).toHaveLength(n);
    expect(table.calls[n - 1]).toMatchObject({ n, fault: "killed" });
  });

  it("never answers the dead when it is told to hang, not even after it has healed", async () => {
    const { inner, table } = tables({ refused: 1 }, 1, { n: 1, when: "after" });
    expect(await hangs(table.put({ ...key, attributes: {} }, "absent"))).toBe(true);
    table.heal();
    expect(await hangs(table.get(key))).toBe(true);
    expect(inner.dump()).toHaveLength(1);
  });

  it("does the same again with the same seed, and something else with another", async () => {
    const faults: Faults = { refused: 0.2, replyLost: 0.2, repeated: 0.2, partialBatch: 0.3, staleIndex: 0.3 };
    const story = async (seed: number): Promise<string> => {
      const { inner, table } = tables(faults, seed);
      const outcomes: unknown[] = [];
      for (let n = 0; n < 40; n++) {
        const draft = { pk: "p", sk: `${n % 7}`, attributes: { n }, index: { due: { pk: "pool", sk: `${n % 3}` } } };
        outcomes.push(await outcome(table.put(draft, n % 2 === 0 ? "absent" : "any")));
        outcomes.push(await outcome(table.queryIndex("due", "pool", {})));
        outcomes.push(await outcome(table.batchPut([draft, { ...draft, sk: `${n % 5}` }])));
      }
      return JSON.stringify([outcomes, table.calls, inner.dump()]);
    };
    expect(await story(7)).toBe(await story(7));
    expect(await story(7)).not.toBe(await story(8));
  });

  it("draws for each fault as often as it was asked to", async () => {
    const { table } = tables({ refused: 0.1, replyLost: 0.2, repeated: 0.3 }, 3);
    for (let n = 0; n < 3000; n++) await outcome(table.put({ ...key, attributes: {} }, "any"));
    const share = (fault: string): number => table.calls.filter((call) => call.fault === fault).length / 3000;
    expect(share("refused")).toBeCloseTo(0.1, 1);
    expect(share("replyLost")).toBeCloseTo(0.9 * 0.2, 1);
    expect(share("repeated")).toBeCloseTo(0.9 * 0.8 * 0.3, 1);
  });
});
