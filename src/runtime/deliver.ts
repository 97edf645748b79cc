/**
 * One delivery of one run under a lease. Order: claim (by the caller) → mark on the run item → barrier of the log →
 * execute → holds → last frames → run item (the commit) → header (by the caller).
 *
 * - No node starts before the mark and the barrier have landed. On a first delivery both are on their way together;
 *   on any later one the mark lands first, so that an earlier holder can no longer end the run on the strength of
 *   task writes that the barrier will not accept.
 * - `lost` is never recorded as a run's outcome (I2).
 */
import { FencedSaver } from "../checkpoint/saver.ts";
import { HoldpointError, errorInfo, isHoldpointError } from "../core/errors.ts";
import type { SaverOptions } from "../checkpoint/options.ts";
import type { Frame } from "../core/event.ts";
import { ended, isEnded, marked, untouchedEnd } from "../core/run.ts";
import type { Outcome, Run, RunEnd, RunPayload } from "../core/run.ts";
import type { QueueEntry } from "../core/thread.ts";
import type { DriveOutcome } from "../langgraph/drive.ts";
import type { RegisteredGraph } from "../langgraph/registry.ts";
import type { Stored } from "../storage/records.ts";
import type { Assistants } from "./assistants.ts";
import type { Deps } from "./deps.ts";
import type { Engine } from "./engine.ts";
import { EventWriter } from "./event-writer.ts";
import { cancelPlainHolds } from "./follow-up.ts";
import { graphContext } from "./graph-context.ts";
import type { GraphServices } from "./graph-context.ts";
import type { Lease } from "./lease.ts";
import { raiseHolds } from "./raise.ts";
import { settleAnswers, startingPoint } from "./resume.ts";
import type { Start } from "./resume.ts";

export interface DeliverDeps {
  readonly deps: Deps;
  readonly engine: Engine;
  readonly assistants: Assistants;
  readonly services: GraphServices;
}

export interface Delivery {
  readonly lease: Lease;
  readonly entry: QueueEntry;
  /** True exactly when this worker's own header write moved the run from the queue to active. */
  readonly first: boolean;
  /** Aborted when the run was asked to stop. */
  readonly cancel: AbortSignal;
  /** Aborted when this worker wants to stop at the next superstep. */
  readonly drain: AbortSignal;
  /** Aborted when it cannot wait for the next superstep any more. */
  readonly abort: AbortSignal;
}

export type Delivered =
  /** The run has ended; the header may move past it. Undefined when there is no such run. */
  | { readonly kind: "ended"; readonly run: Run | undefined }
  /** Stopped without ending: the lease is to be given up, the run stays active. */
  | { readonly kind: "stopped" }
  | { readonly kind: "lost" };

/** Delivers the active run of a held thread. Never throws `lost`; throws `unavailable` when the table is away. */
export async function deliver(host: DeliverDeps, delivery: Delivery): Promise<Delivered> {
  try {
    return await attempt(host, delivery);
  } catch (error) {
    if (!isHoldpointError(error, "lost")) throw error;
    delivery.lease.lose();
    return { kind: "lost" };
  }
}

async function attempt(host: DeliverDeps, delivery: Delivery): Promise<Delivered> {
  const { deps } = host;
  const { lease, entry } = delivery;
  const thread = lease.thread;
  const saver = (options: Pick<SaverOptions, "newRoot" | "gate" | "executesFrom">): FencedSaver =>
    new FencedSaver({
      table: deps.table,
      blobs: deps.blobs,
      clock: deps.clock,
      tenant: thread.tenant,
      lease: { threadId: thread.threadId, generation: thread.generation, fence: lease.fence },
      ...options,
    });
  const [found, end] = await Promise.all([deps.runs.get(thread, entry.runId), deps.events.end(thread, thread.generation)]);
  if (!found) return { kind: "ended", run: undefined };
  if (found.value.fence > lease.fence) return { kind: "lost" };
  if (isEnded(found.value.status)) return { kind: "ended", run: found.value };
  if (found.value.cancelAsked) return finish(deps, delivery, found, cancelOutcome(deps.table.now()));

  const graph = deps.graphs.get(found.value.graphId);
  if (!graph) return finish(deps, delivery, found, graphMissing(deps, found.value));
  const mark = writeMark(deps, delivery, found, { graph, firstEvent: end.next });
  mark.catch(() => undefined);
  if (!delivery.first) await mark;
  const execution = new Execution(host, delivery, {
    graph,
    mark,
    events: new EventWriter(deps, { run: found.value, fence: lease.fence, next: end.next }, metadataFrame(found.value)),
  });
  const executed = await execution.run(found.value, saver).catch((error: unknown) => failed(deps, error));
  const settled = await mark;
  if (settled.kind !== "marked") return settled;
  return executed.kind === "ended" ? finish(deps, delivery, settled.stored, executed.outcome) : executed;
}

