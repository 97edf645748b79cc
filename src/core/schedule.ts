/** Schedules: a run for each time that a cron expression names, in a time zone, exactly once. */
import { Cron } from "croner";
import { HoldpointError } from "./errors.ts";
import { namedUuid, runId, threadId } from "./ids.ts";
import type { RunId, TenantId, ThreadId } from "./ids.ts";
import { canonicalJson } from "./json.ts";
import type { JsonObject } from "./json.ts";
import type { RunPayload, RunSettings } from "./run.ts";

export const MISSED_POLICIES = ["skip", "latest", "all"] as const;
export const OVERLAP_POLICIES = ["queue", "skip"] as const;
/** Of due times that nobody was there for: none, the latest, or all of them (100 at most, the latest). */
export type MissedPolicy = (typeof MISSED_POLICIES)[number];
/** When the run before has not ended: the next one waits its turn, or is left out. Of several at once, all but the latest. */
export type OverlapPolicy = (typeof OVERLAP_POLICIES)[number];

/** What a firing asks for, and the request as it came. Sealed in the table, since it is content. */
export interface ScheduledRequest {
  readonly payload: RunPayload;
  readonly settings: RunSettings;
  readonly body: JsonObject;
}

export interface Schedule {
  readonly tenant: TenantId;
  readonly scheduleId: string;
  readonly assistantId: string;
  /** Null: a thread of its own for each run. */
  readonly threadId: ThreadId | null;
  readonly expression: string;
  /** IANA name. */
  readonly timezone: string;
  /** Milliseconds since the epoch after which nothing is due. */
  readonly endAt: number | null;
  readonly enabled: boolean;
  readonly missed: MissedPolicy;
  readonly overlap: OverlapPolicy;
  readonly metadata: JsonObject;
  readonly createdBy: string;
  /** Who changed what it sends since, and so starts its runs: they, and not its maker, may not decide under four eyes. */
  readonly changedBy?: string;
  /** The next due time; null when there is none. */
  readonly nextAt: number | null;
  /** Due times that are being fired: decided, and findable until each has its run. */
  readonly firing: readonly number[];
  readonly last?: LastFiring;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** What came of the latest due time. */
export interface LastFiring {
  readonly dueAt: number;
  readonly runId?: RunId;
  readonly threadId?: ThreadId;
  readonly skipped?: string;
}

const NAMESPACE = "9a8e3c4e-5a0b-5a55-8f4e-2a6c9f1d7b20";
/** A due time is missed when nobody comes for this long. */
const MISSED_AFTER_MS = 60_000;
const MAX_CATCH_UP = 100;
const WALKED = 150;

/** The run of one due time: whoever fires it, it is this one. */
export function firingIds(schedule: Pick<Schedule, "tenant" | "scheduleId" | "threadId">, dueAt: number) {
  const id = (what: string): string =>
    namedUuid(canonicalJson([schedule.tenant, schedule.scheduleId, dueAt, what]), NAMESPACE);
  return { runId: runId(id("run")), threadId: schedule.threadId ?? threadId(id("thread")) };
}

type When = Pick<Schedule, "expression" | "timezone" | "endAt">;

/**
 * The first due time after `after`, or null. In the hour that a clock skips, a due time moves to the first moment after
 * it; in the hour that it repeats, a fixed time is due once and one of every hour twice.
 */
export const nextDue = (when: When, after: number): number | null => dueTimes(when)(after);

function dueTimes({ expression, timezone, endAt }: When): (after: number) => number | null {
  const cron = new Cron(expression, { timezone, mode: "5-part", paused: true });
  return (after) => {
    const next = cron.nextRun(new Date(after))?.getTime();
    return next === undefined || (endAt !== null && next > endAt) ? null : next;
  };
}

/** @throws HoldpointError `invalid` for what is no expression or time zone, and for what is never due */
export function assertFires(when: When, now: number): number {
  const parts = when.expression.trim().split(/\s+/);
  if (parts.length !== 5 && !when.expression.startsWith("@"))
    throw new HoldpointError("invalid", "schedule: a cron expression has five fields: minute hour day month weekday");
  let next: number | null;
  try {
    next = nextDue(when, now);
  } catch (cause) {
    const isZone = !isTimeZone(when.timezone);
    throw new HoldpointError(
      "invalid",
      isZone ? `timezone: ${when.timezone} is no IANA time zone` : "schedule: not a cron expression",
      { cause },
    );
  }
  if (next === null) throw new HoldpointError("invalid", "schedule: it is never due before its end");
  return next;
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}

/**
 * Due times from `nextAt` until now, the latest 100. Where there are many, how far back those are is guessed from how
 * close the first ones are, and looked for further back until they are there.
 */
function dueUntil(schedule: Schedule, now: number): readonly number[] {
  const next = dueTimes(schedule);
  const first = (schedule.nextAt ?? Infinity) - 1;
  const oldest = walk(next, first, now);
  if (oldest.length < WALKED) return oldest.slice(-MAX_CATCH_UP);
  const span = (oldest.at(-1) ?? now) - first;
  for (let back = span; ; back *= 4) {
    const from = Math.max(first, now - back);
    const found = walk(next, from, now);
    if (found.length >= MAX_CATCH_UP || from === first) return found.slice(-MAX_CATCH_UP);
  }
}

/** So many at most: walking through more at once would keep everybody in this process waiting. */
function walk(next: (after: number) => number | null, from: number, now: number): readonly number[] {
  const found: number[] = [];
  let at = from < now ? next(from) : null;
  while (at !== null && at <= now && found.length < WALKED) {
    found.push(at);
    at = next(at);
  }
  return found;
}

/** Decides, at its time, what is fired and when it is due again. `isBusy`: the run before has not ended. */
export function planned(schedule: Schedule, now: number, isBusy: boolean): Schedule {
  const due = dueUntil(schedule, now);
  const wanted = byMissedPolicy(schedule.missed, due, now);
  // They would all begin now, side by side.
  const chosen = schedule.overlap === "skip" ? wanted.slice(-1) : wanted;
  const dueAt = due.at(-1);
  const isLeftOut = isBusy && schedule.overlap === "skip";
  const skipped = isLeftOut ? "the run before has not ended" : chosen.length === 0 ? "missed" : undefined;
  return {
    ...schedule,
    nextAt: nextDue(schedule, now),
    firing: [...schedule.firing, ...(isLeftOut ? [] : chosen)],
    ...(dueAt !== undefined && skipped !== undefined ? { last: { ...schedule.last, dueAt, skipped } } : {}),
    updatedAt: now,
  };
}

function byMissedPolicy(policy: MissedPolicy, due: readonly number[], now: number): readonly number[] {
  const onTime = due.filter((at) => now - at <= MISSED_AFTER_MS);
  switch (policy) {
    case "skip":
      return onTime;
    case "latest":
      return onTime.length > 0 ? onTime : due.slice(-1);
    case "all":
      return due;
  }
}

/** One due time has its run, or never will. */
export function fired(schedule: Schedule, last: LastFiring, now: number): Schedule {
  return { ...schedule, firing: schedule.firing.filter((at) => at !== last.dueAt), last, updatedAt: now };
}

/** Table time at which somebody must look at it; undefined while nothing is to come. */
export function scheduleDue(schedule: Schedule): number | undefined {
  if (schedule.firing.length > 0) return schedule.firing[0];
  return schedule.enabled && schedule.nextAt !== null ? schedule.nextAt : undefined;
}
