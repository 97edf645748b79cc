/**
 * What time does to holds: timers fire, callbacks are given up, reviews expire, are escalated and called to mind. Done by
 * whichever worker finds the hold due, by the conditional write that decisions use as well: whoever comes first stands
 * (I4).
 *
 * - Whether a hold is due is decided on the hold itself and by the table's time: an index row is a hint.
 * - A hold is only settled while it is open. Before that it stays due, and afterwards it is cancelled, so that it is not
 *   found for ever.
 * - A review that policies may approve is due from when it is raised on, by the same write that raises it, and is so until
 *   they have been asked: whoever dies in between, it is found.
 * - What was settled stays due until it is carried on (I11): see `follow-up.ts`.
 */
import { byPolicy } from "../../core/approval-policy.ts";
import { BY_TIME, dueAt, inTime, isOverdue } from "../../core/hold-time.ts";
import type { InTime } from "../../core/hold-time.ts";
import { cancelledHold } from "../../core/hold.ts";
import type { Hold } from "../../core/hold.ts";
import type { HoldId } from "../../core/ids.ts";
import type { ThreadRef } from "../../storage/keys.ts";
import type { Stored } from "../../storage/records.ts";
import type { Deps } from "../deps.ts";
import { tellInTime } from "../webhooks/announce.ts";
import { followUpSoon } from "./follow-up.ts";
import { opennessOf } from "./open.ts";

/** Does what the time has come for, if anything is. Returns false when it is too early although it is due. */
export async function settleDue(deps: Deps, ref: ThreadRef, holdId: HoldId): Promise<boolean> {
  for (;;) {
    const stored = await deps.holds.get(ref, holdId);
    const at = stored && dueAt(stored.value);
    if (!stored || at === undefined || at > deps.table.now()) return true;
    const open = await opennessOf(deps, stored.value);
    if (open.kind === "early") return false;
    const now = deps.table.now();
    if (open.kind === "over") {
      const cancelled = cancelledHold(stored.value, BY_TIME, open.why, { now, followUpDue: true });
      if (!(await deps.holds.put(cancelled, { version: stored.version })).won) continue;
      await followUpSoon(deps, cancelled);
      return true;
    }
    const came = await whatCame(deps, stored.value, now);
    if (!came) return true;
    if (came.kind === "escalated" || came.kind === "reminded")
      await tellInTime(deps, came.hold, { type: `review.${came.kind}`, at });
    const written = await deps.holds.put(came.hold, { version: stored.version });
    if (!written.won) continue;
    const what = { thread: ref.threadId, hold: holdId, origin: came.hold.origin, come: came.kind, lateMs: now - at };
    if (came.kind !== "asked") deps.log.info(what, "the time of a hold has come");
    if (came.hold.state === "decided") await followUpSoon(deps, came.hold);
    return true;
  }
}

/**
 * A hold as it is once time has had its say. Where that is overdue, since no worker is there, it is said here before
 * anybody is told so: an answer that came earlier and is still on its way then comes too late as well. Undefined when the
 * hold was removed.
 */
export async function inItsTime(deps: Deps, stored: Stored<Hold>): Promise<Stored<Hold> | undefined> {
  const { value: hold } = stored;
  if (!isOverdue(hold, deps.table.now())) return stored;
  return (await settleDue(deps, hold, hold.holdId)) ? deps.holds.get(hold, hold.holdId) : stored;
}

/** What policies say comes before everything but the end of its time; they are asked once. */
async function whatCame(
  deps: Deps,
  hold: Hold,
  now: number,
): Promise<InTime | { readonly kind: "approved" | "asked"; readonly hold: Hold } | undefined> {
  const { policyAt, settlesAt = Infinity } = hold.times ?? {};
  if (policyAt === undefined || settlesAt <= now) return inTime(hold, now);
  const asked = byPolicy(hold, await deps.policies.list(hold.tenant), now);
  return { kind: asked.state === "decided" ? "approved" : "asked", hold: asked };
}
