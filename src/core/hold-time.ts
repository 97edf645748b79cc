/**
 * What time does to an undecided hold: a timer fires, a callback is given up, a review expires, is put before others, or
 * is called to mind again. Each is one conditional write on the hold, as a decision is, so that exactly one of them wins
 * (I4). Times are of the table.
 */
import { continuationId, decided, keyedDecisionId } from "./hold.ts";
import type { Decision, Hold, HoldAnswer } from "./hold.ts";
import type { Escalation, HoldTimes, Reminders } from "./hold-times.ts";
import { outcomeValue } from "./wait-value.ts";

/** What a reviewer is called who was none. */
export const BY_TIME = "holdpoint:time";

/** When something is to be done about a hold by itself; undefined when it only waits. */
export function dueAt({ state, times }: Hold): number | undefined {
  if (state !== "pending" || times === undefined) return undefined;
  const { settlesAt, policyAt, escalation, reminders } = times;
  const at = [settlesAt, policyAt, escalation?.done ? undefined : escalation?.at, reminders?.nextAt];
  const known = at.filter((time) => time !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

/** What time does at the latest so long after it is due, while a worker is there: people and others may come first until then. */
const SETTLED_WITHIN_MS = 1_000;

/** Whether its time is over for good, though nobody was there to say so: what comes now comes too late all the same. */
export function isOverdue({ state, times }: Hold, now: number): boolean {
  return state === "pending" && (times?.settlesAt ?? Infinity) + SETTLED_WITHIN_MS < now;
}

/** What has come of a hold by now; undefined when nothing is due. What settles it goes before everything else. */
export type InTime =
  | { readonly kind: "settled"; readonly hold: Hold }
  | { readonly kind: "escalated"; readonly hold: Hold }
  | { readonly kind: "reminded"; readonly hold: Hold };

export function inTime(hold: Hold, now: number): InTime | undefined {
  const { times } = hold;
  const at = dueAt(hold);
  if (times === undefined || at === undefined || at > now) return undefined;
  const { settlesAt, escalation, reminders } = times;
  if (settlesAt !== undefined && settlesAt <= now) return { kind: "settled", hold: settledByTime(hold, times, now) };
  if (escalation && !escalation.done && escalation.at <= now)
    return { kind: "escalated", hold: escalated(hold, escalation, now) };
  return reminders && { kind: "reminded", hold: reminded(hold, reminders, now) };
}

function settledByTime({ kept, ...hold }: Hold, times: HoldTimes, now: number): Hold {
  if (kept) {
    const again = keyedDecisionId(hold.holdId, kept.by, `${kept.bodyDigest} ${times.returned ?? 0}`);
    return decided(hold, { ...kept, id: again, at: now, continuation: continuationId(hold.holdId, again) });
  }
  const id = keyedDecisionId(hold.holdId, BY_TIME, String(times.returned ?? 0));
  const decision: Decision = {
    id,
    by: BY_TIME,
    at: now,
    cause: "time",
    answer: answerOfTime(hold, times),
    continuation: continuationId(hold.holdId, id),
  };
  return decided(hold, decision);
}

function answerOfTime(hold: Hold, { onExpiry }: HoldTimes): HoldAnswer {
  switch (hold.origin) {
    case "timer":
      return { type: "value", value: outcomeValue({ kind: "fired" }) };
    case "callback":
      return { type: "value", value: outcomeValue({ kind: "timeout" }) };
    case "review":
    case "interrupt":
    case "middleware":
    case "breakpoint":
      return onExpiry === "approve" ? { type: "approve" } : { type: "reject", message: "nobody decided it in time" };
  }
}

/** Whoever put it aside did not do so for those who are asked now. */
function escalated({ snoozedUntil: _snoozed, ...hold }: Hold, escalation: Escalation, now: number): Hold {
  const groups = hold.request?.groups ?? [];
  // Whom nobody was left out of, nobody is added to.
  const widened = groups.length === 0 ? groups : [...new Set([...groups, ...escalation.groups])];
  return {
    ...hold,
    ...(hold.request === undefined ? {} : { request: { ...hold.request, groups: widened } }),
    times: { ...hold.times, escalation: { ...escalation, done: true } },
    updatedAt: now,
  };
}

/** However late it is: one reminder, and the next at its own time. */
function reminded(hold: Hold, { everyMs, nextAt, sent }: Reminders, now: number): Hold {
  const missed = Math.floor((now - nextAt) / everyMs);
  return {
    ...hold,
    times: { ...hold.times, reminders: { everyMs, nextAt: nextAt + (missed + 1) * everyMs, sent: sent + 1 } },
    updatedAt: now,
  };
}
