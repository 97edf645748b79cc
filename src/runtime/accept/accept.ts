/**
 * Accepting a run. The commit point is one conditional write on the thread header, which appends the run to the
 * header's queue; a run that no header names does not exist for workers (I1). Everything written before it is
 * unreachable until it lands, and a repeat under the same idempotency key completes whatever is missing.
 *
 * After any lost race the header and the run item are asked first whether this change is already there: an answer of
 * 409 must never be given for a run that executes.
 */
import { HoldpointError } from "../../core/errors.ts";
import type { RunId } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import type { Principal } from "../../core/principal.ts";
import { entryOf, reasonNoRoom } from "../../core/queue-room.ts";
import { takenOver } from "../../core/run.ts";
import type { Run } from "../../core/run.ts";
import { appended, recreated } from "../../core/thread-changes.ts";
import { isBusy, names, newThread } from "../../core/thread.ts";
import { parseHookUrl } from "../../core/webhook-address.ts";
import type { QueueEntry, Thread } from "../../core/thread.ts";
import type { ThreadRef } from "../../storage/keys.ts";
import type { Stored } from "../../storage/records.ts";
import { answerFor, asRefusal, confirm, refuse, threadNotFound } from "./accept-answer.ts";
import { REQUEST_DEADLINE_MS, draftRun, identify, versionOf } from "./accept-draft.ts";
import type { Assistants } from "../assistants.ts";
import { approveBreakpoint, passesBreakpoint } from "../decisions/breakpoints.ts";
import { decideByResume } from "../decisions/by-resume.ts";
import type { Deps } from "../deps.ts";
import { cancelWaiting } from "../decisions/cancel-holds.ts";
import { makingRoom, reasonNotToJoin, tellStopped } from "./multitask.ts";
import { makeRoom, noRoomFor } from "./room.ts";
import type { AcceptRequest, Replay } from "../runtime.ts";
import { putWithMetadata } from "../threads/put-with-metadata.ts";
import { repairHeader, upToDate } from "../threads/repair.ts";
import { assertCheckpoint } from "../state-reader.ts";

type Header = Stored<Thread> | undefined;

/** A run on its way into the header's queue. */
interface Accepting {
  readonly ref: ThreadRef;
  readonly run: Run;
  readonly entry: QueueEntry;
  readonly createThread: boolean;
  readonly force: boolean;
  readonly replay: Replay | undefined;
  /** True when somebody may have tried to accept this very run before: then nothing is known without asking. */
  readonly repeated: boolean;
  /** Another attempt under the same idempotency key may take it over at any time. */
  readonly isKeyed: boolean;
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
  if (request.settings.webhook !== undefined) parseHookUrl(request.settings.webhook, deps.settings.webhookHosts ?? []);
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
  const answers = await answersWhatWaits(deps, request, header);
  const draft = draftRun(deps, {
    principal,
    request,
    assistant,
    graph,
    ids,
    generation,
    graphVersion: await versionOf(deps, graph, answers, header),
    answers,
  });
  const { run, repeated } = await putRun(deps, draft, ids.repeated);
  if (repeated && run.status !== "pending") return answerFor(run);
  const accepting: Accepting = {
    ref,
    run,
    entry: entryOf(run),
    createThread,
    force: request.force ?? false,
    replay: request.replay,
    repeated,
    isKeyed: request.idempotency !== undefined || request.named !== undefined,
    deadline,
  };
  return place(deps, principal, { request, accepting, header });
}

/** A run that begins later answers nothing now: at its time it comes to what waits then. */
async function answersWhatWaits(deps: Deps, request: AcceptRequest, header: Header): Promise<boolean> {
  const { payload, replay, afterMs } = request;
  if (payload.command?.resume !== undefined) return true;
  return replay === undefined && afterMs === undefined && passesBreakpoint(deps, payload, header);
}

/** Gives the run its place, or says why not, once its item stands. */
async function place(deps: Deps, principal: Principal, { request, accepting, header }: Preparing): Promise<Run> {
  const { ref, run, repeated } = accepting;
  // Who takes a run item over judges by a header that was read after that: the one before may be from a time at which the
  // attempt that it was taken from had not even put the run into the queue.
  const now = repeated ? await deps.threads.get(ref) : header;
  if (run.startAt !== undefined) return schedule(deps, accepting, now);
  const prepared = await prepareThread(deps, principal, { request, accepting, header: now }).catch(asRefusal);
  if (prepared instanceof HoldpointError) return refuse(deps, accepting, prepared);
  return append(deps, { ...accepting, repeated: repeated || prepared.hasChanged }, prepared.header);
}

interface Preparing {
  readonly request: AcceptRequest;
  readonly accepting: Accepting;
  readonly header: Header;
}

/** Decides what the run answers, or cancels what it is not to wait for. */
async function prepareThread(
  deps: Deps,
  principal: Principal,
  { request, accepting, header }: Preparing,
): Promise<HoldpointError | { readonly header: Header; readonly hasChanged: boolean }> {
  const { ref, run } = accepting;
  const resume = request.payload.command?.resume;
  const answers = run.kind === "continuation";
  if (!answers && request.onPending !== "cancel") return { header, hasChanged: false };
  const now = await upToDate(deps, ref);
  // An earlier attempt got as far as the queue, and may have been acknowledged: what comes before that, it has done.
  if (now && names(now.value, run.runId)) return { header: now, hasChanged: true };
  if (answers) {
    // In this order: who is told that there is no room has decided nothing.
    const noRoom = now && (await noRoomFor(deps, now, accepting.entry));
    const refusal = noRoom ?? (await decideAll(deps, principal, run, resume));
    if (refusal) return refusal;
  } else if (now) await cancelPending(deps, principal, now.value);
  return { header: await deps.threads.get(ref), hasChanged: true };
}

