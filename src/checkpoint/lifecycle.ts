/**
 * The end of threads, and of parts of them. Everything here commits with one write and then removes what that hides, so
 * that it may be repeated after a crash; a late writer meets a place that is taken, or writes where nobody reads.
 */
import { HoldpointError } from "../core/errors.ts";
import { threadId as toThreadId } from "../core/ids.ts";
import { generationPart, threadKeys } from "../storage/keys.ts";
import type { ThreadRef } from "../storage/keys.ts";
import type { IndexEntries, Key, Table } from "../storage/table.ts";
import { firstIndexOf } from "./branches.ts";
import type { Branches } from "./branches.ts";
import { copyNamespace } from "./copy.ts";
import { namespacesOf } from "./history.ts";
import type { SaverOptions } from "./options.ts";
import { collectLast, keepLatest, removeRuns } from "./prune.ts";
import type { PruneDeps } from "./prune.ts";
import { changeGenerations, readGeneration } from "./thread-header.ts";

/** `delete`: the thread with all of its checkpoints; `keep_latest`: of each namespace the latest stays. */
export type PruneStrategy = "delete" | "keep_latest";

export interface PruneOptions {
  readonly strategy?: PruneStrategy;
  readonly removal?: "now" | "later";
}

/** How the saver ends threads; the names are those of LangGraph's savers for Python. */
export interface Lifecycle {
  /** Deletes a thread's checkpoints. @throws HoldpointError `unsupported` under a lease; `conflict` for a thread of the runtime's */
  readonly deleteThread: (threadId: string) => Promise<void>;
  /**
   * `keep_latest` unless told otherwise. `later`: what is hidden stays until `collect`, or the next of these, removes it.
   * @throws HoldpointError `conflict` where a run executes from an older checkpoint, or others hold leases; `lost`
   */
  readonly prune: (threadIds: readonly string[], options?: PruneOptions) => Promise<void>;
  /** Removes what is hidden already. It takes no lease: whoever advances the thread is in nobody's way. */
  readonly collect: (threadIds: readonly string[]) => Promise<void>;
  /** Removes the checkpoints of these runs from these threads, or from all that the tenant's savers have written to. @throws as `prune` */
  readonly deleteForRuns: (runIds: readonly string[], threadIds?: readonly string[]) => Promise<void>;
  /** Copies what a thread has to one that has no checkpoints. @throws HoldpointError `conflict` where it has; `not_found` where there is nothing to copy; `unsupported` under a lease */
  readonly copyThread: (source: string, target: string) => Promise<void>;
  /** Copies the same into a generation of a thread that nobody reads yet; how it is shown or removed is the caller's business. */
  readonly copyInto: (
    source: string,
    target: { readonly threadId: string; readonly generation: number },
  ) => Promise<void>;
}

/** What `deleteThread` removes: log records, segments and task writes. */
const COLLECTIONS = ["C", "S", "W"] as const;
const BATCH = 25;

export interface LifecycleDeps {
  readonly options: SaverOptions;
  readonly branches: Branches;
  readonly metadataOf: PruneDeps["metadataOf"];
  /** @throws HoldpointError `lost` */
  readonly assertHeld: () => void;
}

