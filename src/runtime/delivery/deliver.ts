/**
 * One delivery of one run under a lease. Order: claim (by the caller) → mark on the run item → barrier of the log →
 * execute → holds → last frames → run item (the commit) → header (by the caller).
 *
 * - No node starts before the mark and the barrier have landed. On a first delivery both are on their way together,
 *   unless the event log is one that has expired;
 *   on any later one the mark lands first, so that an earlier holder can no longer end the run on the strength of
 *   task writes that the barrier will not accept.
 * - `lost` is never recorded as a run's outcome (I2).
 */
import { FencedSaver } from "../../checkpoint/saver.ts";
import { saverParts } from "../saver-parts.ts";
import { ROOT_CONTEXT, SpanKind } from "@opentelemetry/api";
import type { Span } from "@opentelemetry/api";
import { isNewerFormat } from "../../core/newer-format.ts";
import { errorInfo, isHoldpointError } from "../../core/errors.ts";
import { unlessUnreadable } from "../../core/unreadable.ts";
import type { HoldpointError } from "../../core/errors.ts";
import { asleep, ended, honouring, isEnded, marked, paused, untouchedEnd } from "../../core/run.ts";
import type { Outcome, Run } from "../../core/run.ts";
import { setByGraph } from "../../core/limits.ts";
import type { QueueEntry } from "../../core/thread.ts";
import { announced } from "../../core/webhook.ts";
import { metadataFrame } from "../../langgraph/frames.ts";
import type { Stored } from "../../storage/records.ts";
import { GEN_AI, OPERATIONS } from "../../telemetry/gen-ai.ts";
import { ATTRIBUTES, activeTraceparent, inSpan, linkTo, markFailed } from "../../telemetry/spans.ts";
import type { Deps } from "../deps.ts";
import { tellEnded } from "../tell-ended.ts";
import { EventWriter } from "../events/event-writer.ts";
import { placeInLog } from "../events/place-in-log.ts";
import { Execution } from "./execution.ts";
import type { Executed, ExecutionDeps, Mark, OpenSaver, SleepUntil } from "./execution.ts";
import { hasWaitedLongEnough, latestLook, lookAgainAt, whyNotHere } from "./graph-wait.ts";
import type { Lease } from "./lease.ts";

/** The table's time as two workers know it may differ by this much. */
const CLOCKS_AGREE_MS = 1000;

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

/** A delivery within its span, where there is one. */
type Traced = Delivery & { readonly span: Span | undefined };

export type Delivered =
  /** The run has ended; the header may move past it. Undefined when there is no such run. */
  | { readonly kind: "ended"; readonly run: Run | undefined }
  /** Stopped without ending: the lease is to be given up, the run stays active. */
  | { readonly kind: "stopped" }
  /** The run goes on by itself at this table time; until then its thread sleeps. */
  | { readonly kind: "asleep"; readonly until: number }
  /** A continuation in the queue goes first. */
  | { readonly kind: "yielded" }
  | { readonly kind: "lost" };

/** Delivers the active run of a held thread. Never throws `lost`; throws `unavailable` when the table is away. */
export function deliver(host: ExecutionDeps, delivery: Delivery): Promise<Delivered> {
  const { entry, lease } = delivery;
  const { tracer } = host.deps.telemetry;
  const attributes = {
    [GEN_AI.operation]: OPERATIONS.workflow,
    [GEN_AI.workflow]: entry.graphId,
    [GEN_AI.conversation]: lease.thread.threadId,
    [ATTRIBUTES.graph]: entry.graphId,
    [ATTRIBUTES.run]: entry.runId,
  };
  const name = `${OPERATIONS.workflow} ${entry.graphId}`;
  // A trace of its own, whoever woke the worker: what it belongs to, it is linked to.
  return inSpan(tracer, { name, kind: SpanKind.CONSUMER, attributes, parent: ROOT_CONTEXT }, async (span) => {
    const delivered = await deliverWithin(host, { ...delivery, span });
    if (span) tellCome(span, delivered);
    return delivered;
  });
}

