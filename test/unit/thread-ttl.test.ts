/** Threads that nobody uses: deleted at their time, or left with their latest checkpoints; never while anything runs. */
import { describe, expect, it } from "vitest";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { threadId } from "../../src/core/ids.ts";
import type { Run } from "../../src/core/run.ts";
import { expiryOf } from "../../src/core/thread.ts";
import type { ThreadTtl } from "../../src/core/thread.ts";
import { EXPIRY_PREFIX } from "../../src/storage/keys.ts";
import { createDeps, createRuntime } from "../../src/runtime/create.ts";
import type { Engine } from "../../src/runtime/engine.ts";
import { ALICE, LEASE_MS, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { pass, until } from "./runtime-pass.ts";
import { step } from "./runtime-steps.ts";

const HOUR_MS = 3_600_000;
const ttl = (strategy: ThreadTtl["strategy"]): ThreadTtl => ({ strategy, ms: HOUR_MS });
/** How late a worker may be, which looks for what has expired as often as for leases. */
const SOON_MS = LEASE_MS;

/** Three checkpoints a run. */
const drive: Engine["drive"] = async (drive) => {
  for (const word of ["a", "b", "c"]) await step(drive, word);
  return { kind: "done" };
};
const isDone = async (kit: Kit, run: Run) => (await kit.deps.runs.get(run, run.runId))?.value.status === "success";

const finished = (kit: Kit, run: Run) => until(kit, () => isDone(kit, run));

async function used(kit: Kit, strategy: ThreadTtl["strategy"]) {
  const id = threadId(kit.deps.ids.uuid());
  await kit.runtime.threads.create(ALICE, { threadId: id, metadata: {}, ifExists: "raise", ttl: ttl(strategy) });
  const run = await kit.runtime.runs.accept(ALICE, inputFor(id));
  await finished(kit, run);
  const ref = { tenant: ALICE.tenant, threadId: id };
  const header = () => kit.deps.threads.get(ref).then((stored) => stored?.value);
  await until(kit, async () => (await header())?.lease === undefined);
  return { id, ref, run, header, again: () => kit.runtime.runs.accept(ALICE, inputFor(id)) };
}

async function checkpoints({ deps }: Kit, id: string): Promise<number> {
  let count = 0;
  const saver = new FencedSaver({ table: deps.table, blobs: deps.blobs, tenant: ALICE.tenant });
  for await (const _ of saver.list({ configurable: { thread_id: id } })) count += 1;
  return count;
}
const itemsOf = (kit: Kit, id: string) => kit.table.dump().filter(({ pk }) => pk.includes(id));

describe("a thread with a time to live", () => {
  it("is deleted when it was not used for so long, with all that it kept", async () => {
    const kit = createKit();
    await using worker = kit.worker({ drive });
    worker.start();
    const { id, ref, header } = await used(kit, "delete");
    expect(
      itemsOf(kit, id)
        .find(({ sk }) => sk === "H")
        ?.index?.due?.sk.startsWith(EXPIRY_PREFIX),
    ).toBe(true);
    await pass(kit, HOUR_MS / 2);
    expect(await checkpoints(kit, id)).toBe(3);
    await pass(kit, HOUR_MS / 2 + SOON_MS);
    await expect(kit.runtime.threads.get(ALICE, id)).rejects.toMatchObject({ code: "not_found" });
    await until(kit, async () => (await kit.deps.threads.get(ref))?.value.remnants === undefined);
    expect(itemsOf(kit, id).map(({ sk }) => sk)).toEqual(["H"]);
    expect((await header())?.deleted).toBe(true);
  });

  it("is there no more from that moment on, for whoever reads it before a worker has come", async () => {
    const kit = createKit();
    const id = threadId(kit.deps.ids.uuid());
    const { threads, runs } = kit.runtime;
    await threads.create(ALICE, { threadId: id, metadata: { old: true }, ifExists: "raise", ttl: ttl("delete") });
    kit.clock.advance(HOUR_MS - 1);
    expect((await threads.search(ALICE, SEARCH)).total).toBe(1);
    kit.clock.advance(1);
    expect((await threads.search(ALICE, SEARCH)).total).toBe(0);
    await expect(threads.get(ALICE, id)).rejects.toMatchObject({ code: "not_found" });
    await expect(runs.accept(ALICE, { ...inputFor(id), ifNotExists: "reject" })).rejects.toMatchObject({
      code: "not_found",
    });
    const created = await threads.create(ALICE, { threadId: id, metadata: {}, ifExists: "raise" });
    expect(created).toMatchObject({ metadata: {}, thread: { generation: 1 } });
    kit.clock.advance(2 * HOUR_MS);
    expect((await threads.get(ALICE, id)).thread.ttl).toBeUndefined();
  });

  it("lives on with every use", async () => {
    const kit = createKit();
    await using worker = kit.worker({ drive });
    worker.start();
    const { header, again } = await used(kit, "delete");
    for (let n = 0; n < 3; n += 1) {
      await pass(kit, HOUR_MS * 0.75);
      await finished(kit, await again());
    }
    expect((await header())?.deleted).toBe(false);
    await pass(kit, HOUR_MS);
    expect((await header())?.deleted).toBe(true);
  });

  it("lives on with a change of its metadata, and as long as it is told to then", async () => {
    const { clock, deps, runtime } = createKit();
    const id = threadId(deps.ids.uuid());
    await runtime.threads.create(ALICE, { threadId: id, metadata: {}, ifExists: "raise", ttl: ttl("delete") });
    clock.advance(HOUR_MS * 0.75);
    await runtime.threads.patch(ALICE, id, { metadata: { a: 1 } });
    clock.advance(HOUR_MS * 0.75);
    await runtime.threads.patch(ALICE, id, { metadata: {}, ttl: { strategy: "delete", ms: 1000 } });
    clock.advance(999);
    expect((await runtime.threads.get(ALICE, id)).metadata).toEqual({ a: 1 });
    clock.advance(1);
    await expect(runtime.threads.get(ALICE, id)).rejects.toMatchObject({ code: "not_found" });
  });

  it("keeps its latest checkpoint only, once for each time that it was used, and looks as old as it is", async () => {
    const kit = createKit();
    await using worker = kit.worker({ drive });
    worker.start();
    const { id, header, again } = await used(kit, "keep_latest");
    const before = await header();
    expect(await checkpoints(kit, id)).toBe(3);
    await pass(kit, HOUR_MS + SOON_MS);
    expect(await checkpoints(kit, id)).toBe(1);
    const after = await header();
    expect(after).toMatchObject({ updatedAt: before?.updatedAt, ttl: { done: true } });
    expect(after?.lease).toBeUndefined();
    expect(kit.lines.filter(({ message }) => message.startsWith("pruned"))).toHaveLength(1);
    await pass(kit, 2 * HOUR_MS);
    expect(await header()).toEqual(after);
    const run = await again();
    await finished(kit, run);
    expect(await checkpoints(kit, id)).toBe(4);
    await pass(kit, HOUR_MS + SOON_MS);
    expect(await checkpoints(kit, id)).toBe(1);
  });

  it("does not expire while it has a run that sleeps, or a review waits", async () => {
    const kit = createKit();
    await using worker = kit.worker({
      drive: async () => ({
        kind: "backoff",
        delayMs: HOUR_MS / 2,
        retries: {},
        error: { name: "E", message: "away" },
      }),
    });
    worker.start();
    const id = threadId(kit.deps.ids.uuid());
    const short: ThreadTtl = { strategy: "delete", ms: HOUR_MS / 10 };
    await kit.runtime.threads.create(ALICE, { threadId: id, metadata: {}, ifExists: "raise", ttl: short });
    const run = await kit.runtime.runs.accept(ALICE, inputFor(id));
    await pass(kit, HOUR_MS / 3);
    expect((await kit.runtime.runs.get(ALICE, id, run.runId)).status).toBe("waiting");
    const thread = (await kit.deps.threads.get(run))?.value;
    if (!thread) throw new Error("there is no thread");
    const { active: _, wakeAt: _wakeAt, lease: _lease, ...idle } = thread;
    expect(expiryOf(idle)).toBe(idle.updatedAt + short.ms);
    expect(expiryOf({ ...idle, waiting: { runId: run.runId, reviews: 1, plain: 0 } })).toBeUndefined();
    expect(expiryOf({ ...idle, waiting: { runId: run.runId, reviews: 0, plain: 1 } })).toBeDefined();
  });

  it("has that of langgraph.json unless it is given one", async () => {
    const kit = createKit();
    const { threads } = createRuntime(createDeps({ ...kit.deps, threadTtl: ttl("delete") }));
    const [plain, own] = [threadId(kit.deps.ids.uuid()), threadId(kit.deps.ids.uuid())];
    await threads.create(ALICE, { threadId: plain, metadata: {}, ifExists: "raise" });
    await threads.create(ALICE, { threadId: own, metadata: {}, ifExists: "raise", ttl: ttl("keep_latest") });
    kit.clock.advance(HOUR_MS);
    await expect(threads.get(ALICE, plain)).rejects.toMatchObject({ code: "not_found" });
    expect((await threads.get(ALICE, own)).thread.ttl?.strategy).toBe("keep_latest");
  });

  it("is pruned by whoever asks, unless it is in use", async () => {
    const kit = createKit();
    await using worker = kit.worker({ drive });
    worker.start();
    const { id, again } = await used(kit, "keep_latest");
    const gone = threadId(kit.deps.ids.uuid());
    expect(await kit.runtime.threads.prune(ALICE, [id, id, gone], "keep_latest")).toBe(1);
    expect(await checkpoints(kit, id)).toBe(1);
    await worker.drain();
    const run = await again();
    expect(await kit.runtime.threads.prune(ALICE, [id], "keep_latest")).toBe(0);
    expect((await kit.runtime.runs.get(ALICE, id, run.runId)).status).toBe("pending");
    expect(await kit.runtime.threads.prune(ALICE, [id], "delete")).toBe(1);
    await expect(kit.runtime.threads.get(ALICE, id)).rejects.toMatchObject({ code: "not_found" });
  });

  it("is pruned again by the next worker, when the first dies within it", { timeout: 60_000 }, async () => {
    for (let call = 1; ; call += 1) {
      let calls = 0;
      let isArmed = false;
      const kit = createKit((table) => ({
        ...table,
        put: (...args) => (isArmed && ++calls >= call ? Promise.reject(new Error("died")) : table.put(...args)),
      }));
      const first = kit.worker({ drive });
      first.start();
      const { id, header } = await used(kit, "keep_latest");
      await first.drain();
      const stored = await kit.deps.threads.get({ tenant: ALICE.tenant, threadId: id });
      if (!stored) throw new Error("there is no thread");
      isArmed = true;
      const died = await kit.runtime.threads.prune(ALICE, [id], "keep_latest").catch(() => "died");
      isArmed = false;
      expect([1, 3]).toContain(await checkpoints(kit, id));
      await using second = kit.worker({ drive });
      second.start();
      await pass(kit, HOUR_MS);
      await until(kit, async () => (await header())?.ttl?.done === true);
      expect(await checkpoints(kit, id)).toBe(1);
      if (died !== "died") break;
    }
  });
});

const SEARCH = { limit: 10, offset: 0, sortBy: "created_at", sortOrder: "asc" } as const;
