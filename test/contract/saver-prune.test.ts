import type { RunnableConfig } from "@langchain/core/runnables";
import { uuid6 } from "@langchain/langgraph-checkpoint";
import { describe, expect, it } from "vitest";
import { createManualClock } from "../support/manual-clock.ts";
import { checkpointOf, configOf, metadataOf } from "../support/checkpoints.ts";
import { idsIn, leaseOf, line, savers, seen, step, steps, strays, THREAD } from "../support/long-thread.ts";
import { createMemoryTable } from "../support/memory-table.ts";

const WEEK_MS = 7 * 24 * 3_600_000;

function world() {
  const clock = createManualClock();
  const table = createMemoryTable({ now: () => clock.wall() });
  return { clock, table, open: savers() };
}
const keys = (items: readonly { readonly sk: string }[]): readonly string[] => items.map(({ sk }) => sk);

describe("prune", () => {
  it("keeps the latest checkpoint of each namespace as it was, and nothing else", async () => {
    const { clock, table, open } = world();
    const saver = open(table);
    await line(saver, steps(23));
    await line(saver, steps(9, { ns: "sub:1" }));
    const ids = await idsIn(saver);
    const before = await seen(open(table), ids);
    await saver.prune([THREAD]);
    for (const reader of [saver, open(table)]) {
      const after = await seen(reader, ids);
      expect(after.listed).toEqual({
        "": before.listed[""]?.slice(0, 1),
        "sub:1": before.listed["sub:1"]?.slice(0, 1),
      });
      for (const [ns, id] of ids) {
        const isLatest = (before.byId[`${ns} latest`] as { id: string }).id === id;
        expect(after.byId[`${ns} ${id}`]).toEqual(isLatest ? before.byId[`${ns} ${id}`] : null);
      }
    }
    expect(strays(table.dump())).toEqual([]);
    clock.advance(WEEK_MS + 1);
    expect(keys(table.dump()).filter((sk) => sk.startsWith("C#"))).toEqual([
      "C#000000##000000000024",
      "C#000000#sub:1#000000000010",
    ]);
    expect(keys(table.dump()).filter((sk) => sk.startsWith("W#"))).toHaveLength(4);
  });

  it("may be repeated, and then costs nothing", async () => {
    const { table, open } = world();
    await line(open(table), steps(12));
    await open(table).prune([THREAD]);
    const before = table.dump();
    await open(table).prune([THREAD]);
    expect(table.dump()).toEqual(before);
  });

  it("leaves what it kept to be copied beside itself, under a parent that is gone; nothing goes on from that parent", async () => {
    const { table, open } = world();
    const saver = open(table);
    await line(saver, steps(9));
    const latest = await saver.getTuple(configOf(THREAD));
    const { parentConfig, checkpoint } = latest ?? {};
    if (!parentConfig || !checkpoint) throw new Error("it has a parent");
    await saver.prune([THREAD]);
    for (const writer of [saver, open(table)]) {
      const copy = { ...checkpoint, id: uuid6(0) };
      await expect(writer.put(parentConfig, copy, metadataOf(9), {})).rejects.toMatchObject({
        code: "conflict",
        detail: { reason: "pruned" },
      });
      await writer.put(parentConfig, copy, metadataOf(9, "fork"), {});
      const copied = await open(table).getTuple(configOf(THREAD));
      expect(copied).toMatchObject({ parentConfig, checkpoint: { id: copy.id } });
      expect(copied?.checkpoint.channel_values).toEqual(checkpoint.channel_values);
    }
  });

  it("is followed by checkpoints that go on from what it kept, and by more of it", async () => {
    const { clock, table, open } = world();
    const saver = open(table);
    const plain = savers();
    const other = createMemoryTable();
    let [config, same] = [await step(saver, { n: 0 }), await step(plain(other), { n: 0 })];
    for (let n = 1; n < 40; n++) {
      if (n % 4 === 0) await open(table).prune([THREAD]);
      config = await step(saver, { n, from: config });
      same = await step(plain(other), { n, from: same });
      const [a, b] = [await open(table).getTuple(configOf(THREAD)), await plain(other).getTuple(configOf(THREAD))];
      expect(a?.checkpoint.channel_values).toEqual(b?.checkpoint.channel_values);
    }
    await open(table).prune([THREAD]);
    expect(strays(table.dump())).toEqual([]);
    clock.advance(WEEK_MS + 1);
    const segments = keys(table.dump()).filter((sk) => sk.startsWith("S#"));
    expect(segments.length).toBeLessThan(25);
  });

  it("under a lease, and task writes of holders before it stay", async () => {
    const { table, open } = world();
    const first = open(table, leaseOf(1));
    const configs = await line(first, steps(7));
    const ids = await idsIn(open(table));
    const before = await seen(open(table), ids);
    const second = open(table, leaseOf(2));
    await second.prune([THREAD]);
    const after = await seen(open(table), ids);
    expect(after.listed[""]).toEqual(before.listed[""]?.slice(0, 1));
    await step(second, { n: 7, from: configs.at(-1) });
    await expect(step(first, { n: 7, from: configs.at(-1) })).rejects.toMatchObject({ code: "lost" });
    expect(first.lost).toBe(true);
    expect((await idsIn(open(table))).length).toBe(2);
  });

  it("without a lease is refused where others have one, and where a run executes from an older checkpoint", async () => {
    const { table, open } = world();
    const configs = await line(open(table, leaseOf(1)), steps(7));
    await expect(open(table).prune([THREAD])).rejects.toMatchObject({ code: "conflict" });
    const from = String(configs[2]?.configurable?.["checkpoint_id"]);
    await open(table, { ...leaseOf(2), executesFrom: from }).barrier();
    await expect(open(table, leaseOf(3)).prune([THREAD])).rejects.toMatchObject({ code: "conflict" });
  });

  it("keeps the ancestors that delta channels are rebuilt from, until they are whole again", async () => {
    const { clock, table, open } = world();
    const saver = open(table);
    const put = async (
      n: number,
      from: RunnableConfig,
      values: Readonly<Record<string, unknown>>,
      counted: boolean,
    ) => {
      const counters = counted ? { counters_since_delta_snapshot: { log: [n, n] as [number, number] } } : {};
      const checkpoint = checkpointOf({ values: { n, ...values }, versions: { n: n + 1, log: n + 1 } });
      const config = await saver.put(
        from,
        checkpoint,
        { ...metadataOf(n), ...counters },
        {
          n: n + 1,
          ...(values["log"] === undefined ? {} : { log: n + 1 }),
        },
      );
      await saver.putWrites(config, [["log", `w${n}`]], `task-${n}`);
      return config;
    };
    let config = configOf(THREAD);
    for (let n = 0; n < 14; n++) config = await put(n, config, n === 6 ? { log: ["snapshot"] } : {}, n !== 6);
    const history = () => open(table).getDeltaChannelHistory({ config, channels: ["log"] });
    const before = await history();
    expect(before["log"]).toMatchObject({ seed: ["snapshot"], writes: { length: 7 } });
    await saver.prune([THREAD]);
    expect(await history()).toEqual(before);
    expect(await idsIn(open(table))).toHaveLength(8);
    await open(table).prune([THREAD]);
    clock.advance(WEEK_MS + 1);
    expect(await history()).toEqual(before);
    expect(strays(table.dump())).toEqual([]);
    config = await put(14, config, { log: ["whole"] }, false);
    await open(table).prune([THREAD]);
    expect(await idsIn(open(table))).toHaveLength(1);
  });

  it("of a run whose checkpoints delta channels of the latest are rebuilt from is refused", async () => {
    const { table, open } = world();
    const saver = open(table);
    const put = (n: number, run: string, from: RunnableConfig) => {
      const counters = { counters_since_delta_snapshot: { log: [n, n] as [number, number] } };
      const metadata = { ...metadataOf(n), ...counters, run_id: run };
      return saver.put(from, checkpointOf({ values: { n }, versions: { n: n + 1, log: n + 1 } }), metadata, {
        n: n + 1,
      });
    };
    const first = await put(0, "a", configOf(THREAD));
    await put(1, "b", first);
    await expect(saver.deleteForRuns(["a"], [THREAD])).rejects.toMatchObject({ code: "conflict" });
    expect(await idsIn(open(table))).toHaveLength(2);
  });
});
