/**
 * The generation of a thread and its end. A deleted thread that is created again starts a new generation, so that a
 * late writer of the old one writes where nobody reads.
 */
import { HoldpointError } from "../core/errors.ts";
import type { Blobs } from "../storage/blobs.ts";
import { generationPart, threadKeys } from "../storage/keys.ts";
import type { ThreadRef } from "../storage/keys.ts";
import { readableInClear } from "../storage/records.ts";
import type { Item, Key, Table } from "../storage/table.ts";

/** What deletion removes: log records, segments and task writes. */
const COLLECTIONS = ["C", "S", "W"] as const;
const BATCH = 25;

const generationIn = (header: Item | undefined): number => {
  const value = readableInClear(header)?.attributes["g"];
  return typeof value === "number" ? value : 0;
};

/** The generation in the thread's header; 0 where there is none. */
export async function readGeneration(table: Table, thread: ThreadRef): Promise<number> {
  return generationIn(await table.get(threadKeys.header(thread)));
}

/**
 * Raises the generation, which is the commit, and returns the new one. Where there is no header, one is left that says
 * nothing else; it has no expiry, for with it the number would fall back to one whose keys a late writer still knows.
 */
async function raiseGeneration(table: Table, thread: ThreadRef): Promise<number> {
  const key = threadKeys.header(thread);
  let current = await table.get(key);
  for (;;) {
    const generation = generationIn(current) + 1;
    const draft =
      current === undefined
        ? { ...key, attributes: { g: generation } }
        : { ...draftOf(current), attributes: { ...current.attributes, g: generation } };
    const result = await table.put(draft, current === undefined ? "absent" : { version: current.version });
    if (result.won) return generation;
    current = result.current;
  }
}

const draftOf = (item: Item) => ({
  pk: item.pk,
  sk: item.sk,
  ...(item.index === undefined ? {} : { index: item.index }),
  ...(item.expiresAt === undefined ? {} : { expiresAt: item.expiresAt }),
});

/** Deletes a thread's checkpoints, task writes and bodies. May be repeated after a crash; it removes whatever is left. */
export async function deleteCheckpoints(
  deps: { readonly table: Table; readonly blobs: Blobs },
  thread: ThreadRef,
): Promise<void> {
  const { table, blobs } = deps;
  const generation = await raiseGeneration(table, thread);
  await blobs.removeOld(thread, { before: generation, unplaced: true });
  await removeOldGenerations(table, thread, generation);
}

/** Removes what the generations before this one left; may be repeated, and touches nothing of this one. @throws HoldpointError `internal` when asked to remove a live generation */
export async function removeOldGenerations(table: Table, thread: ThreadRef, generation: number): Promise<void> {
  if (generation < 1) throw new HoldpointError("internal", "the first generation has none before it");
  const pk = threadKeys.partition(thread);
  for (const collection of COLLECTIONS) {
    // Keys of older generations sort below the first key of this one.
    const range = { from: `${collection}#`, to: `${collection}#${generationPart(generation)}`, limit: BATCH };
    for (;;) {
      const page = await table.query(pk, range);
      await Promise.all(page.items.map(({ sk }: Key) => table.remove({ pk, sk }, "any")));
      if (page.next === undefined) break;
    }
  }
}
