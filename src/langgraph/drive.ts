/**
 * One delivery of one run: LangGraph.js driven with a saver that is bound to the fence.
 *
 * - LangGraph is resumed only with an id map and only strictly: a bare value would go to every waiting node and be kept
 *   and delivered again to the next interrupt (I4).
 * - `durability: "sync"`: what follows a superstep begins after its checkpoint has landed.
 * - A saver that was told `lost` decides the outcome, whatever else happened (I2).
 */
import { RunControl, isGraphDrained } from "@langchain/langgraph";
import type { RunnableConfig } from "@langchain/core/runnables";
import type { BaseStore } from "@langchain/langgraph-checkpoint";
import { AsyncLocalStorageProviderSingleton } from "@langchain/core/singletons";
import type { Clock } from "../core/clock.ts";
import type { ErrorInfo, HoldpointError } from "../core/errors.ts";
import type { Frame } from "../core/event.ts";
import type { RaisedBy } from "../core/hold.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { plainJson } from "../core/plain-json.ts";
import { limitError, setByGraph } from "../core/limits.ts";
import type { RunLimits } from "../core/limits.ts";
import type { Retries, Run, RunPayload } from "../core/run.ts";
import { isNewerFormat } from "../core/newer-format.ts";
import type { FencedSaver } from "../checkpoint/saver.ts";
import { noMetrics } from "../telemetry/metrics.ts";
import type { Telemetry } from "../telemetry/open-telemetry.ts";
import { Attempts } from "./attempts.ts";
import {
  breakpointsOf,
  configurableOf,
  contextOf,
  inputMessages,
  inputOf,
  maxConcurrencyOf,
  metadataOf,
  recursionLimitOf,
  tagsOf,
} from "./drive-config.ts";
import { graphErrorInfo, stepsUsedUp } from "./errors.ts";
import { breakpointAt, hasBreakpoints } from "./breakpoints.ts";
import { EventFrames } from "./event-frames.ts";
import { Frames, libraryModes } from "./frames.ts";
import { genAiCallbacks } from "./gen-ai-callbacks.ts";
import type { Chunk } from "./frames.ts";
import type { CompiledGraph, RegisteredGraph } from "./registry.ts";
import { RunSaver } from "./run-saver.ts";
import { stepObserver } from "./step-observer.ts";
import { supervised } from "./supervise.ts";

/** What a delivery starts from. */
export type DriveInput =
  /** New input (or a command that is no resume), which begins a new lineage. */
  | { readonly kind: "input"; readonly payload: RunPayload }
  /** Decisions, by interrupt id: always a map, never a bare value. */
  | {
      readonly kind: "resume";
      readonly answers: Readonly<Record<string, Json>>;
      readonly update?: Json;
      readonly goto?: Json;
    }
  /** Go on from the checkpoint: a later delivery, or a run without input. */
  | { readonly kind: "continue" };

/** An interrupt that waits at the end of a delivery. */
export interface WaitingInterrupt {
  /** Empty for a static breakpoint. */
  readonly id: string;
  readonly value: Json;
  /** Undefined for a static breakpoint, which no task raised. */
  readonly raisedBy: RaisedBy | undefined;
  /** The node that asks, or, at a breakpoint, those that would run next. */
  readonly node: string;
}

export type DriveOutcome =
  | { readonly kind: "done" }
  | { readonly kind: "interrupted"; readonly interrupts: readonly WaitingInterrupt[] }
  /** Stopped at a superstep because it was asked to; the run is to be delivered again. */
  | { readonly kind: "drained" }
  | { readonly kind: "aborted" }
  | { readonly kind: "failed"; readonly error: ErrorInfo; readonly parks: boolean }
  /** A node is to be tried again, later than this delivery may wait. */
  | {
      readonly kind: "backoff";
      readonly delayMs: number;
      readonly retries: Retries;
      readonly error: ErrorInfo;
    }
  /** The head was not what the delivery had read, and no node has run: it is to begin again from the new head. */
  | { readonly kind: "moved" }
  /** Another holder has the thread: nothing may be recorded. */
  | { readonly kind: "lost" };

