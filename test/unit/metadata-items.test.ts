/** Metadata that is too long for the header: items come and go with the headers that name them. */
import { describe, expect, it } from "vitest";
import { threadId } from "../../src/core/ids.ts";
import type { ThreadId } from "../../src/core/ids.ts";
import { createDeps, createRuntime } from "../../src/runtime/create.ts";
import { threadKeys } from "../../src/storage/keys.ts";
import type { Table } from "../../src/storage/table.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { createTracedTable } from "../support/traced-table.ts";

const HOUR_MS = 3_600_000;
const LONG = "x".repeat(300);
const newId = (kit: Kit): ThreadId => threadId(kit.deps.ids.uuid());
const refOf = (id: ThreadId) => ({ tenant: ALICE.tenant, threadId: id });
const runtimeOn = (kit: Kit, table: Table) => createRuntime(createDeps({ ...kit.deps, table }));
const made = (id: ThreadId, ifExists: "raise" | "do_nothing" = "raise") =>
  ({ threadId: id, metadata: { note: LONG }, ifExists }) as const;

/** Items of metadata that are there at this time, and how many of those the header names. */
async function itemsOf(kit: Kit, id: ThreadId): Promise<{ readonly all: number; readonly named: number }> {
  const { items } = await kit.table.query(threadKeys.partition(refOf(id)), { prefix: "M#" });
  const { metadata } = (await kit.deps.threads.get(refOf(id)))?.value ?? {};
  const named = items.filter(({ sk }) => metadata?.kind === "item" && sk === `M#${metadata.id}`);
  return { all: items.length, named: named.length };
}
const ONE = { all: 1, named: 1 };

/** Somebody else changes the thread's metadata just before this process's n-th write of its header. */
function racing(kit: Kit, id: ThreadId, change: () => Promise<unknown>): Table {
  const header = threadKeys.header(refOf(id)).sk;
  let hasRaced = false;
  return createTracedTable(kit.table, {
    before: async ({ method, sk }) => {
      if (hasRaced || method !== "put" || sk !== header) return;
      hasRaced = true;
      await change();
    },
  });
}

describe("an item of metadata", () => {
  it("that is replaced by the labels of the first run is there for an hour, and then no more", async () => {
    const kit = createKit();
    const id = newId(kit);
    await kit.runtime.threads.create(ALICE, made(id));
    expect(await itemsOf(kit, id)).toEqual(ONE);
    await kit.runtime.runs.accept(ALICE, inputFor(id));
    expect(await itemsOf(kit, id)).toEqual({ all: 2, named: 1 });
    kit.clock.advance(HOUR_MS);
    expect(await itemsOf(kit, id)).toEqual(ONE);
    const header = await kit.deps.threads.get(refOf(id));
    expect(header && (await kit.deps.threads.metadata(header.value))).toMatchObject({ note: LONG, graph_id: "g" });
  });

  it.each([
    ["an accept", (kit: Kit, table: Table, id: ThreadId) => runtimeOn(kit, table).runs.accept(ALICE, inputFor(id))],
    [
      "a change",
      (kit: Kit, table: Table, id: ThreadId) => runtimeOn(kit, table).threads.patch(ALICE, id, { metadata: { b: 1 } }),
    ],
  ])("of %s whose header write has lost goes, and that of the write which wins stays", async (_, write) => {
    const kit = createKit();
    const id = newId(kit);
    await kit.runtime.threads.create(ALICE, made(id));
    const table = racing(kit, id, () => kit.runtime.threads.patch(ALICE, id, { metadata: { a: 1 } }));
    await write(kit, table, id);
    expect((await itemsOf(kit, id)).all).toBe(4);
    kit.clock.advance(HOUR_MS);
    expect(await itemsOf(kit, id)).toEqual(ONE);
    const header = await kit.deps.threads.get(refOf(id));
    expect(header && (await kit.deps.threads.metadata(header.value))).toMatchObject({ note: LONG, a: 1 });
  });

  it("of a thread that is there already goes, unlike that of the thread", async () => {
    const kit = createKit();
    const id = newId(kit);
    await kit.runtime.threads.create(ALICE, made(id));
    await kit.runtime.threads.create(ALICE, made(id, "do_nothing"));
    kit.clock.advance(HOUR_MS);
    expect(await itemsOf(kit, id)).toEqual(ONE);
  });

  it("stays if what would drop it does not come to that, and goes with the thread (negative control)", async () => {
    const kit = createKit();
    const id = newId(kit);
    await kit.runtime.threads.create(ALICE, made(id));
    for (const mutation of [2, 3]) {
      const dying = createTracedTable(kit.table, { dieAt: { mutation, when: "before" } });
      await runtimeOn(kit, dying)
        .threads.patch(ALICE, id, { metadata: { n: mutation } })
        .catch(() => undefined);
    }
    kit.clock.advance(HOUR_MS);
    expect(await itemsOf(kit, id)).toEqual({ all: 3, named: 1 });
    await kit.runtime.threads.remove(ALICE, id);
    expect(await itemsOf(kit, id)).toEqual({ all: 0, named: 0 });
  });

  it("of a thread that is made again is not removed with those of the one before, which are", async () => {
    const kit = createKit();
    const id = newId(kit);
    await kit.runtime.threads.create(ALICE, made(id));
    let isRemade = false;
    const slow = createTracedTable(kit.table, {
      before: async ({ method, sk }) => {
        if (isRemade || method !== "query" || sk !== "M#") return;
        isRemade = true;
        await kit.runtime.threads.create(ALICE, made(id));
      },
    });
    await runtimeOn(kit, slow).threads.remove(ALICE, id);
    expect(isRemade).toBe(true);
    expect(await itemsOf(kit, id)).toEqual(ONE);
  });
});
