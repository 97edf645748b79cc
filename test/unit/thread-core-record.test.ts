import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { runId, tenantId, threadId } from "../../src/core/ids.ts";
import { MAX_QUEUE } from "../../src/core/limits.ts";
import { claimed } from "../../src/core/thread-changes.ts";
import { newThread, threadDue } from "../../src/core/thread.ts";
import type { QueueEntry, Thread } from "../../src/core/thread.ts";
import { duePartition, threadKeys } from "../../src/storage/keys.ts";
import { createThreads } from "../../src/storage/threads.ts";
import { itemBytes } from "../../src/storage/item-size.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { anyEntry, anyThread } from "./thread-core-arbitraries.ts";

const SHARDS = 4;
const NOW = 1_800_000_000_000;

async function written(thread: Thread) {
  const table = createMemoryTable({ now: () => 1_600_000_000_000 });
  const threads = createThreads({ table, shards: SHARDS });
  await threads.put(thread, "absent");
  const item = await table.get(threadKeys.header(thread));
  const back = await threads.get(thread);
  if (!item || !back) throw new Error("the header is not there");
  return { item, back: back.value };
}

describe("a thread's header item", () => {
  it("reads back as it was written", async () => {
    await fc.assert(
      fc.asyncProperty(anyThread, async (thread) => {
        expect((await written(thread)).back).toEqual(thread);
      }),
    );
  });

  it("keeps the queue as 18 bytes an entry, the active run first", async () => {
    await fc.assert(
      fc.asyncProperty(anyThread, async (thread) => {
        const entries = thread.queue.length + (thread.active?.kind === "run" ? 1 : 0);
        const bytes = (await written(thread)).item.attributes["q"];
        expect(bytes instanceof Uint8Array ? bytes.length : 0).toBe(18 * entries);
      }),
    );
  });

  it("stays within 4 KB with a full queue, a continuation, the longest names, strikes and all metadata that is kept inline", async () => {
    const queue = fc.uniqueArray(anyEntry, {
      minLength: MAX_QUEUE + 3,
      maxLength: MAX_QUEUE + 3,
      selector: (e: QueueEntry) => e.runId,
    });
    await fc.assert(
      fc.asyncProperty(queue, async (all) => {
        const id = { tenant: tenantId("t".repeat(36)), threadId: threadId("00000000-0000-7000-8000-000000000001") };
        const threads = createThreads({ table: createMemoryTable({ now: () => NOW }), shards: SHARDS });
        const metadata = await threads.keepMetadata(id, { text: "m".repeat(189) }, "m");
        expect(metadata.kind).toBe("inline");
        expect((await threads.keepMetadata(id, { text: "m".repeat(190) }, "m")).kind).toBe("item");
        const base = newThread(id, metadata, NOW);
        const spread = all.map((entry, i) => ({
          ...entry,
          pool: "p".repeat(32),
          graphId: `${"g".repeat(63)}${i % 8}`,
        }));
        const owner = `${"h".repeat(64)}/${"b".repeat(36)}/4026531836/1234567/9876543210/0123456789abcdef/01234567`;
        const thread = claimed(
          {
            ...base,
            queue: spread,
            waiting: { runId: runId(id.threadId), reviews: 3, plain: 1 },
            lastEnd: "cancelled",
          },
          { owner, leaseMs: 1, now: NOW },
          { count: 4, owner, head: id.threadId },
        );
        expect(itemBytes((await written(thread)).item)).toBeLessThanOrEqual(4096);
      }),
      { numRuns: 20 },
    );
  });

  it("refuses a ninth pair of pool and graph rather than to lose one", async () => {
    const base = newThread({ tenant: tenantId("acme"), threadId: threadId("t") }, { kind: "inline", value: {} }, NOW);
    const queue = Array.from({ length: 9 }, (_, i): QueueEntry => ({
      runId: runId(`00000000-0000-7000-8000-00000000000${i}`),
      kind: "input",
      pool: `p${i}`,
      graphId: "g",
    }));
    await expect(written({ ...base, queue })).rejects.toMatchObject({ code: "limit" });
  });
});

describe("a thread's row in the due index", () => {
  it("is there exactly when a worker has to look, at the tenant's shard of the pool that is next", async () => {
    await fc.assert(
      fc.asyncProperty(anyThread, async (thread) => {
        const row = (await written(thread)).item.index?.due;
        const due = threadDue(thread);
        expect(row !== undefined).toBe(due !== undefined);
        if (!row || !due) return;
        expect(row.pk).toBe(duePartition(due.pool, thread.tenant, SHARDS));
        expect(row.sk.slice(0, 2)).toBe(due.kind === "ready" ? "r#" : "t#");
        if (due.kind === "lease") expect(Number(row.sk.slice(2, 15))).toBe(due.at);
      }),
    );
  });

  it("orders ready threads of a tenant by priority and then by the time at which they became ready", async () => {
    const ready = (priority: number, readyAt: number): Thread => ({
      ...newThread(
        { tenant: tenantId("acme"), threadId: threadId(`${priority}-${readyAt}`) },
        { kind: "inline", value: {} },
        NOW,
      ),
      queue: [{ runId: runId("00000000-0000-7000-8000-000000000001"), kind: "input", pool: "default", graphId: "g" }],
      priority,
      readyAt,
    });
    const key = async (thread: Thread): Promise<string> => (await written(thread)).item.index?.due?.sk ?? "";
    const times = fc.tuple(fc.nat(9), fc.integer({ min: 1_600_000_000_000, max: 1_900_000_000_000 }));
    await fc.assert(
      fc.asyncProperty(times, times, async ([p, a], [q, b]) => {
        fc.pre(p !== q || a !== b);
        expect((await key(ready(p, a))) < (await key(ready(q, b)))).toBe(p < q || (p === q && a < b));
      }),
    );
  });

  it("is in the list of its tenant until the thread is deleted", async () => {
    const thread = newThread({ tenant: tenantId("acme"), threadId: threadId("t") }, { kind: "inline", value: {} }, NOW);
    expect((await written(thread)).item.index?.list?.pk).toBe("acme#threads");
    expect((await written({ ...thread, deleted: true })).item.index).toEqual({});
  });
});
