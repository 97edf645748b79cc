/**
 * Threads as later formats of the log wrote them, never to be regenerated: of format 2 (splices, segments, bodies that have
 * the one before as dictionary, writes made of segments), and of format 3 (a run was deleted: the cut that says so, what is
 * removed, what was written anew as a base, and what came after). Each says what is to be read from it.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { tenantId } from "../../src/core/ids.ts";
import type { Attributes, Value } from "../../src/storage/table.ts";
import { checkpointOf, configOf, metadataOf } from "../support/checkpoints.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { seen, strays } from "../support/long-thread.ts";

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
  for (const [sk, kept] of Object.entries(fixture.items)) {
    const attributes: Attributes = Object.fromEntries(
      Object.entries(kept).map(([key, value]) => [key, bytesOr(value)]),
    );
    await table.put({ pk: "acme#t#t1", sk, attributes }, "absent");
  }
  const open = () => new FencedSaver({ table, blobs: createMemoryBlobs(), tenant: tenantId("acme") });
  return { table, open, shows: fixture.shows };
}

describe.each(["format-2", "format-3"])("a thread of %s", (name) => {
  it("is read as it was written", async () => {
    const { open, shows } = await opened(name);
    expect(await seen(open())).toEqual(shows);
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
    expect(strays(table.dump())).toEqual([]);
  });
});
