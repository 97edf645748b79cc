import { HoldpointError } from "../../core/errors.ts";
import type { Principal } from "../../core/principal.ts";
import { assertFires } from "../../core/schedule.ts";
import type { Schedule, ScheduledRequest } from "../../core/schedule.ts";
import { parseHookUrl } from "../../core/webhook-address.ts";
import type { Stored } from "../../storage/records.ts";
import type { ScheduleRecord } from "../../storage/schedules.ts";
import { auditChange, scheduleShown } from "../audit/audit-change.ts";
import { threadNotFound } from "../accept/accept-answer.ts";
import type { Assistants } from "../assistants.ts";
import type { Deps } from "../deps.ts";
import { contains, sorted } from "../threads/search.ts";
import type { ScheduleChange, ScheduleFilter, ScheduleSearch, ScheduleUseCases } from "./use-cases.ts";

/** A tenant's schedules beyond this number are refused. */
const MAX_SCHEDULES = 1000;
const MAX_REQUEST_BYTES = 128 * 1024;

export function createScheduleUseCases(deps: Deps, assistants: Assistants): ScheduleUseCases {
  const { schedules, table } = deps;
  const find = async ({ tenant }: Principal, id: string): Promise<Stored<ScheduleRecord>> => {
    const found = await schedules.get(tenant, id);
    if (!found) throw new HoldpointError("not_found", "Cron not found");
    return found;
  };
  const view = async (record: ScheduleRecord) => ({ schedule: record, request: await schedules.open(record) });
  const matching = async ({ tenant }: Principal, filter: ScheduleFilter): Promise<readonly ScheduleRecord[]> =>
    (await schedules.list(tenant, MAX_SCHEDULES)).filter((one) => matches(one, filter));
  return {
    async create(principal, { request, ...wanted }) {
      const { tenant } = principal;
      assertRequest(deps, request);
      const now = table.now();
      const nextAt = assertFires(wanted, now);
      const { assistantId } = await assistants.get(principal, wanted.assistantId);
      await assertThread(deps, principal, wanted.threadId);
      if ((await schedules.list(tenant, MAX_SCHEDULES)).length >= MAX_SCHEDULES)
        throw new HoldpointError("conflict", `a tenant has at most ${MAX_SCHEDULES} crons`);
      const scheduleId = deps.ids.uuid();
      const record: ScheduleRecord = {
        ...wanted,
        tenant,
        scheduleId,
        assistantId,
        createdBy: principal.subject,
        nextAt: wanted.enabled ? nextAt : null,
        firing: [],
        createdAt: now,
        updatedAt: now,
        sealed: await schedules.seal({ tenant, scheduleId }, request),
      };
      const made = { version: undefined, before: undefined, after: scheduleShown(record, request) };
      await auditChange(deps, "schedule", { by: principal, action: "create", id: scheduleId, ...made });
      await schedules.put(record, "absent");
      return { schedule: record, request };
    },
    get: async (principal, id) => view((await find(principal, id)).value),
    async update(principal, id, changeOf) {
      for (;;) {
        const { value, version } = await find(principal, id);
        const before = await view(value);
        const { request = before.request, ...change } = changeOf(before);
        assertRequest(deps, request);
        const next = { ...changed(value, change, table.now()), sealed: await schedules.seal(value, request) };
        const shown = { before: scheduleShown(value, before.request), after: scheduleShown(next, request) };
        await auditChange(deps, "schedule", { by: principal, action: "update", id, version, ...shown });
        if ((await schedules.put(next, { version })).won) return { schedule: next, request };
      }
    },
    async remove(principal, id) {
      for (;;) {
        const found = await find(principal, id);
        const gone = { version: found.version, before: scheduleShown(found.value), after: undefined };
        await auditChange(deps, "schedule", { by: principal, action: "remove", id, ...gone });
        const removed = await schedules.remove(found);
        if (removed.outcome !== "lost") return;
      }
    },
    async search(principal, search) {
      const found = await matching(principal, search);
      const inOrder = sorted([...found], {
        by: SORT_BY[search.sortBy],
        id: (one) => one.scheduleId,
        order: search.sortOrder,
      });
      const page = inOrder.slice(search.offset, search.offset + search.limit);
      return { items: await Promise.all(page.map(view)), total: found.length };
    },
    count: async (principal, filter) => (await matching(principal, filter)).length,
  };
}

/** Anything that says when it is due is counted from now: what a paused schedule left out is not made up for. */
function changed(schedule: Schedule, { metadata, ...change }: ScheduleChange, now: number): Schedule {
  const next = { ...schedule, ...change, metadata: { ...schedule.metadata, ...metadata }, updatedAt: now };
  if (!next.enabled) return { ...next, nextAt: null };
  const isNewlyTimed =
    !schedule.enabled ||
    next.expression !== schedule.expression ||
    next.timezone !== schedule.timezone ||
    next.endAt !== schedule.endAt;
  return isNewlyTimed ? { ...next, nextAt: assertFires(next, now) } : next;
}

async function assertThread(deps: Deps, { tenant }: Principal, threadId: Schedule["threadId"]): Promise<void> {
  if (threadId === null) return;
  const header = await deps.threads.get({ tenant, threadId });
  if (!header || header.value.deleted) throw threadNotFound({ threadId });
}

function assertRequest(deps: Deps, request: ScheduledRequest): void {
  const { webhook } = request.settings;
  if (webhook !== undefined) parseHookUrl(webhook, deps.settings.webhookHosts ?? []);
  if (Buffer.byteLength(JSON.stringify(request)) > MAX_REQUEST_BYTES)
    throw new HoldpointError("too_large", `what a cron is fired with is at most ${MAX_REQUEST_BYTES / 1024} KB`);
}

function matches(schedule: Schedule, { assistantId, threadId, enabled, metadata }: ScheduleFilter): boolean {
  if (assistantId !== undefined && schedule.assistantId !== assistantId) return false;
  if (threadId !== undefined && schedule.threadId !== threadId) return false;
  if (enabled !== undefined && schedule.enabled !== enabled) return false;
  return metadata === undefined || contains(schedule.metadata, metadata);
}

const SORT_BY: Readonly<Record<ScheduleSearch["sortBy"], (schedule: Schedule) => string | number>> = {
  cron_id: (one) => one.scheduleId,
  assistant_id: (one) => one.assistantId,
  thread_id: (one) => one.threadId ?? "",
  created_at: (one) => one.createdAt,
  updated_at: (one) => one.updatedAt,
  next_run_date: (one) => one.nextAt ?? Number.MAX_SAFE_INTEGER,
};