function tellCome(span: Span, delivered: Delivered): void {
  const run = delivered.kind === "ended" ? delivered.run : undefined;
  span.setAttribute(ATTRIBUTES.outcome, run?.status ?? delivered.kind);
  if (run?.error) markFailed(span, run.error.name);
}

async function deliverWithin(host: ExecutionDeps, delivery: Traced): Promise<Delivered> {
  try {
    return await attempt(host, delivery);
  } catch (error) {
    if (isNewerFormat(error)) return leaveToNewer(host.deps, delivery, error);
    if (isHoldpointError(error, "unavailable")) throw error;
    if (!isHoldpointError(error, "lost")) return endUndelivered(host.deps, delivery, error);
    delivery.lease.lose();
    return { kind: "lost" };
  }
}

/**
 * What a delivery stands on cannot be read, and never will be: that is the end of its run. Without one, every worker
 * would come as far, for ever. Where the run item itself cannot be read nothing can be said on it, and its thread goes on.
 */
async function endUndelivered(deps: Deps, delivery: Delivery, error: unknown): Promise<Delivered> {
  const { threadId } = delivery.lease.thread;
  deps.log.error({ thread: threadId, run: delivery.entry.runId, err: error }, "a run could not be delivered");
  const found = await unlessUnreadable(deps.runs.get(delivery.lease.thread, delivery.entry.runId));
  if (!found) return { kind: "ended", run: undefined };
  const outcome = { status: "error", error: errorInfo(error), end: untouchedEnd(deps.table.now()) } as const;
  return finish(deps, delivery, found, outcome);
}

/** The thread was written by a later version: a worker of that version goes on with it. */
async function leaveToNewer(deps: Deps, delivery: Delivery, { message }: HoldpointError): Promise<Delivered> {
  try {
    const found = await deps.runs.get(delivery.lease.thread, delivery.entry.runId);
    if (!found) return { kind: "ended", run: undefined };
    const until = lookAgainAt(deps, found.value, "format");
    return await sleep(deps, delivery, found, { kind: "format", reason: message, until });
  } catch (error) {
    if (!isNewerFormat(error)) throw error;
    return sleepUnread(deps, delivery, error);
  }
}

/**
 * The run item itself is of a later format: nothing can be said on it, and that it has ended cannot be ruled out. Its
 * header alone lets it sleep, as after a crash between the two writes of a sleep; every delivery begins with the item.
 */
function sleepUnread(deps: Deps, { entry, lease }: Delivery, { message: reason }: HoldpointError): Delivered {
  const until = latestLook(deps);
  const { threadId } = lease.thread;
  deps.log.info({ thread: threadId, run: entry.runId, reason, until }, "run sleeps");
  return { kind: "asleep", until };
}