/** Whatever is not the table being away, or another holder, is the run's own end: it must not be tried for ever. */
function failed(deps: Deps, error: unknown): Executed {
  if (isHoldpointError(error, "lost")) return { kind: "lost" };
  if (isHoldpointError(error, "unavailable")) throw error;
  deps.log.error({ err: error }, "a delivery failed outside of its graph");
  return { kind: "ended", outcome: { status: "error", error: errorInfo(error), end: untouchedEnd(deps.table.now()) } };
}

interface MarkWith {
  readonly graph: RegisteredGraph;
  readonly firstEvent: number;
}

type Mark = { readonly kind: "marked"; readonly stored: Stored<Run> } | { readonly kind: "ended"; readonly run: Run } | { readonly kind: "lost" };

/** The mark on the run item, unless a later holder was there first or the run ended meanwhile. */
async function writeMark(deps: Deps, { lease }: Delivery, found: Stored<Run>, { graph, firstEvent }: MarkWith): Promise<Mark> {
  let current: Stored<Run> | undefined = found;
  while (current && current.value.fence <= lease.fence) {
    if (isEnded(current.value.status)) return { kind: "ended", run: current.value };
    const mark = { fence: lease.fence, firstEvent, graphVersion: graph.version };
    const written = await deps.runs.put(marked(current.value, mark, deps.table.now()), current.version);
    if (written.won) {
      deps.hints.changed(found.value);
      return { kind: "marked", stored: written.stored };
    }
    current = written.current;
  }
  return { kind: "lost" };
}

type Executed = { readonly kind: "ended"; readonly outcome: Outcome } | { readonly kind: "stopped" } | { readonly kind: "lost" };

interface ExecutionWith {
  readonly graph: RegisteredGraph;
  readonly mark: Promise<Mark>;
  readonly events: EventWriter;
}

type NewSaver = (options: Pick<SaverOptions, "newRoot" | "gate" | "executesFrom">) => FencedSaver;

class Execution {
  readonly #host: DeliverDeps;
  readonly #delivery: Delivery;
  readonly #with: ExecutionWith;

  constructor(host: DeliverDeps, delivery: Delivery, execution: ExecutionWith) {
    this.#host = host;
    this.#delivery = delivery;
    this.#with = execution;
  }

  async run(run: Run, newSaver: NewSaver): Promise<Executed> {
    const { deps } = this.#host;
    const { events, mark } = this.#with;
    const payload = await deps.runs.payload(run);
    const fresh = run.kind === "input" && payload.input !== undefined && payload.input !== null;
    const gate = Promise.all([mark.then(assertMarked), events.begun()]);
    gate.catch(() => undefined);
    const executesFrom = payload.checkpoint?.checkpointId;
    const saver = newSaver({
      gate,
      ...(fresh ? { newRoot: run.root } : {}),
      ...(executesFrom === undefined ? {} : { executesFrom }),
    });
    // New input is its own barrier. Anything else is decided on what was read behind one: until it has landed, an
    // earlier holder may still append.
    const ownBarrier = fresh && this.#delivery.first;
    await (ownBarrier ? saver.preload() : saver.barrier());
    const start = await startingPoint(this.#host, { run, payload, saver, graph: this.#with.graph, first: this.#delivery.first });
    if (start.input?.kind === "input") await cancelPlainHolds(deps, run);
    const outcome = start.input ? await this.#drive(run, saver, start) : start.outcome;
    return outcome.kind === "moved" ? this.run(run, newSaver) : this.#conclude(run, saver, { start, outcome });
  }

  async #drive(run: Run, saver: FencedSaver, start: Start): Promise<DriveOutcome> {
    const { deps, engine, assistants, services } = this.#host;
    const { lease, cancel, drain, abort } = this.#delivery;
    if (!start.input) return start.outcome;
    const signal = AbortSignal.any([lease.lost, cancel, abort]);
    const assistant = await assistants.ofRun(run);
    return engine.drive({
      graph: this.#with.graph,
      saver,
      run,
      payload: start.payload,
      input: start.input,
      recursionLimit: start.payload.config?.recursionLimit ?? deps.settings.recursionLimit,
      assistant: { config: assistant.config, context: assistant.context },
      context: graphContext(deps, { run, saver, lease, signal, services }),
      signal,
      drain,
      emit: (frame: Frame) => this.#with.events.emit(frame),
    });
  }

