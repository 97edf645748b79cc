/**
 * What a delivery does between its mark and the commit of its end: where to start, the graph itself, and what it
 * leaves waiting.
 */
import type { FencedSaver } from "../checkpoint/saver.ts";
import { HoldpointError, errorInfo, isHoldpointError } from "../core/errors.ts";
import type { Frame } from "../core/event.ts";
import type { Hold } from "../core/hold.ts";
import type { Outcome, Run, RunEnd, RunPayload } from "../core/run.ts";
import type { DriveOutcome } from "../langgraph/drive.ts";
import type { RegisteredGraph } from "../langgraph/registry.ts";
import type { Stored } from "../storage/records.ts";
import type { Assistants } from "./assistants.ts";
import type { Delivery } from "./deliver.ts";
import type { Deps } from "./deps.ts";
import type { Engine } from "./engine.ts";
import type { EventWriter } from "./event-writer.ts";
import { cancelPlainHolds } from "./follow-up.ts";
import { graphContext } from "./graph-context.ts";
import type { GraphServices } from "./graph-context.ts";
import { leaveHolds, raiseHolds } from "./raise.ts";
import type { Left } from "./raise.ts";
import { handOver, startingPoint } from "./resume.ts";
import type { Start } from "./resume.ts";
import { rememberHead } from "./state-reader.ts";

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
  /** A decision came before this run's input: its continuation goes first. */
  | { readonly kind: "yielded" }
  | { readonly kind: "lost" };

export interface ExecutionWith {
  readonly mark: Promise<Mark>;
  readonly events: EventWriter;
  readonly openSaver: OpenSaver;
}

