import { describe, expect, it } from "vitest";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { tenantId, threadId } from "../../src/core/ids.ts";
import type { Table } from "../../src/storage/table.ts";
import { checkpointOf, configOf, metadataOf } from "../support/checkpoints.ts";
import { everyTable } from "../support/engines.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";

const thread = threadId("t1");
const tenant = tenantId("acme");
const blobs = createMemoryBlobs();
const holder = (table: Table, fence: number) =>
  new FencedSaver({ table, blobs, tenant, lease: { threadId: thread, generation: 0, fence } });

/** What a reader without a lease finds: the latest value of `n`, and those of the history. */
async function seen(table: Table): Promise<{ readonly latest: unknown; readonly history: readonly unknown[] }> {
  const reader = new FencedSaver({ table, blobs, tenant });
  const history: unknown[] = [];
  for await (const { checkpoint } of reader.list(configOf(thread))) history.push(checkpoint.channel_values["n"]);
  return { latest: (await reader.getTuple(configOf(thread)))?.checkpoint.channel_values["n"], history };
}

/** A thread of `count` checkpoints by fence 1, and their ids. */
async function begun(table: Table, count: number) {
  const saver = holder(table, 1);
  const ids: string[] = [];
  for (let n = 0; n < count; n++) {
    const checkpoint = checkpointOf({ values: { n, same: "s" }, versions: { n: n + 1, same: 1 } });
    const newVersions = { n: n + 1, ...(n === 0 ? { same: 1 } : {}) };
    await saver.put(configOf(thread, ids.at(-1)), checkpoint, metadataOf(n, n === 0 ? "input" : "loop"), newVersions);
    ids.push(checkpoint.id);
  }
  return { saver, ids };
}

describe("rollback", () => {
  it("hides what came after a checkpoint, keeps its task writes, and the next record goes on from it", async () => {
    const table = createMemoryTable();
    const { saver: first, ids } = await begun(table, 5);
    await first.putWrites(configOf(thread, ids[2]), [["n", "pending"]], "task");
    const second = holder(table, 2);
    await second.rollback(ids[2]);
    expect(await seen(table)).toEqual({ latest: 2, history: [2, 1, 0] });
    const tuple = await second.getTuple(configOf(thread));
    expect(tuple?.pendingWrites).toEqual([["task", "n", "pending"]]);
    await second.put(
      configOf(thread, ids[2]),
      checkpointOf({ values: { n: "new", same: "s" }, versions: { n: 4, same: 1 } }),
      metadataOf(3),
      { n: 4 },
    );
    expect(await seen(table)).toEqual({ latest: "new", history: ["new", 2, 1, 0] });
    await expect(first.put(configOf(thread, ids[4]), checkpointOf(), metadataOf(5), {})).rejects.toMatchObject({
      code: "lost",
    });
  });

  it("to before the first checkpoint leaves an empty thread in which positions are not used again", async () => {
    const table = createMemoryTable();
    await begun(table, 3);
    const second = holder(table, 2);
    await second.rollback(undefined);
    expect(await seen(table)).toEqual({ latest: undefined, history: [] });
    await second.put(configOf(thread), checkpointOf({ values: { n: "again" } }), metadataOf(-1, "input"), { n: 1 });
    expect(await seen(table)).toEqual({ latest: "again", history: ["again"] });
    expect(second.head()?.seq).toBe(6);
  });

  it("may be repeated, also to a point above an earlier one", async () => {
    const table = createMemoryTable();
    const { ids } = await begun(table, 40);
    await holder(table, 2).rollback(ids[30]);
    await holder(table, 3).rollback(ids[7]);
    expect(await seen(table)).toEqual({ latest: 7, history: [7, 6, 5, 4, 3, 2, 1, 0] });
    await expect(holder(table, 4).rollback("no such checkpoint")).rejects.toMatchObject({ code: "not_found" });
  });
});

/** A checkpoint that asks (1), one after it (2), a rollback to the first, and task writes of two holders after that. */
async function asked(table: Table) {
  const { saver: first, ids } = await begun(table, 1);
  const [start = ""] = ids;
  await first.putWrites(configOf(thread, start), [["__interrupt__", "question"]], "asks");
  await first.put(configOf(thread, start), checkpointOf({ values: { n: 1 } }), metadataOf(1), { n: 2 });
  await holder(table, 2).rollback(start);
  const third = holder(table, 3);
  await third.barrier();
  await third.putWrites(configOf(thread, start), [["n", "third"]], "one");
  const fourth = holder(table, 4);
  await fourth.barrier();
  await fourth.putWrites(configOf(thread, start), [["n", "fourth"]], "other");
  const goOn = (saver: FencedSaver) =>
    saver.put(configOf(thread, start), checkpointOf({ versions: { n: 2 } }), metadataOf(1), { n: 2 });
  return { start, fourth, goOn };
}

for (const engine of everyTable()) {
  describe(`what was written after a rollback, on ${engine.name},`, () => {
    const writesAt = async (saver: FencedSaver, id: string): Promise<readonly unknown[]> => {
      const tuple = await saver.getTuple(configOf(thread, id));
      return (tuple?.pendingWrites ?? []).map(([task, , value]) => `${task}: ${String(value)}`).toSorted();
    };
    const ALL = ["asks: question", "one: third", "other: fourth"];

    it("stands under the checkpoint that was gone back to, also once the thread has gone on", async () => {
      await using handles = await engine.open();
      const { table } = handles;
      const { start, fourth, goOn } = await asked(table);
      expect(await writesAt(fourth, start)).toEqual(ALL);
      await goOn(fourth);
      expect(await writesAt(fourth, start)).toEqual(ALL);
      expect(await writesAt(new FencedSaver({ table, blobs, tenant }), start)).toEqual(ALL);
    });

    it("is what a delta channel of the next checkpoint is rebuilt from", async () => {
      await using handles = await engine.open();
      const { fourth, goOn } = await asked(handles.table);
      const config = await goOn(fourth);
      const { n } = await fourth.getDeltaChannelHistory({ config, channels: ["n"] });
      expect(n?.writes.map(([, , value]) => value)).toEqual(["third", "fourth"]);
    });

    it("stays when the thread goes back to the same checkpoint again, before it has gone on and after", async () => {
      await using handles = await engine.open();
      const { table } = handles;
      const { start, goOn } = await asked(table);
      const fifth = holder(table, 5);
      await fifth.rollback(start);
      expect(await writesAt(fifth, start)).toEqual(ALL);
      await goOn(fifth);
      const sixth = holder(table, 6);
      await sixth.rollback(start);
      expect(await writesAt(sixth, start)).toEqual(ALL);
    });

    it("is not what an overtaken holder wrote there", async () => {
      await using handles = await engine.open();
      const { table } = handles;
      const { start, fourth, goOn } = await asked(table);
      const fifth = holder(table, 5);
      await fifth.barrier();
      await fourth.putWrites(configOf(thread, start), [["n", "late"]], "late");
      await goOn(fifth);
      expect(await writesAt(new FencedSaver({ table, blobs, tenant }), start)).toEqual(ALL);
    });
  });
}
