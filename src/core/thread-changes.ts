/**
 * Every change of a thread's header, as functions from old to new. Releasing is a function of the header as it is now,
 * never of what a worker remembers (I11).
 */
import { HoldpointError } from "./errors.ts";
import type { RunId } from "./ids.ts";
import { isEnded } from "./run.ts";
import type { Run, StopAction } from "./run.ts";
import { activeRunId, nextRunnable, threadDue } from "./thread.ts";
import type { Lease, QueueEntry, Strikes, Thread, ThreadTtl, Waiting } from "./thread.ts";

/** The commit point of accepting a run. */
export function appended(thread: Thread, entry: QueueEntry, now: number): Thread {
  const due = threadDue(thread);
  const isIdle = due === undefined || due.kind === "removal" || due.kind === "expiry";
  const ready = isIdle ? { readyAt: now } : {};
  return { ...used(thread), ...ready, queue: [...thread.queue, entry], updatedAt: now };
}

export interface Claim {
  readonly owner: string;
  readonly leaseMs: number;
  readonly now: number;
}

/**
 * A worker takes the thread: fence + 1, and the next runnable run becomes the active one. `strikes`: of an active run
 * whose holder was lost, see `struck`.
 */
export function claimed(thread: Thread, claim: Claim, strikes?: Strikes): Thread {
  const { wakeAt: _, ...rest } = used(thread);
  const taken: Thread = {
    ...rest,
    fence: thread.fence + 1,
    lease: leaseOf(claim, 0),
    ...(strikes === undefined ? {} : { strikes }),
    updatedAt: claim.now,
  };
  return taken.active ? taken : activated(taken);
}

/** The newest checkpoint of a thread, as far as poison is concerned. */
export interface HeadSeen {
  readonly checkpointId?: string;
  /** It is the result of a superstep of the active run, and not only of its input. */
  readonly isProgress: boolean;
}

/**
 * What a claim says of the run that it finds active: if that was taken from its holder, one delivery more that ended so;
 * none at all once there is a checkpoint that was not there at the last one.
 */
export function struck(thread: Thread, head: HeadSeen): Strikes | undefined {
  const { lease, strikes: before } = thread;
  const owner = lease?.owner ?? before?.owner;
  if (thread.active?.kind !== "run" || owner === undefined) return before;
  const hasMoved = head.isProgress && head.checkpointId !== before?.head;
  const count = (before?.count ?? 0) + (lease ? 1 : 0);
  return {
    count: hasMoved ? 0 : count,
    owner,
    ...(head.checkpointId === undefined ? {} : { head: head.checkpointId }),
  };
}

/** The API takes the thread to update its state; only an idle thread may be taken so. */
export function claimedForUpdate(thread: Thread, claim: Claim): Thread {
  return {
    ...used(thread),
    fence: thread.fence + 1,
    lease: leaseOf(claim, 0),
    active: { kind: "update" },
    updatedAt: claim.now,
  };
}

export function heartbeat(thread: Thread, claim: Claim): Thread {
  return { ...thread, lease: leaseOf(claim, (thread.lease?.beat ?? 0) + 1) };
}

function leaseOf(claim: Claim, beat: number): Lease {
  return { owner: claim.owner, beat, endsAt: claim.now + claim.leaseMs };
}

/**
 * Moves past the active run once it has ended, sets the summary of what waits, and makes the next runnable run the
 * active one. Pure in header and run item, so that anyone who finds an ended run at the front may apply it, and
 * applying it twice is applying it once. `undefined` stands for a run item that is gone.
 * The lease is the caller's business: see `released`.
 */
export function movedOn(thread: Thread, activeRun: Run | undefined, now: number): Thread {
  if (activeRun && (activeRunId(thread) !== activeRun.runId || !isEnded(activeRun.status))) return thread;
  const { active: _active, wakeAt: _wakeAt, strikes: _strikes, ...idle } = thread;
  const settled = activeRun ? withEnd(idle, activeRun) : idle;
  const next = activated({ ...settled, updatedAt: now });
  return next.lease === undefined && threadDue(next) ? { ...next, readyAt: now } : next;
}

function withEnd(thread: Thread, run: Run): Thread {
  const { waiting: before, ...rest } = thread;
  const after = run.end?.waiting ?? "unchanged";
  const waiting = after === "unchanged" ? before : waitingAfter(run, after, before);
  return { ...rest, ...(waiting === undefined ? {} : { waiting }), ...lastEnd(run.status) };
}

/**
 * Only a held run makes a thread wait. Any other one says what of that is left as it saw it, and if the header knows by
 * now that nothing waits, the rest was cancelled since.
 */
function waitingAfter(
  { status, runId }: Run,
  after: Omit<Waiting, "runId">,
  before: Waiting | undefined,
): Waiting | undefined {
  if (after.reviews + after.plain === 0) return undefined;
  if (status === "held") return { runId, ...after };
  return before && { runId: before.runId, ...after };
}

function lastEnd(status: Run["status"]): Pick<Thread, "lastEnd"> {
  switch (status) {
    case "success":
    case "held":
    case "cancelled":
      return { lastEnd: status };
    case "error":
    case "timeout":
    case "parked":
      return { lastEnd: "error" };
    case "pending":
    case "running":
    case "waiting":
    case "refused":
      return {};
  }
}