async function attempt(host: ExecutionDeps, delivery: Traced): Promise<Delivered> {
  const { deps } = host;
  const { lease, entry, span } = delivery;
  const thread = lease.thread;
  const openSaver: OpenSaver = () =>
    FencedSaver.open({
      ...saverParts(deps, thread.tenant),
      lease: { threadId: thread.threadId, generation: thread.generation, fence: lease.fence },
    });
  // On a first delivery nobody but this fence has anything to end: the head is read together with the rest.
  const [found, end, opened] = await Promise.all([
    deps.runs.get(thread, entry.runId),
    deps.events.end(thread, thread.generation),
    delivery.first ? openSaver() : undefined,
  ]);
  if (!found) return { kind: "ended", run: undefined };
  if (found.value.fence > lease.fence || end.fence > lease.fence) return { kind: "lost" };
  if (isEnded(found.value.status)) return { kind: "ended", run: found.value };
  const run = linked(span, toBeStopped(found.value, entry, deps.table.now()));
  const sleeps = run.cancelAsked ? undefined : await sleepOn(deps, delivery, found);
  if (sleeps) return sleeps;

  const place = placeInLog(deps, { run, thread, fence: lease.fence }, end);
  const mark = writeMark(deps, delivery, { run, version: found.version }, place.end.next);
  mark.catch(() => undefined);
  const before = delivery.first && !place.isOwn ? undefined : await mark;
  if (before && before.kind !== "marked") return before;
  const bound = eventBound(deps, run);
  const position = { run, fence: lease.fence, end: place.end, ...bound, onLost: () => lease.lose() };
  const events = new EventWriter(deps, position, metadataFrame(run, run.deliveries + 1));
  let early = opened;
  const execution = new Execution(host, delivery, {
    mark,
    events,
    async openSaver() {
      const saver = early ?? (await openSaver());
      early = undefined;
      return saver;
    },
  });
  const executed = await execution
    .run({ ...run, ...paused(run, deps.table.now()) })
    .catch((error: unknown) => failed(deps, error));
  const settled = await mark;
  if (settled.kind !== "marked") return settled;
  switch (executed.kind) {
    case "ended":
      return finish(deps, delivery, settled.stored, { ...executed.outcome, nodeRetries: execution.nodeRetries });
    case "asleep":
      return sleep(deps, delivery, settled.stored, { ...executed.sleep, nodeRetries: execution.nodeRetries });
    case "stopped":
    case "yielded":
    case "lost":
      return executed;
  }
}

/** The run, to whose trace the delivery is linked. */
function linked(span: Span | undefined, run: Run): Run {
  linkTo(span, [run.trace?.accepted, run.trace?.delivery]);
  span?.setAttribute(ATTRIBUTES.delivery, run.deliveries + 1);
  return run;
}

/** What keeps a run from being begun now: its time has not come, or its graph is not here. */
async function sleepOn(deps: Deps, delivery: Delivery, found: Stored<Run>): Promise<Delivered | undefined> {
  const run = found.value;
  const isEarly = run.status === "waiting" && run.sleep && run.sleep.until - deps.table.now() > CLOCKS_AGREE_MS;
  if (isEarly && !(await isAnswered(deps, run))) return { kind: "asleep", until: run.sleep.until };
  const reason = whyNotHere(deps, run);
  if (reason === undefined || hasWaitedLongEnough(deps, run)) return undefined;
  return sleep(deps, delivery, found, { kind: "graph", reason, until: lookAgainAt(deps, run, "graph") });
}

/** One of the timers and callbacks that it waits for is over. */
async function isAnswered(deps: Deps, run: Run): Promise<boolean> {
  const holds = run.sleep?.holds ?? [];
  return holds.length > 0 && (await deps.holds.getMany(run, holds)).some(({ value }) => value.state === "decided");
}

/** A later run takes this one's place, and who accepted it may have died before it could say so here. */
function toBeStopped(run: Run, { stop }: QueueEntry, now: number): Run {
  if (!stop || run.cancelAsked) return run;
  return { ...run, cancelAsked: { action: stop, by: "a later run", at: now } };
}

/** Whatever is not the table being away, or another holder, is the run's own end: it must not be tried for ever. */
function failed(deps: Deps, error: unknown): Executed {
  if (isHoldpointError(error, "lost")) return { kind: "lost" };
  if (isHoldpointError(error, "unavailable") || isNewerFormat(error)) throw error;
  deps.log.error({ err: error }, "a delivery failed outside of its graph");
  return { kind: "ended", outcome: { status: "error", error: errorInfo(error), end: untouchedEnd(deps.table.now()) } };
}

