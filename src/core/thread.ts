/**
 * The thread header and every change of it, as functions from old to new.
 * The header's queue is the order of the thread's runs; being named by the header is what makes a run exist for
 * workers. Releasing is a function of the header as it is now, never of what a worker remembers (I11).
 */
import type { RunId, TenantId, ThreadId } from "./ids.ts";
import type { JsonObject } from "./json.ts";
import { isEnded } from "./run.ts";
import type { Run, RunKind } from "./run.ts";

export interface QueueEntry {
  readonly runId: RunId;
  readonly kind: RunKind;
  readonly pool: string;
}

/** Who may advance the thread now. `beat` changes with every heartbeat; the holder is dead when it stays the same. */
export interface Lease {
  readonly owner: string;
  readonly beat: number;
  /** Table time: only orders the `due` index. Whether a lease has run out is each worker's own observation. */
  readonly endsAt: number;
}

/** What the holder of the lease is doing: a run, or an update of the state by the API. */
export type Active = { readonly kind: "run"; readonly entry: QueueEntry } | { readonly kind: "update" };

/** Short summary of the holds that a held run left; they themselves are items of their own. */
export interface Waiting {
  readonly runId: RunId;
  readonly reviews: number;
  readonly plain: number;
}

export type ThreadMetadata =
  | { readonly kind: "inline"; readonly value: JsonObject }
  | { readonly kind: "item"; readonly id: string };

