/** Real LangGraph graphs driven to their end through the saver, under a lease, on every engine. */
import { Command, MemorySaver } from "@langchain/langgraph";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stillWaits } from "../../src/checkpoint/interrupts.ts";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import type { SaverOptions } from "../../src/checkpoint/options.ts";
import { tenantId, threadId } from "../../src/core/ids.ts";
import type { ThreadId } from "../../src/core/ids.ts";
import type { Table } from "../../src/storage/table.ts";
import { checkpointOf, configOf, metadataOf, noise } from "../support/checkpoints.ts";
import { everyTable } from "../support/engines.ts";
import type { Handles } from "../support/engines.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { askingGraph, loopingGraph } from "../support/reference-graphs.ts";
import { createTracedTable } from "../support/traced-table.ts";

const blobs = createMemoryBlobs();
const configFor = (thread: ThreadId) => ({
  configurable: { thread_id: thread },
  durability: "sync" as const,
  recursionLimit: 60,
});
const answers = (raised: readonly { readonly id?: string; readonly value?: unknown }[]): Record<string, string> =>
  Object.fromEntries(raised.map(({ id = "", value }) => [id, `yes to ${JSON.stringify(value)}`]));

for (const engine of everyTable()) {
  describe(`a graph under a lease on ${engine.name}`, () => {
    let handles: Handles | undefined;
    let threads = 0;
    const nextThread = () => threadId(`thread-${threads++}`);
    const shared = (): Table => {
      if (handles === undefined) throw new Error("the table is not open");
      return handles.table;
    };
    const holder = (thread: ThreadId, fence: number, more: Partial<SaverOptions> = {}) => {
      const lease = { threadId: thread, generation: 0, fence };
      return new FencedSaver({ table: shared(), blobs, tenant: tenantId("acme"), lease, ...more });
    };
    beforeAll(async () => {
      handles = await engine.open();
    });
    afterAll(async () => {
      await handles?.[Symbol.asyncDispose]();
    });

    it("ends as with MemorySaver, at one put a superstep and without a read of the root", async () => {
      const table = createTracedTable(shared());
      const thread = nextThread();
      const saver = holder(thread, 1, { table, newRoot: "run-1" });
      await saver.preload();
      const before = table.calls.length;
      const result = await loopingGraph(saver).invoke({ rounds: 0 }, configFor(thread));
      expect(result).toEqual(await loopingGraph(new MemorySaver()).invoke({ rounds: 0 }, configFor(thread)));

      const calls = table.calls.slice(before);
      const inRoot = calls.filter(({ sk }) => sk.startsWith("C#000000##"));
      // The input and what it starts, then three times: plan, the three side by side, the Sends, join.
      expect(inRoot.map(({ method }) => method)).toEqual(Array.from({ length: 1 + 1 + 3 * 4 }, () => "put"));
      // A subgraph call reads its namespace once and raises its barrier, then puts its input, what that starts, and two supersteps.
      const inSub = calls.filter(({ sk }) => sk.startsWith("C#000000#sub"));
      expect(inSub.filter(({ method }) => method === "put")).toHaveLength(3 * (1 + 4));
      expect(inSub.filter(({ method }) => method !== "put")).toHaveLength(3);
      // One item for the writes of each task: seven a round at the root, two in the subgraph, and one for each input.
      const taskWrites = 1 + 3 * (7 + 1 + 2);
      expect(calls.filter(({ sk }) => sk.startsWith("W#"))).toHaveLength(taskWrites);
      expect(calls).toHaveLength(inRoot.length + inSub.length + taskWrites);
      expect(saver.head()).toMatchObject({ root: "run-1", fence: 1, source: "loop", step: 12 });
      const facts = await saver.whereabouts.record("", saver.head()?.checkpointId ?? "");
      expect(facts).toMatchObject({ visits: { plan: 3, left: 3, right: 3, sub: 3, leaf: 3, join: 3 } });
    });

    it("keeps the interrupts of a subgraph across a takeover and applies each answer once", async () => {
      const thread = nextThread();
      const config = configFor(thread);
      const first = holder(thread, 1, { newRoot: "run-1" });
      await first.preload();
      await askingGraph(first).invoke({ rounds: 0 }, config);
      const shown = await first.pendingInterrupts();
      const questions = shown.map(({ value }) => value);
      expect(questions).toEqual(expect.arrayContaining([{ question: "go?" }, { question: "beside?" }]));
      expect(new Set(shown.map(({ owner }) => owner?.ns.split(":")[0]))).toEqual(new Set(["", "sub"]));

      const second = holder(thread, 2);
      await second.preload();
      await second.barrier();
      const again = await second.pendingInterrupts();
      expect(again).toEqual(shown);
      const owners = again.flatMap(({ owner }) => (owner ? [owner] : []));
      expect(await second.interruptsThat(stillWaits, owners)).toEqual(owners);
      const strict = { ...config, configurable: { ...config.configurable, __pregel_strict_resume: true } };
      const result = await askingGraph(second).invoke(new Command({ resume: answers(again) }), strict);
      const peer = askingGraph(new MemorySaver());
      await peer.invoke({ rounds: 0 }, config);
      const asked = (await peer.getState(config)).tasks.flatMap(({ interrupts }) => interrupts);
      expect(result).toEqual(await peer.invoke(new Command({ resume: answers(asked) }), config));
      expect(await second.interruptsThat(stillWaits, owners)).toEqual([]);
      expect(await second.pendingInterrupts()).toEqual([]);
      expect(second.head()).toMatchObject({ root: "run-1", fence: 2 });
    });

    it("sees an answer that was given after the thread went back to where it had been asked", async () => {
      const thread = nextThread();
      const config = configFor(thread);
      const first = holder(thread, 1, { newRoot: "run-1" });
      await first.preload();
      await askingGraph(first).invoke({ rounds: 0 }, config);
      const asked = first.head()?.checkpointId;
      const second = holder(thread, 2, { newRoot: "run-2" });
      await second.preload();
      await askingGraph(second).invoke({ rounds: 0 }, config);
      const third = holder(thread, 3);
      await third.preload();
      await third.rollback(asked);

      const fourth = holder(thread, 4);
      await fourth.preload();
      await fourth.barrier();
      const again = await fourth.pendingInterrupts();
      const owners = again.flatMap(({ owner }) => (owner ? [owner] : []));
      expect(owners).toHaveLength(2);
      expect(await fourth.interruptsThat(stillWaits, owners)).toEqual(owners);
      const strict = { ...config, configurable: { ...config.configurable, __pregel_strict_resume: true } };
      await askingGraph(fourth).invoke(new Command({ resume: answers(again) }), strict);
      expect(await fourth.interruptsThat(stillWaits, owners)).toEqual([]);
      expect(await holder(thread, 5).interruptsThat(stillWaits, owners)).toEqual([]);
    });

    it("keeps values of 90 KB, 200 KB, 700 KB and 5 MB, in checkpoints and in task writes", async () => {
      const thread = nextThread();
      const saver = holder(thread, 1, { newRoot: "run-1" });
      const values = { a: noise(90_000), b: noise(200_000), c: noise(700_000), d: noise(5_000_000) };
      const versions = { a: 1, b: 1, c: 1, d: 1 };
      const config = await saver.put(configOf(thread), checkpointOf({ values }), metadataOf(-1, "input"), versions);
      await saver.putWrites(config, Object.entries(values), "task");
      const read = await new FencedSaver({ table: shared(), blobs, tenant: tenantId("acme") }).getTuple(
        configOf(thread),
      );
      for (const [n, [name, value]] of Object.entries(values).entries()) {
        expect(read?.checkpoint.channel_values[name] === value).toBe(true);
        expect(read?.pendingWrites?.[n]?.[2] === value).toBe(true);
      }
    });

    it("tells an overtaken holder that it is lost, and ignores what it still writes", async () => {
      const thread = nextThread();
      const first = holder(thread, 1, { newRoot: "run-1" });
      const config = await first.put(configOf(thread), checkpointOf(), metadataOf(-1, "input"), {});
      await first.putWrites(config, [["a", "in time"]], "task-1");
      const second = holder(thread, 2);
      await second.barrier();
      await first.putWrites(config, [["a", "late"]], "task-2");
      await expect(first.put(config, checkpointOf(), metadataOf(0), {})).rejects.toMatchObject({ code: "lost" });
      await expect(first.getTuple(config)).rejects.toMatchObject({ code: "lost" });
      expect((await holder(thread, 2).getTuple(config))?.pendingWrites).toEqual([["task-1", "a", "in time"]]);
    });
  });
}