/** What the run answers: with its value, or, where it has none, the breakpoint at which its thread waits. */
function decideAll(deps: Deps, principal: Principal, run: Run, resume: Json | undefined) {
  return resume === undefined ? approveBreakpoint(deps, principal, run) : decideByResume(deps, principal, run, resume);
}

/** Whatever waits on the thread is won as cancelled, on the record. */
async function cancelPending(deps: Deps, { subject }: Principal, thread: Thread): Promise<void> {
  const held = thread.waiting && (await deps.runs.get(thread, thread.waiting.runId));
  if (held) await cancelWaiting(deps, held.value, subject);
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
    const met = await obstacle(deps, accepting, header);
    if (met instanceof HoldpointError) return refuse(deps, accepting, met);
    if (met) {
      header = met.header;
      again = true;
      continue;
    }
    if (deps.clock.monotonic() > accepting.deadline)
      throw new HoldpointError("unavailable", "accepting the run took too long");
    const written = await writeAppended(deps, accepting, header);
    if (written.won) {
      deps.hints.ready(accepting.ref, written.stored);
      await tellStopped(deps, written.stored.value, accepting);
      const mayBeSwept = deps.clock.monotonic() > accepting.deadline;
      return accepting.repeated || accepting.isKeyed || mayBeSwept ? confirm(deps, accepting) : accepting.run;
    }
    header = written.current;
    again = true;
  }
}

/**
 * The run item is the promise; of the thread there is only made sure that it is there and would take the run now. An
 * item that an earlier attempt left begins at its time whatever is said here, and may have been acknowledged: it is not
 * refused for what its thread has come to since.
 */
async function schedule(deps: Deps, accepting: Accepting, first: Header): Promise<Run> {
  const { ref, run, repeated } = accepting;
  for (let header = first; ;) {
    const isThere = header !== undefined && !header.value.deleted && header.value.generation === run.generation;
    if (isThere && repeated) return confirm(deps, accepting);
    const met = await obstacle(deps, accepting, header);
    if (met instanceof HoldpointError) return refuse(deps, accepting, met);
    if (met) {
      header = met.header;
      continue;
    }
    if (isThere) return confirm(deps, accepting);
    const written = await putFresh(deps, { ref, run }, header, (thread) => thread);
    header = written.won ? written.stored : written.current;
  }
}

async function writeAppended(deps: Deps, { ref, run, entry }: Accepting, header: Header) {
  const now = deps.table.now();
  if (header && !header.value.deleted) {
    const labelled =
      header.value.lastEnd || isBusy(header.value) ? header.value : await withLabels(deps, header.value, labelsOf(run));
    return putWithMetadata(deps, appended(makingRoom(labelled, run), entry, now), header);
  }
  return putFresh(deps, { ref, run }, header, (thread) => appended(thread, entry, now));
}

/** A thread that was not there, or no more. */
async function putFresh(
  deps: Deps,
  { ref, run }: Pick<Accepting, "ref" | "run">,
  header: Header,
  change: (thread: Thread) => Thread,
) {
  const base = newThread(ref, { kind: "inline", value: {} }, deps.table.now());
  const fresh = { ...(header ? recreated(base, header.value) : base), priority: run.priority };
  const metadata = await deps.threads.keepMetadata(fresh, labelsOf(run), run.runId);
  return putWithMetadata(deps, change({ ...fresh, metadata }), header);
}

const labelsOf = (run: Run) => ({ graph_id: run.graphId, assistant_id: run.assistantId });

/** Clients find threads by the graph and assistant of their first run. */
async function withLabels(deps: Deps, thread: Thread, labels: Readonly<Record<string, string>>): Promise<Thread> {
  const metadata = { ...(await deps.threads.metadata(thread)), ...labels };
  return { ...thread, metadata: await deps.threads.keepMetadata(thread, metadata, deps.ids.token(8)) };
}

/** Why the thread does not take the run; or its header, after what stood in the way there was taken off it. */
async function obstacle(
  deps: Deps,
  accepting: Accepting,
  header: Header,
): Promise<HoldpointError | { readonly header: Stored<Thread> } | undefined> {
  const repaired = header && (await repairHeader(deps, header));
  if (repaired) return { header: repaired };
  const refusal = await reasonToRefuse(deps, accepting, header?.value);
  const roomier = header && refusal?.code === "limit" ? await makeRoom(deps, header) : undefined;
  return roomier ? { header: roomier } : refusal;
}

async function reasonToRefuse(
  deps: Deps,
  accepting: Accepting,
  thread: Thread | undefined,
): Promise<HoldpointError | undefined> {
  const { run, ref, createThread } = accepting;
  if ((thread?.generation ?? 0) !== run.generation) return threadNotFound(ref);
  if (!thread || thread.deleted) return createThread ? undefined : threadNotFound(ref);
  if (accepting.replay) return accepting.replay.obstacle(thread, run);
  const { queuePerThread } = deps.settings.limits;
  if (run.kind === "continuation") return reasonNoRoom(thread, accepting.entry, queuePerThread);
  return reasonNotToJoin(deps, accepting, thread);
}

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
