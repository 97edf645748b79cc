/** What a step costs as a thread grows, what it takes to read it again, and what happens when some of it is damaged. */
import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { RunnableConfig } from "@langchain/core/runnables";
import { describe, expect, it } from "vitest";
import { createCountingTable, sequentialChain } from "../../bench/support/counting-table.ts";
import type { SaverOptions } from "../../src/checkpoint/options.ts";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { createSegmentCache } from "../../src/checkpoint/segment-cache.ts";
import { tenantId } from "../../src/core/ids.ts";
import { createFolderBlobs } from "../../src/local/folder-blobs.ts";
import { checkpointOf, configOf, metadataOf, noise } from "../support/checkpoints.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { testFolder } from "../support/process.ts";

const tenant = tenantId("acme");

/** A conversation in which each step says about 1 KB that does not compress, told by a new saver every five steps. */
async function conversation(steps: number, more: Partial<SaverOptions> = {}) {
  let time = 0;
  const memory = createMemoryTable();
  const table = createCountingTable(memory, { now: () => (time += 1) });
  const options = { table, blobs: createMemoryBlobs(), tenant, ...more };
  let saver = new FencedSaver(options);
  let config = configOf("t");
  const said: string[] = [];
  const units: number[] = [];
  for (let step = 0; step < steps; step += 1) {
    if (step % 5 === 0) {
      saver = new FencedSaver(options);
      await saver.getTuple(configOf("t"));
    }
    said.push(noise(1000 + step));
    const before = table.calls.length;
    const checkpoint = checkpointOf({ values: { said, n: step }, versions: { said: step + 1, n: step + 1 } });
    config = await saver.put(config, checkpoint, metadataOf(step), { said: step + 1, n: step + 1 });
    units.push(table.calls.slice(before).reduce((sum, call) => sum + call.units, 0));
  }
  const mean = (from: number, to: number): number =>
    units.slice(from, to).reduce((sum, one) => sum + one, 0) / (to - from);
  return { memory, table, options, said, mean, config };
}

describe("a thread that grows", () => {
  it(
    "costs as much a step at its end as at its beginning, and is read in three round trips",
    { timeout: 60_000 },
    async () => {
      const { table, options, said, mean } = await conversation(800);
      expect(mean(700, 800) / mean(32, 132)).toBeLessThan(1.3);
      expect(mean(700, 800)).toBeLessThan(4.5);
      const from = table.calls.length;
      const tuple = await new FencedSaver(options).getTuple(configOf("t"));
      expect(tuple?.checkpoint.channel_values["said"]).toEqual(said);
      const calls = table.calls.slice(from);
      expect(calls.map(({ operation }) => operation).toSorted()).toEqual(["batchGet", "get", "query", "query"]);
      expect(sequentialChain(calls).length).toBeLessThanOrEqual(4);
    },
  );

  it("would cost more with every step without splices (negative control)", { timeout: 60_000 }, async () => {
    const { mean } = await conversation(200, { splice: (_, after) => [{ bytes: after }] });
    expect(mean(150, 200) / mean(32, 82)).toBeGreaterThan(1.3);
  });

  it("is kept in less than twice its bytes, beside what each step paid for", { timeout: 60_000 }, async () => {
    const { memory, said } = await conversation(400);
    const segments = memory.dump().filter(({ sk }) => sk.startsWith("S#"));
    const bytes = segments.reduce(
      (sum, { attributes: { b } }) => sum + (b instanceof Uint8Array ? b.byteLength : 0),
      0,
    );
    expect(bytes).toBeLessThan(2 * Buffer.byteLength(JSON.stringify(said)));
  });

  it("reads segments that this process has seen from its cache", async () => {
    const cache = createSegmentCache();
    const { table, options } = await conversation(100, { cache });
    const from = table.calls.length;
    await new FencedSaver(options).getTuple(configOf("t"));
    expect(table.calls.slice(from).some(({ operation }) => operation === "batchGet")).toBe(false);
  });
});

describe("the cache of segments", () => {
  it("holds no more than its bytes, the latest used, and nothing that would fill it", () => {
    const cache = createSegmentCache(100);
    for (let n = 0; n < 10; n += 1) {
      cache.set(`k${n}`, new Uint8Array(20));
      cache.get("k0");
    }
    expect(["k0", "k5", "k8", "k9"].map((key) => cache.get(key)?.byteLength)).toEqual([20, undefined, 20, 20]);
    cache.set("large", new Uint8Array(26));
    expect(cache.get("large")).toBeUndefined();
    cache.set("k9", new Uint8Array(10));
    expect(cache.get("k9")?.byteLength).toBe(10);
  });
});

