/**
 * What a delivery does between its mark and the commit of its end: where to start, the graph itself, and what it
 * leaves waiting.
 */
import { addedRetries } from "../../core/node-retries.ts";
import type { NodeRetries } from "../../core/node-retries.ts";
import { isNewerFormat } from "../../core/newer-format.ts";
import type { FencedSaver } from "../../checkpoint/saver.ts";
import { HoldpointError, errorInfo, isHoldpointError } from "../../core/errors.ts";
import type { ErrorInfo } from "../../core/errors.ts";
import type { Frame } from "../../core/event.ts";
import type { Hold } from "../../core/hold.ts";
import type { HoldId } from "../../core/ids.ts";
import type { Outcome, Retries, Run, RunPayload, SleepKind } from "../../core/run.ts";
import { MAX_STRIKES } from "../../core/thread.ts";
import type { Strikes } from "../../core/thread.ts";
import type { DriveOutcome } from "../../langgraph/drive.ts";
import { graphErrorInfo } from "../../langgraph/errors.ts";
import type { RegisteredGraph } from "../../langgraph/registry.ts";
import type { Stored } from "../../storage/records.ts";
import type { Assistants } from "../assistants.ts";
import type { Delivery } from "./deliver.ts";
import type { Deps } from "../deps.ts";
import type { Engine } from "../engine.ts";
import type { EventWriter } from "../events/event-writer.ts";
import { passOnTheWay } from "../decisions/breakpoints.ts";
import { cancelPlainHolds } from "../decisions/cancel-holds.ts";
import { graphContext } from "./graph-context.ts";
import type { GraphServices } from "./graph-context.ts";
import { conclude } from "./conclude.ts";
import type { Concluded } from "./conclude.ts";
import { gaveUpWaiting, hasWaitedLongEnough, lookAgainAt, whyNotHere } from "./graph-wait.ts";
import { handOver, hasBegun, isFresh, startingPoint } from "./resume.ts";
import type { Start } from "./resume.ts";
import { withStrays } from "./strays.ts";
import { leftMs, limitsOf, timedOut, timer } from "./run-time.ts";
import type { TimedOut } from "./run-time.ts";

export interface ExecutionDeps {
  readonly deps: Deps;
  readonly engine: Engine;
  readonly assistants: Assistants;
  readonly services: GraphServices;
}

export type Mark =
  | { readonly kind: "marked"; readonly stored: Stored<Run> }
  | { readonly kind: "ended"; readonly run: Run }
  | { readonly kind: "lost" };

/** A saver that is bound to the lease and has read the head of its thread. */
export type OpenSaver = () => Promise<FencedSaver>;

export type Executed =
  | { readonly kind: "ended"; readonly outcome: Outcome }
  | { readonly kind: "stopped" }
  | { readonly kind: "asleep"; readonly sleep: SleepUntil }
  /** A decision came before this run's input: its continuation goes first. */
  | { readonly kind: "yielded" }
  | { readonly kind: "lost" };

/** Why a run goes on later by itself, and when. */
export interface SleepUntil {
  readonly kind: SleepKind;
  readonly reason: string;
  /** Table time. */
  readonly until: number;
  readonly retries?: Retries;
  /** What it waits for. */
  readonly holds?: readonly HoldId[];
}

export interface ExecutionWith {
  readonly mark: Promise<Mark>;
  readonly events: EventWriter;
  readonly openSaver: OpenSaver;
}

/** The head was not what was read, and no node has run. */
type Moved = Extract<DriveOutcome, { readonly kind: "moved" }>;

interface Behind {
  readonly payload: RunPayload;
  readonly saver: FencedSaver;
  readonly handed: readonly Hold[];
}

type Able = Behind & { readonly graph: RegisteredGraph; readonly unable?: undefined };

/** What the run comes to without executing: it was cancelled before, or its graph is not here. */
type Unable = Behind & { readonly unable: Concluded };

export class Execution {
  readonly #host: ExecutionDeps;
  readonly #delivery: Delivery;
  readonly #with: ExecutionWith;
  /** Resolves once the run item bears this delivery's mark; `lost` when another holder was there first. */
  readonly #marked: Promise<void>;
  #nodeRetries: NodeRetries = {};

  constructor(host: ExecutionDeps, delivery: Delivery, execution: ExecutionWith) {
    this.#host = host;
    this.#delivery = delivery;
    this.#with = execution;
    this.#marked = execution.mark.then(assertMarked);
    // Who loses the lease for another reason may never come to ask.
    this.#marked.catch(() => undefined);
  }

  /** Of this delivery, so far. */
  get nodeRetries(): NodeRetries {
    return this.#nodeRetries;
  }

  /** @throws HoldpointError `lost`, `unavailable`, and whatever made the log unreadable */
  async run(run: Run): Promise<Executed> {
    for (;;) {
      const executed = await this.#attempt(run);
      if (executed.kind !== "moved") return executed;
    }
  }