/** The bounds that hold within a delivery. `steps` is for a run, an assistant and a graph that name none. */
export type DriveLimits = Pick<RunLimits, "steps" | "nodeTimeoutMs" | "parallelTasks" | "stateBytes">;

export interface Drive {
  readonly graph: RegisteredGraph;
  readonly saver: FencedSaver;
  readonly run: Run;
  readonly payload: RunPayload;
  readonly input: DriveInput;
  readonly limits: DriveLimits;
  /** Attempts that earlier deliveries made. */
  readonly retries: Retries;
  /** Assistant's configuration and context, under the run's own. */
  readonly assistant: { readonly config: JsonObject; readonly context: JsonObject };
  /** The tenant's long-term memory, for nodes as `config.store` and `getStore()`. */
  readonly store: BaseStore;
  /** What graph code reaches through `configurable.__holdpoint`: see graph/context.ts. */
  readonly context: DeliveryContext;
  readonly telemetry: Telemetry;
  /** Hears of each node that is to be tried again, under the names of those that it runs in. */
  readonly retried: (node: string) => void;
  /** Aborts the run at once: its nodes may run on, but nothing of them is kept. */
  readonly signal: AbortSignal;
  /** Aborts when the worker wants the graph to stop at the next superstep. */
  readonly drain: AbortSignal;
  /** Receives frames in their order. What it returns is waited for: only while far too many wait to be written. */
  readonly emit: (frame: Frame) => void | Promise<void>;
}

/** The part of it that the delivery needs itself. */
export interface DeliveryContext {
  readonly clock: Clock;
  /** Why graph code had to stop: said here, so that a node which swallows the error cannot hide it. */
  readonly stopped?: HoldpointError | undefined;
}

/**
 * Executes until the graph ends, waits, fails or is stopped.
 * @throws HoldpointError `unavailable` when the table was away: the run is to be delivered again; `unsupported` when the
 *   thread holds what a newer version wrote (`isNewerFormat`): the run is to be left to a worker of that version
 */
export function drive(d: Drive): Promise<DriveOutcome> {
  // A delivery may be started from inside another graph's node (a wake-up); LangGraph would take it for a subgraph.
  return AsyncLocalStorageProviderSingleton.getInstance().run(undefined, () => deliver(d));
}

async function deliver(d: Drive): Promise<DriveOutcome> {
  const control = new RunControl();
  const onDrain = (): void => control.requestDrain("drain");
  if (d.drain.aborted) onDrain();
  d.drain.addEventListener("abort", onDrain, { once: true });
  d.saver.begin({ stateBytes: d.limits.stateBytes });
  const saver = runSaverOf(d);
  using attempts = attemptsOf(d, saver);
  let { steps } = d.limits;
  try {
    const compiled = await d.graph.compiled({ configurable: configurableOf(d), metadata: metadataOf(d) });
    const graph = supervised(compiled, attempts);
    graph.checkpointer = saver;
    steps = recursionLimitOf(d, graph);
    assertMayBegin(d, steps);
    await execute(d, graph, { control, steps, saver });
    return stopOf(d, d.context.stopped) ?? backoffOf(attempts) ?? (await settled(d, graph, saver));
  } catch (error) {
    return failure(d, error, { steps, saver, attempts });
  } finally {
    saver.close();
    d.drain.removeEventListener("abort", onDrain);
  }
}

function runSaverOf(d: Drive): RunSaver {
  const { metrics } = d.telemetry;
  const { clock } = d.context;
  const graph = d.run.graphId;
  const told = (bytes: number, ms: number): void => metrics.checkpointStored({ graph, bytes, ms });
  const observer = metrics === noMetrics ? {} : { observer: { clock, stored: told } };
  return new RunSaver(d.saver, { metadata: metadataOf(d), limits: d.limits, signal: d.signal, ...observer });
}

