/** What endpoints are told: who and what, never content. The body of a run's own webhook is that of LangGraph's servers. */
import type { Hold } from "../../core/hold.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { Run } from "../../core/run.ts";
import { wireStatus } from "../../core/wire-status.ts";

export const iso = (ms: number): string => new Date(ms).toISOString();

/** A run that has ended. */
export function runData(run: Run): JsonObject {
  const { end, error } = run;
  return {
    run_id: run.runId,
    thread_id: run.threadId,
    assistant_id: run.assistantId,
    graph_id: run.graphId,
    status: wireStatus(run.status),
    holdpoint_status: run.status,
    error: error ? { error: error.name, message: error.message } : null,
    created_at: iso(run.createdAt),
    run_started_at: run.startedAt === undefined ? null : iso(run.startedAt),
    run_ended_at: end ? iso(end.at) : null,
  };
}

/** A review, without what it shows: that is read through the API by who may. */
export function holdData(hold: Hold): JsonObject {
  const { decision } = hold;
  return {
    review_id: `${hold.threadId}.${hold.holdId}`,
    thread_id: hold.threadId,
    run_id: hold.runId,
    graph_id: hold.graphId,
    assistant_id: hold.assistantId,
    node: hold.node,
    origin: hold.origin,
    title: hold.request?.title ?? null,
    action: hold.request?.action ?? null,
    risk: hold.request?.risk ?? null,
    groups: hold.request?.groups ?? [],
    digest: hold.digest,
    raised_at: iso(hold.raisedAt),
    decision: decision ? { id: decision.id, type: decision.answer.type, by: decision.by, at: iso(decision.at) } : null,
  };
}

interface WithContent {
  readonly metadata: JsonObject;
  readonly values: Json;
  readonly now: number;
}

export function endOfRun(run: Run, { metadata, values, now }: WithContent): JsonObject {
  return {
    ...runData(run),
    updated_at: iso(run.updatedAt),
    metadata,
    multitask_strategy: run.settings.multitaskStrategy,
    webhook_sent_at: iso(now),
    values,
  };
}
