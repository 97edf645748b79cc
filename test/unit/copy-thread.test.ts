/** Copies of threads: whole or not there, whoever dies, is late, or uses the source in between. */
import { Annotation, START, StateGraph } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { threadId } from "../../src/core/ids.ts";
import type { ThreadId } from "../../src/core/ids.ts";
import { copyBegun } from "../../src/core/thread-copy.ts";
import type { Engine } from "../../src/runtime/engine.ts";
import { createDeps, createRuntime } from "../../src/runtime/create.ts";
import type { Table } from "../../src/storage/table.ts";
import { ALICE, LEASE_MS, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { pass, until } from "./runtime-pass.ts";
import { step } from "./runtime-steps.ts";
import { TableDied, createTracedTable } from "../support/traced-table.ts";

const HOUR_MS = 3_600_000;
const METADATA = { of: "the source", long: "x".repeat(300) };

const drive: Engine["drive"] = async (drive) => {
  for (const word of ["a", "b", "c"]) await step(drive, word);
  return { kind: "done" };
};

/** For what is shown of values; the engine executes none. */
const graph = new StateGraph(Annotation.Root({ said: Annotation<string>() }))
  .addNode("say", () => ({}))
  .addEdge(START, "say")
  .compile();
const kitOf = (): Kit => createKit(undefined, { graphs: { g: { compiled: async () => graph } } });

/** A thread that was used, and is idle. */
async function used(kit: Kit): Promise<ThreadId> {
  const id = threadId(kit.deps.ids.uuid());
  await kit.runtime.threads.create(ALICE, { threadId: id, metadata: METADATA, ifExists: "raise" });
  await kit.runtime.runs.accept(ALICE, inputFor(id));
  const header = () => kit.deps.threads.get({ tenant: ALICE.tenant, threadId: id }).then((stored) => stored?.value);
  await until(kit, async () => (await header())?.lastEnd === "success" && (await header())?.lease === undefined);
  return id;
}

/** What a process on this table can do. */
const runtimeOn = (kit: Kit, table: Table) => createRuntime(createDeps({ ...kit.deps, table }));

const SEARCH = { limit: 10, offset: 0, sortBy: "thread_id", sortOrder: "asc" } as const;
const shown = async ({ runtime }: Kit): Promise<readonly ThreadId[]> =>
  (await runtime.threads.search(ALICE, SEARCH)).items.map(({ thread }) => thread.threadId);

async function checkpoints({ deps }: Kit, id: string): Promise<readonly unknown[]> {
  const saver = new FencedSaver({ table: deps.table, blobs: deps.blobs, tenant: ALICE.tenant });
  const found: unknown[] = [];
  for await (const { checkpoint, metadata, pendingWrites } of saver.list({ configurable: { thread_id: id } }))
    found.push({ checkpoint, metadata, pendingWrites });
  return found;
}
const strangers = (kit: Kit, id: string) =>
  kit.table.dump().filter(({ pk, sk }) => pk.includes("#t#") && !pk.endsWith(id) && sk !== "H");

describe("a copy", () => {
  it("has every checkpoint and the metadata, and goes on apart", async () => {
    const kit = kitOf();
    await using worker = kit.worker({ drive });
    worker.start();
    const source = await used(kit);
    const { thread, metadata } = await kit.runtime.threads.copy(ALICE, source);
    expect(metadata).toMatchObject({
      ...METADATA,
      graph_id: "g",
      thread_id: thread.threadId,
    });
    expect(await checkpoints(kit, thread.threadId)).toEqual(await checkpoints(kit, source));
    expect(await shown(kit)).toEqual([source, thread.threadId].toSorted());
    await kit.runtime.runs.accept(ALICE, inputFor(thread.threadId));
    await until(kit, async () => (await checkpoints(kit, thread.threadId)).length === 6);
    expect(await checkpoints(kit, source)).toHaveLength(3);
    await kit.runtime.threads.remove(ALICE, source);
    expect(await checkpoints(kit, thread.threadId)).toHaveLength(6);
    await pass(kit, 2 * HOUR_MS);
    expect(await shown(kit)).toEqual([thread.threadId]);
  });

  it("is whole or not there, whichever of its writes is the last of its process, and leaves nothing", async () => {
    const outcomes = new Set<string>();
    for (let mutation = 1; ; mutation++) {
      const died: boolean[] = [];
      for (const when of ["before", "after"] as const) {
        const kit = kitOf();
        {
          await using worker = kit.worker({ drive });
          worker.start();
          const source = await used(kit);
          const dying = createTracedTable(kit.table, { dieAt: { mutation, when } });
          const isDone = await runtimeOn(kit, dying)
            .threads.copy(ALICE, source)
            .then(
              () => true,
              () => false,
            );
          died.push(!isDone);
          const copies = (await shown(kit)).filter((id) => id !== source);
          for (const copy of copies) expect(await checkpoints(kit, copy)).toEqual(await checkpoints(kit, source));
          if (copies.length === 0) {
            kit.clock.advance(HOUR_MS);
            await until(kit, () => strangers(kit, source).length === 0);
          }
          outcomes.add(`${copies.length} shown, ${isDone ? "answered" : "died"}`);
        }
      }
      if (died.every((one) => !one)) break;
    }
    expect([...outcomes].toSorted()).toEqual(["0 shown, died", "1 shown, answered", "1 shown, died"]);
  }, 60_000);

  it("that dies would stay for ever if its header were not due (negative control)", async () => {
    const kit = kitOf();
    await using worker = kit.worker({ drive });
    worker.start();
    const source = await used(kit);
    const forgetful: Table = {
      ...kit.table,
      put: ({ pk, sk, attributes }, when) => kit.table.put({ pk, sk, attributes }, when),
    };
    const dying = createTracedTable(forgetful, { dieAt: { mutation: 4, when: "before" } });
    await expect(runtimeOn(kit, dying).threads.copy(ALICE, source)).rejects.toBeInstanceOf(TableDied);
    const left = strangers(kit, source).length;
    expect(left).toBeGreaterThan(0);
    kit.clock.advance(HOUR_MS);
    await pass(kit, 2 * LEASE_MS);
    expect(strangers(kit, source)).toHaveLength(left);
  });

  it("whose maker was frozen for too long is not shown", async () => {
    const kit = kitOf();
    await using worker = kit.worker({ drive });
    worker.start();
    const source = await used(kit);
    const before: readonly string[] = await shown(kit);
    let headers = 0;
    const slow = createTracedTable(kit.table, {
      before: async ({ method, sk }) => {
        if (method !== "put" || sk !== "H" || ++headers !== 2) return;
        kit.clock.advance(HOUR_MS);
        await until(kit, () => strangers(kit, source).every(({ sk }) => sk.startsWith("M#")));
      },
    });
    await expect(runtimeOn(kit, slow).threads.copy(ALICE, source)).rejects.toMatchObject({ code: "unavailable" });
    expect(await shown(kit)).toEqual(before);
  });

  it("of a thread that is used meanwhile is refused, and nothing of it stays", async () => {
    const kit = kitOf();
    await using worker = kit.worker({ drive });
    worker.start();
    const source = await used(kit);
    let isUsed = false;
    const slow = createTracedTable(kit.table, {
      before: async ({ method, sk }) => {
        if (isUsed || method !== "put" || !sk.startsWith("C#")) return;
        isUsed = true;
        await kit.runtime.runs.accept(ALICE, inputFor(source));
        await until(kit, async () => (await checkpoints(kit, source)).length === 6);
      },
    });
    await expect(runtimeOn(kit, slow).threads.copy(ALICE, source)).rejects.toMatchObject({ code: "conflict" });
    expect(await shown(kit)).toEqual([source]);
    expect(strangers(kit, source)).toEqual([]);
  });

  it("of a busy thread is refused", async () => {
    const kit = kitOf();
    const id = threadId(kit.deps.ids.uuid());
    await kit.runtime.runs.accept(ALICE, inputFor(id));
    await expect(kit.runtime.threads.copy(ALICE, id)).rejects.toMatchObject({ code: "conflict" });
  });

  it("takes its id from nobody: nothing else is made in its place while it is made", async () => {
    const kit = kitOf();
    const id = threadId(kit.deps.ids.uuid());
    const source = { threadId: id, metadata: {}, ifExists: "raise" } as const;
    const { thread } = await kit.runtime.threads.create(ALICE, source);
    const target = { tenant: ALICE.tenant, threadId: threadId(kit.deps.ids.uuid()) };
    await kit.deps.threads.put(copyBegun(target, thread, kit.deps.table.now()), "absent");
    const create = { threadId: target.threadId, metadata: {}, ifExists: "do_nothing" } as const;
    await expect(kit.runtime.threads.create(ALICE, create)).rejects.toMatchObject({ code: "conflict" });
    await expect(kit.runtime.runs.accept(ALICE, inputFor(target.threadId))).rejects.toMatchObject({ code: "conflict" });
    await expect(kit.runtime.threads.get(ALICE, target.threadId)).rejects.toMatchObject({ code: "not_found" });
  });
});
