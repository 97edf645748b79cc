/**
 * Accepting a run. The commit point is one conditional write on the thread header, which appends the run to the
 * header's queue; a run that no header names does not exist for workers (I1). Everything written before it is
 * unreachable until it lands, and a repeat under the same idempotency key completes whatever is missing.
 *
 * After any lost race the header and the run item are asked first whether this change is already there: an answer of
 * 409 must never be given for a run that executes.
 */
import { HoldpointError, errorInfo } from "../core/errors.ts";
import { runId as asRunId, threadId as asThreadId } from "../core/ids.ts";
import type { RunId, ThreadId } from "../core/ids.ts";
import { limitError } from "../core/limits.ts";
import type { Principal } from "../core/principal.ts";
import { pendingRun, refused, takenOver } from "../core/run.ts";
import type { Run } from "../core/run.ts";
import { appended, recreated } from "../core/thread-changes.ts";
import { isBusy, names, newThread } from "../core/thread.ts";
import type { QueueEntry, Thread } from "../core/thread.ts";
import type { RegisteredGraph } from "../langgraph/registry.ts";
import type { ThreadRef } from "../storage/keys.ts";
import type { Stored } from "../storage/records.ts";
import type { Assistants } from "./assistants.ts";
import { decideByResume } from "./decide.ts";
import type { Deps } from "./deps.ts";
import { claimKey } from "./idempotency.ts";
import type { AcceptRequest, Assistant } from "./runtime.ts";
import { repairHeader } from "./repair.ts";
import { assertCheckpoint } from "./state-reader.ts";

/** How long an accept may take at most; a run item that no header names is an orphan ten minutes later. */
const REQUEST_DEADLINE_MS = 60_000;
const ORPHAN_MARGIN_MS = 600_000;

type Header = Stored<Thread> | undefined;

/** A run on its way into the header's queue. */
interface Accepting {
  readonly ref: ThreadRef;
  readonly run: Run;
  readonly entry: QueueEntry;
  readonly createThread: boolean;
  /** True when somebody may have tried to accept this very run before: then nothing is known without asking. */
  readonly repeated: boolean;
  /** Monotonic time after which the header is not written any more, since the run item may be swept. */
  readonly deadline: number;
}

/**
 * Accepts a run; when this resolves, the run is durable and will end or wait visibly (I1).
 * @throws HoldpointError `not_found`, `conflict`, `limit`, `graph_unavailable`, `invalid`, `unavailable`
 */
export async function accept(
  deps: Deps,
  assistants: Assistants,
  principal: Principal,
  request: AcceptRequest,
): Promise<Run> {
  const assistant = await assistants.get(principal, request.assistantId);
  const graph = deps.graphs.get(assistant.graphId);
  if (!graph) throw graphUnavailable(deps, assistant.graphId);

  const ids = await identify(deps, principal, request);
  const ref = { tenant: principal.tenant, threadId: ids.threadId };
  const createThread = request.threadId === undefined || request.ifNotExists === "create";
  const isNewThread = request.threadId === undefined && !ids.repeated;
  const header = isNewThread ? undefined : await deps.threads.get(ref);
  if (!createThread && (!header || header.value.deleted)) throw threadNotFound(ref);
  if (request.threadId === undefined && header?.value.deleted) {
    // Nobody else knew this thread: the request was served, and its run must not be executed again.
    throw new HoldpointError("gone", "the run of this Idempotency-Key has ended and its thread was deleted");
  }

  const generation = header?.value.generation ?? 0;
  await assertCheckpoint(deps, { ...ref, generation }, request.payload.checkpoint);
  const deadline = deps.clock.monotonic() + REQUEST_DEADLINE_MS;
  const draft = draftRun(deps, {
    principal,
    request,
    assistant,
    graph,
    ids,
    generation,
  });
  const { run, repeated } = await putRun(deps, draft, ids.repeated);
  if (repeated && run.status !== "pending") return answerFor(run);
  const entry: QueueEntry = { runId: run.runId, kind: run.kind, pool: run.pool, graphId: run.graphId };
  const accepting: Accepting = { ref, run, entry, createThread, repeated, deadline };
  const resume = request.payload.command?.resume;
  if (resume === undefined) return append(deps, accepting, header);
  // The run that asks may have ended a moment ago, and its header not know of it yet.
  for (let stale = await deps.threads.get(ref); stale;) stale = await repairHeader(deps, stale);
  const refusal = await decideByResume(deps, principal, run, resume).catch(asRefusal);
  return refusal
    ? refuse(deps, accepting, refusal)
    : append(deps, { ...accepting, repeated: true }, await deps.threads.get(ref));
}

