/** Runs, threads, assistants and states as the LangGraph API shows them. */
import type { Json, JsonObject } from "../../core/json.ts";
import { goesOnAt } from "../../core/run.ts";
import type { Run, RunConfig, RunPayload } from "../../core/run.ts";
import { expiryOf, threadStatus } from "../../core/thread.ts";
import { wireStatus } from "../../core/wire-status.ts";
import type { WaitingFor } from "../../core/waiting-for.ts";
import type { Assistant, ThreadView } from "../../runtime/runtime.ts";
import { present } from "../parse.ts";
import type { ShownState } from "../../langgraph/views.ts";

/** `own`: what is only known where one run is asked for. */
export function runObject(run: Run, payload: RunPayload, own?: { readonly waits: WaitingFor | undefined }): JsonObject {
  return {
    run_id: run.runId,
    thread_id: run.threadId,
    assistant_id: run.assistantId,
    created_at: isoTime(run.createdAt),
    updated_at: isoTime(run.updatedAt),
    status: wireStatus(run.status),
    metadata: payload.metadata ?? {},
    kwargs: kwargs(run, payload),
    multitask_strategy: run.settings.multitaskStrategy,
    ...(run.cancelAsked?.reason === undefined ? {} : { cancel_reason: run.cancelAsked.reason }),
    holdpoint: { ...ownObject(run), ...(own ? { waits: waitsObject(own.waits) } : {}) },
  };
}

/** What LangGraph's run object has no word for: our own status, why a run sleeps, and why it failed. */
function ownObject({ status, sleep, error, deliveries }: Run): JsonObject {
  return {
    status,
    deliveries,
    sleep: sleep ? { reason: sleep.reason, since: isoTime(sleep.since), until: isoTime(goesOnAt(sleep)) } : null,
    error: error ? { name: error.name, message: error.message } : null,
  };
}

const waitsObject = (waits: WaitingFor | undefined): JsonObject | null =>
  waits ? { reason: waits.reason, since: isoTime(waits.since) } : null;

function kwargs({ settings, stateless }: Run, payload: RunPayload): JsonObject {
  return {
    input: payload.input ?? null,
    command: payload.command ? { ...payload.command } : null,
    config: payload.config ? configObject(payload.config) : {},
    context: payload.context ?? {},
    stream_mode: settings.streamModes,
    interrupt_before: payload.interruptBefore ?? null,
    interrupt_after: payload.interruptAfter ?? null,
    webhook: settings.webhook ?? null,
    feedback_keys: null,
    temporary: stateless && settings.onCompletion !== "keep",
    subgraphs: settings.streamSubgraphs,
    resumable: settings.streamResumable,
  };
}

function configObject({ tags, recursionLimit, configurable }: RunConfig): JsonObject {
  return present({ tags, recursion_limit: recursionLimit, configurable });
}

export function assistantObject(assistant: Assistant): JsonObject {
  return {
    assistant_id: assistant.assistantId,
    graph_id: assistant.graphId,
    config: assistant.config,
    context: assistant.context,
    metadata: assistant.metadata,
    version: assistant.version,
    name: assistant.name,
    description: assistant.description,
    created_at: isoTime(assistant.createdAt),
    updated_at: isoTime(assistant.updatedAt),
  };
}

/** How long the thread lives; null for one that is kept for ever, or will be as long as it is. */
export function ttlObject({ thread }: ThreadView): JsonObject | null {
  const { ttl } = thread;
  if (ttl === undefined) return null;
  const at = ttl.done ? undefined : expiryOf(thread);
  return { strategy: ttl.strategy, ttl_minutes: ttl.ms / 60_000, expires_at: at === undefined ? null : isoTime(at) };
}

export function threadObject({ thread, metadata, values, interrupts, unreadable }: ThreadView): JsonObject {
  return {
    thread_id: thread.threadId,
    created_at: isoTime(thread.createdAt),
    updated_at: isoTime(thread.updatedAt),
    state_updated_at: isoTime(thread.updatedAt),
    metadata,
    status: threadStatus(thread),
    config: {},
    values,
    interrupts,
    ...(unreadable ? { error: { ...unreadable } } : {}),
  };
}

/** A thread that never ran has neither metadata nor interrupts of a checkpoint to show. */
export function stateObject(view: ShownState): JsonObject {
  const { values, next, tasks, createdAt, checkpoint, parentCheckpoint } = view;
  const common = { values, next, tasks, created_at: createdAt, checkpoint, parent_checkpoint: parentCheckpoint };
  return checkpoint === null ? common : { ...common, metadata: view.metadata, interrupts: view.interrupts };
}

const VALUES_KEY = "values.";

/** Only the selected parts of a state: its fields, or single keys of its values as `values.<key>`. */
export function selectedState(select: readonly string[] | undefined, state: JsonObject): JsonObject {
  if (!select) return state;
  const fields = Object.entries(state).filter(([field]) => select.includes(field));
  const keys = select.filter((one) => one.startsWith(VALUES_KEY)).map((one) => one.slice(VALUES_KEY.length));
  if (keys.length === 0 || select.includes("values")) return Object.fromEntries(fields);
  const values = state["values"];
  const picked = isObject(values) ? Object.entries(values).filter(([key]) => keys.includes(key)) : [];
  return { values: Object.fromEntries(picked), ...Object.fromEntries(fields) };
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
