/** Two holders of one thread: the earlier one is told `lost`, and nothing that it still writes is seen (I2). */
import { ERROR, INTERRUPT, RESUME, uuid6 } from "@langchain/langgraph-checkpoint";
import { describe, expect, it } from "vitest";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import type { SaverOptions } from "../../src/checkpoint/options.ts";
import { HoldpointError } from "../../src/core/errors.ts";
import { tenantId, threadId } from "../../src/core/ids.ts";
import type { Table } from "../../src/storage/table.ts";
import { checkpointOf, configOf, metadataOf } from "../support/checkpoints.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";

const thread = threadId("t1");
const blobs = createMemoryBlobs();
const tenant = tenantId("acme");
const holder = (table: Table, fence: number, more: Partial<SaverOptions> = {}) =>
  new FencedSaver({ table, blobs, tenant, lease: { threadId: thread, generation: 0, fence }, ...more });

/** A first holder that has written one checkpoint and the result of one of its two tasks. */
async function begun(table: Table, more: Partial<SaverOptions> = {}) {
  const first = holder(table, 1, more);
  const config = await first.put(configOf(thread), checkpointOf({ values: { a: 1 } }), metadataOf(0, "input"), {
    a: 1,
  });
  await first.putWrites(config, [["a", "done by 1"]], "task-1");
  return { first, config };
}

/** The next holder, whose barrier stands. */
async function takenOver(table: Table, fence: number, more: Partial<SaverOptions> = {}) {
  const saver = holder(table, fence, more);
  await saver.preload();
  await saver.barrier();
  return saver;
}
const writesAt = async (saver: FencedSaver) => (await saver.getTuple(configOf(thread)))?.pendingWrites;