interface Ids {
  readonly runId: RunId;
  readonly threadId: ThreadId;
  /** An earlier attempt under the same idempotency key drew them. */
  readonly repeated: boolean;
}

async function identify(deps: Deps, principal: Principal, request: AcceptRequest): Promise<Ids> {
  const fresh = { runId: deps.ids.uuid(), threadId: request.threadId ?? deps.ids.uuid() };
  const key =
    request.idempotency && (await claimKey(deps, principal.tenant, { ...request.idempotency, result: fresh }));
  const { runId, threadId } = { ...fresh, ...key?.result };
  return { runId: asRunId(runId), threadId: asThreadId(threadId), repeated: key?.repeated ?? false };
}

interface DraftFrom {
  readonly principal: Principal;
  readonly request: AcceptRequest;
  readonly assistant: Assistant;
  readonly graph: RegisteredGraph;
  readonly ids: Ids;
  readonly generation: number;
}

function draftRun(deps: Deps, { principal, request, assistant, graph, ids, generation }: DraftFrom): Run {
  const now = deps.table.now();
  return pendingRun({
    tenant: principal.tenant,
    threadId: ids.threadId,
    runId: ids.runId,
    kind: request.payload.command?.resume === undefined ? "input" : "continuation",
    generation,
    root: ids.runId,
    assistantId: assistant.assistantId,
    graphId: assistant.graphId,
    pool: graph.pool,
    priority: graph.priority,
    startedBy: principal.subject,
    stateless: request.threadId === undefined,
    settings: request.settings,
    payload: request.payload,
    followUpAt: now + REQUEST_DEADLINE_MS + ORPHAN_MARGIN_MS,
    createdAt: now,
  });
}

/** Writes the run item, or takes over the one that an earlier attempt left. */
async function putRun(
  deps: Deps,
  draft: Run,
  mayExist: boolean,
): Promise<{ readonly run: Run; readonly repeated: boolean }> {
  const written = await deps.runs.create(draft);
  if (written.won) return { run: draft, repeated: mayExist };
  let current = written.current;
  while (current && current.value.status === "pending") {
    const taken = await deps.runs.put(takenOver(current.value, deps.table.now()), current.version);
    if (taken.won) return { run: taken.stored.value, repeated: true };
    current = taken.current;
  }
  if (!current)
    throw new HoldpointError("unavailable", "the run was swept while it was being accepted; repeat the request");
  return { run: current.value, repeated: true };
}

/**
 * The header is always read before the run item, and the append is conditional on that header: a run that was
 * executed in between has changed it.
 */
async function append(deps: Deps, accepting: Accepting, first: Header): Promise<Run> {
  let header = first;
  let again = accepting.repeated;
  for (;;) {
    if (header && names(header.value, accepting.run.runId)) return confirm(deps, accepting);
    if (again) {
      const own = await deps.runs.get(accepting.ref, accepting.run.runId);
      if (own && own.value.status !== "pending") return answerFor(own.value);
    }
    const repaired = header && (await repairHeader(deps, header));
    if (repaired) {
      header = repaired;
      again = true;
      continue;
    }
    const refusal = reasonToRefuse(deps, accepting, header?.value);
    if (refusal) return refuse(deps, accepting, refusal);

    if (deps.clock.monotonic() > accepting.deadline)
      throw new HoldpointError("unavailable", "accepting the run took too long");
    const written = await writeAppended(deps, accepting, header);
    if (written.won) {
      deps.hints.ready(accepting.ref, written.stored);
      const mayBeSwept = deps.clock.monotonic() > accepting.deadline;
      return accepting.repeated || mayBeSwept ? confirm(deps, accepting) : accepting.run;
    }
    header = written.current;
    again = true;
  }
}

async function writeAppended(deps: Deps, { ref, run, entry }: Accepting, header: Header) {
  const now = deps.table.now();
  const labels = { graph_id: run.graphId, assistant_id: run.assistantId };
  if (header && !header.value.deleted) {
    const labelled =
      header.value.lastEnd || isBusy(header.value) ? header.value : await withLabels(deps, header.value, labels);
    return deps.threads.put(appended(labelled, entry, now), { version: header.version });
  }
  const thread = { ...newThread(ref, { kind: "inline", value: labels }, now), priority: run.priority };
  if (!header) return deps.threads.put(appended(thread, entry, now), "absent");
  return deps.threads.put(appended(recreated(thread, header.value), entry, now), { version: header.version });
}

