import { shortened } from "./errors.ts";
import type { ErrorInfo } from "./errors.ts";
import type { HoldId, RunId, TenantId, ThreadId } from "./ids.ts";
import type { Json, JsonObject } from "./json.ts";
import { addedRetries } from "./node-retries.ts";
import type { NodeRetries } from "./node-retries.ts";

/** A run's status; ARCHITECTURE.md says what each means and how the wire calls it. */
export type RunStatus =
  | "pending"
  | "running"
  | "waiting"
  | "success"
  | "held"
  | "error"
  | "timeout"
  | "cancelled"
  | "parked"
  | "refused";

/** A continuation carries decisions on into a held thread; every other run brings input of its own. */
export type RunKind = "input" | "continuation";

const UNFINISHED: ReadonlySet<RunStatus> = new Set(["pending", "running", "waiting"]);

/** True once the run will never be executed again: the queue moves past it. */
export function isEnded(status: RunStatus): boolean {
  return !UNFINISHED.has(status);
}

/** What a run was asked to do, as it was parsed from the request. Written once; kept apart from the run when long. */
export interface RunPayload {
  /** Absent: continue from the checkpoint. `{}` is an input of its own and never stands for absent. */
  readonly input?: Json;
  readonly command?: RunCommand;
  readonly config?: RunConfig;
  readonly context?: JsonObject;
  readonly checkpoint?: CheckpointSelector;
  readonly metadata?: JsonObject;
  readonly interruptBefore?: "*" | readonly string[];
  readonly interruptAfter?: "*" | readonly string[];
  /** The request headers that graphs may see (`x-*` and the user agent, never credentials). */
  readonly headers?: Readonly<Record<string, string>>;
}

/** How a run is to be treated: the small part of the request, always on the run itself. */
export interface RunSettings {
  /** Empty: nobody asked to read along, so only lifecycle frames and references are logged. */
  readonly streamModes: readonly StreamMode[];
  readonly streamSubgraphs: boolean;
  readonly streamResumable: boolean;
  readonly multitaskStrategy: MultitaskStrategy;
  /** Stateless runs only: what becomes of their thread. */
  readonly onCompletion?: "delete" | "keep";
  /** Address that is told of the run's end, and of those of its continuations. */
  readonly webhook?: string;
}

export interface RunCommand {
  readonly resume?: Json;
  readonly update?: Json;
  readonly goto?: Json;
}

export interface RunConfig {
  readonly tags?: readonly string[];
  readonly recursionLimit?: number;
  readonly configurable?: JsonObject;
}

export interface CheckpointSelector {
  readonly checkpointId?: string;
  readonly checkpointNs?: string;
}

export const STREAM_MODES = ["values", "updates", "messages", "messages-tuple", "custom", "events"] as const;
export type StreamMode = (typeof STREAM_MODES)[number];
export const MULTITASK_STRATEGIES = ["enqueue", "reject", "interrupt", "rollback"] as const;
export type MultitaskStrategy = (typeof MULTITASK_STRATEGIES)[number];

/** Attempts that were made of nodes which failed and are to be tried again, by task id: for the next delivery alone. */
export type Retries = Readonly<Record<string, number>>;

