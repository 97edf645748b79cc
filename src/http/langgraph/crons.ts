/** Crons: the schedules of the LangGraph API, with policies for missed and overlapping firings beside its own fields. */
import { z } from "zod";
import { HoldpointError } from "../../core/errors.ts";
import type { ThreadId } from "../../core/ids.ts";
import { threadId } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { MISSED_POLICIES, OVERLAP_POLICIES } from "../../core/schedule.ts";
import type { ScheduledRequest } from "../../core/schedule.ts";
import type { ScheduleChange, ScheduleUseCases, ScheduleView } from "../../runtime/schedules/use-cases.ts";
import {
  jsonObject,
  limit,
  name,
  offset,
  optional,
  parse,
  present,
  select,
  selected,
  sortOrder,
  uuid,
} from "../parse.ts";
import type { Call, Routes } from "../route.ts";
import { isoTime } from "./objects.ts";
import { setPageHeaders } from "./pages.ts";
import { threadIdOf } from "./paths.ts";
import { RUN_FIELDS, parseRunBody } from "./run-body.ts";

const CRON = "/runs/crons/:cron_id";
const SORT_BY = ["cron_id", "assistant_id", "thread_id", "created_at", "updated_at", "next_run_date"] as const;
/** Until somebody asks for other ones, a run that nobody waits for logs references to its values. */
const DEFAULT_MODES = ["values"] as const;

/** What is a cron's own; everything else is the request of a run. */
const timing = {
  schedule: z.string().min(1).max(256),
  timezone: optional(z.string().min(1).max(64)),
  end_time: z.iso.datetime({ offset: true, local: true }).nullish(),
  enabled: optional(z.boolean()),
  on_run_completed: optional(z.enum(["delete", "keep"])),
  metadata: optional(jsonObject),
  missed_policy: optional(z.enum(MISSED_POLICIES)),
  overlap_policy: optional(z.enum(OVERLAP_POLICIES)),
};
const newCron = z.object({ assistant_id: name, ...timing });
const change = z.object({ ...timing, schedule: optional(timing.schedule) });
const OWN = new Set([...Object.keys(timing), "assistant_id", "checkpoint_during"]);
/** What a firing cannot mean. */
const NOT_SCHEDULED = ["after_seconds", "command", "checkpoint", "checkpoint_id", "if_not_exists", "on_pending"];

const filter = {
  assistant_id: optional(name),
  thread_id: optional(uuid),
  metadata: optional(jsonObject),
};
const count = z.object(filter);
const search = z.object({
  ...filter,
  enabled: optional(z.boolean()),
  limit: limit(10),
  offset,
  sort_by: optional(z.enum(SORT_BY)),
  sort_order: sortOrder,
  select,
});
const path = z.object({ cron_id: uuid });
const cronIdOf = ({ request }: Call): string => parse(path, request.params, "path").cron_id;

export function addCronRoutes(routes: Routes, schedules: ScheduleUseCases): void {
  const create = async (call: Call, thread: ThreadId | null) => {
    const given = parse(newCron, call.body, "body");
    const made = await schedules.create(call.principal, {
      assistantId: given.assistant_id,
      threadId: thread,
      expression: given.schedule,
      timezone: given.timezone ?? "UTC",
      endAt: endOf(given.end_time) ?? null,
      enabled: given.enabled ?? true,
      missed: given.missed_policy ?? "latest",
      overlap: given.overlap_policy ?? "queue",
      metadata: given.metadata ?? {},
      request: requestOf(bodyOf(call.body), { thread, assistantId: given.assistant_id }),
    });
    call.response.json(cronObject(made));
  };
  routes.post("/runs/crons", "runs:write", (call) => create(call, null));
  routes.post("/threads/:thread_id/runs/crons", "runs:write", (call) => create(call, threadIdOf(call.request)));

  routes.post("/runs/crons/search", "runs:read", async ({ principal, body, response }) => {
    const wanted = parse(search, body ?? {}, "body");
    const page = await schedules.search(principal, {
      ...filterOf(wanted),
      ...present({ enabled: wanted.enabled }),
      limit: wanted.limit,
      offset: wanted.offset,
      sortBy: wanted.sort_by ?? "created_at",
      sortOrder: wanted.sort_order,
    });
    setPageHeaders(response, { offset: wanted.offset, returned: page.items.length, total: page.total });
    response.json(page.items.map((item) => selected(wanted.select, cronObject(item))));
  });
  routes.post("/runs/crons/count", "runs:read", async ({ principal, body, response }) => {
    response.json(await schedules.count(principal, filterOf(parse(count, body ?? {}, "body"))));
  });
  routes.get(CRON, "runs:read", async (call) => {
    call.response.json(cronObject(await schedules.get(call.principal, cronIdOf(call))));
  });
  routes.patch(CRON, "runs:write", async (call) => {
    const updated = await schedules.update(call.principal, cronIdOf(call), (before) => changeOf(before, call.body));
    call.response.json(cronObject(updated));
  });
  routes.delete(CRON, "runs:write", async (call) => {
    await schedules.remove(call.principal, cronIdOf(call));
    call.response.json({});
  });
}

