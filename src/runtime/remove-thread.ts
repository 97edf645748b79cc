/**
 * Deletes a thread: first its generation is raised, which is the commit and makes every late write of the old one
 * land where nobody reads; then what the old generations kept is removed. Safe to repeat after a crash, and safe
 * while the thread is being created again: nothing of the new generation is touched.
 */
import { removeOldGenerations } from "../checkpoint/lifecycle.ts";
import type { Thread } from "../core/thread.ts";
import { eventKeys, runMapKey, threadKeys } from "../storage/keys.ts";
import type { ThreadRef } from "../storage/keys.ts";
import { numberOf } from "../storage/records.ts";
import type { Item, Key, Range } from "../storage/table.ts";
import type { Deps } from "./deps.ts";

export async function removeThread(deps: Deps, ref: ThreadRef): Promise<void> {
  const header = await deps.threads.update(ref, (thread) => (thread.deleted ? undefined : tombstone(thread, deps.table.now())));
  if (!header) return;
  const { generation } = header.value;
  deps.hints.cancelled(ref);
  await removeOldGenerations(deps.table, ref, generation);
  await removeItems(deps, eventKeys.partition(ref), { to: eventKeys.prefix(generation) }, (item) => [item]);
  const now = await deps.threads.get(ref);
  if (now?.value.deleted && now.value.generation === generation) await deps.blobs.removeAll(ref);

  const isOld = (item: Item): boolean => numberOf(item, "g") < generation;
  const pk = threadKeys.partition(ref);
  await removeItems(deps, pk, { prefix: threadKeys.holdPrefix }, (item) => (isOld(item) ? [item] : []));
  // Last: a follow-up on a run item is what brings an unfinished deletion back here.
  await removeItems(deps, pk, { prefix: threadKeys.runPrefix }, (item) => {
    const runId = item.sk.slice(threadKeys.runPrefix.length);
    return isOld(item) ? [threadKeys.runBody(ref, runId), runMapKey(ref.tenant, runId), item] : [];
  });
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

/** Page by page, so that memory is bounded however much there is. */
async function removeItems(deps: Deps, pk: string, range: Range, keysOf: (item: Item) => readonly Key[]): Promise<void> {
  let after: string | undefined;
  do {
    const page = await deps.table.query(pk, { ...range, limit: 100, ...(after === undefined ? {} : { after }) });
    await Promise.all(page.items.flatMap(keysOf).map((key) => deps.table.remove(key, "any")));
    after = page.next;
  } while (after !== undefined);
}