/** Puts the active run back to the front of the queue, for the continuation of a decision that came before it. */
export function yielded(thread: Thread, now: number): Thread {
  if (thread.active?.kind !== "run") return thread;
  const { active, strikes: _, ...rest } = thread;
  return activated({ ...rest, queue: [active.entry, ...thread.queue], updatedAt: now });
}

/** Without the runs that have ended before the queue came to them. */
export function withoutQueued(thread: Thread, ended: ReadonlySet<RunId>, now: number): Thread {
  return { ...thread, queue: thread.queue.filter(({ runId }) => !ended.has(runId)), updatedAt: now };
}

/** Takes the next runnable run out of the queue and makes it the active one. */
function activated(thread: Thread): Thread {
  const entry = nextRunnable(thread);
  if (!entry) return thread;
  return {
    ...thread,
    active: { kind: "run", entry },
    queue: thread.queue.filter((other) => other.runId !== entry.runId),
  };
}

/** Gives the lease up. A run that is active stays so and is found again by the thread's ready row. */
export function released(thread: Thread, now: number): Thread {
  const { lease: _, ...free } = thread;
  return { ...free, readyAt: now, updatedAt: now };
}

/**
 * Gives the lease up and lets this run sleep until `wakeAt`, by the table's time; unless the header has moved past it, or
 * it is to stop, and its delivery did not know.
 */
export function suspended(thread: Thread, sleeper: QueueEntry, wakeAt: number, now: number): Thread {
  const { active } = thread;
  const isAsBefore =
    active?.kind === "run" && active.entry.runId === sleeper.runId && active.entry.stop === sleeper.stop;
  return isAsBefore ? { ...released(thread, now), wakeAt } : released(thread, now);
}

/** The time of a sleeping run has come. */
export function woken(thread: Thread, now: number): Thread {
  const { wakeAt: _, ...rest } = thread;
  return { ...rest, readyAt: now, updatedAt: now };
}

/**
 * Every run that has been accepted with input so far is to stop, in favour of one that is about to be appended. One that
 * sleeps does so no longer: its place is to be given up now.
 */
export function stopping(thread: Thread, action: StopAction): Thread {
  const stopped = (entry: QueueEntry): QueueEntry =>
    entry.kind === "input" && entry.stop === undefined ? { ...entry, stop: action } : entry;
  const { wakeAt: _, ...awake } = thread;
  const { active } = awake;
  return {
    ...awake,
    ...(active?.kind === "run"
      ? { active: { kind: "run", entry: { ...active.entry, stop: active.entry.stop ?? action } } }
      : {}),
    queue: thread.queue.map(stopped),
  };
}

/**
 * Deletes the thread: a later writer of this generation writes where nobody reads, and what it kept is to be removed.
 * Its numbers go on if it is created again.
 */
export function tombstone(thread: Thread, now: number): Thread {
  const {
    lease: _lease,
    active: _active,
    wakeAt: _wakeAt,
    strikes: _strikes,
    waiting: _waiting,
    lastEnd: _lastEnd,
    ttl: _ttl,
    copyingUntil: _copyingUntil,
    ...rest
  } = thread;
  return {
    ...rest,
    generation: thread.generation + 1,
    fence: thread.fence + 1,
    deleted: true,
    remnants: true,
    queue: [],
    // The name of an item stays until that has been removed.
    metadata: thread.metadata.kind === "item" ? thread.metadata : { kind: "inline", value: {} },
    updatedAt: now,
  };
}

/** The thread lives from now on as long as is said, or as before. */
export function withTtl(thread: Thread, ttl: ThreadTtl | undefined, now: number): Thread {
  return { ...used(thread), ...(ttl === undefined ? {} : { ttl }), updatedAt: now };
}

/** What its time to live asks for begins anew. */
function used(thread: Thread): Thread {
  if (thread.ttl?.done === undefined) return thread;
  const { done: _, ...ttl } = thread.ttl;
  return { ...thread, ttl };
}

/** What its time to live asked for has been done, which was no use of it. */
export function settledTtl(thread: Thread, updatedAt: number): Thread {
  return thread.ttl === undefined ? thread : { ...thread, ttl: { ...thread.ttl, done: true }, updatedAt };
}

/** A thread created again in the place of a deleted one. @throws HoldpointError `conflict` where one is being copied to */
export function recreated(fresh: Thread, { generation, fence, remnants, copyingUntil }: Thread): Thread {
  if (copyingUntil !== undefined)
    throw new HoldpointError("conflict", `thread ${fresh.threadId} is being made as a copy of another`);
  return { ...fresh, generation, fence, ...(remnants === undefined ? {} : { remnants }) };
}

/** Everything that older generations kept has been removed. */
export function cleared(thread: Thread): Thread {
  const { remnants: _, ...rest } = thread;
  return thread.deleted ? { ...rest, metadata: { kind: "inline", value: {} } } : rest;
}

/** No review waits any more (they were cancelled on the record). */
export function nothingWaits(thread: Thread, now: number): Thread {
  const { waiting: _, ...rest } = thread;
  return { ...rest, readyAt: now, updatedAt: now };
}
