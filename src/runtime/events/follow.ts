/**
 * Reading along. Every frame a reader sees comes from the durable event log, so any process serves any reader and
 * one that returns misses nothing (I7). The run item is read before the frames: once it has ended, the frames read
 * after it are all there are.
 */
import { HoldpointError, errorInfo } from "../../core/errors.ts";
import type { NumberedFrame } from "../../core/event.ts";
import type { Json } from "../../core/json.ts";
import { limitReached } from "../../core/limits.ts";
import type { Principal } from "../../core/principal.ts";
import { isEnded } from "../../core/run.ts";
import type { Run } from "../../core/run.ts";
import type { RunId, ThreadId } from "../../core/ids.ts";
import type { Deps } from "../deps.ts";
import type { StateReader } from "../state-reader.ts";
import type { Followed, FollowRequest, RunResult } from "../runtime.ts";
import type { Tail, Tails } from "./tails.ts";

export interface FollowDeps {
  readonly deps: Deps;
  readonly tails: Tails;
  readonly states: StateReader;
}

/** @throws HoldpointError `not_found` also for a run that was refused or rolled back, or whose thread was deleted */
export async function findRun(deps: Deps, principal: Principal, threadId: ThreadId, runId: RunId): Promise<Run> {
  const run = await knownRun(deps, principal, { threadId, runId });
  if (run.rolledBack) throw new HoldpointError("not_found", "Run not found");
  return run;
}

/** Also one that was rolled back: who has been waiting for it gets an answer. */
async function knownRun(deps: Deps, principal: Principal, { threadId, runId }: Omit<WaitFor, "signal">): Promise<Run> {
  const ref = { tenant: principal.tenant, threadId };
  const [header, run] = await Promise.all([deps.threads.get(ref), deps.runs.get(ref, runId)]);
  const gone = !header || header.value.deleted || run?.value.generation !== header.value.generation;
  if (gone || !run || run.value.status === "refused") throw new HoldpointError("not_found", "Run not found");
  return run.value;
}

/** Frames of one run from a cursor on, then its end. Ends early, without an end, when the signal aborts. */
export async function* follow(host: FollowDeps, principal: Principal, request: FollowRequest): AsyncIterable<Followed> {
  const { deps, tails } = host;
  const { runId, signal } = request;
  const first = await knownRun(deps, principal, request);
  using tail = tails.open(first, "frames");
  let cursor = request.after === undefined ? (await deps.events.end(first, first.generation)).next : request.after + 1;
  // Its own reading: the tail tells of what changes from now on.
  let run = (await deps.runs.get(first, runId))?.value;
  while (!signal.aborted) {
    if (!run) throw new HoldpointError("not_found", "Run not found");
    if (run.firstEvent !== undefined) {
      cursor = Math.max(cursor, run.firstEvent);
      for await (const frame of framesFrom(tail, cursor, isEnded(run.status))) {
        if (signal.aborted) return;
        if (frame.number > cursor) yield { kind: "frame", frame: truncated(deps, frame.number) };
        cursor = frame.number + 1;
        if (frame.runId === runId) yield { kind: "frame", frame: await filled(host, run, frame) };
      }
    }
    if (isEnded(run.status)) {
      // Every delivery says something: where nothing is left of its first word, what followed has expired as well.
      if (run.firstEvent !== undefined && cursor === run.firstEvent)
        yield { kind: "frame", frame: truncated(deps, cursor) };
      yield { kind: "end", run };
      return;
    }
    await tail.next(signal);
    if (!signal.aborted) run = await tail.run();
  }
}

async function* framesFrom(tail: Tail, from: number, hasEnded: boolean): AsyncIterable<NumberedFrame> {
  let next = from;
  for (;;) {
    const page = await tail.read(next, hasEnded);
    yield* page.frames;
    const last = page.frames.at(-1);
    if (!page.more || !last) return;
    next = last.number + 1;
  }
}

/** What was said before this frame is not kept any more. */
function truncated({ settings }: Deps, from: number) {
  const { eventRetentionMs } = settings.limits;
  const said = limitReached("eventRetentionMs", "what the run said before this has expired", eventRetentionMs);
  return { number: Math.max(0, from - 1), event: "truncated", data: { ...said, from } };
}

/** References are filled in from the log, and large frames from their blobs. */
async function filled({ deps, states }: FollowDeps, run: Run, { number, frame }: NumberedFrame) {
  switch (frame.kind) {
    case "data":
      return { number, event: frame.event, data: frame.data };
    case "blob": {
      const bytes = await deps.blobs.get(run, frame.name);
      return { number, event: frame.event, data: JSON.parse(Buffer.from(bytes).toString("utf8")) as Json };
    }
    case "state":
      return {
        number,
        event: frame.event,
        data: await states.valuesAt(run, { ns: frame.ns, checkpointId: frame.checkpointId }),
      };
  }
}

export interface WaitFor {
  readonly threadId: ThreadId;
  readonly runId: RunId;
  readonly signal: AbortSignal;
}

/** Resolves once the run has ended. @throws the signal's reason when it aborts first */
export async function waitForRun(
  host: FollowDeps,
  principal: Principal,
  { threadId, runId, signal }: WaitFor,
): Promise<RunResult> {
  const first = await knownRun(host.deps, principal, { threadId, runId });
  using tail = host.tails.open(first, "end");
  let run: Run | undefined = first;
  // Also at first: the run may have ended between that reading and the moment from which the tail tells of changes.
  if (!isEnded(run.status)) run = (await host.deps.runs.get(first, runId))?.value;
  while (run && !isEnded(run.status)) {
    const written = await tail.next(signal);
    signal.throwIfAborted();
    run = written ?? (await tail.run());
  }
  if (!run) throw new HoldpointError("not_found", "Run not found");
  return await resultOf(host, run);
}

async function resultOf({ states }: FollowDeps, run: Run): Promise<RunResult> {
  const failed = run.status === "error" || run.status === "timeout" || run.status === "parked";
  if (failed) return { kind: "failed", run, error: run.error ?? errorInfo("the run failed") };
  const checkpointId = run.end?.checkpointId;
  const values = checkpointId === undefined ? {} : await states.valuesAt(run, { ns: "", checkpointId });
  if (run.end && run.end.interrupts.length > 0)
    return { kind: "interrupted", run, interrupts: run.end.interrupts, values };
  return { kind: "values", run, values };
}