  async #attempt(run: Run): Promise<Executed | Moved> {
    const prepared = await this.#prepare(run);
    const { payload, saver, handed, unable } = prepared;
    if (unable) return this.#conclude(run, saver, { start: { payload, handed }, outcome: unable });
    try {
      return await this.#execute(run, prepared);
    } catch (error) {
      if (isHoldpointError(error, "lost") || isHoldpointError(error, "unavailable") || isNewerFormat(error))
        throw error;
      // Not the graph's own failure, which is an outcome; but what was handed over must be settled all the same.
      this.#host.deps.log.error(
        { thread: run.threadId, run: run.runId, err: error },
        "a delivery failed outside of its graph",
      );
      const outcome = { kind: "failed", error: errorInfo(error), parks: false } as const;
      return this.#conclude(run, saver, { start: { payload, handed }, outcome });
    }
  }

  async #execute(run: Run, { payload, saver, handed, graph }: Able): Promise<Executed | Moved> {
    const { deps } = this.#host;
    const { cancel, lease } = this.#delivery;
    const begins = await startingPoint(this.#host, { run, payload, saver, graph, handed });
    if (begins.input?.kind === "input" && lease.thread.waiting !== undefined) {
      // A run that was cancelled before it began must drop nothing.
      await this.#marked;
      const cancelling = { ...run, fence: lease.fence, by: run.startedBy, reason: "new input was sent" };
      const decided = await cancelPlainHolds(deps, cancelling);
      if (decided) return { kind: "yielded" };
    }
    const start = await this.#passing(run, { saver, start: begins });
    if (!start) return { kind: "yielded" };
    const lacks = await this.#lacks(run, { graph, saver, start });
    if (lacks) return lacks.kind === "asleep" ? lacks : this.#conclude(run, saver, { start, outcome: lacks });
    const outcome = start.input ? await this.#drive({ run, saver, graph }, start) : start.outcome;
    switch (outcome.kind) {
      case "moved":
        return outcome;
      case "lost":
        return { kind: "lost" };
      case "drained":
        return this.#stop();
      case "backoff":
        return this.#sleep({
          kind: "retry",
          reason: `a node is tried again: ${outcome.error.message}`,
          until: deps.table.now() + Math.min(outcome.delayMs, leftMs(deps, run, graph)),
          retries: outcome.retries,
        });
      case "aborted":
        return cancel.aborted ? this.#conclude(run, saver, { start, outcome }) : this.#stop();
      case "done":
      case "interrupted":
      case "failed":
      case "timeout":
        return this.#conclude(run, saver, { start, outcome });
    }
  }

  /**
   * What a run without input passes is approved by who sent it; what somebody else has claimed it stops at, as any other
   * run does. Undefined: somebody else has approved it before.
   */
  async #passing(
    run: Run,
    { saver, start }: Pick<Behind, "saver"> & { readonly start: Start },
  ): Promise<Start | undefined> {
    const { lease } = this.#delivery;
    if (start.input?.kind !== "continue" || run.kind !== "input" || lease.thread.waiting === undefined) return start;
    await this.#marked;
    const { deps } = this.#host;
    const passed = await passOnTheWay(deps, run, { fence: lease.fence, payload: start.payload, saver });
    if (passed.decided) return undefined;
    const handed = [...start.handed, ...passed.handed];
    if (!passed.claimed) return { ...start, handed };
    const outcome: DriveOutcome = { kind: "interrupted", interrupts: [passed.claimed] };
    return { payload: start.payload, handed, outcome };
  }

  /**
   * Work in flight that the graph has no nodes for: LangGraph would pass over it and end the run as a success. Looked for at
   * every delivery: the one before may have been of this version, and have done no more than wait for another.
   */
  async #lacks(
    run: Run,
    { graph, saver, start }: { readonly graph: RegisteredGraph; readonly saver: FencedSaver; readonly start: Start },
  ): Promise<
    Extract<Executed, { readonly kind: "asleep" }> | Extract<Concluded, { readonly kind: "failed" }> | undefined
  > {
    const { deps, engine } = this.#host;
    if (start.input?.kind === "input") return undefined;
    const checkpointId = start.payload.checkpoint?.checkpointId;
    const at = { graph, saver, threadId: run.threadId, ...(checkpointId === undefined ? {} : { checkpointId }) };
    const missing = await engine.missingNodes(at);
    if (missing.length === 0) return undefined;
    const reason = `graph ${run.graphId} has no node ${missing.join(", ")} any more, and work for it is in flight on the thread`;
    return hasWaitedLongEnough(deps, run)
      ? { kind: "failed", error: gaveUpWaiting(deps, reason), parks: false }
      : { kind: "asleep", sleep: { kind: "graph", reason, until: lookAgainAt(deps, run, "graph") } };
  }

  /** Everything that stands before the graph may run: the saver behind its barrier, and the decisions to hand over. */
  async #prepare(run: Run): Promise<Able | Unable> {
    const { deps } = this.#host;
    const { events, openSaver } = this.#with;
    const payload = await deps.runs.payload(run);
    const saver = await openSaver();
    const gate = Promise.all([this.#marked, events.begun()]);
    gate.catch(() => undefined);
    const fresh = isFresh(run, payload);
    const begun = hasBegun({ run, payload, saver });
    const executesFrom = begun ? undefined : payload.checkpoint?.checkpointId;
    saver.begin({
      gate,
      ...(fresh ? { newRoot: run.root } : {}),
      ...(executesFrom === undefined ? {} : { executesFrom }),
    });
    const graph = deps.graphs.get(run.graphId);
    const unable = this.#whyNot(run, graph);
    // New input is its own barrier. Anything else is decided on what was read behind one: until it has landed, an
    // earlier holder may still append.
    const isOwnBarrier = fresh && !begun && this.#delivery.first && unable === undefined;
    if (!isOwnBarrier) await saver.barrier();
    const handed = await handOver(deps, run, this.#delivery.lease.fence);
    return graph && !unable
      ? { payload, saver, handed, graph }
      : { payload, saver, handed, unable: unable ?? { kind: "aborted" } };
  }

  /** What a run comes to without being executed. */
  #whyNot(run: Run, graph: RegisteredGraph | undefined): Concluded | undefined {
    const { deps } = this.#host;
    const { strikes } = this.#delivery.lease.thread;
    if (run.cancelAsked) return { kind: "aborted" };
    if (strikes && strikes.count >= MAX_STRIKES) return { kind: "failed", error: poisonError(strikes), parks: true };
    const lacking = whyNotHere(deps, run);
    if (!graph || lacking !== undefined)
      return { kind: "failed", error: gaveUpWaiting(deps, lacking ?? "no graph"), parks: false };
    return leftMs(deps, run, graph) > 0 ? undefined : timedOut(deps, graph);
  }

  async #drive(
    on: { readonly run: Run; readonly saver: FencedSaver; readonly graph: RegisteredGraph },
    start: Start,
  ): Promise<DriveOutcome | TimedOut> {
    const { deps, engine, assistants, services } = this.#host;
    const { lease, cancel, drain, abort } = this.#delivery;
    if (!start.input) return start.outcome;
    const assistant = await assistants.ofRun(on.run);
    using time = timer(deps.clock, leftMs(deps, on.run, on.graph));
    const stray = new AbortController();
    const signal = AbortSignal.any([lease.lost, cancel, abort, time.signal, stray.signal]);
    const drive = {
      ...on,
      payload: start.payload,
      input: start.input,
      limits: limitsOf(deps, on.graph),
      retries: on.run.retries ?? {},
      retried: (node: string) => {
        this.#nodeRetries = addedRetries(this.#nodeRetries, { [node]: 1 });
      },
      assistant: { config: assistant.config, context: assistant.context },
      store: deps.stores(on.run.tenant),
      telemetry: deps.telemetry,
      context: graphContext(deps, { run: on.run, saver: on.saver, lease, signal, services }),
      signal,
      drain,
      emit: (frame: Frame) => this.#with.events.emit(frame),
    };
    const fail = (error: unknown): void => stray.abort(error);
    const outcome = await withStrays({ runId: on.run.runId, fail }, () => engine.drive(drive));
    if (outcome.kind === "aborted" && stray.signal.aborted) return strayed(stray.signal.reason);
    const isTimeout = outcome.kind === "aborted" && time.signal.aborted && !cancel.aborted && !abort.aborted;
    return isTimeout ? timedOut(deps, on.graph) : outcome;
  }

  #conclude(
    run: Run,
    saver: FencedSaver,
    { start, outcome }: { readonly start: Pick<Start, "payload" | "handed">; readonly outcome: Concluded },
  ): Promise<Executed> {
    return conclude(this.#host.deps, {
      run,
      saver,
      delivery: this.#delivery,
      events: this.#with.events,
      marked: this.#marked,
      payload: start.payload,
      handed: start.handed,
      outcome,
    });
  }

  async #sleep(sleep: SleepUntil): Promise<Executed> {
    await this.#with.events.flush();
    return { kind: "asleep", sleep };
  }

  async #stop(): Promise<Executed> {
    if (this.#delivery.lease.lost.aborted) return { kind: "lost" };
    await this.#with.events.flush();
    return { kind: "stopped" };
  }
}

function strayed(thrown: unknown): Extract<Concluded, { readonly kind: "failed" }> {
  const { name, message } = graphErrorInfo(thrown);
  return { kind: "failed", error: { name, message: `thrown outside of any promise: ${message}` }, parks: false };
}

function assertMarked(mark: Mark): void {
  if (mark.kind !== "marked") throw new HoldpointError("lost", "another holder marked the run");
}

function poisonError({ count, owner, head }: Strikes): ErrorInfo {
  const at = head === undefined ? "before its first checkpoint" : `at checkpoint ${head}`;
  const message = `${count} deliveries in a row ended with their worker, or with its lease, and without a new checkpoint, ${at}; the last worker was ${owner}`;
  return { name: "poison", message };
}
