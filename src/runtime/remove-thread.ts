import { FencedSaver } from "../checkpoint/saver.ts";
import type { Thread } from "../core/thread.ts";
import { eventKeys } from "../storage/keys.ts";
import type { ThreadRef } from "../storage/keys.ts";
import type { Deps } from "./deps.ts";

/**
 * Deletes a thread: first its generation is raised, which is the commit and makes every late write of the old one
 * land where nobody reads; then what it kept is removed. Safe to repeat after a crash.
 */
export async function removeThread(deps: Deps, ref: ThreadRef): Promise<void> {
  await deps.threads.update(ref, (thread) => (thread.deleted ? undefined : tombstone(thread, deps.table.now())));
  deps.hints.cancelled(ref);
  const saver = new FencedSaver({ table: deps.table, blobs: deps.blobs, clock: deps.clock, tenant: ref.tenant });
  await saver.deleteThread(ref.threadId);
  await removeEvents(deps, ref);
  await deps.blobs.removeAll(ref);
}

function tombstone(thread: Thread, now: number): Thread {
  const { lease: _lease, active: _active, waiting: _waiting, lastEnd: _lastEnd, ...rest } = thread;
  return {
    ...rest,
    generation: thread.generation + 1,
    fence: thread.fence + 1,
    deleted: true,
    queue: [],
    metadata: { kind: "inline", value: {} },
    updatedAt: now,
  };
}

async function removeEvents(deps: Deps, ref: ThreadRef): Promise<void> {
  for (;;) {
    const page = await deps.table.query(eventKeys.partition(ref), { limit: 100 });
    if (page.items.length === 0) return;
    await Promise.all(page.items.map((item) => deps.table.remove(item, "any")));
  }
}
