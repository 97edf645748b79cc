/**
 * One worker with one thread: claim, execute until the queue is empty or the thread has had its share, release. What
 * may be done is decided on the header's own version (I2); releasing is a function of the header as it is then (I11).
 */
import type { SaverHead } from "../../checkpoint/options.ts";
import { isHoldpointError } from "../../core/errors.ts";
import { struck } from "../../core/thread-changes.ts";
import type { HeadSeen } from "../../core/thread-changes.ts";
import { nextRunnable, threadDue } from "../../core/thread.ts";
import type { QueueEntry, Strikes, Thread } from "../../core/thread.ts";
import type { ThreadRef } from "../../storage/keys.ts";
import type { Stored } from "../../storage/records.ts";
import { deliver } from "./deliver.ts";
import type { Delivered, Delivery } from "./deliver.ts";
import type { ExecutionDeps } from "./execution.ts";
import { Lease } from "./lease.ts";
import type { ClaimOptions } from "./lease.ts";
import { readHead } from "../state-reader.ts";

/** A thread stays with one worker for this many runs, or this long, before it queues up again. */
const RUNS_PER_CLAIM = 10;
const CLAIM_MS = 30_000;
/** While the table is away, giving a lease up is tried again this often. */
const GIVE_UP_AGAIN_MS = 250;

/** A thread that this worker looks at or holds. */
export interface Holding {
  readonly ref: ThreadRef;
  readonly cancel: Map<string, AbortController>;
  /** Its own and not the worker's, since whatever a graph leaves on it lives as long as the signal does. */
  readonly abort: AbortController;
  /** It was offered again meanwhile: a wake-up is kept until the release (I11). */
  again: boolean;
}

export interface Advancing {
  readonly holding: Holding;
  /** The header, if somebody has just read or written it. */
  readonly seen: Stored<Thread> | undefined;
  /** The lease was seen to have run out, by this worker's own observation. */
  readonly hasExpired: boolean;
  /** Whether this worker may take the thread now; asked right before the claim, with the header and the strikes that it will say. */
  readonly admits: (thread: Thread) => boolean;
  /** Hears who had the thread first. */
  readonly lostTo: (worker: string) => void;
  /** Aborted when the worker drains. */
  readonly drain: AbortSignal;
}

/** Executes what may be executed on a thread. Resolves with the number of runs that were begun. */
export async function advance(host: ExecutionDeps, advancing: Advancing): Promise<number> {
  const { deps } = host;
  const { holding, hasExpired, admits } = advancing;
  const header = advancing.seen ?? (await deps.threads.get(holding.ref));
  if (!header || !mayClaim(deps.settings.pool, header.value, hasExpired)) return 0;
  const strikes = await strikesOf(deps, header.value);
  if (!admits({ ...header.value, ...(strikes === undefined ? {} : { strikes }) })) return 0;
  const lease = await claim(host, header, { ...(strikes === undefined ? {} : { strikes }), lostTo: advancing.lostTo });
  if (!lease) return 0;
  holding.again = false;
  lease.onHeader(({ active }) => {
    if (active?.kind === "run" && active.entry.stop) holding.cancel.get(active.entry.runId)?.abort();
  });
  try {
    return await runAll(host, { ...advancing, lease, wasActive: header.value.active !== undefined });
  } catch (error) {
    if (isHoldpointError(error, "unavailable")) await giveUp(host, lease, error);
    else throw error;
    return 1;
  } finally {
    await lease[Symbol.asyncDispose]();
  }
}

function mayClaim(pool: string, thread: Thread, hasExpired: boolean): boolean {
  const due = threadDue(thread);
  if (thread.deleted || !due || due.pool !== pool) return false;
  return due.kind === "ready" || (due.kind === "lease" && hasExpired);
}

async function claim(
  { deps }: ExecutionDeps,
  header: Stored<Thread>,
  options: ClaimOptions,
): Promise<Lease | undefined> {
  const lease = await Lease.claim(deps, header, options);
  if (!lease) {
    deps.log.debug({ thread: header.value.threadId }, "a claim was lost");
    return undefined;
  }
  const { active } = header.value;
  const takeover = active !== undefined;
  // Who sleeps or was drained has given its lease up.
  if (header.value.lease && active?.kind === "run") deps.telemetry.metrics.runTakenOver(active.entry.graphId);
  deps.log.debug({ thread: header.value.threadId, fence: lease.fence, takeover }, "thread claimed");
  return lease;
}

