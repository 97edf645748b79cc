/**
 * A worker finds due threads and advances them, as many at once as it has slots. The `due` index and the in-process hints
 * only say where to look. Whose turn it is, when more is ready than there are slots, is the rota's to say; a run that
 * has ended with its worker before is executed alone, so that it takes no neighbour with it.
 */
import { holdId, runId } from "../core/ids.ts";
import { isSuspect, nextRunnable } from "../core/thread.ts";
import type { Thread } from "../core/thread.ts";
import { threadKeys } from "../storage/keys.ts";
import type { ThreadRef } from "../storage/keys.ts";
import type { Stored } from "../storage/records.ts";
import { advance } from "./advance.ts";
import type { Holding } from "./advance.ts";
import { Cancels } from "./cancels.ts";
import { dueNow, eachRow, futureRows } from "./due-rows.ts";
import type { DueRow } from "./due-rows.ts";
import type { ExecutionDeps } from "./execution.ts";
import { followUp } from "./follow-up.ts";
import { LeaseWatch } from "./lease-watch.ts";
import { Rota } from "./rota.ts";
import { sweepRun, sweepThread } from "./sweep.ts";
import { noProtection } from "./task-protection.ts";
import type { TaskProtection } from "./task-protection.ts";

export interface WorkerOptions extends ExecutionDeps {
  /** True only when the process that owns a lease is certainly gone. */
  readonly isKnownDead: (owner: string) => boolean;
  readonly protection?: TaskProtection;
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
/** A lease is looked for this much beyond its length, by who has not the same time as its holder. */
const CLOCKS_DIFFER_MS = 900_000;
const CHANGED_POLL_MS = { busy: 10, idle: 50 } as const;
const REMOTE_POLL_MS = { busy: 50, idle: 1000 } as const;
/** What was read of the index is picked from for this long. */
const FRESH_MS = 250;
/** Beyond this many, who waits is found in the index again. */
const MOST_WAITING = 1000;

export function createWorker(options: WorkerOptions): Worker {
  return new PollingWorker(options);
}

/** A thread that may be advanced: where to look, and the header if this process has just written it. */
interface Offer {
  readonly ref: ThreadRef;
  readonly seen?: Stored<Thread>;
  /** The lease in `seen` has run out, by this worker's own observation. */
  readonly hasExpired?: true;
}

interface Place {
  readonly holding: Holding;
  readonly offer: Offer;
  graphId: string | undefined;
}

class PollingWorker implements Worker {
  readonly #options: WorkerOptions;
  readonly #places = new Map<string, Place>();
  readonly #advancing = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  readonly #drain = new AbortController();
  readonly #cancels: Cancels;
  readonly #watch: LeaseWatch;
  readonly #rota = new Rota();
  readonly #protection: TaskProtection;
  readonly #subscriptions = new DisposableStack();
  /** Future rows that were looked at, and when: they stay where they are while nothing can be done about them. */
  readonly #looked = new Map<string, number>();
  #wake = new AbortController();
  /** What is ready and waits for a slot. */
  #waiting: Offer[] = [];
  #waitingReadAt = -Infinity;
  /** A suspect that has this worker for itself, or waits for that: nothing else is begun. */
  #suspect: { readonly offer: Offer; begun: boolean } | undefined;
  #sweeping: Promise<void> | undefined;
  #loops: Promise<unknown> = Promise.resolve();
  #lastFound: number;

  constructor(options: WorkerOptions) {
    this.#options = options;
    const { clock, settings } = options.deps;
    this.#watch = new LeaseWatch({ clock, leaseMs: settings.leaseMs, isKnownDead: options.isKnownDead });
    this.#cancels = new Cancels(options.deps, () => [...this.#places.values()].map(({ holding }) => holding));
    this.#protection = options.protection ?? noProtection;
    this.#lastFound = clock.monotonic();
  }

  get busy(): number {
    return this.#places.size;
  }

  start(): void {
    const { hints } = this.#options.deps;
    this.#subscriptions.use(hints.onReady((ref, seen) => this.#hinted(seen ? { ref, seen } : { ref })));
    this.#subscriptions.use(hints.onCancelled((ref) => void this.#cancels.check(ref)));
    this.#loops = Promise.all([this.#pollDue(), this.#pollLeases(), this.#cancels.poll()]);
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
    this.#cancels.stop();
    await this.#loops;
    await this.#sweeping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#abortAll();
    await this.drain();
  }

  #abortAll(): void {
    for (const { holding } of this.#places.values()) holding.abort.abort();
  }

