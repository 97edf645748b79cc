/**
 * What must follow a decision: a continuation in the header's queue (I11). Done by the decider at once, or by any
 * worker that finds the hold due; however often it is done, no second continuation is queued.
 *
 * The hold is read first, then the header, then the run item, and the append is conditional on that header.
 */
import { cancelledHold, continuationId, followedUp } from "../../core/hold.ts";
import type { Hold } from "../../core/hold.ts";
import type { HoldId, RunId } from "../../core/ids.ts";
import { pendingRun, refused } from "../../core/run.ts";
import type { Run } from "../../core/run.ts";
import { appended, nothingWaits } from "../../core/thread-changes.ts";
import { activeRunId } from "../../core/thread.ts";
import type { Thread } from "../../core/thread.ts";
import type { ThreadRef } from "../../storage/keys.ts";
import type { Stored } from "../../storage/records.ts";
import type { Deps } from "../deps.ts";

/** A continuation that no header names by then is one of who died before it was discarded. */
const ORPHAN_MS = 600_000;

/** Completes the follow-up of a hold, if it is still due. Returns the hold as it is then. */
export async function followUp(deps: Deps, ref: ThreadRef, hold: HoldId): Promise<Hold | undefined> {
  let name: RunId | undefined;
  let made: Run | undefined;
  let carriedBy: RunId | undefined;
  for (;;) {
    const stored = await deps.holds.get(ref, hold);
    if (!stored?.value.followUpDue) return stored?.value;
    const header = await deps.threads.get(ref);
    const alive = header && !header.value.deleted && header.value.generation === stored.value.generation;
    if (!alive) break;
    const step: Step =
      stored.value.state === "decided"
        ? await continueWith(deps, stored.value, header, name)
        : await correct(deps, header);
    made = step.made ?? made;
    if (step.kind === "done") {
      carriedBy = step.carriedBy;
      break;
    }
    name = step.name;
  }
  if (made && carriedBy !== undefined && made.runId !== carriedBy) await discard(deps, made);
  const after = await deps.holds.update(ref, hold, (current) =>
    current.followUpDue ? followedUp(current, carriedBy) : undefined,
  );
  return after?.value;
}

type Step = { readonly made?: Run } & (
  | { readonly kind: "done"; readonly carriedBy?: RunId }
  | { readonly kind: "again"; readonly name: RunId | undefined }
);

async function continueWith(deps: Deps, hold: Hold, header: Stored<Thread>, name: RunId | undefined): Promise<Step> {
  const queued = header.value.queue.find((entry) => entry.kind === "continuation");
  if (queued) return { kind: "done", carriedBy: queued.runId };
  const runId = name ?? hold.decision?.continuation;
  if (!runId) return { kind: "done" };
  const existing = await deps.runs.get(hold, runId);
  if (existing && existing.value.status !== "pending") {
    // It may have read its decisions before this one was made: the next one in the chain of names carries it on.
    return { kind: "again", name: continuationId(hold.holdId, runId) };
  }
  if (existing && activeRunId(header.value) === runId) return { kind: "done", carriedBy: runId };
  const made = existing ? undefined : await make(deps, await continuationOf(deps, hold, runId));

  const entry = { runId, kind: "continuation", pool: hold.pool, graphId: hold.graphId } as const;
  const written = await deps.threads.put(appended(header.value, entry, deps.table.now()), { version: header.version });
  if (!written.won) return { kind: "again", name, ...made };
  deps.hints.ready(hold, written.stored);
  return { kind: "done", carriedBy: runId, ...made };
}

async function make(deps: Deps, run: Run): Promise<{ readonly made?: Run }> {
  const written = await deps.runs.create(run);
  return written.won ? { made: run } : {};
}

/** Another decision's continuation, still to begin, carries this one's decision on: this one's own is not needed. */
async function discard(deps: Deps, made: Run): Promise<void> {
  const why = { name: "superseded", message: "another continuation carries the decision on" };
  await deps.runs.update(made, made.runId, (run) =>
    run.status === "pending" ? refused(run, why, deps.table.now()) : undefined,
  );
}

