import { describe, expect, it } from "vitest";
import { createMemoryTable } from "../support/memory-table.ts";

const draft = (sk: string, n = 0) => ({ pk: "p", sk, attributes: { n } });

describe("the in-memory table", () => {
  it("lets one of two writers create an item and shows the loser what is there", async () => {
    const table = createMemoryTable();
    expect(await table.put(draft("a", 1), "absent", { writeId: "one" })).toMatchObject({
      won: true,
    });
    expect(await table.put(draft("a", 2), "absent")).toMatchObject({
      won: false,
      current: { attributes: { n: 1 } },
    });
    expect(await table.put(draft("a", 9), "absent", { writeId: "one" })).toMatchObject({
      won: true,
    });
    expect((await table.get({ pk: "p", sk: "a" }))?.attributes).toEqual({ n: 1 });
  });

  it("pages in both directions without losing or repeating an item", async () => {
    const table = createMemoryTable();
    for (const sk of ["x#1", "x#2", "x#3", "y#1", "x#\u{1F600}", "x#\uFFFD"]) await table.put(draft(sk), "absent");
    for (const descending of [false, true]) {
      const seen: string[] = [];
      for (let after: string | undefined; ;) {
        const page = await table.query("p", {
          prefix: "x#",
          limit: 2,
          descending,
          ...(after === undefined ? {} : { after }),
        });
        seen.push(...page.items.map((item) => item.sk));
        if (page.next === undefined) break;
        after = page.next;
      }
      const order = ["x#1", "x#2", "x#3", "x#\uFFFD", "x#\u{1F600}"];
      expect(seen).toEqual(descending ? order.toReversed() : order);
    }
  });

  it("hands out copies, hides what has expired and refuses what is too large", async () => {
    let time = 100;
    const table = createMemoryTable({ now: () => time });
    const bytes = new Uint8Array([1]);
    await table.put({ ...draft("a"), attributes: { bytes }, expiresAt: 200 }, "absent");
    bytes[0] = 9;
    expect((await table.get({ pk: "p", sk: "a" }))?.attributes["bytes"]).toEqual(new Uint8Array([1]));
    time = 200;
    expect(await table.get({ pk: "p", sk: "a" })).toBeUndefined();
    expect((await table.query("p", {})).items).toEqual([]);
    await expect(
      table.put({ ...draft("b"), attributes: { bytes: new Uint8Array(410_000) } }, "any"),
    ).rejects.toMatchObject({
      code: "item_too_large",
    });
  });

  it("removes by version and counts up to a ceiling", async () => {
    const table = createMemoryTable();
    const key = { pk: "p", sk: "a" };
    expect(await table.add(key, "n", 2, 3)).toBe(2);
    expect(await table.add(key, "n", 2, 3)).toBeUndefined();
    const version = (await table.get(key))?.version ?? 0;
    expect(await table.remove(key, { version: version - 1 })).toMatchObject({ outcome: "lost" });
    expect(await table.remove(key, { version })).toEqual({ outcome: "removed" });
    expect(await table.remove(key, "any")).toEqual({ outcome: "gone" });
  });
});
