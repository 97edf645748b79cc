/**
 * The holder's side of a lease (I2). Heartbeats run on the main loop on purpose: a blocked loop should lose its lease.
 * The holder counts from the moment a successful heartbeat was *sent*; with two thirds of the lease gone and none
 * newer it stops. Any doubt counts as loss.
 */
import {
  claimed,
  claimedForUpdate,
  heartbeat,
  movedOn,
  released,
  suspended,
  yielded,
} from "../../core/thread-changes.ts";
import { activeRunId, holds } from "../../core/thread.ts";
import type { Active, QueueEntry, Strikes, Thread } from "../../core/thread.ts";
import type { Run } from "../../core/run.ts";
import type { Stored } from "../../storage/records.ts";
import type { Deps } from "../deps.ts";

export interface ClaimOptions {
  readonly purpose?: "run" | "update";
  readonly strikes?: Strikes;
  /** Hears which worker has the thread instead, by the name that its settings give its process. */
  readonly lostTo?: (worker: string) => void;
}

/** A thread that this process holds under one fence. */
export class Lease implements AsyncDisposable {
  readonly fence: number;
  readonly owner: string;
  readonly #deps: Deps;
  readonly #lost = new AbortController();
  readonly #stop = new AbortController();
  #stored: Stored<Thread>;
  #confirmedAt: number;
  #listen: (thread: Thread) => void = () => undefined;
  #beating: Promise<void>;

  private constructor(deps: Deps, stored: Stored<Thread>, claimSentAt: number) {
    this.#deps = deps;
    this.#stored = stored;
    this.fence = stored.value.fence;
    this.owner = stored.value.lease?.owner ?? "";
    this.#confirmedAt = claimSentAt;
    this.#beating = this.#beat();
  }

  /** Takes the thread as it was read, or undefined when the race was lost. Whether it may be taken is the caller's to know. */
  static async claim(
    deps: Deps,
    seen: Stored<Thread>,
    { purpose = "run", strikes, lostTo }: ClaimOptions = {},
  ): Promise<Lease | undefined> {
    const sentAt = deps.clock.monotonic();
    const owner = `${deps.settings.owner}/${deps.ids.token(4)}`;
    const claim = { owner, leaseMs: deps.settings.leaseMs, now: deps.table.now() };
    const taken = purpose === "run" ? claimed(seen.value, claim, strikes) : claimedForUpdate(seen.value, claim);
    const written = await deps.threads.put(taken, { version: seen.version });
    const stored = written.won ? written.stored : written.current;
    if (stored && holds(stored.value, owner, seen.value.fence + 1)) return new Lease(deps, stored, sentAt);
    const { lease, active } = stored?.value ?? {};
    // Who updates the state for a moment is no worker.
    if (lease && active?.kind === "run") lostTo?.(lease.owner.slice(0, lease.owner.lastIndexOf("/")));
    return undefined;
  }

  /** Aborted as soon as the lease is, or may be, somebody else's. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** The header as it was last seen. */
  get thread(): Thread {
    return this.#stored.value;
  }

  /** Table time until which nobody else may hold the thread, as far as this holder can know. */
  deadline(): number {
    const { clock, settings, table } = this.#deps;
    return table.now() + this.#confirmedAt + (settings.leaseMs * 2) / 3 - clock.monotonic();
  }

  /** Calls with the header whenever this holder has seen a newer one: others may have written to it. */
  onHeader(listen: (thread: Thread) => void): void {
    this.#listen = listen;
  }

