/**
 * What a run has asked and asks no more: an earlier delivery of it died after it had put its holds, and the one that took
 * over came to other content, or to no question at all. Nobody could decide such a hold, so none is left to look open.
 */
import { assertNotLaterThan, superseded } from "../../core/hold.ts";
import type { Hold } from "../../core/hold.ts";
import type { Run } from "../../core/run.ts";
import type { Deps } from "../deps.ts";

/**
 * Supersedes the undecided holds of this run, and those of the interrupts that it raised again, that are not among `raised`.
 * @throws HoldpointError `lost` when a later holder than that of `fence` has one of them
 */
export async function supersedeStale(deps: Deps, run: Run, fence: number, raised: readonly Hold[]): Promise<void> {
  // The first delivery of a run with input finds nothing of its own.
  if (run.deliveries === 0 && run.kind !== "continuation") return;
  const now = new Set(raised.map(({ holdId }) => holdId));
  const again = new Set(raised.map(({ interruptId }) => interruptId));
  const isStale = (hold: Hold): boolean =>
    hold.state === "pending" &&
    !now.has(hold.holdId) &&
    (again.has(hold.interruptId) || (hold.runId === run.runId && hold.fence < fence));
  const holds = await deps.holds.ofThread(run, run.generation);
  for (const { value } of holds.filter((stored) => isStale(stored.value))) {
    await deps.holds.update(run, value.holdId, (hold) => {
      if (!isStale(hold)) return undefined;
      assertNotLaterThan(fence, hold);
      return superseded(hold, "asked again with other content, or no more", deps.table.now());
    });
  }
}
