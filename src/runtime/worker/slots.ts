/**
 * The threads that a worker advances, as many at once as it has slots, and those that wait for one. Whose turn it is, when
 * there are more than slots, is the rota's to say.
 *
 * - A thread has one slot at most; a wake-up for one that has it is kept until it is left (I11).
 * - A run that has ended with its worker before is executed alone, so that it takes no neighbour with it: nothing is begun
 *   until everybody else has left, and while it is executed.
 * - What waits here is only ever a hint: it stays due in the table, and is found again there.
 */
import { ROOT_CONTEXT, context } from "@opentelemetry/api";
import { isNewerFormat, unlessNewer } from "../../core/newer-format.ts";
import { isSuspect, nextRunnable, threadDue } from "../../core/thread.ts";
import type { Thread } from "../../core/thread.ts";
import { threadKeys } from "../../storage/keys.ts";
import type { ThreadRef } from "../../storage/keys.ts";
import type { Stored } from "../../storage/records.ts";
import { advance } from "../delivery/advance.ts";
import type { Holding } from "../delivery/advance.ts";
import type { ExecutionDeps } from "../delivery/execution.ts";
import { LeftToOthers } from "./left-to-others.ts";
import { Rota } from "./rota.ts";
import type { TaskProtection } from "./task-protection.ts";

/** What was read of the index is picked from for so long while there is some left, and read again after that. */
const FRESH_MS = { some: 500, none: 100 } as const;
/** A run whose graph is not here is left to workers that have it for so long, and meanwhile looked at this often. */
const OTHERS_FIRST_MS = { for: 3000, again: 1000 } as const;
/** Beyond this many, who waits is found in the index again. */
const MOST_WAITING = 1000;

/** A thread that may be advanced: where to look, and the header if this process has just written it. */
export interface Offer {
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

/** A run that has this worker for itself, or waits for that. */
interface Suspect {
  readonly offer: Offer;
  /** Of its thread as it was then: another one says that somebody else has taken it. */
  readonly fence: number;
  begun: boolean;
}

export interface SlotsOptions {
  readonly host: ExecutionDeps;
  readonly protection: TaskProtection;
  readonly left: LeftToOthers;
  /** Aborted when the worker drains. */
  readonly drain: AbortSignal;
  /** Hears who had a thread first. */
  readonly lostTo: (worker: string) => void;
  /** What was found in the index is used up, or old. */
  readonly readAgain: () => void;
}

export class Slots {
  readonly #options: SlotsOptions;
  readonly #places = new Map<string, Place>();
  readonly #advancing = new Set<Promise<void>>();
  readonly #rota = new Rota();
  readonly #lacking: LeftToOthers;
  /** Threads whose holder is dead, until they are looked at again. */
  #expired: readonly Offer[] = [];
  /** What is ready and waits for a slot. */
  #waiting: Offer[] = [];
  #foundAt = -Infinity;
  #suspect: Suspect | undefined;
  #isClosed = false;

  constructor(options: SlotsOptions) {
    this.#options = options;
    this.#lacking = new LeftToOthers(options.host.deps.clock, OTHERS_FIRST_MS.again);
  }

  /** Number of threads that are looked at or held now. */
  get busy(): number {
    return this.#places.size;
  }

  /** Nothing could be begun now, whatever was found. */
  get isFull(): boolean {
    return this.#free() <= 0;
  }

