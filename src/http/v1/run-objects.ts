/** Runs, error groups and timelines as `/v1` shows them. */
import type { EffectEntry } from "../../core/effect.ts";
import type { JsonObject } from "../../core/json.ts";
import { goesOnAt } from "../../core/run.ts";
import type { Run } from "../../core/run.ts";
import { failureOf } from "../../core/fingerprint.ts";
import type { ErrorGroup } from "../../runtime/operators/use-cases.ts";
import type { TimedHold, Timeline } from "../../runtime/operators/timeline.ts";
import { isoTime } from "../langgraph/objects.ts";

const timeOrNull = (ms: number | undefined): string | null => (ms === undefined ? null : isoTime(ms));

export function runSummary(run: Run): JsonObject {
  const { error } = run;
  return {
    run_id: run.runId,
    thread_id: run.threadId,
    root: run.root,
    parent: run.parent ?? null,
    replay_of: run.replayOf ?? null,
    status: run.status,
    graph_id: run.graphId,
    graph_version: run.graphVersion ?? null,
    assistant_id: run.assistantId,
    pool: run.pool,
    started_by: run.startedBy,
    deliveries: run.deliveries,
    error: error ? { class: error.name, message: error.message, node: error.node ?? null } : null,
    fingerprint: failureOf(run)?.fingerprint ?? null,
    created_at: isoTime(run.createdAt),
    started_at: timeOrNull(run.startedAt),
    ended_at: timeOrNull(run.end?.at),
    updated_at: isoTime(run.updatedAt),
  };
}

export function errorGroupObject(group: ErrorGroup): JsonObject {
  const { fingerprint, errorClass, node, count, firstSeen, lastSeen, graphs, versions, sample } = group;
  return {
    fingerprint,
    class: errorClass,
    node: node === "" ? null : node,
    count,
    first_seen: isoTime(firstSeen),
    last_seen: isoTime(lastSeen),
    graphs,
    versions,
    sample: sample ? { run_id: sample.run.runId, thread_id: sample.run.threadId, message: sample.error.message } : null,
  };
}

export function timelineObject(timeline: Timeline): JsonObject {
  const { run, waits, times, lineage } = timeline;
  const { sleep, cancelAsked: stop } = run;
  return {
    ...runSummary(run),
    queue_ms: times.queueMs ?? null,
    run_ms: times.runMs ?? null,
    human_wait_ms: times.humanMs,
    waits: waits ? { reason: waits.reason, since: isoTime(waits.since) } : null,
    sleep: sleep ? { reason: sleep.reason, since: isoTime(sleep.since), until: isoTime(goesOnAt(sleep)) } : null,
    stop_asked: stop ? { by: stop.by, at: isoTime(stop.at), reason: stop.reason ?? null } : null,
    retries: run.nodeRetries ?? {},
    checkpoints: timeline.steps.map(({ checkpointId, step, source, at, changed, next }) => {
      return { checkpoint_id: checkpointId, step, source, at, changed, next };
    }),
    checkpoints_truncated: timeline.truncated,
    nodes: nodesOf(timeline),
    tool_calls: timeline.toolCalls.map(({ id, name, status }) => ({ id, name, status: status ?? null })),
    holds: timeline.holds.map(holdObject),
    effects: timeline.effects.map((entry) => effectObject(run, entry)),
    lineage: lineage.map((other) => ({
      run_id: other.runId,
      kind: other.kind,
      status: other.status,
      parent: other.parent ?? null,
      replay_of: other.replayOf ?? null,
      created_at: isoTime(other.createdAt),
    })),
  };
}

/** A node takes from one checkpoint to the next; one that never came to the next is where the run stopped. */
function nodesOf({ steps, wentOnWith, run }: Timeline): readonly JsonObject[] {
  const found = run.startedAt === undefined ? [] : [{ at: isoTime(run.startedAt), next: wentOnWith }];
  const all = [...found, ...steps];
  return all.flatMap(({ at, next }, i) => {
    const until = all[i + 1]?.at;
    return next.map((node) => ({
      node,
      from: at,
      until: until ?? null,
      // A run begins by the table's clock, and a checkpoint is written by its worker's.
      ms: until === undefined ? null : Math.max(0, Date.parse(until) - Date.parse(at)),
      failed: until === undefined && run.error?.node?.split("|")[0] === node,
    }));
  });
}

function holdObject({ hold, waitMs }: TimedHold): JsonObject {
  const { threadId, holdId, node, origin, state, request, decision, raisedAt } = hold;
  return {
    review_id: `${threadId}.${holdId}`,
    node,
    origin,
    state,
    title: request?.title ?? null,
    raised_at: isoTime(raisedAt),
    decided_at: timeOrNull(decision?.at),
    decided_by: decision?.by ?? null,
    answer: decision?.answer.type ?? null,
    wait_ms: waitMs,
  };
}

/** `reused`: it happened in another run of the lineage, and this one was given its result. */
function effectObject(
  run: Run,
  { token, name, policy, runId, outcome, createdAt, updatedAt }: EffectEntry,
): JsonObject {
  return {
    token,
    name,
    policy,
    run_id: runId,
    reused: runId !== run.runId,
    outcome: outcome?.kind ?? "unknown",
    intended_at: isoTime(createdAt),
    updated_at: isoTime(updatedAt),
  };
}
