import type { ThreadId } from "../../core/ids.ts";
import type { JsonObject } from "../../core/json.ts";
import type { Principal } from "../../core/principal.ts";
import type { Schedule, ScheduledRequest } from "../../core/schedule.ts";

/** A schedule with the request that it fires. */
export interface ScheduleView {
  readonly schedule: Schedule;
  readonly request: ScheduledRequest;
}

/** What a client says of a schedule. */
type Wanted =
  | "assistantId"
  | "threadId"
  | "expression"
  | "timezone"
  | "endAt"
  | "enabled"
  | "missed"
  | "overlap"
  | "metadata";
export type NewSchedule = Pick<Schedule, Wanted> & { readonly request: ScheduledRequest };

/** Metadata is merged; everything else replaces what was there. */
export type ScheduleChange = Partial<Omit<NewSchedule, "assistantId" | "threadId">>;

export interface ScheduleFilter {
  readonly assistantId?: string;
  readonly threadId?: ThreadId;
  readonly enabled?: boolean;
  readonly metadata?: JsonObject;
}

export interface ScheduleSearch extends ScheduleFilter {
  readonly limit: number;
  readonly offset: number;
  readonly sortBy: "cron_id" | "assistant_id" | "thread_id" | "created_at" | "updated_at" | "next_run_date";
  readonly sortOrder: "asc" | "desc";
}

/** Schedules of a tenant. One that would never fire is `invalid`. */
export interface ScheduleUseCases {
  create(principal: Principal, schedule: NewSchedule): Promise<ScheduleView>;
  get(principal: Principal, id: string): Promise<ScheduleView>;
  update(principal: Principal, id: string, change: (before: ScheduleView) => ScheduleChange): Promise<ScheduleView>;
  remove(principal: Principal, id: string): Promise<void>;
  search(
    principal: Principal,
    search: ScheduleSearch,
  ): Promise<{ readonly items: readonly ScheduleView[]; readonly total: number }>;
  count(principal: Principal, filter: ScheduleFilter): Promise<number>;
}