  async #conclude(run: Run, saver: FencedSaver, { start, outcome }: { start: Start; outcome: Exclude<DriveOutcome, { kind: "moved" }> }): Promise<Executed> {
    const { deps } = this.#host;
    const { lease, cancel } = this.#delivery;
    const { events, mark } = this.#with;
    if (outcome.kind === "lost" || saver.lost || lease.lost.aborted) return { kind: "lost" };
    const stopped = outcome.kind === "drained" || (outcome.kind === "aborted" && !cancel.aborted);
    if (stopped) {
      await events.flush();
      return { kind: "stopped" };
    }
    await mark.then(assertMarked);
    const raised = await raiseHolds(deps, { run, saver, fence: lease.fence, outcome });
    await settleAnswers(deps, { run, handed: start.handed, raised: raised.holds });
    const at = deps.table.now();
    const checkpointId = endsAt(run, saver, start.payload);
    const end: RunEnd = {
      at,
      holds: raised.holds.map((hold) => hold.holdId),
      waiting: raised.waiting,
      interrupts: raised.interrupts,
      ...(checkpointId === undefined ? {} : { checkpointId }),
    };
    const ending = outcomeOf(outcome, end);
    if (ending.error) events.emit({ kind: "data", event: "error", data: { error: ending.error.name, message: ending.error.message } });
    await events.flush();
    return { kind: "ended", outcome: ending };
  }
}

/** The checkpoint at which a run ended: the head, unless it executed from an older one and never wrote its own. */
function endsAt(run: Run, saver: FencedSaver, payload: RunPayload): string | undefined {
  const head = saver.head();
  return head?.runId === run.runId ? head.checkpointId : (payload.checkpoint?.checkpointId ?? head?.checkpointId);
}

function assertMarked(mark: Mark): void {
  if (mark.kind !== "marked") throw new HoldpointError("lost", "another holder marked the run");
}

function outcomeOf(outcome: Exclude<DriveOutcome, { kind: "lost" | "drained" | "moved" }>, end: RunEnd): Outcome {
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

/** The commit of a run's end. A finish that loses to a cancel honours it; one that loses to a higher fence is lost. */
async function finish(deps: Deps, { lease }: Delivery, found: Stored<Run>, outcome: Outcome): Promise<Delivered> {
  let current: Stored<Run> | undefined = found;
  while (current) {
    const run: Run = current.value;
    if (run.fence > lease.fence) return { kind: "lost" };
    if (isEnded(run.status)) return { kind: "ended", run };
    const honoured: Outcome = run.cancelAsked && outcome.status === "success" ? { status: "cancelled", end: outcome.end } : outcome;
    const written = await deps.runs.put(ended(run, lease.fence, honoured), current.version);
    if (written.won) {
      deps.hints.changed(run);
      deps.log.info({ thread: run.threadId, run: run.runId, status: honoured.status, fence: lease.fence }, "run ended");
      return { kind: "ended", run: written.stored.value };
    }
    current = written.current;
  }
  return { kind: "ended", run: undefined };
}

const cancelOutcome = (at: number): Outcome => ({ status: "cancelled", end: untouchedEnd(at) });

function graphMissing(deps: Deps, run: Run): Outcome {
  const failure = deps.graphs.failure(run.graphId);
  const message = failure ? `graph ${run.graphId} could not be loaded: ${failure.error.message}` : `graph ${run.graphId} is not registered`;
  const error = { ...errorInfo(new Error(message)), name: "graph_unavailable" };
  return { status: "error", error, end: untouchedEnd(deps.table.now()) };
}

function metadataFrame(run: Run): Frame {
  return { kind: "data", event: "metadata", data: { run_id: run.runId, attempt: run.deliveries + 1 } };
}
