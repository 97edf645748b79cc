/**
 * A tenant's items as they stand where there are keys, of every kind: records of format 2, what is sealed inside of items
 * of format 1 (requests, events, bodies), the log, and the wrapped data key. Never to be regenerated: a change that breaks
 * this test needs a new format, and a reader for both. The story is that of `test/support/shop.ts`.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runId, tenantId, threadId } from "../../src/core/ids.ts";
import { isNewerFormat } from "../../src/core/newer-format.ts";
import { sealedBlobs } from "../../src/storage/encryption/sealed-blobs.ts";
import { plainSealers } from "../../src/storage/encryption/sealer.ts";
import { createItemBlobs } from "../../src/storage/item-blobs.ts";
import type { Attributes, IndexEntries, Value } from "../../src/storage/table.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { encryptionOn } from "../support/sealers.ts";
import { startService } from "../support/service.ts";
import { SECRET, shop } from "../support/shop.ts";

const KEY = "only-for-the-fixture-of-32-bytes";
const NO_KEY = "";
const TENANT = tenantId("acme");

type Kept = Value | { readonly base64: string };
interface Told {
  readonly thread: string;
  readonly run: string;
  readonly assistant: string;
}
interface Fixture {
  readonly told: {
    readonly ended: Told;
    /** Its metadata are too long for its header. */
    readonly failed: Told;
    /** Name of a body of the thread that ended. */
    readonly body: string;
    readonly state: unknown;
  };
  readonly items: Readonly<Record<string, Readonly<Record<string, Kept>>>>;
  readonly index: Readonly<Record<string, IndexEntries>>;
}

const bytesOr = (value: Kept): Value => {
  const base64 = typeof value === "object" && value !== null && "base64" in value ? value.base64 : undefined;
  return typeof base64 === "string" ? Uint8Array.from(Buffer.from(base64, "base64")) : value;
};

const file = join(import.meta.dirname, "../fixtures/records/sealed.json");
const fixture = JSON.parse(readFileSync(file, "utf8")) as Fixture;
const { ended, failed, body, state } = fixture.told;

/** The service on the fixture's items, a day and a half later. */
async function opened(key = KEY) {
  const table = createMemoryTable({ now: () => 1_795_800_000_000 });
  for (const [name, kept] of Object.entries(fixture.items)) {
    const [pk = "", sk = ""] = name.split(" ");
    const attributes: Attributes = Object.fromEntries(Object.entries(kept).map(([at, value]) => [at, bytesOr(value)]));
    const index = fixture.index[name];
    await table.put({ pk, sk, attributes, ...(index === undefined ? {} : { index }) }, "absent");
  }
  const sealers = key === NO_KEY ? plainSealers : encryptionOn(table, key).strict;
  const service = await startService({ graphs: shop, table, sealers });
  const blobs = sealedBlobs(createItemBlobs({ table }), sealers);
  const acme = service.client("acme");
  return { table, service, blobs, acme, [Symbol.asyncDispose]: () => service[Symbol.asyncDispose]() };
}

const refOf = ({ thread }: Told) => ({ tenant: TENANT, threadId: threadId(thread) });

describe("items with encrypted content", () => {
  it("are of every kind", () => {
    const kinds = new Set(Object.keys(fixture.items).map((name) => name.replace(/^acme#(\w).* (\w+).*$/, "$1 $2")));
    for (const kind of ["t H", "t M", "t R", "t I", "t A", "t C", "t W", "t B", "e E", "x X", "s I", "a 01a216b2"])
      expect(kinds).toContain(kind);
    expect(JSON.stringify(fixture.items)).not.toContain(SECRET);
  });

  it("are read as what was written: a thread, its state, its runs and what they were asked", async () => {
    await using at = await opened();
    const { deps } = at.service;
    expect((await at.acme.threads.get(ended.thread)).metadata).toMatchObject({ customer: SECRET });
    expect((await at.acme.threads.get(failed.thread)).metadata).toMatchObject({ long: SECRET.repeat(30) });
    expect((await at.acme.threads.getState(ended.thread)).values).toEqual(state);
    const run = (await deps.runs.get(refOf(failed), runId(failed.run)))?.value;
    expect(run).toMatchObject({ status: "error", error: { message: `cannot pay ${SECRET}` } });
    const [, first] = await deps.runs.list(refOf(ended), 0);
    if (!run || !first) throw new Error("the runs are there");
    expect(first.end?.interrupts).toHaveLength(1);
    expect(await deps.runs.payload(first)).toMatchObject({ input: { text: SECRET, fails: false } });
    const { frames } = await deps.events.read(refOf(failed), 0, 0);
    expect(JSON.stringify(frames)).toContain(`cannot pay ${SECRET}`);
  });

  it("are read as what was written: holds, effects, assistants, long-term memory, a body", async () => {
    await using at = await opened();
    const { deps } = at.service;
    const [hold] = await deps.holds.ofThread(refOf(ended), 0);
    expect(hold?.value).toMatchObject({
      state: "applied",
      request: { title: `Pay ${SECRET}`, args: { to: SECRET } },
      decision: { comment: SECRET, answer: { type: "edit", args: { to: SECRET } } },
    });
    const [effect] = await deps.effects.ofRoot(TENANT, runId(hold?.value.root ?? ""));
    expect(effect).toMatchObject({ name: "pay", outcome: { kind: "result", value: { receipt: SECRET } } });
    expect(await at.acme.assistants.get(ended.assistant)).toMatchObject({
      name: `of ${SECRET}`,
      metadata: { customer: SECRET },
      config: { tags: [SECRET] },
    });
    expect((await at.acme.store.getItem(["people"], "one"))?.value).toEqual({ text: SECRET });
    const bytes = await at.blobs.get({ ...refOf(ended), generation: 0 }, body);
    expect(Buffer.from(bytes).toString()).toBe("a long body");
  });

  it("go on: what is found, changed and run again is read with what was there", async () => {
    await using at = await opened();
    const found = await at.acme.threads.search({ metadata: { customer: SECRET } });
    expect(found.map((one) => one.thread_id).toSorted()).toEqual([ended.thread, failed.thread].toSorted());
    for (const { thread } of [ended, failed]) {
      const { metadata } = await at.acme.threads.update(thread, { metadata: { seen: true } });
      expect(metadata).toMatchObject({ customer: SECRET, seen: true });
    }
    await at.acme.runs.wait(ended.thread, ended.assistant, { input: { text: "again", fails: false } });
    expect((await at.acme.threads.getState<{ done: string[] }>(ended.thread)).values.done).toContain(SECRET);
  });

  it("are refused by name without a key, as by a version that knew none of this; lists go on without them", async () => {
    await using at = await opened(NO_KEY);
    const { deps } = at.service;
    const readings = [
      deps.runs.get(refOf(ended), runId(ended.run)),
      deps.holds.ofThread(refOf(ended), 0),
      deps.threads.get(refOf(ended)),
    ];
    for (const reading of readings) await expect(reading).rejects.toSatisfy(isNewerFormat);
    expect(await at.acme.threads.search()).toEqual([]);
    expect((await at.service.app.call("GET", `/threads/${ended.thread}`)).status).toBe(503);
  });

  it("do not open with another key", async () => {
    await using at = await opened("another-key-of-thirty-two-bytes!");
    const error: unknown = await at.acme.threads.get(ended.thread).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ status: 503 });
    const reading = at.service.deps.holds.ofThread(refOf(ended), 0);
    await expect(reading).rejects.toMatchObject({ code: "unavailable" });
  });
});
