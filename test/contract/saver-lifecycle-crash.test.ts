/**
 * Whoever ends a thread, or a part of it, dies at any of its storage writes, before or after it is applied. What a reader
 * finds then is the state before or the state after; who repeats it comes to its end and leaves nothing behind.
 */
import { describe, expect, it } from "vitest";
import type { FencedSaver } from "../../src/checkpoint/saver.ts";
import { configOf } from "../support/checkpoints.ts";
import { idsIn, line, savers, seen, step, steps, strays, THREAD } from "../support/long-thread.ts";
import type { OpenSaver } from "../support/long-thread.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { createTracedTable } from "../support/traced-table.ts";

const other = "t2";

interface Ending {
  readonly name: string;
  /** Which thread shows what it does. */
  readonly thread: string;
  readonly run: (saver: FencedSaver) => Promise<void>;
  /** Fewer writes than this, and the test has missed something. */
  readonly writes: number;
}

const endings: readonly Ending[] = [
  { name: "deleteThread", thread: THREAD, run: (saver) => saver.deleteThread(THREAD), writes: 30 },
  { name: "prune", thread: THREAD, run: (saver) => saver.prune([THREAD]), writes: 30 },
  { name: "deleteForRuns", thread: THREAD, run: (saver) => saver.deleteForRuns(["b"], [THREAD]), writes: 15 },
  {
    name: "deleteForRuns of the last",
    thread: THREAD,
    run: (saver) => saver.deleteForRuns(["c", "d"], [THREAD]),
    writes: 15,
  },
  { name: "copyThread", thread: other, run: (saver) => saver.copyThread(THREAD, other), writes: 30 },
];

/** Ids are the same in every world, or states could not be compared. */
const idOf = (n: number): string => `1f000000-0000-6000-8000-${String(n).padStart(12, "0")}`;

const keys = (table: DumpTable): readonly string[] => table.dump().map(({ sk }) => sk);

const lives = (work: Promise<void>): Promise<boolean> =>
  work.then(
    () => true,
    () => false,
  );

type DumpTable = ReturnType<typeof createMemoryTable>;

/** Another table with the same in it. */
async function copyOf(table: DumpTable): Promise<DumpTable> {
  const copy = createMemoryTable();
  await copy.batchPut(table.dump());
  return copy;
}

async function world(open: OpenSaver): Promise<DumpTable> {
  const table = createMemoryTable();
  const saver = open(table);
  const configs = await line(
    saver,
    steps(10, (n) => ({ run: "abcd"[Math.floor(n / 3)] ?? "d", id: idOf(n) })),
  );
  await step(saver, { n: 10, run: "d", from: configs.at(-1), id: idOf(10) });
  return table;
}

describe.each(endings)("$name, dying at any of its writes", ({ thread, run, writes }) => {
  it("is not seen half done, and can be finished", { timeout: 120_000 }, async () => {
    const open = savers();
    const start = await world(open);
    const finished = await copyOf(start);
    const ids = await idsIn(open(finished));
    const before = await seen(open(finished), ids, thread);
    await run(open(finished));
    const after = await seen(open(finished), ids, thread);
    expect(after).not.toEqual(before);
    let died = 0;
    for (let mutation = 1; ; mutation++) {
      const survived: boolean[] = [];
      for (const when of ["before", "after"] as const) {
        const table = await copyOf(start);
        const dying = createTracedTable(table, { dieAt: { mutation, when } });
        survived.push(await lives(run(open(dying))));
        const now = await seen(open(table), ids, thread);
        expect([before, after]).toContainEqual(now);
        const isCopied = thread === other && JSON.stringify(now) === JSON.stringify(after);
        if (isCopied) await expect(run(open(table))).rejects.toMatchObject({ code: "conflict" });
        else await run(open(table));
        expect(await seen(open(table), ids, thread)).toEqual(after);
        expect(strays(table.dump())).toEqual([]);
        if (thread === THREAD) expect(keys(table)).toEqual(keys(finished));
      }
      if (survived.every(Boolean)) break;
      died = mutation;
    }
    expect(died).toBeGreaterThan(writes);
  });
});

describe("what these tests would miss", () => {
  it("is seen when a cut does not say that it is one (negative control)", async () => {
    const open = savers();
    const table = await world(open);
    const ids = await idsIn(open(table));
    const before = await seen(open(table), ids);
    // Segments, the cut, and some removals.
    const dying = createTracedTable(table, { dieAt: { mutation: 12, when: "after" } });
    await open(dying)
      .prune([THREAD])
      .catch(() => undefined);
    const after = { ...before.listed, "": before.listed[""]?.slice(0, 1) };
    expect((await seen(open(table), ids)).listed).toEqual(after);
    const cut = table.dump().find(({ attributes }) => attributes["fl"] !== undefined);
    if (cut === undefined) throw new Error("there is no cut");
    const { fl: _, cu: _cu, ...attributes } = cut.attributes;
    await table.put({ ...cut, attributes }, "any");
    const half = (await seen(open(table), ids)).listed;
    expect(half).not.toEqual(after);
    expect(half).not.toEqual(before.listed);
  });

  it("a deletion under way while another process has the thread again does not touch the new one", async () => {
    const open = savers();
    const table = await world(open);
    let recreated: Promise<unknown> | undefined;
    const slow = createTracedTable(table, {
      before: async ({ method }) => {
        if (method === "remove") await (recreated ??= step(open(table), { n: 0, run: "new", id: idOf(99) }));
      },
    });
    await open(slow).deleteThread(THREAD);
    expect((await idsIn(open(table))).map(([, id]) => id)).toEqual([idOf(99)]);
    expect((await open(table).getTuple(configOf(THREAD)))?.checkpoint.channel_values["n"]).toBe(0);
  });
});
