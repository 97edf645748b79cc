import { describe, expect, it } from "vitest";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { tenantId, threadId } from "../../src/core/ids.ts";
import type { Table } from "../../src/storage/table.ts";
import { checkpointOf, configOf, metadataOf } from "../support/checkpoints.ts";
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