function attemptsOf(d: Drive, saver: RunSaver): Attempts {
  return new Attempts({
    clock: d.context.clock,
    signal: d.signal,
    drain: d.drain,
    retries: d.retries,
    nodeTimeoutMs: d.limits.nodeTimeoutMs,
    store: d.store,
    isKept: isKeptBy(d.saver),
    isFinal: (error) => error === saver.failure,
    retried: d.retried,
    observer: stepObserver(d.telemetry, d.context.clock, d.run.graphId),
    handler: genAiCallbacks(d.telemetry, d.context.clock),
  });
}

/** Whether checkpoints of a namespace go through the saver. */
const isKeptBy =
  (saver: FencedSaver) =>
  (ns: string): boolean =>
    ns === "" || saver.whereabouts.pathOf(ns) !== undefined;

/** What the saver would refuse too late, because a superstep begins while its input is being stored. */
function assertMayBegin({ saver, payload, input, limits }: Drive, steps: number): void {
  const { step = 0, inputStep } = saver.head() ?? {};
  const isFork = payload.checkpoint !== undefined;
  if (input.kind !== "input" && !isFork && inputStep !== undefined && step - inputStep > steps)
    throw stepsUsedUp(steps);
  const goto = input.kind === "resume" ? input.goto : payload.command?.goto;
  const { parallelTasks } = limits;
  if (Array.isArray(goto) && goto.length > parallelTasks)
    throw limitError("parallelTasks", `a superstep would consist of ${goto.length} tasks`, parallelTasks);
}

async function execute(
  d: Drive,
  graph: CompiledGraph,
  { control, steps, saver }: { readonly control: RunControl; readonly steps: number; readonly saver: RunSaver },
): Promise<void> {
  const { streamModes, streamSubgraphs } = d.run.settings;
  const modes = libraryModes(streamModes);
  const frames = new Frames({
    modes: streamModes,
    subgraphs: streamSubgraphs,
    inputMessages: inputMessages(d),
    updatesFirst: d.input.kind === "resume" && d.input.update !== undefined,
    isKept: isKeptBy(d.saver),
  });
  using events = streamModes.includes("events") ? new EventFrames(d.emit) : undefined;
  const context = contextOf(d);
  const { before, after } = breakpointsOf(d.payload, graph);
  const tags = tagsOf(d);
  // With `version` LangGraph names the checkpoint before each `values` chunk, but only to who also asks for subgraphs.
  const named = modes.includes("values");
  const options = {
    configurable: configurableOf(d),
    metadata: metadataOf(d),
    ...(tags.length === 0 ? {} : { tags }),
    ...(events ? { callbacks: [events] } : {}),
    ...(context === undefined ? {} : { context }),
    runId: d.run.runId,
    durability: "sync" as const,
    recursionLimit: steps,
    maxConcurrency: maxConcurrencyOf(d, graph),
    streamMode: modes,
    subgraphs: streamSubgraphs || named,
    ...(named ? { version: "v2" } : {}),
    interruptBefore: before as never, // LangGraph's types know only this graph's own node names
    interruptAfter: after as never,
    control,
    signal: d.signal,
  };
  const stream: AsyncIterable<unknown> = await graph.stream(inputOf(d), options);
  for await (const chunk of stream) {
    for (const { frame, after: awaited } of frames.take(chunkOf(chunk, options.subgraphs))) {
      if (awaited) await saver.landed(awaited.ns, awaited.checkpointId);
      await d.emit(frame);
    }
  }
}

/** LangGraph leaves the namespace out when nobody asked for subgraphs. */
function chunkOf(chunk: unknown, hasNamespace: boolean): Chunk {
  const parts: readonly unknown[] = Array.isArray(chunk) ? chunk : [];
  const [path, mode, payload] = hasNamespace ? parts : [[], ...parts];
  return [Array.isArray(path) ? path.map(String) : [], String(mode), payload];
}

