/**
 * A worker finds due threads and has them advanced. The `due` index and the in-process hints only say where to look: what
 * is begun, and when, is a matter of its slots.
 */
import { holdId, runId } from "../../core/ids.ts";
import { isNewerFormat } from "../../core/newer-format.ts";
import type { Thread } from "../../core/thread.ts";
import { threadKeys } from "../../storage/keys.ts";
import type { Stored } from "../../storage/records.ts";
import { Cancels } from "./cancels.ts";
import { Contenders } from "./contenders.ts";
import { dueNow, eachRow, expiredRows, futureRows } from "./due-rows.ts";
import type { DueRow } from "./due-rows.ts";
import type { ExecutionDeps } from "../delivery/execution.ts";
import { followUp } from "../decisions/follow-up.ts";
import { LeaseWatch } from "./lease-watch.ts";
import { LeftToOthers } from "./left-to-others.ts";
import { Slots } from "./slots.ts";
import { spread } from "./spread.ts";
import { sweepRun, sweepThread } from "./sweep.ts";
import { noProtection } from "./task-protection.ts";
import type { TaskProtection } from "./task-protection.ts";

export interface WorkerOptions extends ExecutionDeps {
  /** True only when the process that owns a lease is certainly gone. */
  readonly isKnownDead: (owner: string) => boolean;
  readonly protection?: TaskProtection;
  /** Milliseconds from the beginning of a drain until what has not stopped is aborted; 75,000 unless given. */
  readonly drainMs?: number;
}

export interface Worker extends AsyncDisposable {
  start(): void;
  /** Stops picking, lets running graphs stop at their next superstep, gives every lease up. */
  drain(): Promise<void>;
  /** Number of threads it is advancing now. */
  readonly busy: number;
}

/** From SIGTERM on: what has not stopped by then is aborted. */
const DRAIN_MS = 75_000;
/** An item of a later format is looked at again after this long. */
const NEWER_AGAIN_MS = 30_000;
/** A lease is looked for this much beyond its length, by who has not the same time as its holder. */
const CLOCKS_DIFFER_MS = 900_000;
const CHANGED_POLL_MS = { busy: 10, idle: 50 } as const;
/** With every slot taken only what needs none is looked for: a slot that becomes free looks for itself. */
const REMOTE_POLL_MS = { busy: 50, full: 250, idle: 1000 } as const;

export function createWorker(options: WorkerOptions): Worker {
  return new PollingWorker(options);
}

class PollingWorker implements Worker {
  readonly #options: WorkerOptions;
  readonly #stop = new AbortController();
  readonly #drain = new AbortController();
  readonly #cancels: Cancels;
  readonly #watch: LeaseWatch;
  readonly #left: LeftToOthers;
  readonly #contenders: Contenders;
  readonly #slots: Slots;
  readonly #subscriptions = new DisposableStack();
  /** Future rows that were looked at, and when: they stay where they are while nothing can be done about them. */
  readonly #looked = new Map<string, number>();
  #wake = new AbortController();
  #sweeping: Promise<void> | undefined;
  #loops: Promise<unknown> = Promise.resolve();
  #lastFound: number;