  /** Somebody in this process made a thread ready: it begins at once, unless others wait for their turn. */
  #hinted(offer: Offer): void {
    const mayBegin = this.#waiting.length === 0 && this.#freeSlots() > 0 && this.#mayTake(offer.ref.tenant, 0);
    if (mayBegin || this.#places.has(nameOf(offer.ref))) this.#offer(offer);
    else if (this.#waiting.length < MOST_WAITING) this.#waiting.push(offer);
  }

  #freeSlots(): number {
    if (this.#suspect) return 0;
    return this.#options.deps.settings.concurrency - this.#places.size;
  }

  #mayTake(tenant: string, given: number): boolean {
    const taken = [...this.#places.values()].filter(({ offer }) => offer.ref.tenant === tenant).length;
    return taken + given < this.#options.deps.settings.limits.tenantConcurrency;
  }

  /** Looks at a thread, if there is a slot for it; the poll comes back to it otherwise. */
  #offer(offer: Offer): void {
    if (this.#stop.signal.aborted) return;
    const held = this.#places.get(nameOf(offer.ref));
    if (held) held.holding.again = true;
    else if (this.#freeSlots() > 0) this.#begin(offer);
  }

  #begin(offer: Offer): void {
    const { ref, seen, hasExpired = false } = offer;
    const holding: Holding = { ref, cancel: new Map(), abort: new AbortController(), again: false };
    const place: Place = { holding, offer, graphId: undefined };
    if (this.#places.size === 0) this.#protection.busy();
    this.#places.set(nameOf(ref), place);
    const admits = (thread: Thread): boolean => this.#admits(place, thread);
    const advancing = advance(this.#options, { holding, seen, hasExpired, admits, drain: this.#drain.signal })
      .then((runs) => this.#rota.charge(ref.tenant, runs))
      .catch((error: unknown) => this.#report(ref, error))
      .finally(() => {
        this.#advancing.delete(advancing);
        this.#left(place);
      });
    this.#advancing.add(advancing);
  }

  #left({ holding, offer }: Place): void {
    this.#places.delete(nameOf(offer.ref));
    if (this.#places.size === 0) {
      if (this.#beginSuspect()) return;
      this.#protection.idle();
    }
    if (holding.again) this.#hinted({ ref: holding.ref });
    this.#fill();
  }

  /** Everybody else has left: it is the suspect's turn, or that is over. */
  #beginSuspect(): boolean {
    const suspect = this.#suspect;
    if (suspect && !suspect.begun && !this.#stop.signal.aborted) {
      suspect.begun = true;
      this.#begin(suspect.offer);
      return true;
    }
    this.#suspect = undefined;
    return false;
  }

  /** The last word before a claim, with the header at hand: a suspect waits until it is alone, a graph for its cap. */
  #admits(place: Place, thread: Thread): boolean {
    if (isSuspect(thread)) {
      const isAlone = this.#places.size === 1;
      this.#suspect ??= { offer: place.offer, begun: isAlone };
      if (!isAlone) return false;
    }
    const graphId = nextRunnable(thread)?.graphId;
    const cap = graphId === undefined ? undefined : this.#options.deps.graphs.get(graphId)?.concurrency;
    const running = [...this.#places.values()].filter((other) => other.graphId === graphId).length;
    if (cap !== undefined && running >= cap) return false;
    place.graphId = graphId;
    return true;
  }

  #report(ref: ThreadRef, error: unknown): void {
    this.#options.deps.log.error({ thread: ref.threadId, err: error }, "a thread could not be advanced; it stays due");
  }

  /** Picks from what waits; asks for another reading when that is used up or old. */
  #fill(): void {
    if (this.#waiting.length === 0 || this.#stop.signal.aborted) return;
    if (this.#options.deps.clock.monotonic() - this.#waitingReadAt > FRESH_MS) this.#wakeUp();
    const slots = this.#freeSlots();
    if (slots <= 0) return;
    const candidates = this.#waiting.map((offer) => ({ tenant: offer.ref.tenant, key: nameOf(offer.ref), offer }));
    const picked = this.#rota.pick(candidates, { slots, mayTake: (tenant, given) => this.#mayTake(tenant, given) });
    const taken = new Set(picked.map(({ offer }) => offer));
    this.#waiting = this.#waiting.filter((offer) => !taken.has(offer));
    for (const offer of taken) this.#offer(offer);
  }

  #wakeUp(): void {
    this.#wake.abort();
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
    const busy = this.#places.size > 0 || quiet < 1000;
    if (table.changes) return busy ? CHANGED_POLL_MS.busy : CHANGED_POLL_MS.idle;
    const jitter = 0.75 + Number.parseInt(ids.token(1), 16) / 512;
    if (busy) return REMOTE_POLL_MS.busy * jitter;
    return Math.min(REMOTE_POLL_MS.idle, REMOTE_POLL_MS.busy + quiet / 20) * jitter;
  }

  async #readDue(): Promise<void> {
    const { deps } = this.#options;
    const { ready, past } = await dueNow(deps);
    if (ready.length > 0) this.#lastFound = deps.clock.monotonic();
    this.#waiting = ready.filter(({ ref, sk }) => sk === "H" && !this.#places.has(nameOf(ref)));
    this.#waitingReadAt = deps.clock.monotonic();
    this.#fill();
    const { holdPrefix } = threadKeys;
    const holds = ready.filter(({ sk }) => sk.startsWith(holdPrefix));
    await eachRow(deps, holds, async ({ ref, sk }) => {
      await followUp(deps, ref, holdId(sk.slice(holdPrefix.length)));
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
    const name = `${nameOf(ref)} ${sk} ${sort}`;
    if (this.#looked.has(name)) return false;
    this.#looked.set(name, now);
    return true;
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
    for (const stored of this.#watch.observe(seen)) this.#offer({ ref: stored.value, seen: stored, hasExpired: true });
  }
}

const nameOf = (ref: ThreadRef): string => `${ref.tenant} ${ref.threadId}`;