/** Clients find threads by the graph and assistant of their first run. */
async function withLabels(deps: Deps, thread: Thread, labels: Readonly<Record<string, string>>): Promise<Thread> {
  const metadata = { ...(await deps.threads.metadata(thread)), ...labels };
  return { ...thread, metadata: await deps.threads.keepMetadata(thread, metadata, deps.ids.token(8)) };
}

function reasonToRefuse(
  { settings }: Deps,
  { run, ref, createThread }: Accepting,
  thread: Thread | undefined,
): HoldpointError | undefined {
  if ((thread?.generation ?? 0) !== run.generation) return threadNotFound(ref);
  if (!thread || thread.deleted) return createThread ? undefined : threadNotFound(ref);
  if (run.kind === "continuation") return undefined;
  if (thread.waiting && thread.waiting.reviews > 0) {
    return new HoldpointError(
      "conflict",
      `Thread ${ref.threadId} waits for a review: decide it under /v1/reviews first`,
      {
        detail: { reviews: thread.waiting.reviews },
      },
    );
  }
  if (run.settings.multitaskStrategy === "reject" && isBusy(thread))
    return new HoldpointError("conflict", "Thread is busy");
  const { queuePerThread } = settings.limits;
  return thread.queue.length >= queuePerThread
    ? limitError("queuePerThread", `Thread ${ref.threadId} has ${queuePerThread} runs waiting`, queuePerThread, 1000)
    : undefined;
}

/** 409 is answered only after `refused` stands on the run item at this accept number. */
async function refuse(deps: Deps, { ref, run }: Accepting, reason: HoldpointError): Promise<Run> {
  for (;;) {
    const current = await deps.runs.get(ref, run.runId);
    if (!current) throw reason;
    if (current.value.status !== "pending") return answerFor(current.value);
    if (current.value.acceptNumber !== run.acceptNumber) throw overtaken();
    const written = await deps.runs.put(refused(current.value, errorInfo(reason), deps.table.now()), current.version);
    if (written.won) throw reason;
  }
}

/** 200 is answered only while this attempt still owns the run item, or once the run is past `pending`. */
async function confirm(deps: Deps, { ref, run }: Accepting): Promise<Run> {
  const current = await deps.runs.get(ref, run.runId);
  if (!current) throw overtaken();
  if (current.value.status !== "pending") return answerFor(current.value);
  if (current.value.acceptNumber !== run.acceptNumber) throw overtaken();
  return current.value;
}

function answerFor(run: Run): Run {
  if (run.status !== "refused") return run;
  const code = REFUSALS.find((known) => known === run.error?.name) ?? "conflict";
  throw new HoldpointError(code, run.error?.message ?? "the run was refused");
}

/** Reasons that stand on the run item, so that a repeat hears the same. Anything else leaves the run to its repeat. */
const REFUSALS = ["conflict", "limit", "invalid", "forbidden", "not_found"] as const;

function asRefusal(error: unknown): HoldpointError {
  if (error instanceof HoldpointError && REFUSALS.some((code) => code === error.code)) return error;
  throw error;
}

const overtaken = (): HoldpointError =>
  new HoldpointError("unavailable", "another attempt at the same request is under way; repeat it", {
    retryAfterMs: 1000,
  });

export const threadNotFound = (ref: { readonly threadId: string }): HoldpointError =>
  new HoldpointError("not_found", `Thread with ID ${ref.threadId} not found`);

function graphUnavailable(deps: Deps, graphId: string): HoldpointError {
  const failure = deps.graphs.failure(graphId);
  if (!failure) return new HoldpointError("not_found", `Graph ${graphId} not found`);
  return new HoldpointError(
    "graph_unavailable",
    `Graph ${graphId} could not be loaded from ${failure.file}: ${failure.error.message}`,
  );
}

/** The id under which a run is looked up when only the run is known. */
export async function threadOfRun(deps: Deps, principal: Principal, runId: RunId) {
  const found = await deps.runs.threadOf(principal.tenant, runId);
  if (!found) throw new HoldpointError("not_found", "Run not found");
  return found;
}