/** The graph ended without an error: it is done, or it waits. */
async function settled(d: Drive, graph: CompiledGraph, saver: RunSaver): Promise<DriveOutcome> {
  const pending = saver.interrupted ? await saver.pendingInterrupts() : [];
  if (pending.length === 0 && !(await hasBreakpoints(d.payload, graph))) return { kind: "done" };
  const state = await graph.getState({ configurable: { thread_id: d.run.threadId } }, { subgraphs: true });
  if (pending.length > 0) {
    const interrupts = pending.map(({ id, value, owner }): WaitingInterrupt => ({
      id,
      value: plainJson(value),
      raisedBy: owner,
      node: nodeOf(state, owner),
    }));
    return { kind: "interrupted", interrupts };
  }
  return state.next.length === 0 ? { kind: "done" } : { kind: "interrupted", interrupts: [breakpointAt(state)] };
}

interface Tasks {
  readonly tasks: readonly { readonly id: string; readonly name: string; readonly state?: Tasks | RunnableConfig }[];
}

/** Name of the task that raised an interrupt; of a subgraph that only runs inside a node, the node's. */
function nodeOf(state: Tasks, owner: RaisedBy | undefined): string {
  if (owner === undefined) return "";
  const named = taskName(state, owner.taskId);
  if (named !== undefined) return named;
  const segment = owner.ns.split("|").findLast((part) => part.includes(":")) ?? owner.ns;
  return segment.split(":")[0] ?? "";
}

function taskName(state: Tasks, taskId: string): string | undefined {
  for (const task of state.tasks) {
    if (task.id === taskId) return task.name;
    const inner = task.state && "tasks" in task.state ? taskName(task.state, taskId) : undefined;
    if (inner !== undefined) return inner;
  }
  return undefined;
}

/** What sets the step budget where neither the settings nor the graph's entry do. */
const RECURSION_LIMIT = "recursion_limit of the run, its assistant or its graph";

interface FailureOf {
  readonly steps: number;
  readonly saver: RunSaver;
  readonly attempts: Attempts;
}

/** A node may pass on errors of our class from elsewhere: only the kit and the saver can stop a run. */
function failure(d: Drive, error: unknown, { steps, saver, attempts }: FailureOf): DriveOutcome {
  const stopped = stopOf(d, d.context.stopped ?? saver.failure);
  if (stopped) return stopped;
  if (d.signal.aborted) return { kind: "aborted" };
  if (isGraphDrained(error)) return backoffOf(attempts) ?? { kind: "drained" };
  const { nodeTimeoutMs } = d.limits;
  const setBy = steps === d.limits.steps ? setByGraph(d.graph) : { ...setByGraph(d.graph), steps: RECURSION_LIMIT };
  const node = attempts.nodeOf(error);
  const info = graphErrorInfo(error, { steps, nodeTimeoutMs, setBy });
  return { kind: "failed", error: node === undefined ? info : { ...info, node }, parks: false };
}

/** Where a node is to be tried again, its superstep is not over: what else waits there waits with it. */
function backoffOf({ backoff }: Attempts): DriveOutcome | undefined {
  return backoff && { ...backoff, kind: "backoff", error: graphErrorInfo(backoff.error) };
}

function stopOf(d: Drive, stop: HoldpointError | undefined): DriveOutcome | undefined {
  if (d.saver.lost || stop?.code === "lost") return { kind: "lost" };
  switch (stop?.code) {
    case "effect_ambiguous":
    case "effect_diverged":
      return { kind: "failed", error: graphErrorInfo(stop), parks: true };
    case "unavailable":
      if (d.signal.aborted) return { kind: "aborted" };
      throw stop;
    case "unsupported":
      if (isNewerFormat(stop)) throw stop;
      return undefined;
    case "conflict":
      return stop.detail?.["reason"] === "head_moved" ? { kind: "moved" } : undefined;
    default:
      return undefined;
  }
}