  get taken(): readonly Holding[] {
    return [...this.#places.values()].map(({ holding }) => holding);
  }

  /** Somebody in this process made a thread ready: it begins at once, unless others wait for their turn. */
  hinted(offer: Offer): void {
    const place = this.#placeOf(offer.ref);
    if (place) place.holding.again = true;
    else if (this.#waiting.length < MOST_WAITING) this.#waiting.push(offer);
    this.#fill();
  }

  /** What is ready, as the index has just said. */
  found(ready: readonly ThreadRef[]): void {
    this.#waiting = ready.filter((ref) => !this.#placeOf(ref)).map((ref) => ({ ref }));
    this.#foundAt = this.#options.host.deps.clock.monotonic();
    this.#fill();
  }

  /** Every thread that may be taken over now. They come before what is ready: they have begun. */
  foundExpired(headers: readonly Stored<Thread>[]): void {
    this.#expired = headers.map((seen) => ({ ref: seen.value, seen, hasExpired: true }));
    this.#fill();
  }

  /** Keeps no slot free for a suspect that another worker has taken, or that is gone. */
  async recheckSuspect(): Promise<void> {
    const suspect = this.#suspect;
    if (!suspect || suspect.begun) return;
    const now = await unlessNewer(this.#options.host.deps.threads.get(suspect.offer.ref));
    if (this.#suspect !== suspect || suspect.begun || now?.value.fence === suspect.fence) return;
    this.#suspect = undefined;
    this.#fill();
  }

  /** Begins nothing from now on; resolves when every thread has been left. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#advancing);
  }

  abortAll(): void {
    for (const { holding } of this.#places.values()) holding.abort.abort();
  }

  #placeOf(ref: ThreadRef): Place | undefined {
    return this.#places.get(nameOf(ref));
  }

  #free(): number {
    if (this.#suspect || this.#isClosed) return 0;
    return this.#options.host.deps.settings.concurrency - this.#places.size;
  }

  #mayTake(tenant: string, given: number): boolean {
    let taken = given;
    for (const { offer } of this.#places.values()) if (offer.ref.tenant === tenant) taken++;
    return taken < this.#options.host.deps.settings.limits.tenantConcurrency;
  }

  #begin(offer: Offer): void {
    const looked = this.#placeOf(offer.ref);
    if (looked) return void (looked.holding.again = true);
    const { host, protection, drain, lostTo } = this.#options;
    const { ref, seen, hasExpired = false } = offer;
    const holding: Holding = { ref, cancel: new Map(), abort: new AbortController(), again: false };
    const place: Place = { holding, offer, graphId: undefined };
    if (this.#places.size === 0) protection.busy();
    this.#places.set(nameOf(ref), place);
    const admits = (thread: Thread): boolean => this.#admits(place, thread);
    // Whoever woke this worker has a trace, and perhaps a graph, of its own: none of it goes on here.
    const advancing = context
      .with(ROOT_CONTEXT, () => advance(host, { holding, seen, hasExpired, admits, lostTo, drain }))
      .then((runs) => this.#rota.charge(ref.tenant, runs))
      .catch((error: unknown) => this.#report(ref, error))
      .finally(() => {
        this.#advancing.delete(advancing);
        this.#left(place);
      });
    this.#advancing.add(advancing);
  }

  #left({ holding, offer }: Place): void {
    const hasSome = this.#waiting.length > 0;
    const mayHaveMissed = this.isFull || hasSome;
    this.#places.delete(nameOf(offer.ref));
    const age = this.#options.host.deps.clock.monotonic() - this.#foundAt;
    if (mayHaveMissed && age > (hasSome ? FRESH_MS.some : FRESH_MS.none)) this.#options.readAgain();
    if (holding.again) this.hinted({ ref: holding.ref });
    if (this.#places.size === 0) this.#emptied();
    this.#fill();
  }

  /** Everybody has left: it is the suspect's turn, or that is over. */
  #emptied(): void {
    const suspect = this.#suspect;
    if (suspect && !suspect.begun && !this.#isClosed) {
      suspect.begun = true;
      this.#begin(suspect.offer);
      return;
    }
    this.#suspect = undefined;
    this.#options.protection.idle();
  }

  /** Whoever has the graph takes the run at once; who has not would put it to sleep, with the reason. */
  #isForOthers(thread: Thread): boolean {
    const { table, graphs, settings } = this.#options.host.deps;
    const graphId = nextRunnable(thread)?.graphId;
    const due = threadDue(thread);
    if (graphId === undefined || graphs.get(graphId) || due?.kind !== "ready") return false;
    return table.now() - due.at < Math.min(OTHERS_FIRST_MS.for, settings.limits.graphWaitMs);
  }

  /** The last word before a claim, with the header at hand: a suspect waits until it is alone, a graph for its cap. */
  #admits(place: Place, thread: Thread): boolean {
    if (this.#isForOthers(thread)) {
      this.#lacking.add(thread, HEADER);
      return false;
    }
    if (isSuspect(thread)) {
      const isAlone = this.#places.size === 1;
      const suspect = { offer: place.offer, fence: thread.fence, begun: isAlone };
      // Whoever else waited to be alone is found due again.
      if (isAlone) this.#suspect = suspect;
      else this.#suspect ??= suspect;
      if (!isAlone) return false;
    }
    const graphId = nextRunnable(thread)?.graphId;
    const cap = graphId === undefined ? undefined : this.#options.host.deps.graphs.get(graphId)?.concurrency;
    const running = [...this.#places.values()].filter((other) => other.graphId === graphId).length;
    if (cap !== undefined && running >= cap) return false;
    place.graphId = graphId;
    return true;
  }

  #report(ref: ThreadRef, error: unknown): void {
    const { log } = this.#options.host.deps;
    if (isNewerFormat(error)) {
      this.#options.left.add(ref, threadKeys.header(ref).sk);
      log.warn({ thread: ref.threadId, err: error }, "a thread is left to workers of a later version; it stays due");
      return;
    }
    log.error({ thread: ref.threadId, err: error }, "a thread could not be advanced; it stays due");
  }

  #fill(): void {
    const slots = this.#free();
    if (slots <= 0) return;
    const waiting = this.#waiting.filter(({ ref }) => !this.#lacking.has(ref, HEADER));
    const all = [...this.#expired, ...waiting];
    const candidates = all.map((offer) => ({ tenant: offer.ref.tenant, key: nameOf(offer.ref), offer }));
    const picked = this.#rota.pick(candidates, { slots, mayTake: (tenant, given) => this.#mayTake(tenant, given) });
    const taken = new Set(picked.map(({ offer }) => offer));
    this.#expired = this.#expired.filter((offer) => !taken.has(offer));
    this.#waiting = this.#waiting.filter((offer) => !taken.has(offer));
    for (const offer of taken) this.#begin(offer);
  }
}

const HEADER = "H";
const nameOf = (ref: ThreadRef): string => `${ref.tenant} ${ref.threadId}`;