export interface Run {
  readonly tenant: TenantId;
  readonly threadId: ThreadId;
  readonly runId: RunId;
  readonly kind: RunKind;
  readonly status: RunStatus;
  /** The thread's generation under which it was accepted. */
  readonly generation: number;
  /** Fence of the holder that last marked or ended it; 0 before the first. */
  readonly fence: number;
  /** Which attempt at accepting it owns the answer (durability: a repeat takes the run over). */
  readonly acceptNumber: number;
  readonly deliveries: number;
  /** First run of the lineage; effects are journaled under it. */
  readonly root: RunId;
  /** The run whose holds this one continues. */
  readonly parent?: RunId;
  /** The failed run that this one tries again, as an operator said. */
  readonly replayOf?: RunId;
  readonly assistantId: string;
  readonly graphId: string;
  readonly graphVersion?: string;
  readonly pool: string;
  readonly priority: number;
  /** Who started it; a review may forbid that person to decide. */
  readonly startedBy: string;
  readonly stateless: boolean;
  readonly settings: RunSettings;
  /** Undefined when it is kept in an item of its own: see the run records. */
  readonly payload?: RunPayload;
  /**
   * Table time at which somebody must look at this run: while it is pending, whether any header names it (an accept
   * may have died in between); once a stateless run has ended, to delete its thread.
   */
  readonly followUpAt?: number;
  /** It has ended, and not everybody who wants to be told has a delivery of their own: see webhook.ts. */
  readonly hooksDue?: true;
  /** Table time before which it must not begin: until then no header names it. */
  readonly startAt?: number;
  /** With `startAt` and the strategy `rollback`: what is there then is rolled back although it has effects. */
  readonly force?: true;
  readonly cancelAsked?: CancelRequest;
  /** Its last sleep, from which it may have woken. */
  readonly sleep?: Sleep;
  readonly retries?: Retries;
  /** How often its nodes were tried again, but for deliveries that came to no end of their own. */
  readonly nodeRetries?: NodeRetries;
  /** How long it has waited for timers and callbacks, which is no part of the time that it may take. */
  readonly pausedMs?: number;
  /** Its checkpoints were hidden: as if it had never been, but for its effects. */
  readonly rolledBack?: true;
  readonly error?: ErrorInfo;
  /** Number of its first event frame, known from its first delivery on. */
  readonly firstEvent?: number;
  readonly end?: RunEnd;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly startedAt?: number;
  /** Absent where nobody records traces. */
  readonly trace?: RunTrace;
}

/** Spans that the trace of a delivery is linked to, as W3C traceparents. */
export interface RunTrace {
  /** The one in which the run was accepted. */
  readonly accepted?: string;
  /** The delivery before, of this run or of the one that it tries again. */
  readonly delivery?: string;
}

/** How a run is stopped before its end: its steps are kept, or hidden as if it had never been. */
export type StopAction = "interrupt" | "rollback";

/** What a sleeping run waits for: a node that is tried again, its graph, a worker of a later version, timers and callbacks. */
export type SleepKind = "retry" | "graph" | "format" | "hold";

/** Why a run sleeps, and since when. */
export interface Sleep {
  readonly kind: SleepKind;
  readonly reason: string;
  /** The beginning of the first of the sleeps of this kind that followed one another. */
  readonly since: number;
  readonly until: number;
  /** The timers and callbacks that it waits for: any of them wakes it. Only while it sleeps are they open. */
  readonly holds?: readonly HoldId[];
}

/** A run whose wake-up went astray, which nothing should bring about, looks for itself this long after its holds' times. */
export const LOOKS_AFTER_MS = 60_000;

/** When a sleeping run goes on, at the latest: with timers and callbacks at their time, at which it is woken. */
export const goesOnAt = ({ kind, until }: Sleep): number => (kind === "hold" ? until - LOOKS_AFTER_MS : until);

export interface CancelRequest {
  /** Absent: interrupt. */
  readonly action?: StopAction;
  /** Roll back although an effect happened. */
  readonly force?: boolean;
  readonly by: string;
  readonly at: number;
  readonly reason?: string;
  /** It ends as parked, and not as cancelled: it is to go on later, when an operator says so. */
  readonly parks?: true;
}

/** Where a run ended: what `wait` reads, whatever runs came after it. */
export interface RunEnd {
  readonly at: number;
  /** Last checkpoint of the root namespace; absent if the run never reached one. */
  readonly checkpointId?: string;
  /** The holds it ended with. Only while the run is `held` are they open. */
  readonly holds: readonly HoldId[];
  /** What waits on the thread after this run; `unchanged` when the run never got as far as looking. */
  readonly waiting: "unchanged" | { readonly reviews: number; readonly plain: number };
  /** The interrupts of those holds and static breakpoints, as LangGraph shows them. */
  readonly interrupts: readonly Json[];
}

/**
 * A run that has not begun is looked at after this long: does any header name it? In the index its row then stands far
 * behind those of leases, so that who looks for these does not read it.
 */
export const LOOKED_AT_AFTER_MS = 3_600_000;