describe("damage", () => {
  it(
    "to any item is told with its name, and leaves other threads and older states readable",
    { timeout: 60_000 },
    async () => {
      const { memory, options, said, config } = await conversation(70);
      await new FencedSaver(options).putWrites(config, [["n", 1]], "small");
      await new FencedSaver(options).putWrites(config, [["said", noise(300_000)]], "large");
      const other = await new FencedSaver(options).put(
        configOf("other"),
        checkpointOf({ values: { n: 1 } }),
        metadataOf(-1),
        { n: 1 },
      );
      const items = memory.dump().filter(({ pk, sk }) => pk.endsWith("#t") && /^[CSW]#/.test(sk));
      const latest = items.filter(({ sk }) => sk.startsWith("C#")).slice(-70 % 32);
      const writes = items.filter(({ sk }) => sk.startsWith("W#"));
      const segments = items.filter(({ sk }) => sk.startsWith("S#"));
      expect([segments.length > 0, writes.length]).toEqual([true, 2]);
      for (const item of [...latest, ...segments, ...writes]) {
        const { b } = item.attributes;
        if (!(b instanceof Uint8Array)) continue;
        const damaged = b.map((byte, n) => (n === Math.floor(b.length / 2) ? byte ^ 0x10 : byte));
        await memory.put({ ...item, attributes: { ...item.attributes, b: damaged } }, "any");
        const error: unknown = await new FencedSaver(options)
          .getTuple(configOf("t"))
          .catch((thrown: unknown) => thrown);
        expect([item.sk, error]).toMatchObject([item.sk, { code: "corrupt" }]);
        // Itself, or the range in which it stands.
        const [, from = "", to = ""] = /records (\S+) to (\S+):/.exec(String(error)) ?? [];
        expect(String(error).includes(item.sk) || (from <= item.sk && item.sk <= to)).toBe(true);
        expect((await new FencedSaver(options).getTuple(other))?.checkpoint.channel_values).toEqual({ n: 1 });
        await memory.put({ ...item, attributes: item.attributes }, "any");
      }
      const [segment] = segments;
      if (segment) await memory.remove(segment, "any");
      await expect(new FencedSaver(options).getTuple(configOf("t"))).rejects.toThrow(
        `segment ${segment?.sk} is missing`,
      );
      const first = await firstOf(options);
      expect((await new FencedSaver(options).getTuple(first))?.checkpoint.channel_values).toMatchObject({
        said: said.slice(0, 1),
      });
    },
  );

  it("to a blob, or its loss, is told with its name, and leaves its neighbours readable", async () => {
    await using folder = await testFolder();
    const options = { table: createMemoryTable(), blobs: createFolderBlobs({ dir: folder.path }), tenant };
    const put = (thread: string, doc: string) =>
      new FencedSaver(options).put(configOf(thread), checkpointOf({ values: { doc } }), metadataOf(-1), { doc: 1 });
    const [neighbour, config] = [await put("t", noise(600_000)), await put("t", noise(700_000))];
    const other = await put("other", noise(700_000));
    const read = async (at: RunnableConfig): Promise<unknown> =>
      (await new FencedSaver(options).getTuple(at))?.checkpoint.channel_values["doc"];
    const bodies = join(folder.path, "acme", "t", "000000");
    const sizes = await Promise.all(
      (await readdir(bodies)).map(async (name) => ({ name, size: (await stat(join(bodies, name))).size })),
    );
    const [, largest] = sizes.toSorted((a, b) => a.size - b.size);
    if (!largest) throw new Error("each has a body of its own");
    const file = join(bodies, largest.name);
    const whole = await readFile(file);
    const damages = [() => writeFile(file, whole.with(350_000, (whole[350_000] ?? 0) ^ 1)), () => rm(file)];
    for (const damage of damages) {
      await damage();
      await expect(read(config)).rejects.toMatchObject({
        code: "corrupt",
        message: expect.stringContaining(largest.name) as string,
      });
      expect(await read(neighbour)).toBe(noise(600_000));
      expect(await read(other)).toBe(noise(700_000));
      await writeFile(file, whole);
      expect(await read(config)).toBe(noise(700_000));
    }
  });
});

async function firstOf(options: SaverOptions) {
  let first = configOf("t");
  for await (const { id } of idsOf(options)) first = configOf("t", id);
  return first;
}

/** Of the checkpoints of the thread, newest first, without their values. */
async function* idsOf({ table }: SaverOptions): AsyncGenerator<{ readonly id: string }> {
  const { items } = await table.query("acme#t#t", { prefix: "C#", descending: true });
  for (const { attributes } of items) if (typeof attributes["id"] === "string") yield { id: attributes["id"] };
}
