/** When something is to be done about an undecided hold by itself. Times are of the table; see `hold-time.ts`. */
import type { JsonObject } from "./json.ts";

/** The answer that a review gets when nobody has given one in time. */
export type OnExpiry = "reject" | "approve";

/** How often a review that nobody decides is called to mind. */
export interface Reminders {
  readonly everyMs: number;
  readonly nextAt: number;
  readonly sent: number;
}

export interface Escalation {
  readonly at: number;
  /** Who may decide from then on, besides those who could before. */
  readonly groups: readonly string[];
  /** Whether it has happened. */
  readonly done?: true;
}

export interface HoldTimes {
  /** A timer fires then, a callback is given up, a review expires. */
  readonly settlesAt?: number;
  /** Policies may approve the review: what they make of it is still to be found out. */
  readonly policyAt?: number;
  /** Of a review; it is rejected unless this says otherwise. */
  readonly onExpiry?: OnExpiry;
  readonly escalation?: Escalation;
  readonly reminders?: Reminders;
  /** How often it has settled by itself and come back, because the run that was to carry that on failed. */
  readonly returned?: number;
}

const AGAIN_MS = { least: 1_000, most: 3_600_000 } as const;

/**
 * The times of a hold whose answer came back: the run that was to carry it on failed, and may fail again, so that time
 * has its say later and later, and policies have none any more.
 */
export function timesAgain(before: HoldTimes, now: number): HoldTimes {
  const { policyAt: _, ...times } = before;
  const returned = (times.returned ?? 0) + 1;
  const pause = Math.min(AGAIN_MS.most, AGAIN_MS.least * 2 ** returned);
  const { settlesAt } = times;
  return { ...times, returned, ...(settlesAt === undefined ? {} : { settlesAt: Math.max(settlesAt, now + pause) }) };
}

/** What the times of a review are, as its author asked for them, from when it was raised on. */
export interface ReviewTimes {
  readonly dueInMs?: number;
  readonly onExpiry?: OnExpiry;
  readonly escalateAfterMs?: number;
  readonly escalateTo?: readonly string[];
  readonly remindEveryMs?: number;
}

/** Undefined for a review that waits for ever. */
export function timesOf(asked: ReviewTimes, raisedAt: number): HoldTimes | undefined {
  const { dueInMs, onExpiry, escalateAfterMs, escalateTo, remindEveryMs } = asked;
  const times: HoldTimes = {
    ...(dueInMs === undefined ? {} : { settlesAt: raisedAt + dueInMs, onExpiry: onExpiry ?? "reject" }),
    ...(escalateAfterMs === undefined
      ? {}
      : { escalation: { at: raisedAt + escalateAfterMs, groups: escalateTo ?? [] } }),
    ...(remindEveryMs === undefined
      ? {}
      : { reminders: { everyMs: remindEveryMs, nextAt: raisedAt + remindEveryMs, sent: 0 } }),
  };
  return Object.keys(times).length === 0 ? undefined : times;
}

/** The times of a review in the value of its interrupt. */
export function reviewTimesValue(asked: ReviewTimes): JsonObject {
  const { dueInMs, onExpiry, escalateAfterMs, escalateTo, remindEveryMs } = asked;
  return {
    ...(dueInMs === undefined ? {} : { due_in_ms: dueInMs }),
    ...(onExpiry === undefined ? {} : { on_expiry: onExpiry }),
    ...(escalateAfterMs === undefined ? {} : { escalate_after_ms: escalateAfterMs }),
    ...(escalateTo === undefined ? {} : { escalate_to: escalateTo }),
    ...(remindEveryMs === undefined ? {} : { remind_every_ms: remindEveryMs }),
  };
}

/** Reads what `reviewTimesValue` made. */
export function reviewTimesOf(value: JsonObject): ReviewTimes {
  const onExpiry = value["on_expiry"];
  const escalateTo = value["escalate_to"];
  return {
    ...ms("dueInMs", value["due_in_ms"]),
    ...(onExpiry === "approve" || onExpiry === "reject" ? { onExpiry } : {}),
    ...ms("escalateAfterMs", value["escalate_after_ms"]),
    ...(Array.isArray(escalateTo) ? { escalateTo: escalateTo.filter((group) => typeof group === "string") } : {}),
    ...ms("remindEveryMs", value["remind_every_ms"]),
  };
}

const ms = <K extends keyof ReviewTimes>(name: K, value: unknown): Pick<ReviewTimes, K> | object =>
  typeof value === "number" && value >= 0 ? { [name]: value } : {};