/** The mark on the run item, unless a later holder was there first or the run ended meanwhile. */
async function writeMark(
  deps: Deps,
  { lease, entry }: Delivery,
  found: { readonly run: Run; readonly version: number },
  firstEvent: number,
): Promise<Mark> {
  const graphVersion = deps.graphs.get(found.run.graphId)?.version;
  const traceparent = activeTraceparent();
  let current: Stored<Run> | undefined = { value: found.run, version: found.version };
  while (current && current.value.fence <= lease.fence) {
    if (isEnded(current.value.status)) return { kind: "ended", run: current.value };
    const now = deps.table.now();
    const written = await deps.runs.put(
      marked(
        toBeStopped(current.value, entry, now),
        { fence: lease.fence, firstEvent, graphVersion, traceparent },
        now,
      ),
      current.version,
    );
    if (written.won) {
      deps.hints.changed(found.run, written.stored.value);
      const { graphId: graph, createdAt, startAt = createdAt, startedAt } = current.value;
      if (startedAt === undefined) deps.telemetry.metrics.runBegan({ graph, waitedMs: now - startAt });
      return { kind: "marked", stored: written.stored };
    }
    current = written.current;
  }
  return { kind: "lost" };
}

/** The commit of a run's end. A finish that loses to a cancel honours it; one that loses to a higher fence is lost. */
async function finish(deps: Deps, { lease }: Delivery, found: Stored<Run>, outcome: Outcome): Promise<Delivered> {
  let current: Stored<Run> | undefined = found;
  while (current) {
    const run: Run = current.value;
    if (run.fence > lease.fence) return { kind: "lost" };
    if (isEnded(run.status)) return { kind: "ended", run };
    if (isToUndo(run.cancelAsked, outcome)) return { kind: "stopped" };
    const honoured = honouring(run.cancelAsked, outcome);
    const asEnded = announced(ended(run, lease.fence, honoured), await deps.interests.inRuns(run.tenant));
    // Before the end is: whoever looks for this failure then finds the run.
    await deps.runs.noteFailure(asEnded);
    const written = await deps.runs.put(asEnded, current.version);
    if (written.won) {
      deps.hints.changed(run, written.stored.value);
      tellEnded(deps, written.stored.value);
      const { status, error } = honoured;
      const what = { thread: run.threadId, run: run.runId, status, ...(error ? { error: error.name } : {}) };
      deps.log.info({ ...what, fence: lease.fence }, "run ended");
      return { kind: "ended", run: written.stored.value };
    }
    current = written.current;
  }
  return { kind: "ended", run: undefined };
}

/**
 * The cancel came too late to stop the run, and in time to matter: the holds that it would leave, or its steps. Its next
 * delivery begins with the cancel, and begins at once.
 */
function isToUndo(asked: Run["cancelAsked"], { status }: Outcome): boolean {
  return asked !== undefined && (status === "held" || (status === "success" && asked.action === "rollback"));
}

/** The run goes on by itself later, unless it was cancelled meanwhile. */
async function sleep(
  deps: Deps,
  { lease }: Delivery,
  found: Stored<Run>,
  asked: SleepUntil & Pick<Run, "nodeRetries">,
): Promise<Delivered> {
  let current: Stored<Run> | undefined = found;
  while (current) {
    const run: Run = current.value;
    if (run.fence > lease.fence) return { kind: "lost" };
    if (isEnded(run.status)) return { kind: "ended", run };
    // Its next delivery begins with the cancel, and at once; who cannot read the thread cannot honour that either.
    if (run.cancelAsked && asked.kind !== "format") return { kind: "stopped" };
    const written = await deps.runs.put(asleep(run, lease.fence, asked, deps.table.now()), current.version);
    if (written.won) {
      const { threadId, runId } = run;
      deps.log.info({ thread: threadId, run: runId, reason: asked.reason, until: asked.until }, "run sleeps");
      return { kind: "asleep", until: asked.until };
    }
    current = written.current;
  }
  return { kind: "ended", run: undefined };
}

/** How much the log takes from the run, and what has set that. */
function eventBound({ graphs, settings }: Deps, { graphId }: Run) {
  const graph = graphs.get(graphId);
  const maxBytes = graph?.limits.eventBytes ?? settings.limits.eventBytes;
  return { maxBytes, setBy: graph ? setByGraph(graph) : {} };
}