describe("an overtaken holder", () => {
  it("is told lost at its next append, and at once from then on", async () => {
    const table = createMemoryTable();
    let told = 0;
    const { first, config } = await begun(table, { onLost: () => told++ });
    await takenOver(table, 2);
    expect(first.lost).toBe(false);
    const append = () => first.put(config, checkpointOf({ values: { a: 2 } }), metadataOf(1), { a: 2 });
    await expect(append()).rejects.toMatchObject({ code: "lost" });
    expect(first.lost).toBe(true);
    const before = table.dump();
    await expect(append()).rejects.toMatchObject({ code: "lost" });
    await expect(first.putWrites(config, [["a", 1]], "task-9")).rejects.toMatchObject({ code: "lost" });
    await expect(first.getTuple(configOf(thread))).rejects.toMatchObject({ code: "lost" });
    await expect(first.barrier()).rejects.toMatchObject({ code: "lost" });
    expect(table.dump()).toEqual(before);
    expect(told).toBe(1);
  });

  it("is told lost when it reads a higher fence at the head", async () => {
    const table = createMemoryTable();
    await begun(table);
    await takenOver(table, 3);
    const late = holder(table, 2);
    await expect(late.preload()).rejects.toMatchObject({ code: "lost" });
    expect(late.lost).toBe(true);
  });

  it("leaves task writes that were stored before the barrier, and only those", async () => {
    const table = createMemoryTable();
    const { first, config } = await begun(table);
    const second = await takenOver(table, 2);
    await first.putWrites(config, [["a", "late"]], "task-2");
    await first.putWrites(config, [[ERROR, { message: "late" }]], "task-1");
    await first.putWrites(config, [[INTERRUPT, [{ id: "x", value: "late" }]]], "task-3");
    expect(await writesAt(second)).toEqual([["task-1", "a", "done by 1"]]);
    await second.putWrites(config, [["a", "done by 2"]], "task-2");
    expect(await writesAt(second)).toEqual([
      ["task-1", "a", "done by 1"],
      ["task-2", "a", "done by 2"],
    ]);
    const third = await takenOver(table, 3);
    const sealed = await writesAt(third);
    expect(sealed).toEqual(await writesAt(new FencedSaver({ table, blobs, tenant })));
    expect(sealed).toEqual([
      ["task-1", "a", "done by 1"],
      ["task-2", "a", "done by 2"],
    ]);
    await third.put(config, checkpointOf({ values: { a: 2 } }), metadataOf(1), { a: 2 });
    const history = new FencedSaver({ table, blobs, tenant });
    expect((await history.getTuple(config))?.pendingWrites).toEqual(sealed);
  });

  it("without seals would have its late result, error and interrupt taken for live ones", async () => {
    const table = createMemoryTable();
    const { first, config } = await begun(table);
    await takenOver(table, 2);
    await first.putWrites(config, [["a", "late"]], "task-2");
    await first.putWrites(config, [[ERROR, { message: "late" }]], "task-1");
    await first.putWrites(config, [[INTERRUPT, [{ id: "x", value: "late" }]]], "task-3");
    expect(await writesAt(await takenOver(table, 3, { seals: false }))).toEqual([
      ["task-1", ERROR, { message: "late" }],
      ["task-1", "a", "done by 1"],
      ["task-2", "a", "late"],
      ["task-3", INTERRUPT, [{ id: "x", value: "late" }]],
    ]);
  });

  it("does not revive its writes through a third holder", async () => {
    const table = createMemoryTable();
    const { first, config } = await begun(table);
    await takenOver(table, 2);
    await first.putWrites(config, [["a", "late"]], "task-2");
    expect(await writesAt(await takenOver(table, 3))).toEqual([["task-1", "a", "done by 1"]]);
  });

  it("loses in a subgraph's namespace as well, even where that was still empty", async () => {
    const table = createMemoryTable();
    const { first } = await begun(table);
    expect(await first.getTuple(configOf(thread, undefined, "sub:1"))).toBeUndefined();
    const second = await takenOver(table, 2);
    expect(await second.getTuple(configOf(thread, undefined, "sub:1"))).toBeUndefined();
    const append = first.put(configOf(thread, undefined, "sub:1"), checkpointOf(), metadataOf(-1, "input"), {});
    await expect(append).rejects.toMatchObject({ code: "lost" });
    expect(first.lost).toBe(true);
  });
});

