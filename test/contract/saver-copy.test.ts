import { describe, expect, it } from "vitest";
import { sealedBlobs } from "../../src/storage/encryption/sealed-blobs.ts";
import { checkpointOf, configOf, metadataOf } from "../support/checkpoints.ts";
import { idsIn, leaseOf, line, savers, seen, step, steps, strays, tenant, THREAD } from "../support/long-thread.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { sealersOn } from "../support/sealers.ts";

const other = "t2";

describe("copyThread", () => {
  it("copies every checkpoint with its writes, in all namespaces, and the two go on apart", async () => {
    const table = createMemoryTable();
    const open = savers();
    const saver = open(table);
    const configs = await line(saver, steps(13));
    await step(saver, { n: 4, from: configs[3] });
    await line(saver, steps(4, { ns: "sub:1" }));
    const ids = await idsIn(saver);
    const before = await seen(open(table), ids);
    await saver.copyThread(THREAD, other);
    expect(await seen(open(table), ids, other)).toEqual(before);
    expect(strays(table.dump().filter(({ pk }) => pk.endsWith(other)))).toEqual([]);
    await step(saver, { n: 13, from: { configurable: { ...configs.at(-1)?.configurable, thread_id: other } } });
    expect(await seen(open(table), ids)).toEqual(before);
    expect(await idsIn(open(table), other)).toHaveLength(ids.length + 1);
    const threads = new Set<unknown>();
    for await (const { config } of open(table).list({})) threads.add(config.configurable?.["thread_id"]);
    expect(threads).toEqual(new Set([THREAD, other]));
    await saver.deleteThread(THREAD);
    expect(await idsIn(open(table), other)).toHaveLength(ids.length + 1);
  });

  it("copies what counts of a thread that was advanced under leases, rolled back and pruned", async () => {
    const table = createMemoryTable();
    const open = savers();
    const first = await line(
      open(table, leaseOf(1)),
      steps(9, (n) => ({ run: n < 3 ? "a" : "b" })),
    );
    const second = open(table, leaseOf(2));
    await second.rollback(String(first[6]?.configurable?.["checkpoint_id"]));
    await step(second, { n: 7, run: "c", from: first[6] });
    await open(table, leaseOf(3)).deleteForRuns(["a"], [THREAD]);
    const ids = await idsIn(open(table));
    const before = await seen(open(table), ids);
    await open(table).copyThread(THREAD, other);
    expect(await seen(open(table), ids, other)).toEqual(before);
    const target = table.dump().filter(({ pk }) => pk.endsWith(other));
    expect(strays(target)).toEqual([]);
    expect(target.filter(({ sk }) => sk.startsWith("C#")).every(({ attributes }) => attributes["f"] === 0)).toBe(true);
  });

  it("copies what is encrypted: bytes are sealed for their new place", async () => {
    const table = createMemoryTable();
    const sealers = sealersOn(table, { required: true });
    const limits = { chainRecords: 4, inlineBytes: 600, insertBytes: 500, channelBytes: 300, blobBytes: 1500 };
    const open = savers({ blobs: sealedBlobs(createMemoryBlobs(), sealers), sealer: sealers(tenant), limits });
    await line(open(table), steps(11));
    const ids = await idsIn(open(table));
    const before = await seen(open(table), ids);
    await open(table).copyThread(THREAD, other);
    expect(await seen(open(table), ids, other)).toEqual(before);
  });

  it("is refused to itself, under a lease, and where there are checkpoints", async () => {
    const table = createMemoryTable();
    const open = savers();
    await line(open(table), steps(2));
    await open(table).put(configOf(other), checkpointOf(), metadataOf(-1), {});
    await expect(open(table).copyThread(THREAD, THREAD)).rejects.toMatchObject({ code: "invalid" });
    await expect(open(table).copyThread(THREAD, other)).rejects.toMatchObject({ code: "conflict" });
    await expect(open(table, leaseOf(1)).copyThread(THREAD, other)).rejects.toMatchObject({ code: "unsupported" });
    await open(table).deleteThread(other);
    await open(table).copyThread(THREAD, other);
    expect(await idsIn(open(table), other)).toHaveLength(2);
  });
});