/** Only who takes a run over from a lost holder, or one that was lost before, pays for looking at the log. */
async function strikesOf(deps: ExecutionDeps["deps"], thread: Thread): Promise<Strikes | undefined> {
  if (thread.active?.kind !== "run" || (!thread.lease && !thread.strikes)) return undefined;
  const head = await readHead(deps, thread).catch(asUnreadable);
  const isProgress = head?.runId === thread.active.entry.runId && isResult(head);
  const seen: HeadSeen = { isProgress, ...(head === undefined ? {} : { checkpointId: head.checkpointId }) };
  return struck(thread, seen);
}

/** A superstep has ended. LangGraph writes two checkpoints before the first: the input, and the input applied. */
function isResult({ source, step, inputStep = -1 }: SaverHead): boolean {
  return source === "loop" && step > inputStep + 1;
}

/** A log that cannot be read shows no progress: who executes the run says why. */
function asUnreadable(error: unknown): undefined {
  if (isHoldpointError(error, "unavailable")) throw error;
}

type Held = Advancing & { readonly lease: Lease; readonly wasActive: boolean };

async function runAll(host: ExecutionDeps, held: Held): Promise<number> {
  const { clock, settings } = host.deps;
  const { lease, holding } = held;
  const startedAt = clock.monotonic();
  let first = !held.wasActive;
  for (let runs = 1; ; runs++) {
    const active = lease.thread.active;
    const entry = active?.kind === "run" ? active.entry : undefined;
    const delivered = entry && (await deliverEntry(host, held, { entry, first }));
    if (entry && delivered && (await isGivenUp(lease, entry, delivered))) return runs;
    const ended = delivered?.kind === "ended" ? delivered.run : undefined;
    const moved = delivered?.kind === "yielded" ? await lease.yieldToContinuation() : await lease.moveOn(active, ended);
    if (!moved) return runs;
    first = moved.first;
    const tired = runs >= RUNS_PER_CLAIM || clock.monotonic() - startedAt >= CLAIM_MS;
    const elsewhere = nextRunnable(moved.thread)?.pool !== settings.pool;
    if (tired || elsewhere || held.drain.aborted) {
      holding.again = true;
      await lease.release();
      return runs;
    }
  }
}

/** A delivery that does not move the thread on ends with the lease given up, or lost. */
async function isGivenUp(lease: Lease, entry: QueueEntry, delivered: Delivered): Promise<boolean> {
  switch (delivered.kind) {
    case "lost":
      return true;
    case "stopped":
      await lease.release();
      return true;
    case "asleep":
      await lease.suspend(entry, delivered.until);
      return true;
    case "yielded":
    case "ended":
      return false;
  }
}

async function deliverEntry(
  host: ExecutionDeps,
  { lease, holding, drain }: Held,
  { entry, first }: Pick<Delivery, "entry" | "first">,
): Promise<Delivered> {
  const cancel = new AbortController();
  const { runId } = entry;
  holding.cancel.set(runId, cancel);
  try {
    const { signal } = holding.abort;
    return await deliver(host, { lease, entry, first, cancel: cancel.signal, drain, abort: signal });
  } finally {
    holding.cancel.delete(runId);
  }
}

/** The table is away: as soon as it is back the thread is anybody's, without a lease's wait and without a strike. */
async function giveUp({ deps }: ExecutionDeps, lease: Lease, reason: unknown): Promise<void> {
  deps.log.warn({ thread: lease.thread.threadId, err: reason }, "the table was away in the middle of a run");
  while (!lease.lost.aborted) {
    try {
      return await lease.release();
    } catch (error) {
      if (!isHoldpointError(error, "unavailable")) throw error;
    }
    await deps.clock.sleep(GIVE_UP_AGAIN_MS, lease.lost);
  }
}
