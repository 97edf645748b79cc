/**
 * What was asked and is asked no more: an earlier delivery died after it had put its holds, and the one that took over came
 * to other content, or to no question at all; or a task that was executed again, because another one's answer had come,
 * ended without asking. Nothing waits for such a hold, so none is left to look open.
 */
import { ASKED_AGAIN, assertNotLaterThan, superseded } from "../../core/hold.ts";
import type { Hold } from "../../core/hold.ts";
import { isAskedInsteadOf } from "../../core/review-value.ts";
import type { Run } from "../../core/run.ts";
import { auditHold } from "../audit/audit-hold.ts";
import type { Deps } from "../deps.ts";
import { tellOfDecision } from "../webhooks/announce.ts";

/**
 * Supersedes the undecided holds of the thread that are not among `raised`, which is all that waits at its head, and those of
 * the interrupts that were raised again with other content: also decided and applied ones, since a decision on what was
 * shown before answers nothing of what is shown now.
 * @throws HoldpointError `lost` when a later holder than that of `fence` has one of them
 */
export async function supersedeStale(deps: Deps, run: Run, fence: number, raised: readonly Hold[]): Promise<void> {
  // The first delivery of a run with input finds nothing of its own.
  if (run.deliveries === 0 && run.kind !== "continuation") return;
  const now = new Set(raised.map(({ holdId }) => holdId));
  const again = new Set(raised.map(({ interruptId }) => interruptId));
  const isStale = (hold: Hold): boolean => {
    const { state, holdId, interruptId } = hold;
    if (now.has(holdId)) return false;
    // An earlier delivery had taken the answer, and died before what it made of it was stored.
    if (state === "applied") return raised.some((asked) => isAskedInsteadOf(asked, hold));
    return state === "pending" || (state === "decided" && again.has(interruptId));
  };
  const holds = await deps.holds.ofThread(run, run.generation);
  for (const { value } of holds.filter((stored) => isStale(stored.value)))
    await supersede(deps, value, { isStale, fence });
}

interface By {
  readonly isStale: (hold: Hold) => boolean;
  readonly fence: number;
}

async function supersede(deps: Deps, known: Hold, { isStale, fence }: By): Promise<void> {
  for (let hold = known; isStale(hold);) {
    // Nothing finds what was decided once it is set aside.
    if (hold.state === "decided") await Promise.all([tellOfDecision(deps, hold), auditHold(deps, hold)]);
    const recorded = hold.decision?.id;
    const after = await deps.holds.update(hold, hold.holdId, (now) => {
      if (!isStale(now) || now.decision?.id !== recorded) return undefined;
      assertNotLaterThan(fence, now);
      const reason = recorded === undefined ? "asked again with other content, or no more" : ASKED_AGAIN;
      // Nobody before this holder may raise it anew.
      return { ...superseded(now, reason, deps.table.now()), handedTo: fence };
    });
    if (!after) return;
    hold = after.value;
  }
}