/** A new run, as the accept writes it. */
export function pendingRun(fields: Omit<Run, "status" | "fence" | "deliveries" | "acceptNumber" | "updatedAt">): Run {
  return { ...fields, status: "pending", fence: 0, deliveries: 0, acceptNumber: 1, updatedAt: fields.createdAt };
}

/** A repeat of the accept takes the run over, so that only one of the two may answer for it. */
export function takenOver(run: Run, now: number): Run {
  return { ...run, acceptNumber: run.acceptNumber + 1, updatedAt: now };
}

export interface Delivery {
  readonly fence: number;
  readonly firstEvent: number;
  readonly graphVersion: string | undefined;
  /** Of its span. */
  readonly traceparent?: string | undefined;
}

/** The mark: the run belongs to this fence, and an earlier holder can no longer end it (I2). */
export function marked(run: Run, delivery: Delivery, now: number): Run {
  const { followUpAt: _, ...rest } = run;
  return {
    ...rest,
    status: "running",
    fence: delivery.fence,
    deliveries: run.deliveries + 1,
    firstEvent: run.firstEvent ?? delivery.firstEvent,
    ...(delivery.graphVersion === undefined ? {} : { graphVersion: delivery.graphVersion }),
    ...(delivery.traceparent === undefined ? {} : { trace: { ...run.trace, delivery: delivery.traceparent } }),
    startedAt: run.startedAt ?? now,
    ...paused(run, now),
    updatedAt: now,
  };
}

/** A continuation does, and so may whoever waits for timers and callbacks, or has. */
function mayCarryDecisions({ kind, sleep, pausedMs }: Run): boolean {
  return kind === "continuation" || sleep?.kind === "hold" || pausedMs !== undefined;
}

/** What a run that wakes now has waited for timers and callbacks. */
export function paused(run: Run, now: number): Pick<Run, "pausedMs"> {
  const waits = run.status === "waiting" && run.sleep?.kind === "hold";
  return waits ? { pausedMs: (run.pausedMs ?? 0) + Math.max(0, now - run.updatedAt) } : {};
}

export type Outcome = {
  readonly status: Extract<RunStatus, "success" | "held" | "error" | "timeout" | "cancelled" | "parked">;
  readonly error?: ErrorInfo;
  readonly end: RunEnd;
  readonly rolledBack?: true;
  /** In the delivery that ends. */
  readonly nodeRetries?: NodeRetries;
};

/** The run goes on later by itself; what its next delivery needs to know is kept on it. */
export function asleep(
  run: Run,
  fence: number,
  sleep: Omit<Sleep, "since"> & Pick<Run, "retries" | "nodeRetries">,
  now: number,
): Run {
  const { retries, nodeRetries, ...what } = sleep;
  const { followUpAt: _, ...rest } = run;
  return {
    ...rest,
    status: "waiting",
    fence,
    sleep: { ...what, since: sleepsSince(run, sleep.kind, now) },
    ...(retries === undefined ? {} : { retries }),
    ...triedAgain(run, nodeRetries),
    updatedAt: now,
  };
}

function triedAgain({ nodeRetries = {} }: Run, more: NodeRetries = {}): Pick<Run, "nodeRetries"> {
  return Object.keys(more).length === 0 ? {} : { nodeRetries: addedRetries(nodeRetries, more) };
}

/** A run that woke this long ago has found what it waited for: another sleep is a new one. */
const SAME_SLEEP_MS = 300_000;

/** Since when a run that is to sleep now has been waiting for this: reasons may differ from worker to worker. */
export function sleepsSince({ sleep }: Run, kind: SleepKind, now: number): number {
  return sleep?.kind === kind && now - sleep.until <= SAME_SLEEP_MS ? sleep.since : now;
}

/** Name of the error of a run that an operator parked. */
export const PARKED = "parked";

const parkedEnd = ({ by, reason }: CancelRequest): { readonly status: "parked"; readonly error: ErrorInfo } => ({
  status: "parked",
  error: { name: PARKED, message: reason === undefined ? `parked by ${by}` : `parked by ${by}: ${reason}` },
});

