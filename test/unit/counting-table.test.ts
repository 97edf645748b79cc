import { describe, expect, it } from "vitest";
import { createCountingTable, itemUnits, sequentialChain } from "../../bench/support/counting-table.ts";
import type { Call } from "../../bench/support/counting-table.ts";
import { createMemoryTable } from "../support/memory-table.ts";

const call = (start: number, end: number): Call => ({ operation: "get", keys: [], start, end, units: 0, readUnits: 0 });
const spans = (calls: readonly Call[]): number[][] => calls.map(({ start, end }) => [start, end]);

describe("the sequential chain of some calls", () => {
  it("counts calls that run side by side once", () => {
    expect(sequentialChain([call(0, 5), call(1, 5), call(2, 6)])).toHaveLength(1);
  });

  it("counts calls that wait for each other one by one", () => {
    expect(sequentialChain([call(0, 5), call(5, 9), call(9, 10)])).toHaveLength(3);
  });

  it("goes around a long call when the short ones beside it make the longer chain", () => {
    const calls = [call(0, 30), call(0, 5), call(6, 10), call(11, 20), call(31, 40)];
    expect(spans(sequentialChain(calls))).toEqual([
      [0, 5],
      [6, 10],
      [11, 20],
      [31, 40],
    ]);
  });

  it("is empty without calls", () => {
    expect(sequentialChain([])).toEqual([]);
  });
});

describe("write units", () => {
  const draft = { pk: "t", sk: "H", attributes: { n: 1 } };
  const due = (sk: string) => ({ ...draft, index: { due: { pk: "default#0", sk } } });

  it("are one for each KB that is begun", () => {
    expect(itemUnits(undefined, draft)).toBe(1);
    expect(itemUnits(undefined, { ...draft, attributes: { text: "x".repeat(1024) } })).toBe(2);
  });

  it("count the larger of the item before and after", () => {
    expect(itemUnits({ ...draft, attributes: { text: "x".repeat(3500) } }, draft)).toBe(4);
  });

  it("count a row of an index that appears, moves or disappears, and not one that stays", () => {
    expect(itemUnits(undefined, due("a"))).toBe(2);
    expect(itemUnits(due("a"), due("a"))).toBe(1);
    expect(itemUnits(due("a"), due("b"))).toBe(3);
    expect(itemUnits(due("a"), draft)).toBe(2);
  });
});

describe("a counting table", () => {
  it("passes calls on and records what they cost and how they followed each other", async () => {
    let ticks = 0;
    const table = createCountingTable(createMemoryTable({ now: () => 0 }), {
      now: () => ticks,
      roundTrip: async () => {
        await Promise.resolve();
        ticks += 1;
      },
    });
    const draft = { pk: "t", sk: "H", attributes: { n: 1 } };
    expect(await table.put(draft, "absent")).toMatchObject({ won: true });
    expect(await table.put(draft, "absent")).toMatchObject({ won: false });
    const both = await Promise.all([table.get(draft), table.query("t", { prefix: "H" })]);
    expect(both[0]?.attributes).toEqual({ n: 1 });
    expect(table.calls.map(({ operation, units, readUnits }) => [operation, units, readUnits])).toEqual([
      ["put", 1, 0],
      ["put", 1, 0],
      ["get", 0, 1],
      ["query", 0, 1],
    ]);
    expect(sequentialChain(table.calls)).toHaveLength(3);
  });

  it("counts a read by 4 KB: together in a query, item by item in a batch, and what is absent as well", async () => {
    const table = createCountingTable(createMemoryTable(), { now: () => 0 });
    const draft = (sk: string) => ({ pk: "t", sk, attributes: { text: "x".repeat(5000) } });
    await table.batchPut([draft("a"), draft("b")]);
    await table.query("t", {});
    await table.batchGet([draft("a"), draft("b"), draft("c")]);
    expect(table.calls.map(({ readUnits }) => readUnits)).toEqual([0, 3, 5]);
    const stored = table.bytes();
    expect(stored).toBeGreaterThan(10_000);
    await table.remove(draft("a"), "any");
    expect(table.bytes()).toBe(stored / 2);
  });
});
