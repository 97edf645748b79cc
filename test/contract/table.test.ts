import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemIds } from "../../src/core/ids.ts";
import { itemBytes } from "../../src/storage/item-size.ts";
import { MAX_ITEM_BYTES } from "../../src/storage/table.ts";
import type { Attributes, Item, Key, Table } from "../../src/storage/table.ts";
import { everyTable } from "../support/engines.ts";
import type { Handles } from "../support/engines.ts";
import { eventually } from "../support/eventually.ts";

/** A key that no other test uses. */
const freshKey = (): Key => ({ pk: `tenant#t#${systemIds.token(6)}`, sk: "H" });

describe.each(everyTable())("a table on $name", (engine) => {
  let opened: Handles;
  let table: Table;
  beforeAll(async () => {
    opened = await engine.open();
    ({ table } = opened);
  });
  afterAll(() => opened[Symbol.asyncDispose]());

  const stored = async (key: Key): Promise<Item> => {
    const item = await table.get(key);
    if (item === undefined) throw new Error(`${key.pk} ${key.sk} is not there`);
    return item;
  };
  const put = async (key: Key, attributes: Attributes): Promise<number> => {
    const result = await table.put({ ...key, attributes }, "any");
    if (!result.won) throw new Error("an unconditional put lost");
    return result.version;
  };

  describe("conditions", () => {
    it("lets exactly the first put with `absent` win and shows the loser what is there", async () => {
      const key = freshKey();
      const first = await table.put({ ...key, attributes: { who: "first" } }, "absent", { writeId: "w1" });
      const second = await table.put({ ...key, attributes: { who: "second" } }, "absent");
      expect(first).toMatchObject({ won: true });
      expect(second).toEqual({ won: false, current: await stored(key) });
      expect(await stored(key)).toMatchObject({ attributes: { who: "first" }, writeId: "w1" });
    });

    it("lets a put win on the version that was read, and no put on an older one", async () => {
      const key = freshKey();
      const version = await put(key, { n: 1 });
      const second = await table.put({ ...key, attributes: { n: 2 } }, { version });
      const third = await table.put({ ...key, attributes: { n: 3 } }, { version });
      expect(second).toEqual({ won: true, version: (await stored(key)).version });
      expect(third).toMatchObject({ won: false, current: { attributes: { n: 2 } } });
    });

    it("reports no current item to a put on a version of an item that is gone", async () => {
      const key = freshKey();
      expect(await table.put({ ...key, attributes: {} }, { version: 7 })).toEqual({ won: false, current: undefined });
      expect(await table.get(key)).toBeUndefined();
    });

    it("replaces the whole item, and gives it another version, when nothing is asked", async () => {
      const key = freshKey();
      const versions = [await put(key, { a: 1 }), await put(key, { b: 2 }), await put(key, { b: 2 })];
      expect(new Set(versions).size).toBe(3);
      expect((await stored(key)).attributes).toEqual({ b: 2 });
    });

    it("never gives a version again to an item that was removed and created anew", async () => {
      const key = freshKey();
      const version = await put(key, { life: 1 });
      await table.remove(key, { version });
      await table.put({ ...key, attributes: { life: 2 } }, "absent");
      expect(await table.put({ ...key, attributes: {} }, { version })).toMatchObject({ won: false });
      expect(await stored(key)).toMatchObject({ attributes: { life: 2 } });
    });

    it("takes a put that comes again under its own write id for won, until the next writer", async () => {
      const key = freshKey();
      const won = await table.put({ ...key, attributes: {} }, "absent", { writeId: "mine" });
      expect(await table.put({ ...key, attributes: {} }, "absent", { writeId: "mine" })).toEqual(won);
      await put(key, {});
      expect(await table.put({ ...key, attributes: {} }, "absent", { writeId: "mine" })).toMatchObject({ won: false });
    });

    it("removes on the version that was read, and says what became of it otherwise", async () => {
      const key = freshKey();
      const version = await put(key, { n: 1 });
      const newer = await put(key, { n: 2 });
      expect(await table.remove(key, { version })).toEqual({ outcome: "lost", current: await stored(key) });
      expect(await table.remove(key, { version: newer })).toEqual({ outcome: "removed" });
      expect(await table.remove(key, { version: newer })).toEqual({ outcome: "gone" });
      expect(await table.get(key)).toBeUndefined();
    });

    it("removes whatever is there when nothing is asked", async () => {
      const key = freshKey();
      await put(key, {});
      expect(await table.remove(key, "any")).toEqual({ outcome: "removed" });
      expect(await table.remove(key, "any")).toEqual({ outcome: "gone" });
    });
  });

  describe("values", () => {
    const values: Attributes = {
      "": "an empty name",
      __proto: { constructor: "x", "a.b": 1, "#c": [":d"] },
      emptyText: "",
      unicode: "Grüße 👩‍🚀 \u0000 \u2028 \ufffd",
      numbers: [0, -1, 0.1, 1e21, 1.7976931348623157e100, 5e-100, 2 ** 53 - 1, -123456789.1234567, 1 / 3],
      flags: [true, false, null],
      empty: [{}, [], ""],
      deep: { list: [{ bytes: Uint8Array.of(0, 255), more: [Uint8Array.of()] }], bytes: Uint8Array.of(1) },
      bytes: Uint8Array.from({ length: 70_000 }, (_, i) => i % 251),
      noBytes: new Uint8Array(0),
      likeBytes: { type: "Buffer", data: [1, 2] },
    };

    it("come back as they were, wherever they stand in an item", async () => {
      const key = freshKey();
      await put(key, values);
      const { attributes } = await stored(key);
      expect(attributes).toEqual(values);
      expect(attributes["bytes"]).toBeInstanceOf(Uint8Array);
      expect(Buffer.isBuffer(attributes["bytes"])).toBe(false);
    });

    it("come back the same way from pages, batches and lost races", async () => {
      const key = freshKey();
      await table.batchPut([{ ...key, attributes: values }]);
      const item = await stored(key);
      expect(item.attributes).toEqual(values);
      expect((await table.query(key.pk, {})).items).toEqual([item]);
      expect(await table.batchGet([key])).toEqual([item]);
      expect(await table.put({ ...key, attributes: {} }, "absent")).toEqual({ won: false, current: item });
    });

    it("are read as they were when put was called", async () => {
      const key = freshKey();
      const bytes = Uint8Array.of(1, 2, 3);
      const putting = table.put({ ...key, attributes: { bytes } }, "any");
      bytes.fill(0);
      await putting;
      expect((await stored(key)).attributes).toEqual({ bytes: Uint8Array.of(1, 2, 3) });
    });

    it.each([Number.NaN, Infinity, 1e126, 1e-131])("refuse %d, which no table can hold", async (n) => {
      await expect(put(freshKey(), { n: [n] })).rejects.toMatchObject({ code: "invalid" });
    });

    it("up to the limit of an item are accepted, and one byte more is refused as `item_too_large`", async () => {
      const key = freshKey();
      const room = MAX_ITEM_BYTES - itemBytes({ ...key, attributes: { text: "" } });
      await put(key, { text: "é".repeat(room / 2) + "x".repeat(room % 2) });
      await expect(put(key, { text: "x".repeat(room + 1) })).rejects.toMatchObject({ code: "item_too_large" });
      await expect(
        table.batchPut([{ ...key, attributes: { bytes: new Uint8Array(room + 200) } }]),
      ).rejects.toMatchObject({ code: "item_too_large" });
      expect((await stored(key)).attributes["text"]).toHaveLength(Math.ceil(room / 2));
    });

    it("of many small parts are measured no smaller than the table measures them", async () => {
      const key = freshKey();
      const parts = Array.from({ length: 6000 }, (_, i) => ({ n: i, s: "", l: [i * 1.1, null], t: "x".repeat(70) }));
      let fits = parts.length;
      while (itemBytes({ ...key, attributes: { parts: parts.slice(0, fits) } }) > MAX_ITEM_BYTES) fits -= 10;
      await put(key, { parts: parts.slice(0, fits) });
      expect((await stored(key)).attributes["parts"]).toHaveLength(fits);
    });
  });

  describe("expiry", () => {
    it("makes an item absent to every reader once its time has come", async () => {
      const { pk } = freshKey();
      const later = table.now() + 600_000.5;
      await table.put({ pk, sk: "a", attributes: {}, expiresAt: later }, "any");
      await table.put({ pk, sk: "b", attributes: {} }, "any");
      expect(await table.get({ pk, sk: "a" })).toMatchObject({ expiresAt: later });
      expect((await table.query(pk, {})).items).toHaveLength(2);
      const soon = table.now() + 200;
      await table.put({ pk, sk: "a", attributes: {}, expiresAt: soon }, "any");
      await eventually(async () => (await table.get({ pk, sk: "a" })) === undefined);
      expect(table.now()).toBeGreaterThanOrEqual(soon);
      expect((await table.query(pk, { limit: 1 })).items.map((item) => item.sk)).toEqual(["b"]);
      expect((await table.query(pk, {})).items.map((item) => item.sk)).toEqual(["b"]);
      expect((await table.batchGet([{ pk, sk: "a" }])).length).toBe(0);
    });

    it("makes an item absent to every condition", async () => {
      const expiresAt = table.now() - 1;
      const expired = async (): Promise<{ key: Key; version: number }> => {
        const key = freshKey();
        const result = await table.put({ ...key, attributes: { count: 5 }, expiresAt }, "any");
        return { key, version: result.won ? result.version : 0 };
      };
      const one = await expired();
      const onVersion = await table.put({ ...one.key, attributes: {} }, { version: one.version });
      expect(onVersion).toEqual({ won: false, current: undefined });
      expect(await table.remove(one.key, { version: one.version })).toEqual({ outcome: "gone" });
      const two = await expired();
      expect(await table.remove(two.key, "any")).toEqual({ outcome: "gone" });
      const three = await expired();
      expect(await table.put({ ...three.key, attributes: { new: true } }, "absent")).toMatchObject({ won: true });
      expect(await stored(three.key)).not.toHaveProperty("expiresAt");
      const four = await expired();
      expect(await table.add(four.key, "count", 2)).toBe(2);
      expect((await stored(four.key)).attributes).toEqual({ count: 2 });
    });
  });

  describe("add", () => {
    it("creates the item, adds to it, and keeps everything else", async () => {
      const key = freshKey();
      expect(await table.add(key, "n", 3)).toBe(3);
      const before = await stored(key);
      await table.put({ ...before, attributes: { ...before.attributes, other: "x" } }, { version: before.version });
      const { version } = await stored(key);
      expect(await table.add(key, "n", -1)).toBe(2);
      expect((await stored(key)).attributes).toEqual({ n: 2, other: "x" });
      expect((await stored(key)).version).not.toBe(version);
      expect(await table.add(key, "m", 1)).toBe(1);
    });

    it("changes nothing and says so when the result would be above the ceiling", async () => {
      const key = freshKey();
      expect(await table.add(key, "n", 11, 10)).toBeUndefined();
      expect(await table.get(key)).toBeUndefined();
      expect(await table.add(key, "n", 10, 10)).toBe(10);
      expect(await table.add(key, "n", 1, 10)).toBeUndefined();
      expect(await table.add(key, "m", 11, 10)).toBeUndefined();
      expect((await stored(key)).attributes).toEqual({ n: 10 });
      expect(await table.add(key, "n", -4, 10)).toBe(6);
    });

    it("loses nothing when many add at once", async () => {
      const key = freshKey();
      const sums = await Promise.all(Array.from({ length: 60 }, () => table.add(key, "n", 1, 40)));
      expect(sums.filter((sum) => sum === undefined)).toHaveLength(20);
      expect((await stored(key)).attributes).toEqual({ n: 40 });
    });
  });

  describe("batches", () => {
    it("of any size are put and got, also where a key is named twice", async () => {
      const { pk } = freshKey();
      const drafts = Array.from({ length: 230 }, (_, n) => ({ pk, sk: `B#${n}`, attributes: { n } }));
      await table.batchPut([...drafts, { pk, sk: "B#0", attributes: { n: "later" } }]);
      const keys = [{ pk, sk: "nothing" }, ...drafts, { pk, sk: "B#0" }];
      const items = await table.batchGet(keys);
      const found = new Map(items.map((item) => [item.sk, item.attributes["n"]]));
      expect(found.size).toBe(230);
      expect(found.get("B#0")).toBe("later");
      expect(found.get("B#229")).toBe(229);
      expect(new Set(items.map((item) => item.version)).size).toBe(230);
    });

    it("of nothing are nothing", async () => {
      await table.batchPut([]);
      expect(await table.batchGet([])).toEqual([]);
    });
  });

  it("shows every acknowledged write to every other handle", async () => {
    const other = await opened.another();
    for (let n = 0; n < 20; n++) {
      const key = freshKey();
      await put(key, { n });
      expect((await other.get(key))?.attributes).toEqual({ n });
    }
  });

  it("has a time that is the machine's here, and never goes back", async () => {
    await table.get(freshKey());
    let last = table.now();
    expect(Math.abs(last - Date.now())).toBeLessThan(10_000);
    for (let n = 0; n < 50; n++) {
      await table.get(freshKey());
      expect(table.now()).toBeGreaterThanOrEqual(last);
      last = table.now();
    }
  });
});
