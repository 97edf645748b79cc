import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemIds } from "../../src/core/ids.ts";
import type { IndexEntries, IndexName, IndexRow, Key, Range, Table } from "../../src/storage/table.ts";
import { everyTable } from "../support/engines.ts";
import type { Handles } from "../support/engines.ts";
import { eventually } from "../support/eventually.ts";

const freshPartition = (): string => `tenant#t#${systemIds.token(6)}`;

describe.each(everyTable())("pages of a table on $name", (engine) => {
  let opened: Handles;
  let table: Table;
  beforeAll(async () => {
    opened = await engine.open();
    ({ table } = opened);
  });
  afterAll(() => opened[Symbol.asyncDispose]());

  /** Follows `next` to the end: the sort keys of each page. */
  const pages = async (pk: string, range: Range): Promise<string[][]> => {
    const found: string[][] = [];
    let after: string | undefined;
    do {
      const page = await table.query(pk, { ...range, ...(after === undefined ? {} : { after }) });
      found.push(page.items.map((item) => item.sk));
      after = page.next;
    } while (after !== undefined);
    return found;
  };
  const all = async (pk: string, range: Range): Promise<string[]> => (await pages(pk, range)).flat();

  describe("of a partition", () => {
    const KEYS = ["A", "C#1#a", "C#1#b", "C#1#b#", "C#1#ba", "C#1$", "C#2", "C$", "H", "a", "é", "\uffee", "👩"];
    let pk: string;
    beforeAll(async () => {
      pk = freshPartition();
      await table.batchPut(KEYS.map((sk) => ({ pk, sk, attributes: {} })));
      await table.put({ pk: `${pk}x`, sk: "C#1#c", attributes: {} }, "any");
    });

    it("come in the order of the bytes of their sort keys, or in the reverse", async () => {
      expect(await all(pk, {})).toEqual(KEYS);
      expect(await all(pk, { descending: true })).toEqual(KEYS.toReversed());
    });

    it.each<[Range, string[]]>([
      [{ prefix: "C#1#" }, ["C#1#a", "C#1#b", "C#1#b#", "C#1#ba"]],
      [{ prefix: "C#1#b", from: "C#1#b#" }, ["C#1#b#", "C#1#ba"]],
      [{ prefix: "C#1#", to: "C#1#b" }, ["C#1#a", "C#1#b"]],
      [{ prefix: "C#1#", from: "A", to: "Z" }, ["C#1#a", "C#1#b", "C#1#b#", "C#1#ba"]],
      [{ prefix: "C#1", from: "C#1#b#" }, ["C#1#b#", "C#1#ba", "C#1$"]],
      [{ from: "C$", to: "a" }, ["C$", "H", "a"]],
      [{ from: "C%" }, ["H", "a", "é", "\uffee", "👩"]],
      [{ to: "C#1#a" }, ["A", "C#1#a"]],
      [{ from: "b", to: "B" }, []],
      [{ prefix: "C", from: "D" }, []],
      [{ prefix: "nothing" }, []],
      [{ prefix: "\uffee" }, ["\uffee"]],
      [{ prefix: "👩" }, ["👩"]],
    ])("hold what %j allows, in both directions and whatever their length", async (range, expected) => {
      expect(await all(pk, range)).toEqual(expected);
      expect(await all(pk, { ...range, descending: true })).toEqual(expected.toReversed());
      for (const limit of [1, 2]) {
        const short = await pages(pk, { ...range, limit });
        expect(short.flat()).toEqual(expected);
        expect(Math.max(...short.map((page) => page.length))).toBeLessThanOrEqual(limit);
        expect(await all(pk, { ...range, limit, descending: true })).toEqual(expected.toReversed());
      }
    });

    it("are full up to their limit although expired items lie in between", async () => {
      const partition = freshPartition();
      const expiresAt = table.now() - 1000;
      await table.batchPut(
        Array.from({ length: 20 }, (_, n) => ({
          pk: partition,
          sk: `${n + 10}`,
          attributes: {},
          ...(n % 5 === 4 ? {} : { expiresAt }),
        })),
      );
      const page = await table.query(partition, { limit: 3 });
      expect(page.items.map((item) => item.sk)).toEqual(["14", "19", "24"]);
      expect(await all(partition, { limit: 1, descending: true })).toEqual(["29", "24", "19", "14"]);
    });

    it("end at one megabyte, and what follows is found on the next", async () => {
      const partition = freshPartition();
      const sks = Array.from({ length: 12 }, (_, n) => `S#${n + 10}`);
      const bytes = new Uint8Array(200_000);
      for (const sk of sks) await table.put({ pk: partition, sk, attributes: { bytes } }, "absent");
      const up = await pages(partition, { prefix: "S#" });
      expect(up.flat()).toEqual(sks);
      expect(Math.max(...up.map((page) => page.length))).toBeLessThanOrEqual(6);
      expect(await all(partition, { prefix: "S#", descending: true })).toEqual(sks.toReversed());
      expect(await all(partition, { limit: 11 })).toEqual(sks);
    });

    it("show what was just written, and not what was just removed", async () => {
      const partition = freshPartition();
      for (let n = 10; n < 30; n++) {
        await table.put({ pk: partition, sk: String(n), attributes: {} }, "absent");
        expect((await table.query(partition, { descending: true, limit: 1 })).items[0]?.sk).toBe(String(n));
      }
      await table.remove({ pk: partition, sk: "29" }, "any");
      expect((await table.query(partition, { descending: true, limit: 1 })).items[0]?.sk).toBe("28");
    });
  });

  describe.each<IndexName>(["due", "list"])("of the index %s", (name) => {
    const entry = (pk: string, sk: string): IndexEntries => ({ [name]: { pk, sk } });
    const rows = async (pk: string, range: Range): Promise<IndexRow[]> => {
      const found: IndexRow[] = [];
      let after: string | undefined;
      do {
        const page = await table.queryIndex(name, pk, { ...range, ...(after === undefined ? {} : { after }) });
        found.push(...page.items);
        after = page.next;
      } while (after !== undefined);
      return found;
    };
    const sorts = async (pk: string, range: Range = {}): Promise<string[]> =>
      (await rows(pk, range)).map((r) => r.sort);
    /** Indexes follow after a moment. */
    const becomes = (pk: string, expected: readonly string[], range: Range = {}): Promise<boolean> =>
      eventually(
        async () => JSON.stringify(await sorts(pk, range)) === JSON.stringify(expected),
        `${name} ${pk} being ${expected.join(", ")}`,
      );

    it("hold an item from the write that enters it to the one that takes it out", async () => {
      const [first, second] = [freshPartition(), freshPartition()];
      const key: Key = { pk: freshPartition(), sk: "H" };
      await table.put({ ...key, attributes: {}, index: entry(first, "r#1") }, "any");
      await becomes(first, ["r#1"]);
      expect(await rows(first, {})).toEqual([{ sort: "r#1", key }]);
      await table.put({ ...key, attributes: {}, index: entry(first, "r#2") }, "any");
      await becomes(first, ["r#2"]);
      await table.put({ ...key, attributes: {}, index: entry(second, "r#2") }, "any");
      await becomes(second, ["r#2"]);
      await becomes(first, []);
      expect((await table.get(key))?.index).toEqual(entry(second, "r#2"));
      await table.put({ ...key, attributes: {} }, "any");
      await becomes(second, []);
      expect(await table.get(key)).not.toHaveProperty("index");
      await table.batchPut([{ ...key, attributes: {}, index: entry(first, "again") }]);
      await becomes(first, ["again"]);
      await table.add(key, "n", 1);
      expect((await table.get(key))?.index).toEqual(entry(first, "again"));
      await table.remove(key, "any");
      await becomes(first, []);
    });

    it("are ordered by their sort key and cut as partitions are, also where keys are equal", async () => {
      const pk = freshPartition();
      const expected = ["r#a#1", "r#a#1", "r#a#1", "r#a#2", "r#b#1", "t#1", "t#1", "t#2"];
      await table.batchPut(
        expected.map((sort, n) => ({ pk: freshPartition(), sk: `H${n % 2}`, attributes: {}, index: entry(pk, sort) })),
      );
      await becomes(pk, expected);
      await becomes(pk, expected.toReversed(), { descending: true });
      for (const limit of [1, 2, 3]) {
        expect(await sorts(pk, { limit })).toEqual(expected);
        expect(new Set((await rows(pk, { limit })).map((row) => row.key.pk)).size).toBe(expected.length);
        expect(await sorts(pk, { limit, descending: true })).toEqual(expected.toReversed());
      }
      expect(await sorts(pk, { prefix: "r#" })).toEqual(expected.slice(0, 5));
      expect(await sorts(pk, { prefix: "r#", limit: 2, descending: true })).toEqual(expected.slice(0, 5).toReversed());
      expect(await sorts(pk, { prefix: "r#", from: "r#a#2" })).toEqual(["r#a#2", "r#b#1"]);
      expect(await sorts(pk, { from: "r#b", to: "t#1" })).toEqual(["r#b#1", "t#1", "t#1"]);
      expect(await sorts(`${pk}x`)).toEqual([]);
    });
  });

  it("keeps both indexes of one item apart", async () => {
    const [due, list] = [freshPartition(), freshPartition()];
    const key: Key = { pk: freshPartition(), sk: "H" };
    const index = { due: { pk: due, sk: "r#1" }, list: { pk: list, sk: "2024" } };
    await table.put({ ...key, attributes: {}, index }, "absent");
    await eventually(async () => (await table.queryIndex("due", due, {})).items.length === 1);
    await eventually(async () => (await table.queryIndex("list", list, {})).items.length === 1);
    expect((await table.queryIndex("list", due, {})).items).toEqual([]);
    expect((await table.get(key))?.index).toEqual(index);
  });
});
