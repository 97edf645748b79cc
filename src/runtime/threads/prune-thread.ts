/**
 * Leaves a thread the latest checkpoint of each namespace. What hides the others is written under a lease, as an update of
 * the state is (I2): a few writes. They are removed after it, which is in nobody's way.
 */
import { FencedSaver } from "../../checkpoint/saver.ts";
import { isHoldpointError } from "../../core/errors.ts";
import { settledTtl } from "../../core/thread-changes.ts";
import { isBusy } from "../../core/thread.ts";
import type { Thread } from "../../core/thread.ts";
import type { Stored } from "../../storage/records.ts";
import type { Deps } from "../deps.ts";
import { Lease } from "../delivery/lease.ts";
import { saverParts } from "../saver-parts.ts";

/**
 * False when the thread is in use, or somebody else takes it.
 * @throws HoldpointError `conflict` while what waits there goes on from an older checkpoint
 */
export async function pruneThread(deps: Deps, header: Stored<Thread>): Promise<boolean> {
  const { tenant, threadId, generation, lease } = header.value;
  if (lease !== undefined || isBusy(header.value)) return false;
  const parts = saverParts(deps, tenant);
  if (header.value.fence > 0) {
    const claimed = await Lease.claim(deps, header, { purpose: "update" });
    if (claimed === undefined) return false;
    await using held = claimed;
    const saver = new FencedSaver({ ...parts, lease: { threadId, generation, fence: held.fence } });
    try {
      await saver.prune([threadId], { removal: "later" });
    } catch (error) {
      if (isHoldpointError(error, "lost")) return false;
      throw error;
    } finally {
      if (!saver.lost) await held.release();
    }
    await new FencedSaver({ ...parts, threadId, generation }).lifecycle.collect([threadId]);
  }
  await deps.threads.update(header.value, (thread) =>
    isUnused(thread, header.value) ? settledTtl(thread, header.value.updatedAt) : undefined,
  );
  return true;
}

/** Nothing has happened to the thread since, but that it was taken for this. */
const isUnused = (now: Thread, before: Thread): boolean =>
  now.generation === before.generation && now.fence <= before.fence + 1 && !isBusy(now) && now.lease === undefined;