/** A delivery that came to an end of its own. */
type Concluded = Extract<DriveOutcome, { readonly kind: "done" | "interrupted" | "aborted" | "failed" }>;

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

  constructor(host: ExecutionDeps, delivery: Delivery, execution: ExecutionWith) {
    this.#host = host;
    this.#delivery = delivery;
    this.#with = execution;
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
    if (unable) return this.#conclude(run, saver, { start: { payload, handed, outcome: unable }, outcome: unable });
    try {
      return await this.#execute(run, prepared);
    } catch (error) {
      if (isHoldpointError(error, "lost") || isHoldpointError(error, "unavailable")) throw error;
      // Not the graph's own failure, which is an outcome; but what was handed over must be settled all the same.
      this.#host.deps.log.error(
        { thread: run.threadId, run: run.runId, err: error },
        "a delivery failed outside of its graph",
      );
      const outcome = { kind: "failed", error: errorInfo(error), parks: false } as const;
      return this.#conclude(run, saver, { start: { payload, handed, outcome }, outcome });
    }
  }

  async #execute(run: Run, { payload, saver, handed, graph }: Able): Promise<Executed | Moved> {
    const { deps } = this.#host;
    const { cancel, first, lease } = this.#delivery;
    const start = await startingPoint(this.#host, { run, payload, saver, graph, handed, first });
    if (start.input?.kind === "input" && lease.thread.waiting !== undefined) {
      // A run that was cancelled before it began must drop nothing.
      await this.#with.mark.then(assertMarked);
      const decided = await cancelPlainHolds(
        deps,
        { ...run, fence: lease.fence },
        { by: run.startedBy, reason: "new input was sent" },
      );
      if (decided) return { kind: "yielded" };
    }
    const outcome = start.input ? await this.#drive({ run, saver, graph }, start) : start.outcome;
    switch (outcome.kind) {
      case "moved":
        return outcome;
      case "lost":
        return { kind: "lost" };
      case "drained":
        return this.#stop();
      case "backoff":
        return this.#conclude(run, saver, { start, outcome: { kind: "failed", error: outcome.error, parks: false } });
      case "aborted":
        return cancel.aborted ? this.#conclude(run, saver, { start, outcome }) : this.#stop();
      case "done":
      case "interrupted":
      case "failed":
        return this.#conclude(run, saver, { start, outcome });
    }
  }

  /** Everything that stands before the graph may run: the saver behind its barrier, and the decisions to hand over. */
  async #prepare(run: Run): Promise<Able | Unable> {
    const { deps } = this.#host;
    const { events, mark, openSaver } = this.#with;
    const payload = await deps.runs.payload(run);
    const saver = await openSaver();
    const gate = Promise.all([mark.then(assertMarked), events.begun()]);
    gate.catch(() => undefined);
    const fresh = run.kind === "input" && payload.input !== undefined && payload.input !== null;
    const hasMovedOn = saver.head()?.runId === run.runId;
    const executesFrom = hasMovedOn ? undefined : payload.checkpoint?.checkpointId;
    saver.begin({
      gate,
      ...(fresh ? { newRoot: run.root } : {}),
      ...(executesFrom === undefined ? {} : { executesFrom }),
    });
    const graph = deps.graphs.get(run.graphId);
    const able = graph !== undefined && !run.cancelAsked;
    // New input is its own barrier. Anything else is decided on what was read behind one: until it has landed, an
    // earlier holder may still append.
    const isOwnBarrier = fresh && this.#delivery.first && able;
    if (!isOwnBarrier) await saver.barrier();
    const handed = await handOver(deps, run, this.#delivery.lease.fence);
    if (able) return { payload, saver, handed, graph };
    return { payload, saver, handed, unable: run.cancelAsked ? { kind: "aborted" } : graphMissing(deps, run) };
  }

  async #drive(
    on: { readonly run: Run; readonly saver: FencedSaver; readonly graph: RegisteredGraph },
    start: Start,
  ): Promise<DriveOutcome> {
    const { deps, engine, assistants, services } = this.#host;
    const { lease, cancel, drain, abort } = this.#delivery;
    if (!start.input) return start.outcome;
    const signal = AbortSignal.any([lease.lost, cancel, abort]);
    const assistant = await assistants.ofRun(on.run);
    return engine.drive({
      ...on,
      payload: start.payload,
      input: start.input,
      limits: { ...deps.settings.limits, ...on.graph.limits },
      retries: {},
      assistant: { config: assistant.config, context: assistant.context },
      context: graphContext(deps, { run: on.run, saver: on.saver, lease, signal, services }),
      signal,
      drain,
      emit: (frame: Frame) => this.#with.events.emit(frame),
    });
  }

  /** The run whose holds wait on the thread, if any do. */
  async #heldRun(): Promise<Run | undefined> {
    const { thread } = this.#delivery.lease;
    return thread.waiting && (await this.#host.deps.runs.get(thread, thread.waiting.runId))?.value;
  }

  /** Only saves a reading: what goes wrong here goes wrong again for who reads, and must not change how the run ended. */
  async #remember(run: Run, saver: FencedSaver): Promise<void> {
    const { deps } = this.#host;
    await rememberHead(deps, saver, run).catch((error: unknown) =>
      deps.log.debug({ thread: run.threadId, run: run.runId, err: error }, "what a run ended with is left to be read"),
    );
  }

  async #stop(): Promise<Executed> {
    if (this.#delivery.lease.lost.aborted) return { kind: "lost" };
    await this.#with.events.flush();
    return { kind: "stopped" };
  }

  async #conclude(
    run: Run,
    saver: FencedSaver,
    { start, outcome }: { readonly start: Start; readonly outcome: Concluded },
  ): Promise<Executed> {
    const { deps } = this.#host;
    const { lease } = this.#delivery;
    const { events, mark } = this.#with;
    if (saver.lost || lease.lost.aborted) return { kind: "lost" };
    await mark.then(assertMarked);
    const context = { run, saver, fence: lease.fence, handed: start.handed };
    const left: Left =
      outcome.kind === "done" || outcome.kind === "interrupted"
        ? await raiseHolds(deps, { ...context, interrupts: outcome.kind === "interrupted" ? outcome.interrupts : [] })
        : await leaveHolds(deps, {
            ...context,
            held: await this.#heldRun(),
            reason: outcome.kind === "failed" ? outcome.error.message : "it was cancelled",
          });
    if (deps.hints.isFollowed(run)) await this.#remember(run, saver);
    const ending = outcomeOf(outcome, { at: deps.table.now(), ...left, ...endsAt(run, saver, start.payload) });
    if (ending.error)
      events.emit({ kind: "data", event: "error", data: { error: ending.error.name, message: ending.error.message } });
    await events.flush();
    return { kind: "ended", outcome: ending };
  }
}

/** The checkpoint at which a run ended: the head, unless it executed from an older one and never wrote its own. */
function endsAt(run: Run, saver: FencedSaver, payload: RunPayload): Pick<RunEnd, "checkpointId"> {
  const head = saver.head();
  const checkpointId =
    head?.runId === run.runId ? head.checkpointId : (payload.checkpoint?.checkpointId ?? head?.checkpointId);
  return checkpointId === undefined ? {} : { checkpointId };
}

function assertMarked(mark: Mark): void {
  if (mark.kind !== "marked") throw new HoldpointError("lost", "another holder marked the run");
}

function outcomeOf(outcome: Concluded, end: RunEnd): Outcome {
  switch (outcome.kind) {
    case "done":
      return { status: "success", end };
    case "interrupted":
      return { status: "held", end };
    case "aborted":
      return { status: "cancelled", end };
    case "failed":
      return { status: outcome.parks ? "parked" : "error", error: outcome.error, end };
  }
}

function graphMissing(deps: Deps, run: Run): Extract<Concluded, { readonly kind: "failed" }> {
  const failure = deps.graphs.failure(run.graphId);
  const message = failure
    ? `graph ${run.graphId} could not be loaded: ${failure.error.message}`
    : `graph ${run.graphId} is not registered`;
  return { kind: "failed", error: { name: "graph_unavailable", message }, parks: false };
}
