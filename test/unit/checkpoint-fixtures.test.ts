/**
 * Threads as later formats of the log wrote them, never to be regenerated: of format 2 (splices, segments, bodies that have
 * the one before as dictionary, writes made of segments), and of format 3 (a run was deleted: the cut that says so, what is
 * removed, what was written anew as a base, and what came after). Each says what is to be read from it. Two more are of
 * channels and writes that are kept in bodies: one in the clear, and one in which everything is encrypted.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { tenantId } from "../../src/core/ids.ts";
import { sealedBlobs } from "../../src/storage/encryption/sealed-blobs.ts";
import { plainSealers } from "../../src/storage/encryption/sealer.ts";
import { createItemBlobs } from "../../src/storage/item-blobs.ts";
import type { Attributes, Value } from "../../src/storage/table.ts";
import { checkpointOf, configOf, metadataOf } from "../support/checkpoints.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { seen, strays } from "../support/long-thread.ts";
import { encryptionOn } from "../support/sealers.ts";

const KEY = "only-for-the-fixture-of-32-bytes";

type Kept = Value | { readonly base64: string };
interface Fixture {
  readonly items: Readonly<Record<string, Readonly<Record<string, Kept>>>>;
  readonly shows: { readonly listed: Readonly<Record<string, readonly unknown[]>> };
}

const bytesOr = (value: Kept): Value => {
  const base64 = typeof value === "object" && value !== null && "base64" in value ? value.base64 : undefined;
  return typeof base64 === "string" ? Uint8Array.from(Buffer.from(base64, "base64")) : value;
};

async function opened(name: string) {
  const file = join(import.meta.dirname, "../fixtures/checkpoints", `${name}.json`);
  const fixture = JSON.parse(readFileSync(file, "utf8")) as Fixture;
  const table = createMemoryTable();
  for (const [key, kept] of Object.entries(fixture.items)) {
    const [sk = "", pk = "acme#t#t1"] = key.split(" ").toReversed();
    const attributes: Attributes = Object.fromEntries(
      Object.entries(kept).map(([key, value]) => [key, bytesOr(value)]),
    );
    await table.put({ pk, sk, attributes }, "absent");
  }
  const tenant = tenantId("acme");
  const keys = encryptionOn(table, KEY).strict;
  const open = (sealers = name === "sealed" ? keys : plainSealers) =>
    new FencedSaver({
      table,
      blobs: sealedBlobs(createItemBlobs({ table }), sealers),
      tenant,
      sealer: sealers(tenant),
    });
  return { table, open, shows: fixture.shows };
}

describe.each(["format-2", "format-3", "bodies", "sealed"])("a thread of %s", (name) => {
  it("is read as it was written", async () => {
    const { open, shows } = await opened(name);
    const now = await seen(open());
    expect(now).toEqual({ byId: { " latest": shows.listed[""]?.[0] }, ...shows });
  });

  it("goes on, and may be pruned", async () => {
    const { table, open, shows } = await opened(name);
    const latest = await open().getTuple(configOf("t1"));
    const before = latest?.checkpoint.channel_values;
    const next = checkpointOf({ values: { ...before, n: 100 }, versions: { n: 100, log: 1, doc: 1 } });
    await open().put(latest?.config ?? {}, next, metadataOf(100), { n: 100, log: 1, doc: 1 });
    expect((await seen(open())).listed[""]?.slice(1)).toEqual(shows.listed[""]);
    await open().prune(["t1"]);
    const after = await seen(open());
    expect(after.listed[""]).toMatchObject([{ checkpoint: { channel_values: { ...before, n: 100 } } }]);
    // What is encrypted does not say what refers to what.
    if (name !== "sealed") expect(strays(table.dump())).toEqual([]);
  });
});

describe("an encrypted thread", () => {
  it("has items of every kind, and needs the key for what is in them", async () => {
    const { table, open } = await opened("sealed");
    const kinds = table.dump().map(({ sk }) => sk.slice(0, 1));
    expect(new Set(kinds)).toEqual(new Set(["B", "C", "K", "S", "W"]));
    await expect(open(plainSealers).getTuple(configOf("t1"))).rejects.toMatchObject({ code: "unavailable" });
    await expect(open(encryptionOn(table).strict).getTuple(configOf("t1"))).rejects.toMatchObject({
      code: "unavailable",
    });
  });

  it("is not to be read where any of these items is not what was sealed", async () => {
    const { table, open } = await opened("sealed");
    const latest = String((await open().getTuple(configOf("t1")))?.checkpoint.id);
    const items = table.dump().filter(({ sk }) => /^[CSB]#/.test(sk) || sk.includes(latest));
    let refused = 0;
    for (const item of items) {
      const [name, bytes] =
        Object.entries(item.attributes).find(([at, value]) => at !== "h" && value instanceof Uint8Array) ?? [];
      if (name === undefined || !(bytes instanceof Uint8Array)) continue;
      const changed = bytes.with(bytes.length - 1, (bytes.at(-1) ?? 0) ^ 1);
      await table.put({ ...item, attributes: { ...item.attributes, [name]: changed } }, "any");
      await expect(seen(open())).rejects.toMatchObject({ code: "corrupt" });
      await table.put(item, "any");
      refused += 1;
    }
    expect(refused).toBe(items.length);
  });
});
