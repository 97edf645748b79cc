import { describe, expect, it } from "vitest";
import { configOf } from "../support/checkpoints.ts";
import { idsIn, leaseOf, line, savers, seen, step, steps, strays, THREAD } from "../support/long-thread.ts";
import type { Step } from "../support/long-thread.ts";
import { createMemoryTable } from "../support/memory-table.ts";

interface Listed {
  readonly id: string;
  readonly metadata: { readonly run_id: string };
}
type Seen = Awaited<ReturnType<typeof seen>>;

/** What is left of a thread without these runs. */
function without(before: Seen, ...runs: readonly string[]): Seen["listed"] {
  const stays = (tuple: unknown): boolean => !runs.includes((tuple as Listed).metadata.run_id);
  return Object.fromEntries(
    Object.entries(before.listed).flatMap(([ns, tuples]) => {
      const left = tuples.filter(stays);
      return left.length === 0 ? [] : [[ns, left]];
    }),
  );
}
const inRuns =
  (names: string, length: number): ((n: number) => Partial<Step>) =>
  (n) => ({
    run: names[Math.floor(n / length)] ?? "z",
  });

describe("deleteForRuns", () => {
  it.each([
    ["in the middle", ["b"]],
    ["at the beginning", ["a"]],
    ["at the end", ["d"]],
    ["that surround another", ["a", "c"]],
    ["that are all there are", ["a", "b", "c", "d"]],
    ["that are not there", ["y"]],
  ])("removes the checkpoints of runs %s, and leaves every other as it was", async (_, runs) => {
    const table = createMemoryTable();
    const open = savers();
    const saver = open(table);
    await line(saver, steps(28, inRuns("abcd", 7)));
    await line(
      saver,
      steps(8, (n) => ({ ns: "sub:1", ...inRuns("cd", 4)(n) })),
    );
    const ids = await idsIn(saver);
    const before = await seen(open(table), ids);
    await saver.deleteForRuns(runs);
    const left = without(before, ...runs);
    const kept = new Set(Object.values(left).flatMap((tuples) => tuples.map((tuple) => (tuple as Listed).id)));
    for (const reader of [saver, open(table)]) {
      const after = await seen(reader, ids);
      expect(after.listed).toEqual(left);
      for (const [ns, id] of ids)
        expect(after.byId[`${ns} ${id}`]).toEqual(kept.has(id) ? before.byId[`${ns} ${id}`] : null);
    }
    expect(strays(table.dump())).toEqual([]);
    await step(saver, { n: 28, run: "e", from: (await saver.getTuple(configOf(THREAD)))?.config });
    expect((await idsIn(open(table))).length).toBe(kept.size + 1);
  });

  it("may be repeated with others, and prune after it", async () => {
    const table = createMemoryTable();
    const open = savers();
    await line(open(table), steps(40, inRuns("abcdefgh", 5)));
    const ids = await idsIn(open(table));
    const before = await seen(open(table), ids);
    await open(table).deleteForRuns(["b"], [THREAD]);
    await open(table).deleteForRuns(["g", "h"], [THREAD]);
    await open(table).deleteForRuns(["c"], [THREAD]);
    expect((await seen(open(table), ids)).listed).toEqual(without(before, "b", "c", "g", "h"));
    expect(strays(table.dump())).toEqual([]);
    await open(table).prune([THREAD]);
    expect((await seen(open(table), ids)).listed[""]).toEqual(without(before, "b", "c", "g", "h")[""]?.slice(0, 1));
    expect(strays(table.dump())).toEqual([]);
  });

  it("leaves task writes what they are made of, however often their checkpoint is repeated", async () => {
    const table = createMemoryTable();
    const open = savers();
    await line(open(table), steps(40, inRuns("abcdefgh", 5)));
    const ids = await idsIn(open(table));
    const before = await seen(open(table), ids);
    for (const run of ["a", "c", "b", "e"]) await open(table).deleteForRuns([run], [THREAD]);
    expect((await seen(open(table), ids)).listed).toEqual(without(before, "a", "b", "c", "e"));
  });

  it("under leases keeps the task writes that barriers sealed", async () => {
    const table = createMemoryTable();
    const open = savers();
    const configs = [...(await line(open(table, leaseOf(1)), steps(6, { run: "a" })))];
    for (const [fence, run] of [
      [2, "b"],
      [3, "c"],
      [4, "d"],
    ] as const) {
      const holder = open(table, leaseOf(fence));
      await holder.barrier();
      for (let n = 0; n < 6; n++) configs.push(await step(holder, { n: configs.length, run, from: configs.at(-1) }));
    }
    const ids = await idsIn(open(table));
    const before = await seen(open(table), ids);
    await open(table, leaseOf(5)).deleteForRuns(["b", "d"], [THREAD]);
    const after = await seen(open(table), ids);
    expect(after.listed).toEqual(without(before, "b", "d"));
    for (const { id } of after.listed[""] as readonly Listed[])
      expect(after.byId[` ${id}`]).toEqual(before.byId[` ${id}`]);
  });

  it("removes what a rollback had hidden already, and what was told as a change of it", async () => {
    const table = createMemoryTable();
    const open = savers();
    const configs = await line(open(table, leaseOf(1)), steps(14, inRuns("ab", 7)));
    const second = open(table, leaseOf(2));
    const target = configs[4];
    await second.rollback(String(target?.configurable?.["checkpoint_id"]));
    await step(second, { n: 5, run: "c", from: target });
    const ids = await idsIn(open(table));
    const before = await seen(open(table), ids);
    await open(table, leaseOf(3)).deleteForRuns(["b"], [THREAD]);
    expect(await seen(open(table), ids)).toEqual(before);
    expect(table.dump().some(({ attributes }) => attributes["ru"] === "b")).toBe(false);
    await open(table, leaseOf(4)).deleteForRuns(["a"], [THREAD]);
    expect((await seen(open(table), ids)).listed).toEqual(without(before, "a"));
    expect(strays(table.dump())).toEqual([]);
  });
});
