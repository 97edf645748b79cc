/** States of a thread as the LangGraph API shows them, read through a saver that needs no lease, and the update of one. */
import type { BaseCheckpointSaver, BaseStore, CheckpointTuple } from "@langchain/langgraph-checkpoint";
import type { RunnableConfig } from "@langchain/core/runnables";
import type { StateSnapshot } from "@langchain/langgraph";
import { HoldpointError } from "../core/errors.ts";
import type { ThreadId } from "../core/ids.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { plainJson } from "../core/plain-json.ts";
import type { CheckpointSelector } from "../core/run.ts";
import { graphErrorInfo } from "./errors.ts";
import { triggeredNodes } from "./pending-work.ts";
import type { CompiledGraph, RegisteredGraph } from "./registry.ts";
import { hasDeltaChannels, shownState, visibleValues } from "./visible.ts";

/** A state of a thread. */
export interface ShownState {
  readonly values: Json;
  /** Nodes that are to run next; empty when the thread is done. */
  readonly next: readonly string[];
  readonly tasks: readonly Json[];
  readonly metadata: JsonObject;
  readonly createdAt: string | null;
  readonly checkpoint: JsonObject | null;
  readonly parentCheckpoint: JsonObject | null;
  readonly interrupts: readonly Json[];
}

/** What a view is made from. Without the graph (it is not on this machine) it is what is stored, and no more. */
export interface ViewOf {
  readonly graph: RegisteredGraph | undefined;
  readonly saver: BaseCheckpointSaver;
  readonly threadId: ThreadId;
  /** Absent: the head of the root. */
  readonly checkpoint?: CheckpointSelector;
}

/** The state of a thread that has never run. */
export const emptyState: ShownState = {
  values: {},
  next: [],
  tasks: [],
  metadata: {},
  createdAt: null,
  checkpoint: null,
  parentCheckpoint: null,
  interrupts: [],
};

/** One state, with those of its subgraphs when asked for. */
export async function stateView(of: ViewOf & { readonly subgraphs: boolean }): Promise<ShownState> {
  const config = configOf(of.threadId, of.checkpoint);
  const graph = await bound(of);
  if (graph) return shownSnapshot(await graph.getState(config, { subgraphs: of.subgraphs }));
  const tuple = await of.saver.getTuple(config);
  return tuple ? shownTuple(tuple) : emptyState;
}

export interface HistoryOf extends ViewOf {
  readonly limit: number;
  /** Checkpoint id: only what is older. */
  readonly before?: string;
  readonly metadata?: JsonObject;
}

/** States, newest first. */
export async function historyViews(of: HistoryOf): Promise<readonly ShownState[]> {
  const config = configOf(of.threadId, of.checkpoint);
  const options = {
    limit: of.limit,
    ...(of.before === undefined
      ? {}
      : { before: configOf(of.threadId, { ...of.checkpoint, checkpointId: of.before }) }),
    ...(of.metadata === undefined ? {} : { filter: { ...of.metadata } }),
  };
  const graph = await bound(of);
  const states: ShownState[] = [];
  if (graph) {
    for await (const snapshot of graph.getStateHistory(config, options)) states.push(shownSnapshot(snapshot));
    return states;
  }
  const wanted = { configurable: { checkpoint_ns: "", ...config.configurable } };
  for await (const tuple of of.saver.list(wanted, options)) states.push(shownTuple(tuple));
  return states;
}

/** The values at one checkpoint: what a `values` frame, `wait` and `join` show. `{}` when there is no such checkpoint. */
export async function valuesAt(of: ViewOf & { readonly checkpoint: CheckpointSelector }): Promise<Json> {
  const { checkpoint } = of;
  const isRoot = (checkpoint.checkpointNs ?? "") === "";
  const graph = isRoot ? await bound(of) : undefined;
  const config = configOf(of.threadId, checkpoint);
  if (graph && hasDeltaChannels(graph)) return shownState((await graph.getState(config)).values);
  const tuple = await of.saver.getTuple(config);
  return tuple ? visibleValues(tuple.checkpoint.channel_values, graph) : {};
}

/** Task id → the interrupts that it raised. */
export function interruptsView(state: Pick<ShownState, "tasks">): Readonly<Record<string, readonly Json[]>> {
  const byTask: Record<string, readonly Json[]> = {};
  for (const task of state.tasks) {
    if (!isObject(task) || typeof task["id"] !== "string" || !Array.isArray(task["interrupts"])) continue;
    const interrupts: readonly Json[] = task["interrupts"];
    if (interrupts.length > 0) byTask[task["id"]] = interrupts;
  }
  return byTask;
}

export interface UpdateOf {
  readonly graph: RegisteredGraph;
  readonly saver: BaseCheckpointSaver;
  /** For conditions on the way out of the node that the update stands for. */
  readonly store: BaseStore;
  readonly threadId: ThreadId;
  readonly values: Json | undefined;
  readonly asNode?: string;
  readonly checkpoint?: CheckpointSelector;
}

/**
 * Writes an update as a checkpoint of its own and returns that checkpoint's selector.
 * @throws HoldpointError `invalid` when the graph refuses it
 */
