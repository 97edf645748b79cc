/**
 * A worker finds due threads, claims them with one conditional write each and advances them. The `due` index and the
 * in-process hints only say where to look: what may be done is decided on the header's own version (I2).
 * A wake-up for a thread that this process is just releasing is kept until the release (I11).
 */
import { holdId, runId, tenantId, threadId } from "../core/ids.ts";
import { threadDue } from "../core/thread.ts";
import type { Thread } from "../core/thread.ts";
import { FUTURE_PREFIX, READY_PREFIX, dueShard, futureDueAt, parseThreadPartition } from "../storage/keys.ts";
import type { ThreadRef } from "../storage/keys.ts";
import type { Stored } from "../storage/records.ts";
import type { IndexRow } from "../storage/table.ts";
import { deliver } from "./deliver.ts";
import type { Delivered } from "./deliver.ts";
import type { ExecutionDeps } from "./execution.ts";
import { followUp } from "./follow-up.ts";
import { LeaseWatch } from "./lease-watch.ts";
import { Lease } from "./lease.ts";
import { sweepRun } from "./sweep.ts";

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
const READY_ROWS = 64;
const FUTURE_ROWS = 500;
const CHANGED_POLL_MS = { busy: 10, idle: 50 } as const;
const REMOTE_POLL_MS = { busy: 50, idle: 1000 } as const;
const CANCEL_POLL_MS = 1000;

interface Holding {
  readonly ref: ThreadRef;
  readonly cancel: Map<string, AbortController>;
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
  readonly #abort = new AbortController();
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
    this.#loops = Promise.all([this.#pollReady(), this.#pollFuture(), this.#pollCancels()]);
  }

  async drain(): Promise<void> {
    this.#stop.abort();
    this.#wake.abort();
    this.#subscriptions.dispose();
    this.#drain.abort();
    const done = new AbortController();
    void this.#options.deps.clock.sleep(DRAIN_MS, done.signal).then(() => {
      if (!done.signal.aborted) this.#abort.abort();
    });
    await Promise.all(this.#advancing);
    done.abort();
    await this.#loops;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.drain();
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
    const holding: Holding = { ref, cancel: new Map(), again: false };
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
      const moved = delivered?.kind === "yielded" ? await lease.yieldToContinuation() : await lease.moveOn(active, delivered?.run);
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
        abort: this.#abort.signal,
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
    const pages = await Promise.all(
      this.#shards().map((pk) => deps.table.queryIndex("due", pk, { prefix: READY_PREFIX, limit: READY_ROWS })),
    );
    const rows = pages.flatMap((page) => page.items).toSorted((a, b) => readyAt(a) - readyAt(b));
    if (rows.length > 0) this.#lastFound = deps.clock.monotonic();
    for (const row of rows) {
      const ref = threadOf(row);
      if (!ref) continue;
      if (row.key.sk === "H") this.#offer(ref);
      else if (row.key.sk.startsWith("A#")) await followUp(deps, ref, holdId(row.key.sk.slice(2)));
    }
  }

  /** Rows whose time is still to come: leases are watched from before they run out, so that recovery takes about one. */
  async #pollFuture(): Promise<void> {
    const { clock, settings, log } = this.#options.deps;
    while (!this.#stop.signal.aborted) {
      await this.#readFuture().catch((error: unknown) => log.warn({ err: error }, "the due index could not be read"));
      await clock.sleep(settings.leaseMs / 3, this.#stop.signal);
    }
  }

  async #readFuture(): Promise<void> {
    const { deps } = this.#options;
    const range = { prefix: FUTURE_PREFIX, limit: FUTURE_ROWS };
    const pages = await Promise.all(this.#shards().map((pk) => deps.table.queryIndex("due", pk, range)));
    const rows = pages.flatMap((page) => page.items);
    const leases = rows.filter((row) => row.key.sk === "H").flatMap((row) => threadOf(row) ?? []);
    const seen = await Promise.all(leases.map((ref) => deps.threads.get(ref)));
    const expired = this.#watch.observe(seen.flatMap((stored) => stored ?? []));
    for (const stored of expired) this.#offer(stored.value, stored, "expired");

    const now = deps.table.now();
    for (const row of rows) {
      const ref = threadOf(row);
      if (ref && row.key.sk.startsWith("R#") && futureDueAt(row.sort) <= now) await sweepRun(deps, ref, runId(row.key.sk.slice(2)));
    }
  }

  async #pollCancels(): Promise<void> {
    const { clock, log } = this.#options.deps;
    while (!this.#stop.signal.aborted || this.#holding.size > 0) {
      await clock.sleep(CANCEL_POLL_MS, this.#holding.size > 0 ? undefined : this.#stop.signal);
      await this.#checkCancels().catch((error: unknown) => log.warn({ err: error }, "cancels could not be read"));
    }
  }

  /** One batch read of the active runs: was any of them asked to stop? */
  async #checkCancels(only?: ThreadRef): Promise<void> {
    const watched = [...this.#holding.values()]
      .filter((holding) => !only || holding.ref.threadId === only.threadId)
      .flatMap((holding) => [...holding.cancel].map(([run, controller]) => ({ ref: holding.ref, run: runId(run), controller })));
    if (watched.length === 0) return;
    const runs = await this.#options.deps.runs.getMany(watched.map(({ ref, run }) => ({ ...ref, runId: run })));
    const asked = new Set(runs.filter(({ value }) => value.cancelAsked).map(({ value }) => value.runId));
    for (const { run, controller } of watched) if (asked.has(run)) controller.abort(new Error("the run was cancelled"));
  }

  #shards(): readonly string[] {
    const { pool, shards } = this.#options.deps.settings;
    return Array.from({ length: shards }, (_, shard) => dueShard(pool, shard));
  }
}

const readyAt = (row: IndexRow): number => Number(row.sort.split("#")[3] ?? 0);

function threadOf(row: IndexRow): ThreadRef | undefined {
  const parsed = parseThreadPartition(row.key.pk);
  return parsed && { tenant: tenantId(parsed.tenant), threadId: threadId(parsed.threadId) };
}