/** How a run ends that was asked to stop: what has succeeded all the same was not stopped in time to be parked. */
export function honouring(asked: CancelRequest | undefined, outcome: Outcome): Outcome {
  const { status } = outcome;
  if (asked?.parks && status === "cancelled" && !outcome.rolledBack) return { ...outcome, ...parkedEnd(asked) };
  return asked && !asked.parks && status === "success" ? { ...outcome, status: "cancelled" } : outcome;
}

/** The end of a run, written by the holder of `fence`. */
export function ended(run: Run, fence: number, outcome: Outcome): Run {
  const { error: _error, followUpAt: _followUpAt, sleep: _sleep, retries: _retries, ...rest } = run;
  return {
    ...rest,
    ...(deletesThread(run, outcome) ? { followUpAt: outcome.end.at + STATELESS_KEPT_MS } : {}),
    status: outcome.status,
    fence,
    ...(outcome.error === undefined ? {} : { error: shortened(outcome.error) }),
    ...(outcome.rolledBack === undefined ? {} : { rolledBack: outcome.rolledBack }),
    ...triedAgain(run, outcome.nodeRetries),
    end: outcome.end,
    updatedAt: outcome.end.at,
  };
}

/** The thread of a stateless run stays readable this long after the run ended. */
const STATELESS_KEPT_MS = 60_000;

/** Only after success, and so never under a hold. */
function deletesThread(run: Run, outcome: Outcome): boolean {
  return run.stateless && run.settings.onCompletion !== "keep" && outcome.status === "success";
}

/** The end of a run that never began to execute. */
export function untouchedEnd(at: number): RunEnd {
  return { at, holds: [], waiting: "unchanged", interrupts: [] };
}

/** A run that no header ever named and whose client was told so. */
export function refused(run: Run, error: ErrorInfo, now: number): Run {
  const { followUpAt: _, ...rest } = run;
  return { ...rest, status: "refused", error, end: untouchedEnd(now), updatedAt: now };
}

export type CancelResult =
  | { readonly kind: "written"; readonly run: Run }
  | { readonly kind: "already"; readonly status: RunStatus }
  | { readonly kind: "not_yet"; readonly reason: string };

/**
 * Cancels a run that has not ended: at once while it is pending or asleep, as a request to its worker once it runs. Only
 * a worker can hide what a run did, or say what came of the decisions that it carries or waits for: a sleeping one that is
 * rolled back, that is a continuation, or that waits for timers and callbacks or has done so, has to be woken. A sleeping one stays findable until its thread's header knows (I11).
 */
export function cancelled(run: Run, request: CancelRequest): CancelResult {
  const { followUpAt: _followUpAt, sleep: _sleep, ...rest } = run;
  const { at } = request;
  const stopped = request.parks ? parkedEnd(request) : ({ status: "cancelled" } as const);
  const end = { ...stopped, cancelAsked: request, end: untouchedEnd(at), updatedAt: at } as const;
  const hidden = request.action === "rollback" ? ({ rolledBack: true } as const) : {};
  switch (run.status) {
    case "pending":
      if (run.kind === "continuation") {
        return { kind: "not_yet", reason: "the run carries decisions and cannot be cancelled before it has begun" };
      }
      return { kind: "written", run: { ...rest, ...end, ...hidden } };
    case "waiting":
      if (request.action !== "rollback" && !mayCarryDecisions(run))
        return { kind: "written", run: { ...rest, ...end, followUpAt: at } };
      if (isAsked(run, request)) return { kind: "already", status: run.status };
      return { kind: "written", run: { ...run, cancelAsked: request, followUpAt: at, updatedAt: at } };
    case "running":
      if (isAsked(run, request)) return { kind: "already", status: run.status };
      return { kind: "written", run: { ...run, cancelAsked: request, updatedAt: request.at } };
    case "success":
    case "held":
    case "error":
    case "timeout":
    case "cancelled":
    case "parked":
    case "refused":
      return { kind: "already", status: run.status };
  }
}

/** Who wants it cancelled wants more than who wants it parked. */
const isAsked = ({ cancelAsked }: Run, { parks }: CancelRequest): boolean =>
  cancelAsked !== undefined && (parks === true || cancelAsked.parks !== true);