function filterOf({ assistant_id, thread_id, metadata }: z.infer<typeof count>) {
  return present({
    assistantId: assistant_id,
    threadId: thread_id === undefined ? undefined : threadId(thread_id),
    metadata,
  });
}

/** Undefined: not said. A time without a zone is UTC. */
function endOf(text: string | null | undefined): number | null | undefined {
  if (text === undefined || text === null) return text;
  return Date.parse(/(Z|[+-]\d\d:?\d\d)$/i.test(text) ? text : `${text}Z`);
}

/**
 * The part of a body that is the request of a run. A field that nobody knows is refused: a cron with a misspelt policy
 * would fire for years as nobody meant it.
 */
function bodyOf(value: unknown): JsonObject {
  const body = parse(jsonObject, value, "body");
  const unknown = Object.keys(body).find((key) => !OWN.has(key) && !RUN_FIELDS.has(key));
  if (unknown !== undefined) throw new HoldpointError("invalid", `body.${unknown}: a cron has no such field`);
  const meant = NOT_SCHEDULED.find((key) => body[key] !== undefined && body[key] !== null);
  if (meant !== undefined) throw new HoldpointError("invalid", `body.${meant}: a cron cannot have it`);
  return Object.fromEntries(Object.entries(body).filter(([key, inner]) => !OWN.has(key) || isKept(key, inner)));
}

/** These belong to both. */
const isKept = (key: string, value: Json): boolean =>
  value !== null && (key === "metadata" || key === "on_run_completed");

interface For {
  readonly thread: ThreadId | null;
  readonly assistantId: string;
}

function requestOf(body: JsonObject, { thread, assistantId }: For): ScheduledRequest {
  const { on_run_completed: after, ...rest } = body;
  const wire = { ...rest, assistant_id: assistantId, ...(after === undefined ? {} : { on_completion: after }) };
  const context = { threadId: thread ?? undefined, defaultModes: DEFAULT_MODES, headers: {} };
  const { payload, settings } = parseRunBody(wire, context);
  return { payload, settings, body };
}

function changeOf({ schedule, request }: ScheduleView, value: unknown): ScheduleChange {
  const given = parse(change, value, "body");
  const { assistantId, threadId: thread } = schedule;
  const merged = { ...request.body, ...bodyOf(value) };
  const metadata = { ...schedule.metadata, ...given.metadata };
  return present({
    expression: given.schedule,
    timezone: given.timezone,
    endAt: endOf(given.end_time),
    enabled: given.enabled,
    missed: given.missed_policy,
    overlap: given.overlap_policy,
    metadata: given.metadata,
    request: requestOf({ ...merged, metadata }, { thread, assistantId }),
  });
}

function cronObject({ schedule, request }: ScheduleView): JsonObject {
  const { last } = schedule;
  return {
    cron_id: schedule.scheduleId,
    assistant_id: schedule.assistantId,
    thread_id: schedule.threadId,
    on_run_completed: request.settings.onCompletion ?? null,
    schedule: schedule.expression,
    timezone: schedule.timezone,
    end_time: schedule.endAt === null ? null : isoTime(schedule.endAt),
    enabled: schedule.enabled,
    next_run_date: schedule.nextAt === null ? null : isoTime(schedule.nextAt),
    payload: { ...request.body, assistant_id: schedule.assistantId },
    metadata: schedule.metadata,
    user_id: schedule.createdBy,
    created_at: isoTime(schedule.createdAt),
    updated_at: isoTime(schedule.updatedAt),
    holdpoint: {
      missed_policy: schedule.missed,
      overlap_policy: schedule.overlap,
      last: last
        ? {
            due_at: isoTime(last.dueAt),
            run_id: last.runId ?? null,
            thread_id: last.threadId ?? null,
            skipped: last.skipped ?? null,
          }
        : null,
    },
  };
}
