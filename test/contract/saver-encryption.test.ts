/** What the saver keeps, encrypted: nothing is readable without the key, and nothing may be moved, cut or changed. */
import { describe, expect, it } from "vitest";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { tenantId } from "../../src/core/ids.ts";
import { sealedBlobs } from "../../src/storage/encryption/sealed-blobs.ts";
import { plainSealers } from "../../src/storage/encryption/sealer.ts";
import type { Sealers } from "../../src/storage/encryption/sealer.ts";
import type { Item } from "../../src/storage/table.ts";
import { checkpointOf, configOf, metadataOf, noise } from "../support/checkpoints.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { sealersOn } from "../support/sealers.ts";

const tenant = tenantId("acme");
const SECRET = "the-card-number-is-4711";

/** A thread with a record, a record of what changed, task writes, segments and a blob. */
async function written(
  choose: (strict: Sealers, plain: Sealers) => Sealers = (strict) => strict,
  adapt: (sealers: Sealers) => Sealers = (sealers) => sealers,
) {
  const table = createMemoryTable();
  const bodies = createMemoryBlobs();
  const strict = adapt(sealersOn(table, { required: true }));
  const open = (sealers: Sealers) =>
    new FencedSaver({ table, blobs: sealedBlobs(bodies, sealers), tenant, sealer: sealers(tenant) });
  const saver = open(choose(strict, plainSealers));
  const large = { segments: SECRET + noise(60_000), blob: SECRET + noise(600_000) };
  const first = await saver.put(configOf("t"), checkpointOf({ values: { ...large, a: SECRET } }), metadataOf(-1), {
    segments: 1,
    blob: 1,
    a: 1,
  });
  const next = checkpointOf({ values: { ...large, a: `${SECRET}!` }, versions: { segments: 1, blob: 1, a: 2 } });
  const config = await saver.put(first, next, metadataOf(0), { a: 2 });
  await saver.putWrites(config, [["a", SECRET]], "task");
  const items = (): readonly Item[] => table.dump().filter(({ sk }) => /^[CWS]#/.test(sk));
  return { table, items, large, strict, first, reader: (sealers: Sealers = strict) => open(sealers) };
}

describe("an encrypted thread", () => {
  it("is read as it was written, and holds none of it in the clear", async () => {
    const { items, large, reader } = await written();
    const tuple = await reader().getTuple(configOf("t"));
    expect(tuple?.checkpoint.channel_values).toEqual({ ...large, a: `${SECRET}!` });
    expect(tuple?.pendingWrites).toEqual([["task", "a", SECRET]]);
    expect(new Set(items().map(({ sk }) => sk.slice(0, 1)))).toEqual(new Set(["C", "W", "S"]));
    for (const { attributes } of items()) {
      const bytes = Object.values(attributes).map((value) =>
        value instanceof Uint8Array ? Buffer.from(value) : JSON.stringify(value),
      );
      for (const one of bytes) expect(one.includes("4711")).toBe(false);
    }
  });

  it("shows what it says without encryption (negative control)", async () => {
    const { items } = await written((_, plain) => plain);
    const shown = items().some(({ attributes: { b } }) => b instanceof Uint8Array && Buffer.from(b).includes("4711"));
    expect(shown).toBe(true);
  });

  it("cannot be read without the key", async () => {
    const { reader } = await written();
    await expect(reader(plainSealers).getTuple(configOf("t"))).rejects.toMatchObject({ code: "unavailable" });
  });

  it("in the clear is refused where encryption is required, and read where it is not", async () => {
    const { table, strict, reader } = await written((_, plain) => plain);
    await expect(reader(strict).getTuple(configOf("t"))).rejects.toMatchObject({ code: "corrupt" });
    const migrating = reader(sealersOn(table, { required: false }));
    expect((await migrating.getTuple(configOf("t")))?.checkpoint.channel_values).toMatchObject({ a: `${SECRET}!` });
  });

  const flipped = (bytes: Uint8Array): Uint8Array =>
    bytes.map((byte, n) => (n === bytes.length - 20 ? byte ^ 1 : byte));

  it.each([
    ["changed", flipped],
    ["cut", (bytes: Uint8Array) => bytes.subarray(0, -1)],
    ["emptied", () => new Uint8Array()],
  ])("is corrupt, by name, as soon as one of its items is %s", async (_, damage) => {
    const { table, items, reader } = await written();
    for (const item of items()) {
      const { b } = item.attributes;
      if (!(b instanceof Uint8Array)) continue;
      await table.put({ ...item, attributes: { ...item.attributes, b: damage(b) } }, "any");
      const error: unknown = await reader()
        .getTuple(configOf("t"))
        .catch((thrown: unknown) => thrown);
      expect([item.sk, error]).toMatchObject([item.sk, { code: "corrupt" }]);
      expect(String(error)).toContain(item.sk);
      await table.put({ ...item, attributes: item.attributes }, "any");
    }
    expect(await reader().getTuple(configOf("t"))).toBeDefined();
  });

  it("is corrupt when items are exchanged, or come from another thread", async () => {
    const { table, items, reader } = await written();
    const saved = items();
    const bodies = saved.filter(({ attributes: { b } }) => b instanceof Uint8Array);
    for (const one of bodies) {
      for (const other of bodies) {
        if (one === other) continue;
        await table.put({ ...one, attributes: { ...one.attributes, b: other.attributes["b"] ?? null } }, "any");
        await expect(reader().getTuple(configOf("t"))).rejects.toMatchObject({ code: "corrupt" });
        await table.put({ ...one, attributes: one.attributes }, "any");
      }
    }
    for (const { pk, ...item } of saved) await table.put({ ...item, pk: pk.replace(/t$/, "stolen") }, "any");
    await expect(reader().getTuple(configOf("stolen"))).rejects.toMatchObject({ code: "corrupt" });
  });

  /** What stood in the item of a task, with everything in it, put into the place of the same task of the checkpoint after. */
  async function moved({ table, items, first, reader }: Awaited<ReturnType<typeof written>>): Promise<void> {
    await reader().putWrites(first, [["a", `${SECRET}?`]], "task");
    const [before, after] = items().filter(({ sk }) => sk.startsWith("W#"));
    if (!before || !after) throw new Error("the task has written twice");
    await table.put({ ...after, attributes: before.attributes }, "any");
  }

  it("is corrupt when whole items are exchanged, whatever their attributes say", async () => {
    const thread = await written();
    await moved(thread);
    await expect(thread.reader().getTuple(configOf("t"))).rejects.toMatchObject({ code: "corrupt" });
  });

  it("would show what was written elsewhere, were it not bound to its item (negative control)", async () => {
    const thread = await written(undefined, (sealers) => (tenant) => {
      const sealer = sealers(tenant);
      return {
        ...sealer,
        seal: (bytes, place) => sealer.seal(bytes, { ...place, part: "item" }),
        open: (bytes, place) => sealer.open(bytes, { ...place, part: "item" }),
      };
    });
    await moved(thread);
    const tuple = await thread.reader().getTuple(configOf("t"));
    expect(tuple?.pendingWrites).toEqual([["task", "a", `${SECRET}?`]]);
  });
});
