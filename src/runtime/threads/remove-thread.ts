/**
 * Deletes a thread: first its generation is raised, which is the commit and makes every late write of the old one
 * land where nobody reads; then what the old generations kept is removed. Safe to repeat after a crash, and safe
 * while the thread is being created again: nothing of the new generation is touched.
 */
import { removeOldGenerations } from "../../checkpoint/lifecycle.ts";
import { unlessUnreadable } from "../../core/unreadable.ts";
import { cleared, tombstone } from "../../core/thread-changes.ts";
import type { Thread } from "../../core/thread.ts";
import { eventKeys, runMapKey, threadKeys } from "../../storage/keys.ts";
import type { ThreadRef } from "../../storage/keys.ts";
import { numberOf, readableInClear } from "../../storage/records.ts";
import type { Item, Key, Range } from "../../storage/table.ts";
import type { Deps } from "../deps.ts";
import { makeDeliveriesOfEnd, untellable } from "../webhooks/announce.ts";

export async function removeThread(deps: Deps, ref: ThreadRef): Promise<void> {
  const header = await deps.threads.update(ref, (thread) =>
    thread.deleted ? undefined : tombstone(thread, deps.table.now()),
  );
  if (!header) return;
  deps.hints.cancelled(ref);
  await removeRemnants(deps, header.value);
}

/** Removes what was copied to a thread that does not come to be shown. */
export async function abandonCopy(deps: Deps, ref: ThreadRef): Promise<void> {
  const header = await deps.threads.update(ref, (thread) =>
    thread.copyingUntil === undefined ? undefined : tombstone(thread, deps.table.now()),
  );
  if (header?.value.remnants) await removeRemnants(deps, header.value);
}

/** Removes what the generations before this one kept. Until it has, the header says so and stands in the `due` index. */
export async function removeRemnants(deps: Deps, thread: Thread): Promise<void> {
  const { generation } = thread;
  const ref: ThreadRef = { tenant: thread.tenant, threadId: thread.threadId };
  await removeOldGenerations(deps.table, ref, generation);
  await removeItems(deps, eventKeys.partition(ref), { to: eventKeys.prefix(generation) }, (item) => [item]);
  // Bodies without a generation may be those of a thread that older workers created again in the meantime.
  const now = await deps.threads.get(ref);
  const unplaced = now?.value.deleted === true && now.value.generation === generation;
  await deps.blobs.removeOld(ref, { before: generation, unplaced });
  if (thread.deleted && thread.metadata.kind === "item")
    await deps.table.remove(threadKeys.metadata(ref, thread.metadata.id), "any");

  const isOld = (item: Item): boolean => numberOf(readableInClear(item), "g") < generation;
  const pk = threadKeys.partition(ref);
  // Without a generation: of an older version, and perhaps about to be named by the header of this one.
  await removeItems(deps, pk, { prefix: threadKeys.metadataPrefix }, (item) =>
    item.attributes["g"] !== undefined && isOld(item) ? [item] : [],
  );
  await removeItems(deps, pk, { prefix: threadKeys.holdPrefix }, (item) => (isOld(item) ? [item] : []));
  await removeItems(deps, pk, { prefix: threadKeys.runPrefix }, async (item) => {
    const runId = item.sk.slice(threadKeys.runPrefix.length);
    if (!isOld(item)) return [];
    // Who deletes a thread right after its run has ended keeps nobody from being told of that.
    const run = await unlessUnreadable(deps.runs.of(item));
    if (run?.hooksDue) await makeDeliveriesOfEnd(deps, run).catch((error: unknown) => untellable(deps, run, error));
    return [threadKeys.runBody(ref, runId), runMapKey(ref.tenant, runId), item];
  });
  await deps.threads.update(ref, (current) =>
    current.remnants && current.generation === generation ? cleared(current) : undefined,
  );
}

/** Page by page, so that memory is bounded however much there is. */
async function removeItems(
  deps: Deps,
  pk: string,
  range: Range,
  keysOf: (item: Item) => readonly Key[] | Promise<readonly Key[]>,
): Promise<void> {
  let after: string | undefined;
  do {
    const page = await deps.table.query(pk, { ...range, limit: 100, ...(after === undefined ? {} : { after }) });
    const keys = await Promise.all(page.items.map(async (item) => keysOf(item)));
    await Promise.all(keys.flat().map((key) => deps.table.remove(key, "any")));
    after = page.next;
  } while (after !== undefined);
}
