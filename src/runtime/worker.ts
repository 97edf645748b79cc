/**
 * A worker finds due threads, claims them with one conditional write each and advances them. The `due` index and the
 * in-process hints only say where to look: what may be done is decided on the header's own version (I2).
 * A wake-up for a thread that this process is just releasing is kept until the release (I11).
 */
import { holdId, runId } from "../core/ids.ts";
import { threadDue } from "../core/thread.ts";
import type { Thread } from "../core/thread.ts";
import { threadKeys } from "../storage/keys.ts";
import type { ThreadRef } from "../storage/keys.ts";
import type { Stored } from "../storage/records.ts";
import { deliver } from "./deliver.ts";
import type { Delivered } from "./deliver.ts";
import { eachRow, futureRows, readyRows } from "./due-rows.ts";
import type { ExecutionDeps } from "./execution.ts";
import { followUp } from "./follow-up.ts";
import { LeaseWatch } from "./lease-watch.ts";
import { Lease } from "./lease.ts";
import { sweepRun, sweepThread } from "./sweep.ts";

export interface WorkerOptions extends ExecutionDeps {
  /** True only when the process that owns a lease is certainly gone. */
  readonly isKnownDead: (owner: string) => boolean;
}

export interface Worker extends AsyncDisposable {
  start(): void;
  /** Stops picking, lets running graphs stop at their next superstep, gives every lease up. */
  drain(): Promise<void>;
  /** Number of threads it is advancing now. */
  readonly busy: number;
}

/** A thread stays with one worker for this many runs, or this long, before it queues up again. */
const RUNS_PER_CLAIM = 10;
const CLAIM_MS = 30_000;
/** From SIGTERM on: what has not stopped by then is aborted. */
const DRAIN_MS = 75_000;
/** A lease is looked for this much beyond its length, by who has not the same time as its holder. */
const CLOCKS_DIFFER_MS = 900_000;
const CHANGED_POLL_MS = { busy: 10, idle: 50 } as const;
const REMOTE_POLL_MS = { busy: 50, idle: 1000 } as const;
const CANCEL_POLL_MS = 1000;

interface Holding {
  readonly ref: ThreadRef;
  readonly cancel: Map<string, AbortController>;
  /** Its own and not the worker's, since whatever a graph leaves on it lives as long as the signal does. */
  readonly abort: AbortController;
  again: boolean;
}

export function createWorker(options: WorkerOptions): Worker {
  return new PollingWorker(options);
}

class PollingWorker implements Worker {
  readonly #options: WorkerOptions;
  readonly #holding = new Map<string, Holding>();
  readonly #advancing = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  readonly #drain = new AbortController();
  readonly #released = new AbortController();
  readonly #watch: LeaseWatch;
  readonly #subscriptions = new DisposableStack();
  #wake = new AbortController();
  #backlog = false;
  #loops: Promise<unknown> = Promise.resolve();
  #lastFound: number;

  constructor(options: WorkerOptions) {
    this.#options = options;
    const { clock, settings } = options.deps;
    this.#watch = new LeaseWatch({ clock, leaseMs: settings.leaseMs, isKnownDead: options.isKnownDead });
    this.#lastFound = clock.monotonic();
  }

  get busy(): number {
    return this.#holding.size;
  }

  start(): void {
    const { hints } = this.#options.deps;
    this.#subscriptions.use(hints.onReady((ref, header) => this.#offer(ref, header)));
    this.#subscriptions.use(hints.onCancelled((ref) => void this.#checkCancels(ref)));
    this.#loops = Promise.all([this.#pollReady(), this.#pollLeases(), this.#pollSweeps(), this.#pollCancels()]);
  }