export function createLifecycle({ options, branches, metadataOf, assertHeld }: LifecycleDeps): Lifecycle {
  const { table, blobs, lease } = options;
  const { cells, writes } = branches;
  const refOf = (threadId: string): ThreadRef => ({ tenant: options.tenant, threadId: toThreadId(threadId) });
  const pruneDeps = (threadId: string, collects = true): PruneDeps => ({
    collects,
    cells,
    writes,
    metadataOf,
    now: () => table.now(),
    index: firstIndexOf(options, threadId),
  });
  const withoutLease = (what: string): void => {
    assertHeld();
    if (lease !== undefined) throw new HoldpointError("unsupported", `a thread is not ${what} under a lease`);
  };
  const deleteThread = async (threadId: string): Promise<void> => {
    withoutLease("deleted");
    const thread = refOf(threadId);
    const { live } = await changeGenerations(table, thread, ({ given }) => ({ live: given + 1, given: given + 1 }));
    await blobs.removeOld(thread, { before: live, unplaced: true });
    await removeOldGenerations(table, thread, live);
    branches.forget(threadId);
  };
  const copyInto = async (
    source: string,
    { threadId, generation }: { readonly threadId: string; readonly generation: number },
    index?: IndexEntries,
  ): Promise<void> => {
    withoutLease("copied");
    for await (const branch of branches.matching(source, undefined)) {
      await collectLast(pruneDeps(source), branch, await branch.read());
      await copyNamespace({ cells, writes, index }, branch, branches.logOf(threadId, generation, branch.log.at.ns));
    }
  };

  return {
    deleteThread,
    async prune(threadIds, { strategy = "keep_latest", removal = "now" } = {}) {
      assertHeld();
      assertIds("threads", threadIds);
      if (!STRATEGIES.has(strategy))
        throw new HoldpointError(
          "invalid",
          `a thread is pruned by "delete" or "keep_latest", and not by ${JSON.stringify(strategy)}`,
        );
      for (const threadId of threadIds) {
        if (strategy === "delete") await deleteThread(threadId);
        else
          for await (const branch of branches.matching(threadId, undefined))
            await keepLatest(pruneDeps(threadId, removal === "now"), branch);
      }
    },
    async collect(threadIds) {
      for (const threadId of threadIds) {
        for await (const branch of branches.matching(threadId, undefined))
          await collectLast(pruneDeps(threadId), branch, await branch.read());
      }
    },
    async deleteForRuns(runIds, threadIds) {
      assertHeld();
      assertIds("runs", runIds);
      if (threadIds !== undefined) assertIds("threads", threadIds);
      const runs = new Set(runIds);
      for (const threadId of threadIds ?? [undefined]) {
        for await (const branch of branches.matching(threadId, undefined))
          await removeRuns(pruneDeps(branch.log.at.thread.threadId), branch, runs);
      }
    },
    copyInto: (source, target) => copyInto(source, target),
    async copyThread(source, target) {
      withoutLease("copied");
      if (source === target) throw new HoldpointError("invalid", "a thread is not copied to itself");
      const to = refOf(target);
      await assertNotEmpty(table, refOf(source));
      await assertEmpty(table, to);
      const { live, given } = await changeGenerations(table, to, (now) => ({ live: now.live, given: now.given + 1 }));
      // What an earlier copy left that did not come to its end, and now cannot.
      await removeGenerations(table, to, { from: live + 1, before: given });
      await blobs.removeOld(to, { before: given, unplaced: false });
      await copyInto(source, { threadId: target, generation: given }, firstIndexOf(options, target));
      await assertEmpty(table, to);
      await changeGenerations(table, to, (now) => {
        if (now.live === live && now.given === given) return { live: given, given };
        throw new HoldpointError("conflict", `thread ${target} was deleted or copied to meanwhile`);
      });
      branches.forget(target);
    },
  };
}

const STRATEGIES: ReadonlySet<string> = new Set<PruneStrategy>(["delete", "keep_latest"]);

/** A text is a list of characters as well: whoever forgets the brackets deletes nobody else's. */
function assertIds(what: string, ids: unknown): void {
  if (Array.isArray(ids) && ids.every((id) => typeof id === "string")) return;
  throw new HoldpointError("invalid", `${what} are given as an array of their ids`);
}

async function assertNotEmpty(table: Table, thread: ThreadRef): Promise<void> {
  for await (const _ of namespacesOf(table, thread, await readGeneration(table, thread))) return;
  throw new HoldpointError("not_found", `thread ${thread.threadId} has no checkpoints`);
}

async function assertEmpty(table: Table, thread: ThreadRef): Promise<void> {
  for await (const _ of namespacesOf(table, thread, await readGeneration(table, thread)))
    throw new HoldpointError("conflict", `thread ${thread.threadId} has checkpoints already`);
}

/** Removes what the generations before this one left; may be repeated, and touches nothing of this one. @throws HoldpointError `internal` when asked to remove a live generation */
export async function removeOldGenerations(table: Table, thread: ThreadRef, generation: number): Promise<void> {
  if (generation < 1) throw new HoldpointError("internal", "the first generation has none before it");
  await removeGenerations(table, thread, { from: 0, before: generation });
}

async function removeGenerations(
  table: Table,
  thread: ThreadRef,
  { from, before }: { readonly from: number; readonly before: number },
): Promise<void> {
  const pk = threadKeys.partition(thread);
  for (const collection of COLLECTIONS) {
    // Keys of older generations sort below the first key of this one.
    const range = {
      from: `${collection}#${generationPart(from)}#`,
      to: `${collection}#${generationPart(before)}`,
      limit: BATCH,
    };
    for (;;) {
      const page = await table.query(pk, range);
      await Promise.all(page.items.map(({ sk }: Key) => table.remove({ pk, sk }, "any")));
      if (page.next === undefined) break;
    }
  }
}