export async function applyUpdate({
  graph,
  saver,
  store,
  threadId,
  values,
  asNode,
  checkpoint,
}: UpdateOf): Promise<JsonObject> {
  const compiled = await graph.compiled();
  compiled.checkpointer = saver;
  compiled.store = store;
  try {
    const config = await compiled.updateState(configOf(threadId, checkpoint), values ?? null, asNode);
    return selectorOf(config) ?? {};
  } catch (error) {
    if (error instanceof HoldpointError) throw error;
    throw new HoldpointError("invalid", graphErrorInfo(error).message, { cause: error });
  }
}

async function bound({ graph, saver }: Pick<ViewOf, "graph" | "saver">): Promise<CompiledGraph | undefined> {
  const compiled = await graph?.compiled();
  if (compiled) compiled.checkpointer = saver;
  return compiled;
}

function configOf(threadId: ThreadId, checkpoint: CheckpointSelector | undefined): RunnableConfig {
  const { checkpointId, checkpointNs } = checkpoint ?? {};
  return {
    configurable: {
      thread_id: threadId,
      checkpoint_ns: checkpointNs ?? "",
      ...(checkpointId === undefined ? {} : { checkpoint_id: checkpointId }),
    },
  };
}

function shownSnapshot(snapshot: StateSnapshot): ShownState {
  if (snapshot.createdAt === undefined) return emptyState;
  return {
    values: shownState(snapshot.values),
    next: snapshot.next,
    tasks: snapshot.tasks.map(shownTask),
    metadata: shownMetadata(snapshot.metadata, snapshot.config),
    createdAt: snapshot.createdAt,
    checkpoint: selectorOf(snapshot.config),
    parentCheckpoint: selectorOf(snapshot.parentConfig),
    interrupts: snapshot.tasks.flatMap((task) => plainList(task.interrupts)),
  };
}

function shownTask(task: StateSnapshot["tasks"][number]): Json {
  const { state } = task;
  const nested = state !== undefined && "values" in state ? state : undefined;
  return plainJson({
    id: task.id,
    name: task.name,
    path: task.path ?? [],
    error: task.error ?? null,
    interrupts: task.interrupts,
    checkpoint: selectorOf(nested?.config ?? (state as RunnableConfig | undefined)),
    state: nested === undefined ? null : wireState(shownSnapshot(nested)),
    result: task.result === undefined ? null : shownState(task.result),
  });
}

/** A state in the names of the wire: those of subgraphs stand inside their tasks. */
export function wireState(state: ShownState): JsonObject {
  return {
    values: state.values,
    next: state.next,
    tasks: state.tasks,
    metadata: state.metadata,
    created_at: state.createdAt,
    checkpoint: state.checkpoint,
    parent_checkpoint: state.parentCheckpoint,
    interrupts: state.interrupts,
  };
}

/** What can be said of a checkpoint without its graph. */
function shownTuple({ checkpoint, config, metadata, parentConfig, pendingWrites }: CheckpointTuple): ShownState {
  const byTask = new Map<string, Json[]>();
  for (const [taskId, channel, value] of pendingWrites ?? []) {
    if (channel === "__interrupt__") byTask.set(taskId, [...(byTask.get(taskId) ?? []), ...plainList(value)]);
  }
  return {
    values: visibleValues(checkpoint.channel_values),
    next: triggeredNodes(checkpoint),
    tasks: [...byTask].map(([id, interrupts]) => ({
      id,
      name: "",
      path: [],
      error: null,
      interrupts,
      checkpoint: null,
      state: null,
      result: null,
    })),
    metadata: shownMetadata(metadata, config),
    createdAt: checkpoint.ts,
    checkpoint: selectorOf(config),
    parentCheckpoint: selectorOf(parentConfig),
    interrupts: [...byTask.values()].flat(),
  };
}

function selectorOf(config: RunnableConfig | undefined): JsonObject | null {
  const {
    thread_id: thread,
    checkpoint_id: id,
    checkpoint_ns: ns,
    checkpoint_map: map,
  }: Readonly<Record<string, unknown>> = config?.configurable ?? {};
  if (typeof thread !== "string") return null;
  return {
    thread_id: thread,
    checkpoint_id: typeof id === "string" ? id : null,
    checkpoint_ns: typeof ns === "string" ? ns : "",
    checkpoint_map: plainJson(map),
  };
}

/** Credentials and what LangGraph keeps for itself are never shown. A checkpoint that was copied is its new thread's. */
function shownMetadata(metadata: unknown, { configurable }: RunnableConfig): JsonObject {
  if (typeof metadata !== "object" || metadata === null) return {};
  const hidden = (key: string): boolean =>
    key.startsWith("__") || key.startsWith("langgraph_auth") || key === "counters_since_delta_snapshot";
  const shown = Object.fromEntries(Object.entries(metadata).filter(([key]) => !hidden(key)));
  const { thread_id: thread }: Readonly<Record<string, unknown>> = configurable ?? {};
  const place = "thread_id" in shown ? { thread_id: thread } : {};
  return plainJson({ ...shown, ...place }) as JsonObject; // an object comes back as one
}

function plainList(value: unknown): Json[] {
  const json = plainJson(value);
  return Array.isArray(json) ? (json as Json[]) : [json];
}

const isObject = (value: Json): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