describe("a new holder", () => {
  it("needs no barrier where its delivery starts with new input", async () => {
    const table = createMemoryTable();
    const { first, config } = await begun(table);
    const second = holder(table, 2, { newRoot: "run-2" });
    await second.preload();
    expect((await second.getTuple(configOf(thread)))?.checkpoint.id).toBe(config.configurable?.["checkpoint_id"]);
    const seqs = () => table.dump().filter((item) => item.sk.startsWith("C#")).length;
    const before = seqs();
    await second.put(config, checkpointOf({ values: { a: 7 } }), metadataOf(1, "input"), { a: 2 });
    expect(seqs()).toBe(before + 1);
    const append = first.put(config, checkpointOf({ values: { a: 2 } }), metadataOf(1), { a: 2 });
    await expect(append).rejects.toMatchObject({ code: "lost" });
  });

  it("starts its delivery again when the head moved before its input landed", async () => {
    const table = createMemoryTable();
    const { first, config } = await begun(table);
    const second = holder(table, 2, { newRoot: "run-2" });
    await second.preload();
    const moved = await first.put(config, checkpointOf({ values: { a: 2 } }), metadataOf(1), { a: 2 });
    const input = checkpointOf({ values: { a: 7 } });
    await expect(second.put(config, input, metadataOf(1, "input"), { a: 2 })).rejects.toMatchObject({
      code: "conflict",
      detail: { reason: "head_moved" },
    });
    expect(second.lost).toBe(false);
    expect(await second.preload()).toMatchObject({ checkpointId: String(moved.configurable?.["checkpoint_id"]) });
    await second.put(moved, input, metadataOf(2, "input"), { a: 3 });
    expect(second.head()).toMatchObject({ checkpointId: input.id, fence: 2, root: "run-2" });
  });

  it("puts its barrier above a record that an earlier holder still wrote", async () => {
    const table = createMemoryTable();
    const { first, config } = await begun(table);
    const second = holder(table, 2);
    await second.preload();
    const moved = await first.put(config, checkpointOf({ values: { a: 2 } }), metadataOf(1), { a: 2 });
    await second.barrier();
    expect(second.head()?.checkpointId).toBe(moved.configurable?.["checkpoint_id"]);
    expect((await second.getTuple(configOf(thread)))?.checkpoint.channel_values).toEqual({ a: 2 });
  });

  it("stores a task's result only above its own barrier", async () => {
    const table = createMemoryTable();
    const { config } = await begun(table);
    const second = holder(table, 2);
    await second.preload();
    await second.putWrites(config, [["a", "by 2"]], "task-2");
    expect(await writesAt(new FencedSaver({ table, blobs, tenant }))).toEqual([
      ["task-1", "a", "done by 1"],
      ["task-2", "a", "by 2"],
    ]);
  });

  it("reports nothing as written before its gate opens, and fails with the gate", async () => {
    const table = createMemoryTable();
    let open: (value: unknown) => void = () => undefined;
    const saver = holder(table, 1, { gate: new Promise((resolve) => (open = resolve)) });
    let landed = false;
    const put = saver.put(configOf(thread), checkpointOf(), metadataOf(-1, "input"), {}).then(() => (landed = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect([landed, table.dump().length]).toEqual([false, 1]);
    open(undefined);
    await put;
    const refused = holder(table, 2, { gate: Promise.reject(new Error("no mark")) });
    await expect(refused.barrier()).rejects.toThrow("no mark");
  });

  it("serves no other thread, and no thread is deleted under it", async () => {
    const saver = holder(createMemoryTable(), 1);
    await expect(saver.getTuple(configOf("other"))).rejects.toMatchObject({ code: "invalid" });
    await expect(saver.deleteThread(thread)).rejects.toMatchObject({ code: "unsupported" });
  });
});

describe("the checkpoint that comes of an answer", () => {
  it("lands after the answer, and not at all where that could not be stored", async () => {
    const order: string[] = [];
    let away = false;
    const memory = createMemoryTable();
    const table: Table = {
      ...memory,
      async put(item, ...args) {
        await Promise.resolve(); // What is asked for first must not land first by chance.
        if (item.sk.startsWith("W#")) for (let turn = 0; turn < 20; turn++) await Promise.resolve();
        if (item.sk.startsWith("W#") && away) throw new HoldpointError("unavailable", "the table is away");
        order.push(item.sk.slice(0, 2));
        return memory.put(item, ...args);
      },
    };
    const saver = holder(table, 1);
    const asked = await saver.put(configOf(thread), checkpointOf({ values: { a: 1 } }), metadataOf(0, "input"), {
      a: 1,
    });
    const resumed = (config: typeof asked, a: number) => [
      saver.putWrites(config, [[RESUME, ["yes"]]], "task-1"),
      saver.put(config, checkpointOf({ values: { a } }), metadataOf(a), { a }),
    ];
    await Promise.all(resumed(asked, 2));
    expect(order).toEqual(["C#", "W#", "C#"]);

    away = true;
    const head = (await saver.getTuple(configOf(thread)))?.config;
    const [answer, checkpoint] = await Promise.allSettled(resumed(head ?? asked, 3));
    expect([answer?.status, checkpoint?.status]).toEqual(["rejected", "rejected"]);
    expect(order).toEqual(["C#", "W#", "C#"]);
  });
});

describe("a run that goes back to an older checkpoint", () => {
  it("keeps what its own deliveries wrote there, and nothing of an overtaken one", async () => {
    const table = createMemoryTable();
    const { first, config: older } = await begun(table);
    const head = await first.put(older, checkpointOf({ values: { a: 2 } }), metadataOf(1), { a: 2 });
    const from = { executesFrom: String(older.configurable?.["checkpoint_id"]) };
    const second = await takenOver(table, 2, from);
    await second.putWrites(older, [[INTERRUPT, [{ id: "q", value: "?" }]]], "task-2");
    const third = await takenOver(table, 3, from);
    await second.putWrites(older, [["a", "late"]], "task-3");
    expect((await third.getTuple(older))?.pendingWrites).toEqual([
      ["task-1", "a", "done by 1"],
      ["task-2", INTERRUPT, [{ id: "q", value: "?" }]],
    ]);
    expect((await third.pendingInterrupts()).map(({ id }) => id)).toEqual(["q"]);
    expect((await third.getTuple(configOf(thread)))?.checkpoint.id).toBe(head.configurable?.["checkpoint_id"]);
    await third.put(older, checkpointOf({ values: { a: 9 } }), metadataOf(1), { a: 2 });
    expect((await third.getTuple(configOf(thread)))?.checkpoint.channel_values).toEqual({ a: 9 });
  });
});

describe("a saver without a lease", () => {
  it("takes the next position when another was faster, and both branches stay whole", async () => {
    const table = createMemoryTable();
    const [left, right] = [new FencedSaver({ table, blobs, tenant }), new FencedSaver({ table, blobs, tenant })];
    const base = await left.put(configOf(thread), checkpointOf({ values: { a: 1, b: 1 } }), metadataOf(-1), {
      a: 1,
      b: 1,
    });
    await right.getTuple(base);
    const one = await left.put(
      base,
      checkpointOf({ values: { a: 2, b: 1 }, versions: { a: 2, b: 1 } }),
      metadataOf(0),
      { a: 2 },
    );
    const two = await right.put(
      base,
      checkpointOf({ values: { a: 1, b: 5 }, versions: { a: 1, b: 2 } }),
      metadataOf(0),
      { b: 2 },
    );
    expect((await right.getTuple(one))?.checkpoint.channel_values).toEqual({ a: 2, b: 1 });
    expect((await left.getTuple(two))?.checkpoint.channel_values).toEqual({ a: 1, b: 5 });
    expect((await left.getTuple(configOf(thread)))?.checkpoint.id).toBe(two.configurable?.["checkpoint_id"]);
  });

  it("may read a thread that is advanced under leases, but not write to it", async () => {
    const table = createMemoryTable();
    const { config } = await begun(table);
    const plain = new FencedSaver({ table, blobs, tenant });
    expect(await writesAt(plain)).toEqual([["task-1", "a", "done by 1"]]);
    await expect(plain.put(config, checkpointOf(), metadataOf(1), {})).rejects.toMatchObject({ code: "conflict" });
  });

  it("finds the newest turn although its writer's clock was behind", async () => {
    const table = createMemoryTable();
    const saver = new FencedSaver({ table, blobs, tenant });
    const old = checkpointOf({ id: uuid6(0), values: { a: "skewed" } });
    const first = await saver.put(configOf(thread), checkpointOf({ values: { a: "first" } }), metadataOf(-1), { a: 1 });
    const second = await saver.put(first, old, metadataOf(0), { a: 2 });
    expect(old.id < String(first.configurable?.["checkpoint_id"])).toBe(true);
    expect((await saver.getTuple(configOf(thread)))?.checkpoint.channel_values).toEqual({ a: "skewed" });
    const listed: string[] = [];
    for await (const tuple of saver.list(configOf(thread), { before: second })) listed.push(tuple.checkpoint.id);
    expect(listed).toEqual([first.configurable?.["checkpoint_id"]]);
    const again = new FencedSaver({ table, blobs, tenant });
    expect((await again.getTuple(second))?.checkpoint.channel_values).toEqual({ a: "skewed" });
  });
});
