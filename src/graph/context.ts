/**
 * What the runtime hands to graph code during one delivery, under `configurable.__holdpoint` (LangGraph keeps keys
 * that begin with `__` out of metadata), and how the kit's functions reach it.
 */
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import type { Clock } from "../core/clock.ts";
import type { EffectEntry, EffectOutcome, EffectPolicy, ParkedEffect, PathPart } from "../core/effect.ts";
import { HoldpointError } from "../core/errors.ts";
import type { RunId, TenantId, ThreadId } from "../core/ids.ts";
import type { Services } from "./services.ts";

/** The configuration that LangGraph passes to a node or a tool as its second argument. */
export type NodeConfig = LangGraphRunnableConfig;

export interface GraphContext {
  readonly tenant: TenantId;
  readonly run: { readonly runId: RunId; readonly root: RunId; readonly threadId: ThreadId };
  readonly whereabouts: Whereabouts;
  readonly journal: Journal;
  /** Table time until which nobody else may hold the thread, as far as this delivery can know. */
  deadline(): number;
  /** Table time. */
  now(): number;
  readonly clock: Clock;
  /** Aborted when the run was cancelled or its lease is lost. */
  readonly signal: AbortSignal;
  readonly services: Services;
  /** Effects that are under way, by token: whoever asks for the same one waits for the same result. */
  readonly calls: Map<string, EffectUnderWay>;
  /** Why the run had to stop: see stop.ts. */
  stopped?: HoldpointError | undefined;
}

export interface EffectUnderWay {
  readonly argsDigest: string;
  readonly outcome: Promise<EffectOutcome>;
}

/** Where the saver has seen the running code. */
export interface Whereabouts {
  /** Waits for a record that is still being written. */
  record(ns: string, checkpointId: string): Promise<{ readonly visits: Readonly<Record<string, number>> }>;
  /** Undefined for a namespace that was never loaded through the saver. */
  pathOf(ns: string): TaskPlace | undefined;
  firstOf(taskNs: string, ns: string): number;
  recompute(task: {
    readonly prefix: string;
    readonly checkpointId: string;
    readonly segment: string;
  }): Promise<TaskPlace | undefined>;
  root(): string | undefined;
}

/** LangGraph's path of a task, and the superstep in which it runs. */
export interface TaskPlace {
  readonly path: readonly unknown[];
  readonly step: number;
}

/** An effect as the journal is asked for it. */
export interface EffectAsk {
  readonly tenant: TenantId;
  readonly runId: RunId;
  readonly threadId: ThreadId;
  readonly root: RunId;
  readonly token: string;
  readonly name: string;
  readonly policy: EffectPolicy;
  readonly irreversible?: true;
  readonly path: readonly PathPart[];
  readonly argsDigest: string;
  /** Table time after which a call under this intent is no longer sent. */
  readonly deadline: number;
}

/**
 * What is to be done about an effect. `call`: the intent stands; make the call before its deadline, then settle.
 * `look_up`: an intent stands; what nobody finds after `until`, by the table's time, did not happen.
 */
export type Begun =
  | { readonly do: "call"; readonly intent: Intent }
  | { readonly do: "look_up"; readonly intent: Intent; readonly until: number }
  | { readonly do: "return"; readonly outcome: EffectOutcome }
  | { readonly do: "diverged" }
  | { readonly do: "ambiguous" }
  | { readonly do: "lost" };

/** An intent that stands in the journal, as the settling of it needs to know it. */
export interface Intent {
  readonly ask: EffectAsk;
  readonly entry: EffectEntry;
  readonly version: number;
}

/** Why a run is parked at an effect, for who has to say what became of it. */
export type ParkAsk = Pick<ParkedEffect, "reason" | "message">;

/** `again`: its outcome is known by now, or an operator has cleared it. */
export type Parked = { readonly do: "parked" } | { readonly do: "again" } | { readonly do: "lost" };

/** The effect journal (I5): an intent before the call, its outcome after it. Each throws HoldpointError `unavailable`. */
export interface Journal {
  /** `unhappened`: the version of an intent that was looked up in time, and that nobody has found. */
  begin(ask: EffectAsk, unhappened?: number): Promise<Begun>;
  /** The outcome that stands: the first that was recorded. `lost` when a later holder has taken the intent over. */
  settle(intent: Intent, outcome: EffectOutcome): Promise<EffectOutcome | "lost">;
  /** Makes an effect findable for operators, before its run is parked. */
  park(ask: EffectAsk, why: ParkAsk): Promise<Parked>;
}

/** The delivery in which this code runs. @throws HoldpointError `unsupported` outside of one */
export function contextOf(config: NodeConfig | undefined, what: string): GraphContext {
  const context: unknown = config?.configurable?.["__holdpoint"];
  if (isContext(context)) return context;
  throw new HoldpointError(
    "unsupported",
    `${what} works only in a graph that Holdpoint runs, with the config that its node was given`,
  );
}

// The runtime makes it, of the type above; anything else would have been put there by hand.
const isContext = (context: unknown): context is GraphContext =>
  typeof context === "object" && context !== null && "journal" in context;

/** Counts calls of one kind within the running attempt of a task, from 0. Must be asked before the first `await`. */
export function nextCall(config: NodeConfig, kind: string): number {
  const scratchpad = scratchpadOf(config);
  const attempt = config.executionInfo?.nodeAttempt ?? 1;
  // A retried node keeps its scratchpad, so the attempt is part of what is counted.
  const before = scratchpad[COUNTERS];
  const counters = before?.attempt === attempt ? before : { attempt, next: new Map<string, number>() };
  scratchpad[COUNTERS] = counters;
  const number = counters.next.get(kind) ?? 0;
  counters.next.set(kind, number + 1);
  return number;
}

const COUNTERS = Symbol.for("holdpoint.calls");

/** What LangGraph keeps per execution of a task. */
export interface Scratchpad {
  readonly interruptCounter: number;
  readonly resume: readonly unknown[];
  [COUNTERS]?: { readonly attempt: number; readonly next: Map<string, number> };
}

export function scratchpadOf(config: NodeConfig): Scratchpad {
  const scratchpad: unknown = config.configurable?.["__pregel_scratchpad"];
  if (isScratchpad(scratchpad)) return scratchpad;
  throw new HoldpointError("unsupported", "the config is not that of a running node");
}

const isScratchpad = (value: unknown): value is Scratchpad =>
  typeof value === "object" && value !== null && "interruptCounter" in value;