  lose(): void {
    if (this.#lost.signal.aborted) return;
    const { clock, log, settings } = this.#deps;
    const silentMs = Math.round(clock.monotonic() - this.#confirmedAt);
    // Other reasons, such as that the thread was deleted, are nobody's fault.
    if (silentMs >= (settings.leaseMs * 2) / 3) {
      const facts = {
        thread: this.thread.threadId,
        run: activeRunId(this.thread),
        silentMs,
        leaseMs: settings.leaseMs,
      };
      log.warn(
        facts,
        "a lease was lost: nothing was heard of this worker for too long; does a node block the event loop?",
      );
    }
    this.#deps.telemetry.metrics.leaseLost();
    this.#lost.abort(new Error("the lease is lost"));
  }

  /**
   * Moves the header past the active entry (`ended` is its run item, undefined when there is none), keeping the lease
   * while there is a next run and giving it up otherwise. A function of the header as it is now (I11): an accept may have
   * moved it past the entry already, and left nothing active or another run. Returns what became active, and whether
   * this very write made it so.
   */
  async moveOn(
    past: Active | undefined,
    ended: Run | undefined,
  ): Promise<{ readonly thread: Thread; readonly first: boolean } | undefined> {
    let first = true;
    const after = await this.#write((thread) => {
      first = thread.active === undefined || isSame(thread.active, past);
      if (!first) return undefined;
      const next = movedOn(thread, thread.active && ended, this.#deps.table.now());
      return next.active ? next : released(next, this.#deps.table.now());
    });
    return after?.lease && after.active ? { thread: after, first } : undefined;
  }

  /** Puts the active run back behind the continuation of a decision that came before its input. */
  async yieldToContinuation(): Promise<{ readonly thread: Thread; readonly first: boolean } | undefined> {
    const after = await this.#write((thread) => yielded(thread, this.#deps.table.now()));
    return after && { thread: after, first: false };
  }

  /** Gives the lease up and lets a run sleep until `wakeAt`, unless the thread is to go on without it: see `suspended`. */
  async suspend(sleeper: QueueEntry, wakeAt: number): Promise<void> {
    const after = await this.#write((thread) => suspended(thread, sleeper, wakeAt, this.#deps.table.now()));
    if (after && after.wakeAt === undefined) this.#deps.hints.ready(after);
  }

  /** Gives the lease up and leaves the thread, with whatever is runnable, to whoever finds it due. */
  async release(): Promise<void> {
    const now = this.#deps.table.now();
    await this.#write((thread) =>
      released(thread.active?.kind === "update" ? movedOn(thread, undefined, now) : thread, now),
    );
    this.#deps.hints.ready(this.thread);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#beating;
  }

  /** Writes the header while it is held; undefined once it is not. */
  async #write(
    change: (thread: Thread) => Thread | undefined,
    purpose: "move" | "beat" = "move",
  ): Promise<Thread | undefined> {
    const before = this.#stored;
    let held = true;
    const after = await this.#deps.threads.update(
      before.value,
      (thread) => {
        held = holds(thread, this.owner, this.fence);
        return held ? change(thread) : undefined;
      },
      before,
    );
    if (!held || !after) {
      this.lose();
      return undefined;
    }
    // A heartbeat's reply may come after that of a later move: it must not bring back what the header no longer says.
    const isLatest = purpose === "move" || this.#stored === before;
    if (after.value.lease && isLatest) this.#stored = after;
    this.#listen(after.value);
    return after.value;
  }

  async #beat(): Promise<void> {
    const { clock, settings, table } = this.#deps;
    const interval = settings.leaseMs / 3;
    let pause = interval;
    for (;;) {
      await clock.sleep(pause, this.#stop.signal);
      if (this.#stop.signal.aborted || this.#lost.signal.aborted) return;
      const sentAt = clock.monotonic();
      const beat = (thread: Thread): Thread =>
        heartbeat(thread, { owner: this.owner, leaseMs: settings.leaseMs, now: table.now() });
      const sent = this.#write(beat, "beat").then(
        (thread) => {
          if (thread) this.#confirmedAt = Math.max(this.#confirmedAt, sentAt);
        },
        (error: unknown) => this.#deps.log.warn({ thread: this.thread.threadId, err: error }, "a heartbeat failed"),
      );
      const left = this.#confirmedAt + interval * 2 - clock.monotonic();
      await Promise.race([sent, clock.sleep(Math.max(0, Math.min(interval, left)), this.#stop.signal)]);
      if (clock.monotonic() - this.#confirmedAt >= interval * 2) this.lose();
      pause = this.#confirmedAt >= sentAt ? interval : interval / 4;
    }
  }
}

function isSame(a: Active | undefined, b: Active | undefined): boolean {
  if (a?.kind !== "run" || b?.kind !== "run") return a?.kind === b?.kind;
  return a.entry.runId === b.entry.runId;
}