  constructor(options: WorkerOptions) {
    this.#options = options;
    const { clock, settings } = options.deps;
    this.#watch = new LeaseWatch({ clock, leaseMs: settings.leaseMs, isKnownDead: options.isKnownDead });
    this.#left = new LeftToOthers(clock, NEWER_AGAIN_MS);
    this.#contenders = new Contenders(clock, settings.owner);
    this.#slots = new Slots({
      host: options,
      protection: options.protection ?? noProtection,
      left: this.#left,
      drain: this.#drain.signal,
      lostTo: (process) => this.#contenders.lostTo(process),
      readAgain: () => this.#wake.abort(),
    });
    this.#cancels = new Cancels(options.deps, () => this.#slots.taken);
    this.#lastFound = clock.monotonic();
  }

  get busy(): number {
    return this.#slots.busy;
  }

  start(): void {
    const { hints } = this.#options.deps;
    this.#subscriptions.use(hints.onReady((ref, seen) => this.#slots.hinted(seen ? { ref, seen } : { ref })));
    this.#subscriptions.use(hints.onCancelled((ref) => void this.#cancels.check(ref)));
    this.#loops = Promise.all([this.#pollDue(), this.#pollLeases(), this.#cancels.poll()]);
  }

  async drain(): Promise<void> {
    const { drainMs = DRAIN_MS } = this.#options;
    if (this.busy > 0)
      this.#options.deps.log.info({ threads: this.busy, drainMs }, "waiting for runs to stop at their next step");
    this.#stop.abort();
    this.#wake.abort();
    this.#subscriptions.dispose();
    this.#drain.abort();
    const done = new AbortController();
    void this.#options.deps.clock.sleep(drainMs, done.signal).then(() => {
      if (!done.signal.aborted) this.#slots.abortAll();
    });
    await this.#slots.close();
    done.abort();
    this.#cancels.stop();
    await this.#loops;
    await this.#sweeping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#slots.abortAll();
    await this.drain();
  }

  async #pollDue(): Promise<void> {
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
        await this.#readDue().catch((error: unknown) => log.warn({ err: error }, "the due index could not be read"));
      }
      await clock.sleep(this.#pause(), this.#wake.signal);
    }
  }

  #pause(): number {
    const { table, clock, ids } = this.#options.deps;
    const quiet = clock.monotonic() - this.#lastFound;
    const busy = this.busy > 0 || quiet < 1000;
    if (table.changes) return busy ? CHANGED_POLL_MS.busy : CHANGED_POLL_MS.idle;
    const jitter = 0.75 + Number.parseInt(ids.token(1), 16) / 512;
    if (this.#slots.isFull) return REMOTE_POLL_MS.full * jitter;
    if (busy) return REMOTE_POLL_MS.busy * jitter;
    return Math.min(REMOTE_POLL_MS.idle, REMOTE_POLL_MS.busy + quiet / 20) * jitter;
  }

  async #readDue(): Promise<void> {
    const { deps } = this.#options;
    const { ready, past } = await dueNow(deps, this.#left);
    if (ready.length > 0) this.#lastFound = deps.clock.monotonic();
    const threads = ready.filter(({ sk }) => sk === "H");
    // A table that tells of changes shows a claim at once.
    const order = deps.table.changes ? threads : spread(this.#contenders.take(threads), deps.settings.owner);
    this.#slots.found(order.map(({ ref }) => ref));
    const { holdPrefix } = threadKeys;
    const holds = ready.filter(({ sk }) => sk.startsWith(holdPrefix));
    await eachRow(deps, holds, async ({ ref, sk }) => {
      await followUp(deps, ref, holdId(sk.slice(holdPrefix.length))).catch((error: unknown) => {
        if (isNewerFormat(error)) this.#left.add(ref, sk);
        throw error;
      });
    });
    this.#sweep(past);
  }

  /** Beside the picking, since deleting many threads takes longer than a run may wait. */
  #sweep(past: readonly DueRow[]): void {
    if (this.#sweeping) return;
    const rows = past.filter((row) => this.#isNew(row));
    if (rows.length === 0) return;
    const { deps } = this.#options;
    const { runPrefix } = threadKeys;
    this.#sweeping = eachRow(deps, rows, async ({ ref, sk }) => {
      if (this.#stop.signal.aborted) return;
      if (sk === "H") await sweepThread(deps, ref);
      else if (sk.startsWith(runPrefix)) await sweepRun(deps, ref, runId(sk.slice(runPrefix.length)));
    }).finally(() => {
      this.#sweeping = undefined;
    });
  }

  /** A row that stays is looked at again at the pace at which leases are. */
  #isNew({ ref, sk, sort }: DueRow): boolean {
    const { clock, settings } = this.#options.deps;
    const now = clock.monotonic();
    for (const [name, at] of this.#looked) if (now - at >= settings.leaseMs / 3) this.#looked.delete(name);
    const name = `${ref.tenant} ${ref.threadId} ${sk} ${sort}`;
    if (this.#looked.has(name)) return false;
    this.#looked.set(name, now);
    return true;
  }

  /** Leases are watched from before they run out, so that recovery takes about one. */
  async #pollLeases(): Promise<void> {
    const { clock, settings, log } = this.#options.deps;
    while (!this.#stop.signal.aborted) {
      await this.#readLeases().catch((error: unknown) => log.warn({ err: error }, "leases could not be read"));
      await expiredRows(this.#options.deps).then(
        (rows) => this.#sweep(rows),
        (error: unknown) => log.warn({ err: error }, "what has expired could not be read"),
      );
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
    this.#slots.foundExpired(this.#watch.observe(seen));
    await this.#slots.recheckSuspect();
  }
}
