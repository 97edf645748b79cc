/** The header of a thread whose metadata are encrypted, over its whole life: used, pruned, expired, deleted, created again. */
import { describe, expect, it } from "vitest";
import { changeGenerations, readGeneration } from "../../src/checkpoint/thread-header.ts";
import { threadId } from "../../src/core/ids.ts";
import type { ThreadTtl } from "../../src/core/thread.ts";
import { threadKeys } from "../../src/storage/keys.ts";
import { ALICE, LEASE_MS, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { pass, until } from "./runtime-pass.ts";

const HOUR_MS = 3_600_000;
const NOTE = { note: "the customer is Alice" };
const LONG = { note: "the customer is Alice ".repeat(20) };

async function kept(kit: Kit, metadata: typeof NOTE, ttl?: ThreadTtl) {
  const ref = { tenant: ALICE.tenant, threadId: threadId(kit.deps.ids.uuid()) };
  const create = (given: typeof NOTE) =>
    kit.runtime.threads.create(ALICE, {
      threadId: ref.threadId,
      metadata: given,
      ifExists: "raise",
      ...(ttl === undefined ? {} : { ttl }),
    });
  await create(metadata);
  const item = () => kit.table.get(threadKeys.header(ref));
  const header = async () => (await kit.deps.threads.get(ref))?.value;
  const idle = () =>
    until(kit, async () => {
      const now = await header();
      return now?.lease === undefined && now?.active === undefined;
    });
  const metadataNow = async () => {
    const now = await header();
    return now && kit.deps.threads.metadata(now);
  };
  return { ref, create, item, header, idle, metadataNow, view: () => kit.runtime.threads.get(ALICE, ref.threadId) };
}

const shows = (kit: Kit): boolean => kit.table.dump().some((item) => JSON.stringify(item).includes("Alice"));

describe.each([
  ["short", NOTE],
  ["long", LONG],
])("a thread with %s encrypted metadata", (_, metadata) => {
  it("keeps them, encrypted, while its runs move its header on", async () => {
    const kit = createKit(undefined, { encrypted: true });
    await using worker = kit.worker();
    worker.start();
    const at = await kept(kit, metadata);
    await kit.runtime.runs.accept(ALICE, inputFor(at.ref.threadId));
    await at.idle();
    expect(await at.metadataNow()).toMatchObject(metadata);
    expect(shows(kit)).toBe(false);
  });

  it("is a tombstone that holds none of them, and has those of whoever creates it again", async () => {
    const kit = createKit(undefined, { encrypted: true });
    const at = await kept(kit, metadata);
    const before = (await at.header())?.generation ?? 0;
    await kit.runtime.threads.remove(ALICE, at.ref.threadId);
    expect(Object.keys((await at.item())?.attributes ?? {})).not.toContain("z");
    expect((await at.item())?.attributes).not.toHaveProperty("v");
    expect(kit.table.dump().filter(({ sk }) => sk.startsWith("M#"))).toEqual([]);
    await at.create({ note: "Bob" });
    expect((await at.view()).metadata).toEqual({ note: "Bob" });
    expect((await at.header())?.generation).toBe(before + 1);
    expect((await at.item())?.attributes).toMatchObject({ v: 2 });
  });

  it("expires", async () => {
    const kit = createKit(undefined, { encrypted: true });
    await using worker = kit.worker();
    worker.start();
    const at = await kept(kit, metadata, { strategy: "delete", ms: HOUR_MS });
    await pass(kit, HOUR_MS + LEASE_MS);
    await expect(at.view()).rejects.toMatchObject({ code: "not_found" });
    await until(kit, async () => (await at.header())?.remnants === undefined);
    const left = kit.table.dump().filter(({ pk }) => pk.includes(at.ref.threadId));
    expect(left.map(({ sk, attributes }) => [sk, attributes["z"]])).toEqual([["H", undefined]]);
  });

  it("keeps them when only its checkpoints go", async () => {
    const kit = createKit(undefined, { encrypted: true });
    await using worker = kit.worker();
    worker.start();
    const at = await kept(kit, metadata, { strategy: "keep_latest", ms: HOUR_MS });
    await kit.runtime.runs.accept(ALICE, inputFor(at.ref.threadId));
    await at.idle();
    await pass(kit, HOUR_MS + LEASE_MS);
    await until(kit, async () => (await at.header())?.ttl?.done === true);
    expect(await at.metadataNow()).toMatchObject(metadata);
    expect(shows(kit)).toBe(false);
  });
});

describe("the generations in an encrypted header", () => {
  it("are read without a key, and are not changed behind the runtime's back", async () => {
    const kit = createKit(undefined, { encrypted: true });
    const { ref, item } = await kept(kit, NOTE);
    const before = await item();
    expect(before?.attributes).toMatchObject({ v: 2, z: expect.any(Uint8Array) as unknown });
    expect(await readGeneration(kit.table, ref)).toBe(0);
    const changing = changeGenerations(kit.table, ref, ({ given }) => ({ live: given + 1, given: given + 1 }));
    await expect(changing).rejects.toMatchObject({ code: "conflict" });
    expect(await item()).toEqual(before);
  });

  it("are changed in a header of the saver's own, which keeps all else that it says", async () => {
    const kit = createKit();
    const ref = { tenant: ALICE.tenant, threadId: threadId("t") };
    const attributes = { g: 3, v: 2, z: Uint8Array.of(1, 2), zz: "from a later version" };
    await kit.table.put({ ...threadKeys.header(ref), attributes }, "absent");
    await changeGenerations(kit.table, ref, ({ live }) => ({ live, given: live + 1 }));
    const now = (await kit.table.get(threadKeys.header(ref)))?.attributes;
    expect(now).toEqual({ ...attributes, ng: 4 });
  });
});