  async drain(): Promise<void> {
    this.#stop.abort();
    this.#wake.abort();
    this.#subscriptions.dispose();
    this.#drain.abort();
    const done = new AbortController();
    void this.#options.deps.clock.sleep(DRAIN_MS, done.signal).then(() => {
      if (!done.signal.aborted) this.#abortAll();
    });
    await Promise.all(this.#advancing);
    done.abort();
    this.#released.abort();
    await this.#loops;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#abortAll();
    await this.drain();
  }

  #abortAll(): void {
    for (const { abort } of this.#holding.values()) abort.abort();
  }

  /** Looks at a thread, unless every slot is taken; the poll comes back to it. */
  #offer(ref: ThreadRef, header?: Stored<Thread>, lease: "held" | "expired" = "held"): void {
    if (this.#stop.signal.aborted) return;
    const name = `${ref.tenant} ${ref.threadId}`;
    const held = this.#holding.get(name);
    if (held) {
      held.again = true;
      return;
    }
    if (this.#holding.size >= this.#options.deps.settings.concurrency) {
      this.#backlog = true;
      return;
    }
    const holding: Holding = { ref, cancel: new Map(), abort: new AbortController(), again: false };
    this.#holding.set(name, holding);
    const advancing = this.#advance(holding, header, lease)
      .catch((error: unknown) => this.#report(ref, error))
      .finally(() => {
        this.#holding.delete(name);
        this.#advancing.delete(advancing);
        if (holding.again) this.#offer(ref);
        if (this.#backlog) this.#wakeUp();
      });
    this.#advancing.add(advancing);
  }

  #report(ref: ThreadRef, error: unknown): void {
    this.#options.deps.log.error({ thread: ref.threadId, err: error }, "a thread could not be advanced; it stays due");
  }

  async #advance(holding: Holding, seen: Stored<Thread> | undefined, expiry: "held" | "expired"): Promise<void> {
    const { deps } = this.#options;
    const header = seen ?? (await deps.threads.get(holding.ref));
    if (!header || !this.#mayClaim(header.value, expiry)) return;
    const wasActive = header.value.active !== undefined;
    const lease = await Lease.claim(deps, header);
    if (!lease) return;
    holding.again = false;
    deps.log.debug({ thread: holding.ref.threadId, fence: lease.fence, takeover: wasActive }, "thread claimed");
    try {
      await this.#runAll(holding, lease, !wasActive);
    } finally {
      await lease[Symbol.asyncDispose]();
    }
  }

  /** `expired`: the lease was seen to have run out, by this worker's own observation. */
  #mayClaim(thread: Thread, lease: "held" | "expired"): boolean {
    const due = threadDue(thread);
    if (thread.deleted || !due || due.pool !== this.#options.deps.settings.pool) return false;
    return due.kind === "ready" || lease === "expired";
  }

  async #runAll(holding: Holding, lease: Lease, firstDelivery: boolean): Promise<void> {
    const { clock, settings } = this.#options.deps;
    const startedAt = clock.monotonic();
    let first = firstDelivery;
    for (let runs = 1; ; runs++) {
      const active = lease.thread.active;
      const delivered = active?.kind === "run" ? await this.#deliver(holding, lease, first) : undefined;
      if (delivered?.kind === "lost") return;
      if (delivered?.kind === "stopped") return lease.release();
      const moved =
        delivered?.kind === "yielded" ? await lease.yieldToContinuation() : await lease.moveOn(active, delivered?.run);
      if (!moved) return;
      first = moved.first;
      const tired = runs >= RUNS_PER_CLAIM || clock.monotonic() - startedAt >= CLAIM_MS;
      const elsewhere = moved.thread.active?.kind === "run" && moved.thread.active.entry.pool !== settings.pool;
      if (tired || elsewhere || this.#stop.signal.aborted) {
        holding.again = true;
        return lease.release();
      }
    }
  }

  async #deliver(holding: Holding, lease: Lease, first: boolean): Promise<Delivered> {
    const active = lease.thread.active;
    if (active?.kind !== "run") return { kind: "stopped" };
    const cancel = new AbortController();
    holding.cancel.set(active.entry.runId, cancel);
    try {
      return await deliver(this.#options, {
        lease,
        entry: active.entry,
        first,
        cancel: cancel.signal,
        drain: this.#drain.signal,
        abort: holding.abort.signal,
      });
    } finally {
      holding.cancel.delete(active.entry.runId);
    }
  }

  #wakeUp(): void {
    this.#wake.abort();
  }

  async #pollReady(): Promise<void> {
    const { table, clock, log } = this.#options.deps;
    let lastRead = -Infinity;
    let seen: number | undefined;
    while (!this.#stop.signal.aborted) {
      const woken = this.#wake.signal.aborted;
      if (woken) this.#wake = new AbortController();
      const stale = clock.monotonic() - lastRead >= REMOTE_POLL_MS.idle;
      const changes = table.changes?.();
      if (woken || stale || changes === undefined || changes !== seen) {
        seen = changes;
        lastRead = clock.monotonic();
        await this.#readReady().catch((error: unknown) => log.warn({ err: error }, "the due index could not be read"));
      }
      await clock.sleep(this.#pause(), this.#wake.signal);
    }
  }

  #pause(): number {
    const { table, clock, ids } = this.#options.deps;
    const busy = this.#holding.size > 0 || clock.monotonic() - this.#lastFound < 1000;
    if (table.changes) return busy ? CHANGED_POLL_MS.busy : CHANGED_POLL_MS.idle;
    if (busy) return REMOTE_POLL_MS.busy;
    const quiet = clock.monotonic() - this.#lastFound;
    const jitter = 0.75 + Number.parseInt(ids.token(1), 16) / 512;
    return Math.min(REMOTE_POLL_MS.idle, REMOTE_POLL_MS.busy + quiet / 20) * jitter;
  }

  async #readReady(): Promise<void> {
    const { deps } = this.#options;
    this.#backlog = false;
    const rows = await readyRows(deps);
    if (rows.length > 0) this.#lastFound = deps.clock.monotonic();
    for (const { ref, sk } of rows) if (sk === "H") this.#offer(ref);
    const holds = rows.filter(({ sk }) => sk.startsWith(threadKeys.holdPrefix));
    await eachRow(deps, holds, ({ ref, sk }) => followUp(deps, ref, holdId(sk.slice(threadKeys.holdPrefix.length))));
  }

  /** Leases are watched from before they run out, so that recovery takes about one. */
  async #pollLeases(): Promise<void> {
    const { clock, settings, log } = this.#options.deps;
    while (!this.#stop.signal.aborted) {
      await this.#readLeases().catch((error: unknown) => log.warn({ err: error }, "leases could not be read"));
      await clock.sleep(settings.leaseMs / 3, this.#stop.signal);
    }
  }

  async #readLeases(): Promise<void> {
    const { deps } = this.#options;
    const rows = await futureRows(deps, 2 * deps.settings.leaseMs + CLOCKS_DIFFER_MS);
    const leases = rows.filter(({ sk }) => sk === "H");
    const seen: Stored<Thread>[] = [];
    await eachRow(deps, leases, async ({ ref }) => {
      const stored = await deps.threads.get(ref);
      if (stored) seen.push(stored);
    });
    for (const stored of this.#watch.observe(seen)) this.#offer(stored.value, stored, "expired");
  }

  /** Apart from the leases, since deleting many threads takes longer than those of a dead worker may wait. */
  async #pollSweeps(): Promise<void> {
    const { clock, settings, log } = this.#options.deps;
    while (!this.#stop.signal.aborted) {
      await this.#sweep().catch((error: unknown) => log.warn({ err: error }, "follow-ups could not be read"));
      await clock.sleep(settings.leaseMs / 3, this.#stop.signal);
    }
  }

  async #sweep(): Promise<void> {
    const { deps } = this.#options;
    await eachRow(deps, await futureRows(deps, 0), async ({ ref, sk }) => {
      if (this.#stop.signal.aborted) return;
      if (sk === "H") await sweepThread(deps, ref);
      else if (sk.startsWith(threadKeys.runPrefix))
        await sweepRun(deps, ref, runId(sk.slice(threadKeys.runPrefix.length)));
    });
  }

  async #pollCancels(): Promise<void> {
    const { clock } = this.#options.deps;
    while (!this.#stop.signal.aborted || this.#holding.size > 0) {
      await clock.sleep(CANCEL_POLL_MS, this.#holding.size > 0 ? this.#released.signal : this.#stop.signal);
      await this.#checkCancels();
    }
  }

  /** One batch read of the active runs: was any of them asked to stop? It never rejects: the next look is a second away. */
  async #checkCancels(only?: ThreadRef): Promise<void> {
    const { runs, log } = this.#options.deps;
    const watched = [...this.#holding.values()]
      .filter((holding) => !only || holding.ref.threadId === only.threadId)
      .flatMap((holding) =>
        [...holding.cancel].map(([run, controller]) => ({ ref: holding.ref, run: runId(run), controller })),
      );
    if (watched.length === 0) return;
    try {
      const found = await runs.getMany(watched.map(({ ref, run }) => ({ ...ref, runId: run })));
      const asked = new Set(found.filter(({ value }) => value.cancelAsked).map(({ value }) => value.runId));
      for (const { run, controller } of watched)
        if (asked.has(run)) controller.abort(new Error("the run was cancelled"));
    } catch (error) {
      log.warn({ err: error }, "cancels could not be read");
    }
  }
}
