/**
 * Firing a schedule. First one conditional write decides which due times are fired, and moves on to the next; they stay
 * on the schedule, which stays due, until each has its run (I11). A run's id follows from schedule and due time, so whoever
 * fires it, however often, it is one run.
 */
import { errorInfo, isHoldpointError } from "../../core/errors.ts";
import type { Principal } from "../../core/principal.ts";
import { isEnded } from "../../core/run.ts";
import { fired, firingIds, planned, scheduleDue } from "../../core/schedule.ts";
import type { LastFiring, Schedule } from "../../core/schedule.ts";
import type { Stored } from "../../storage/records.ts";
import type { ScheduleRecord } from "../../storage/schedules.ts";
import type { Key } from "../../storage/table.ts";
import { accept } from "../accept/accept.ts";
import type { Assistants } from "../assistants.ts";
import type { Deps } from "../deps.ts";

/** As a run that begins later, it is never refused for want of room: it waits for it. */
const AT_ONCE_MS = 1;

/** Fires what is due of the schedule at `key`. @throws HoldpointError `unavailable`; it stays due */
export async function fireDue(deps: Deps, assistants: Assistants, key: Key): Promise<void> {
  const stored = await deps.schedules.at(key);
  const dueAt = stored && scheduleDue(stored.value);
  if (!stored || dueAt === undefined || dueAt > deps.table.now()) return;
  let current: Stored<ScheduleRecord> | undefined =
    stored.value.firing.length > 0 ? stored : await decide(deps, stored);
  while (current && current.value.firing[0] !== undefined) {
    const last = await start(deps, assistants, current.value, current.value.firing[0]);
    current = await settle(deps, current, last);
  }
}

/** Undefined when somebody else was faster, or is. */
async function decide(deps: Deps, { value, version }: Stored<ScheduleRecord>) {
  const isBusy = value.overlap === "skip" && (await isRunning(deps, value));
  const next = { ...planned(value, deps.table.now(), isBusy), sealed: value.sealed };
  const written = await deps.schedules.put(next, { version });
  return written.won ? written.stored : undefined;
}

async function isRunning(deps: Deps, { tenant, last }: Schedule): Promise<boolean> {
  if (!last?.runId || !last.threadId) return false;
  const run = await deps.runs.get({ tenant, threadId: last.threadId }, last.runId);
  return run !== undefined && !isEnded(run.value.status);
}

async function start(deps: Deps, assistants: Assistants, schedule: ScheduleRecord, dueAt: number): Promise<LastFiring> {
  const named = firingIds(schedule, dueAt);
  const said = { schedule: schedule.scheduleId, dueAt: new Date(dueAt).toISOString() };
  try {
    const { payload, settings } = await deps.schedules.open(schedule);
    const run = await accept(deps, assistants, principalOf(schedule), {
      threadId: schedule.threadId ?? undefined,
      ifNotExists: "reject",
      assistantId: schedule.assistantId,
      payload,
      settings,
      afterMs: AT_ONCE_MS,
      named,
    });
    deps.log.info({ ...said, thread: run.threadId, run: run.runId }, "schedule fired");
    return { dueAt, ...named };
  } catch (error) {
    if (isHoldpointError(error, "unavailable")) throw error;
    // Its run has ended and its thread is gone: whoever died here had fired it.
    if (isHoldpointError(error, "gone")) return { dueAt, ...named };
    deps.log.warn({ ...said, err: error }, "schedule could not be fired");
    // The run before stays: it may not have ended.
    return { ...schedule.last, dueAt, skipped: errorInfo(error).message.slice(0, 512) };
  }
}

/** Accepts in the name of who made the schedule, or has changed what it sends since. */
const principalOf = ({ tenant, createdBy, changedBy = createdBy }: Schedule): Principal => ({
  tenant,
  subject: changedBy,
  roles: ["developer"],
  groups: [],
});

/** The schedule as it is then; undefined when nothing more is to be done now. */
async function settle(
  deps: Deps,
  { value, version }: Stored<ScheduleRecord>,
  last: LastFiring,
): Promise<Stored<ScheduleRecord> | undefined> {
  const settled = { ...fired(value, last, deps.table.now()), sealed: value.sealed };
  const written = await deps.schedules.put(settled, { version });
  if (written.won) return written.stored;
  // Changed meanwhile, or settled by another one: what was fired is taken off it as it is now.
  const { current } = written;
  if (!current?.value.firing.includes(last.dueAt)) return current;
  return settle(deps, current, last);
}