/** The continuation inherits root, assistant, configuration and stream settings of the run that it carries on. */
async function continuationOf(deps: Deps, hold: Hold, runId: RunId): Promise<Run> {
  const held = await deps.runs.get(hold, hold.runId);
  const payload = held ? await deps.runs.payload(held.value) : {};
  const { input: _input, command: _command, checkpoint, ...rest } = payload;
  const stillThere = checkpoint && checkpoint.checkpointId === held?.value.end?.checkpointId;
  const inherited = stillThere ? { ...rest, checkpoint } : rest;
  return pendingRun({
    tenant: hold.tenant,
    threadId: hold.threadId,
    runId,
    kind: "continuation",
    generation: hold.generation,
    root: hold.root,
    parent: hold.runId,
    assistantId: hold.assistantId,
    graphId: hold.graphId,
    ...(held?.value.graphVersion === undefined ? {} : { graphVersion: held.value.graphVersion }),
    pool: hold.pool,
    priority: held?.value.priority ?? 5,
    startedBy: hold.startedBy,
    stateless: held?.value.stateless ?? false,
    settings: held?.value.settings ?? {
      streamModes: [],
      streamSubgraphs: false,
      streamResumable: false,
      multitaskStrategy: "enqueue",
    },
    payload: inherited,
    followUpAt: deps.table.now() + ORPHAN_MS,
    createdAt: deps.table.now(),
  });
}

/** A hold was cancelled on the record: once none waits any more, the header must say so. */
async function correct(deps: Deps, header: Stored<Thread>): Promise<Step> {
  if (!header.value.waiting) return { kind: "done" };
  const holds = await deps.holds.ofThread(header.value, header.value.generation);
  const open = holds.some(({ value }) => value.state === "pending" || value.state === "decided");
  if (open) return { kind: "done" };
  const written = await deps.threads.put(nothingWaits(header.value, deps.table.now()), { version: header.version });
  if (!written.won) return { kind: "again", name: undefined };
  deps.hints.ready(header.value);
  return { kind: "done" };
}

/** What drops the plain interrupts of a thread: new input, or an update of its state. */
export interface Dropping extends ThreadRef {
  readonly generation: number;
  /** Fence of who moves the thread on: what a later holder raised is not its to drop (I2). */
  readonly fence: number;
  /** The run that brings the input: what it asks itself is not meant. */
  readonly runId?: RunId;
}

/**
 * Where plain interrupts wait, whoever moves the thread on first wins each of them as cancelled, on the record; they
 * stay due until the header's summary says so. Returns a hold that was decided before that: its continuation is queued
 * then, and goes first.
 */
export async function cancelPlainHolds(deps: Deps, dropping: Dropping, who: Who): Promise<Hold | undefined> {
  const { decided } = await cancelHolds(
    deps,
    dropping,
    who,
    (hold) => hold.origin === "interrupt" && hold.runId !== dropping.runId,
  );
  if (decided) await followUp(deps, decided, decided.holdId);
  return decided;
}

interface Who {
  readonly by: string;
  readonly reason: string;
}

/** Wins every waiting hold that is meant as cancelled, unless one of them is decided: then none, as far as can be. */
export async function cancelHolds(
  deps: Deps,
  dropping: Dropping,
  who: Who,
  isMeant: (hold: Hold) => boolean,
): Promise<{ readonly decided: Hold | undefined; readonly cancelled: readonly Hold[] }> {
  const all = (await deps.holds.ofThread(dropping, dropping.generation)).map(({ value }) => value);
  const holds = all.filter((hold) => hold.fence <= dropping.fence && isMeant(hold));
  let decided = holds.find((hold) => hold.state === "decided");
  const cancelled: Hold[] = [];
  for (const { holdId } of decided ? [] : holds.filter((hold) => hold.state === "pending")) {
    const at = { now: deps.table.now(), followUpDue: true };
    const after = await deps.holds.update(dropping, holdId, (hold) =>
      hold.state === "pending" && hold.fence <= dropping.fence && isMeant(hold)
        ? cancelledHold(hold, who.by, who.reason, at)
        : undefined,
    );
    if (after?.value.state === "decided") decided = after.value;
    if (after?.value.state === "cancelled") cancelled.push(after.value);
  }
  return { decided, cancelled };
}
