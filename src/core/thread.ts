/**
 * The thread header, and what is read from it. The header's queue is the order of the thread's runs; being named by the
 * header is what makes a run exist for workers. How it changes is in `thread-changes.ts`.
 */
import type { RunId, TenantId, ThreadId } from "./ids.ts";
import type { JsonObject } from "./json.ts";
import type { RunKind, StopAction } from "./run.ts";

export interface QueueEntry {
  readonly runId: RunId;
  readonly kind: RunKind;
  readonly pool: string;
  readonly graphId: string;
  /** A later run takes its place: whoever holds the thread ends it so, even if nobody else comes to say it. */
  readonly stop?: StopAction;
}

/** Deliveries of the active run in a row that ended with their worker, and without a new checkpoint. */
export interface Strikes {
  readonly count: number;
  /** The head of the log at the last one. */
  readonly head?: string;
  /** Who held the thread then. */
  readonly owner: string;
}

/** So many in a row, and the run is parked; after two it is executed alone, to spare its neighbours. */
export const MAX_STRIKES = 5;
const SUSPECT_STRIKES = 2;

export function isSuspect({ strikes }: Pick<Thread, "strikes">): boolean {
  const count = strikes?.count ?? 0;
  return count >= SUSPECT_STRIKES && count < MAX_STRIKES;
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

/** What becomes of a thread that nobody uses: `keep_latest` leaves the latest checkpoint of each namespace. */
export interface ThreadTtl {
  readonly strategy: "delete" | "keep_latest";
  /** Counted from its last use: a run, an update, a change of its metadata. */
  readonly ms: number;
  /** It has become so, and the thread was not used since. */
  readonly done?: true;
}

export type ThreadMetadata =
  | { readonly kind: "inline"; readonly value: JsonObject }
  /** Encrypted, and opened by none but who asks for it: whoever moves a thread on needs no key. */
  | { readonly kind: "sealed"; readonly bytes: Uint8Array }
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
  /** Table time before which the active run does not go on: its run item is `waiting`. */
  readonly wakeAt?: number;
  readonly strikes?: Strikes;
  readonly queue: readonly QueueEntry[];
  readonly waiting?: Waiting;
  /** How its last ended run ended. */
  readonly lastEnd?: "success" | "held" | "error" | "cancelled";
  readonly priority: number;
  /** Table time at which it became ready: it only orders. */
  readonly readyAt: number;
  /** Inline when short; otherwise in the item of this id, which was written before the header that names it. */
  readonly metadata: ThreadMetadata;
  /** Absent: it is kept for ever. */
  readonly ttl?: ThreadTtl;
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
export type Due = {
  readonly kind: "ready" | "lease" | "timer" | "removal" | "expiry";
  readonly at: number;
  readonly pool: string;
};

/** Who deletes a thread has this long before a worker does it as well. */
const REMOVAL_MS = 60_000;

export function threadDue(thread: Thread): Due | undefined {
  const next = nextRunnable(thread);
  const pool = next?.pool ?? "default";
  if (thread.lease) return { kind: "lease", at: thread.lease.endsAt, pool };
  if (thread.wakeAt !== undefined) return { kind: "timer", at: thread.wakeAt, pool };
  if (next) return { kind: "ready", at: thread.readyAt, pool };
  if (thread.remnants) return { kind: "removal", at: thread.updatedAt + REMOVAL_MS, pool };
  const at = expiryOf(thread);
  return at === undefined || thread.ttl?.done ? undefined : { kind: "expiry", at, pool };
}

/** When the thread expires, by the table's time. What runs, or waits for a person's review, does not. */
export function expiryOf(thread: Thread): number | undefined {
  const { ttl, deleted, waiting, updatedAt } = thread;
  if (ttl === undefined || deleted || isBusy(thread) || (waiting?.reviews ?? 0) > 0) return undefined;
  return updatedAt + ttl.ms;
}

/** True for a thread that is there no more, although nobody has said so yet. */
export function isExpired(thread: Thread, now: number): boolean {
  const at = thread.ttl?.strategy === "delete" ? expiryOf(thread) : undefined;
  return at !== undefined && at <= now;
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

/** True while this owner holds the thread under this fence. */
export function holds(thread: Thread, owner: string, fence: number): boolean {
  return thread.fence === fence && thread.lease?.owner === owner;
}

/** Status of the thread as the LangGraph API names it. */
export function threadStatus(thread: Thread): "idle" | "busy" | "interrupted" | "error" {
  if (isBusy(thread) && nextRunnable(thread)) return "busy";
  if (thread.waiting) return "interrupted";
  return thread.lastEnd === "error" ? "error" : "idle";
}
