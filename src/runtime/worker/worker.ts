/**
 * A worker finds due threads and has them advanced. The `due` index and the in-process hints only say where to look: what
 * is begun, and when, is a matter of its slots.
 */
import { isHoldpointError } from "../../core/errors.ts";
import { holdId, runId } from "../../core/ids.ts";
import { isNewerFormat } from "../../core/newer-format.ts";
import type { Thread } from "../../core/thread.ts";
import { threadKeys } from "../../storage/keys.ts";
import type { Stored } from "../../storage/records.ts";
import { Cancels } from "./cancels.ts";
import { Contenders } from "./contenders.ts";
import { dueNow, eachRow, expiredRows, leaseRows } from "./due-rows.ts";
import type { DueRow } from "./due-rows.ts";
import type { ExecutionDeps } from "../delivery/execution.ts";
import { chainDue } from "../audit/chain.ts";
import { followUp } from "../decisions/follow-up.ts";
import { settleDue } from "../decisions/expiry.ts";
import { followUpEffect } from "../effects/follow-up-effect.ts";
import { LeaseWatch } from "./lease-watch.ts";
import { LeftToOthers } from "./left-to-others.ts";
import { Slots } from "./slots.ts";
import { spread } from "./spread.ts";
import { sweepRun, sweepThread } from "./sweep.ts";
import { readWaiting } from "./waiting.ts";
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
/** What a run that has not stopped yet leaves waiting, a hold or an effect, is looked at again after this long. */
const EARLY_AGAIN_MS = 250;
/** From so many rows on there may be more. */
const MANY_ROWS = 512;
const CHANGED_POLL_MS = { busy: 10, idle: 50 } as const;
/** With every slot taken only what needs none is looked for: a slot that becomes free looks for itself. */
const REMOTE_POLL_MS = { busy: 50, full: 500, idle: 1000 } as const;

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
  /** Future rows that were looked at, and until when that does: they stay where they are while nothing can be done. */
  readonly #looked = new Map<string, number>();
  #wake = new AbortController();
  #sweeping: Promise<void> | undefined;
  #settling: Promise<void> | undefined;
  /** Table time of the next future row that is known to become due. */
  #nextAt: number | undefined;
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
      lostTo: (worker) => this.#contenders.lostTo(worker),
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
    const { telemetry, settings } = this.#options.deps;
    this.#subscriptions.use(telemetry.metrics.watchWaiting(settings.pool, () => readWaiting(this.#options.deps)));
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
    await this.#settling;
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
      if (woken || stale || this.#isTime() || changes === undefined || changes !== seen) {
        seen = changes;
        lastRead = clock.monotonic();
        await this.#readDue().catch((error: unknown) => log.warn({ err: error }, "the due index could not be read"));
      }
      await clock.sleep(Math.min(this.#pause(), this.#untilNext()), this.#wake.signal);
    }
  }

  #isTime(): boolean {
    return this.#nextAt !== undefined && this.#options.deps.table.now() >= this.#nextAt;
  }

  #untilNext(): number {
    return this.#nextAt === undefined ? Infinity : Math.max(1, this.#nextAt - this.#options.deps.table.now());
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
    this.#forgetLooked();
    const { ready, past, nextAt } = await dueNow(deps, (row) => this.#left.has(row.ref, row.sk) || this.#isLooked(row));
    this.#nextAt = nextAt;
    if (ready.length > 0) this.#lastFound = deps.clock.monotonic();
    const threads = ready.filter(({ sk }) => sk === "H");
    // A table that tells of changes shows a claim at once.
    const order = deps.table.changes ? threads : spread(this.#contenders.take(threads), deps.settings.owner);
    this.#slots.found(order.map(({ ref }) => ref));
    const isHold = ({ sk }: DueRow): boolean => sk.startsWith(threadKeys.holdPrefix);
    await eachRow(deps, ready.filter(isHold), (row) => this.#orLeave(row, () => followUp(deps, row.ref, holdOf(row))));
    await eachRow(deps, ready, async (row) => {
      const { effect } = row;
      if (!effect) return;
      // Its run may not have stopped yet, and be some time about it.
      this.#look(row, EARLY_AGAIN_MS);
      await this.#orLeave(row, () => followUpEffect(this.#options, effect));
    });
    this.#settle(past.filter(isHold));
    this.#sweep(past.filter((row) => !isHold(row)));
  }

  async #orLeave({ ref, sk }: DueRow, work: () => Promise<unknown>): Promise<void> {
    await work().catch((error: unknown) => {
      if (isNewerFormat(error) || isHoldpointError(error, "graph_unavailable")) this.#left.add(ref, sk);
      throw error;
    });
  }

  /** Beside the sweep, since what has its time to the second must not wait for what has not. */
  #settle(rows: readonly DueRow[]): void {
    if (this.#settling || rows.length === 0) return;
    const { deps } = this.#options;
    this.#settling = eachRow(deps, rows, (row) =>
      this.#orLeave(row, async () => {
        if (this.#stop.signal.aborted) return;
        this.#look(row, EARLY_AGAIN_MS);
        await settleDue(deps, row.ref, holdOf(row));
      }),
    ).finally(() => {
      this.#settling = undefined;
      // There may be more than were read.
      if (rows.length >= MANY_ROWS) this.#wake.abort();
    });
  }

  /** Beside the picking, since deleting many threads takes longer than a run may wait. */
  #sweep(rows: readonly DueRow[]): void {
    if (this.#sweeping || rows.length === 0) return;
    const { deps } = this.#options;
    const { runPrefix } = threadKeys;
    const swept = eachRow(deps, rows, async (row) => {
      const { ref, sk } = row;
      if (this.#stop.signal.aborted) return;
      this.#look(row, deps.settings.leaseMs / 3);
      if (sk === "H") await sweepThread(deps, ref);
      else if (sk.startsWith(runPrefix)) await sweepRun(deps, ref, runId(sk.slice(runPrefix.length)));
    });
    this.#sweeping = swept
      .then(() => chainDue(deps, rows))
      .finally(() => {
        this.#sweeping = undefined;
      });
  }

  /** A row that stays is looked at again after a while: a lease's pace, or what a hold may wait for its run to stop. */
  #look(row: DueRow, againMs: number): void {
    this.#looked.set(nameOf(row), this.#options.deps.clock.monotonic() + againMs);
  }

  #isLooked(row: DueRow): boolean {
    const again = this.#looked.get(nameOf(row));
    return again !== undefined && this.#options.deps.clock.monotonic() < again;
  }

  #forgetLooked(): void {
    const now = this.#options.deps.clock.monotonic();
    for (const [name, again] of this.#looked) if (now >= again) this.#looked.delete(name);
  }

  /** Leases are watched from before they run out, so that recovery takes about one. */
  async #pollLeases(): Promise<void> {
    const { clock, settings, log } = this.#options.deps;
    while (!this.#stop.signal.aborted) {
      await this.#readLeases().catch((error: unknown) => log.warn({ err: error }, "leases could not be read"));
      await expiredRows(this.#options.deps).then(
        (rows) => this.#sweep(rows.filter((row) => !this.#isLooked(row))),
        (error: unknown) => log.warn({ err: error }, "what has expired could not be read"),
      );
      await clock.sleep(settings.leaseMs / 3, this.#stop.signal);
    }
  }

  async #readLeases(): Promise<void> {
    const { deps } = this.#options;
    const leases = await leaseRows(deps, 2 * deps.settings.leaseMs + CLOCKS_DIFFER_MS);
    const seen: Stored<Thread>[] = [];
    await eachRow(deps, leases, async ({ ref }) => {
      const stored = await deps.threads.get(ref);
      if (stored) seen.push(stored);
    });
    this.#slots.foundExpired(this.#watch.observe(seen));
    await this.#slots.recheckSuspect();
  }
}

const nameOf = ({ ref, sk, sort }: DueRow): string => `${ref.tenant} ${ref.threadId} ${sk} ${sort}`;
const holdOf = ({ sk }: DueRow) => holdId(sk.slice(threadKeys.holdPrefix.length));
