import { describe, expect, it } from "vitest";
import { systemIds } from "../../src/core/ids.ts";
import type { Key } from "../../src/storage/table.ts";
import { engines } from "../support/engines.ts";
import { countOf, incrementMany } from "../support/increment.ts";
import { startTableProcess } from "../support/table-process.ts";

const freshKey = (): Key => ({ pk: `tenant#t#${systemIds.token(6)}`, sk: "H" });

describe.each(engines())("writers of one item on $name", (engine) => {
  it("lose none of 1,000 increments through two handles", { timeout: 120_000 }, async () => {
    await using opened = await engine.open();
    const other = await opened.another();
    const key = freshKey();
    await Promise.all([incrementMany(opened.table, key, 500, 2), incrementMany(other, key, 500, 2)]);
    expect(countOf(await opened.table.get(key))).toBe(1000);
  });

  it("lose none of 200 increments from two processes", { timeout: 120_000 }, async () => {
    await using opened = await engine.open();
    const key = freshKey();
    const task = { do: "increment", place: opened.place, key, times: 100, lanes: 2 } as const;
    await using one = startTableProcess(task);
    await using two = startTableProcess(task);
    expect(await Promise.all([one.line(), two.line()])).toEqual(["ready", "ready"]);
    one.go();
    two.go();
    const delays = await Promise.all([one.line(), two.line()]);
    expect(countOf(await opened.table.get(key))).toBe(200);
    console.log(`${engine.name}, two processes on one item: ${delays.join(" ")}`);
  });
});