export interface Thread {
  readonly tenant: TenantId;
  readonly threadId: ThreadId;
  /** Raised by deletion, so that a late writer of the old one writes where nobody reads. */
  readonly generation: number;
  readonly deleted: boolean;
  /** What generations before this one kept is still to be removed (I11); also on a thread that was created again meanwhile. */
  readonly remnants?: true;
  /** The fence given out last (I2). */
  readonly fence: number;
  readonly lease?: Lease;
  readonly active?: Active;
  readonly queue: readonly QueueEntry[];
  readonly waiting?: Waiting;
  /** How its last ended run ended. */
  readonly lastEnd?: "success" | "held" | "error" | "cancelled";
  readonly priority: number;
  /** Table time at which it became ready: it only orders. */
  readonly readyAt: number;
  /** Inline when short; otherwise in the item of this id, which was written before the header that names it. */
  readonly metadata: ThreadMetadata;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** A thread that nobody has used yet. */
export function newThread(
  id: { readonly tenant: TenantId; readonly threadId: ThreadId },
  metadata: ThreadMetadata,
  now: number,
): Thread {
  return {
    ...id,
    generation: 0,
    deleted: false,
    fence: 0,
    queue: [],
    priority: 5,
    readyAt: now,
    metadata,
    createdAt: now,
    updatedAt: now,
  };
}

/**
 * The run that a worker would execute next. While anything waits, a continuation goes first, since new input would
 * drop what it answers; while reviews wait, nothing else may run at all.
 */
export function nextRunnable(thread: Thread): QueueEntry | undefined {
  if (thread.active?.kind === "run") return thread.active.entry;
  const continuation = thread.waiting && thread.queue.find((entry) => entry.kind === "continuation");
  return continuation ?? (thread.waiting && thread.waiting.reviews > 0 ? undefined : thread.queue[0]);
}

/** Where the thread stands in the `due` index; undefined when no worker has to look at it. */
export type Due = { readonly kind: "ready" | "lease" | "removal"; readonly at: number; readonly pool: string };

/** Who deletes a thread has this long before a worker does it as well. */
const REMOVAL_MS = 60_000;

export function threadDue(thread: Thread): Due | undefined {
  const next = nextRunnable(thread);
  const pool = next?.pool ?? "default";
  if (thread.lease) return { kind: "lease", at: thread.lease.endsAt, pool };
  if (next) return { kind: "ready", at: thread.readyAt, pool };
  return thread.remnants ? { kind: "removal", at: thread.updatedAt + REMOVAL_MS, pool } : undefined;
}

export function names(thread: Thread, runId: RunId): boolean {
  return activeRunId(thread) === runId || thread.queue.some((entry) => entry.runId === runId);
}

export function activeRunId(thread: Thread): RunId | undefined {
  return thread.active?.kind === "run" ? thread.active.entry.runId : undefined;
}

export function isBusy(thread: Thread): boolean {
  return thread.active !== undefined || thread.queue.length > 0;
}

/** The commit point of accepting a run. */
export function appended(thread: Thread, entry: QueueEntry, now: number): Thread {
  const due = threadDue(thread);
  const ready = due === undefined || due.kind === "removal" ? { readyAt: now } : {};
  return { ...thread, ...ready, queue: [...thread.queue, entry], updatedAt: now };
}

export interface Claim {
  readonly owner: string;
  readonly leaseMs: number;
  readonly now: number;
}

/** A worker takes the thread: fence + 1, and the next runnable run becomes the active one. */
export function claimed(thread: Thread, claim: Claim): Thread {
  const taken: Thread = { ...thread, fence: thread.fence + 1, lease: leaseOf(claim, 0), updatedAt: claim.now };
  return taken.active ? taken : activated(taken);
}

/** The API takes the thread to update its state; only an idle thread may be taken so. */
export function claimedForUpdate(thread: Thread, claim: Claim): Thread {
  return {
    ...thread,
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

/** True while this owner holds the thread under this fence. */
export function holds(thread: Thread, owner: string, fence: number): boolean {
  return thread.fence === fence && thread.lease?.owner === owner;
}

/**
 * Moves past the active run once it has ended, sets the summary of what waits, and makes the next runnable run the
 * active one. Pure in header and run item, so that anyone who finds an ended run at the front may apply it, and
 * applying it twice is applying it once. `undefined` stands for a run item that is gone.
 * The lease is the caller's business: see `released`.
 */
export function movedOn(thread: Thread, activeRun: Run | undefined, now: number): Thread {
  if (activeRun && (activeRunId(thread) !== activeRun.runId || !isEnded(activeRun.status))) return thread;
  const { active: _, ...idle } = thread;
  const settled = activeRun ? withEnd(idle, activeRun) : idle;
  const next = activated({ ...settled, updatedAt: now });
  return next.lease === undefined && threadDue(next) ? { ...next, readyAt: now } : next;
}

function withEnd(thread: Thread, run: Run): Thread {
  const { waiting: before, ...rest } = thread;
  const after = run.end?.waiting ?? "unchanged";
  const raisedBy = run.status === "held" ? run.runId : (before?.runId ?? run.runId);
  const waiting =
    after === "unchanged" ? before : after.reviews + after.plain > 0 ? { runId: raisedBy, ...after } : undefined;
  return { ...rest, ...(waiting === undefined ? {} : { waiting }), ...lastEnd(run.status) };
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
  const { active, ...rest } = thread;
  return activated({ ...rest, queue: [active.entry, ...thread.queue], updatedAt: now });
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
 * Deletes the thread: a later writer of this generation writes where nobody reads, and what it kept is to be removed.
 * Its numbers go on if it is created again.
 */
export function tombstone(thread: Thread, now: number): Thread {
  const { lease: _lease, active: _active, waiting: _waiting, lastEnd: _lastEnd, ...rest } = thread;
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

/** A thread created again in the place of a deleted one. */
export function recreated(fresh: Thread, { generation, fence, remnants }: Thread): Thread {
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

/** Status of the thread as the LangGraph API names it. */
export function threadStatus(thread: Thread): "idle" | "busy" | "interrupted" | "error" {
  if (isBusy(thread) && nextRunnable(thread)) return "busy";
  if (thread.waiting) return "interrupted";
  return thread.lastEnd === "error" ? "error" : "idle";
}
