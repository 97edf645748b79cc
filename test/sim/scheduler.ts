/**
 * A deterministic, cooperative scheduler on a virtual clock. Everything that happens outside a process (a timer, a
 * table call that takes effect, a reply that arrives, a request of a client) is an event in one queue; between two
 * events every process runs until it waits again. Delays are drawn from the seed, and with them the interleaving.
 *
 * - A dead process gets no events: its calls never return and its timers never fire, as after SIGKILL.
 * - A frozen process gets its events late, all of them, in their order, as after SIGSTOP and SIGCONT.
 * - Virtual time passes only from event to event.
 */
import type { Clock } from "../../src/core/clock.ts";
import type { IdSource } from "../../src/core/ids.ts";
import { createRandom } from "./random.ts";
import type { Random } from "./random.ts";

/** The virtual time at which every schedule begins, milliseconds since the epoch. */
export const EPOCH = 1_700_000_000_000;

interface Event {
  at: number;
  readonly order: number;
  readonly process: SimProcess | undefined;
  run: (() => void) | undefined;
}

export interface ProcessOptions {
  /** How far its wall clock is off, milliseconds. */
  readonly skewMs?: number;
}

/** A simulated operating system process: what dies, freezes and wakes as one. */
export interface SimProcess {
  readonly name: string;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly alive: boolean;
  readonly frozenUntil: number;
  /** From now on none of its promises resolves. */
  kill(): void;
  freeze(ms: number): void;
  /** Resolves for others when the process dies. */
  readonly death: Promise<void>;
  /** Runs `work` inside the process at the next event; the promise it returns may never settle. */
  enter<T>(work: () => Promise<T>): Promise<T>;
}

export interface Scheduler {
  readonly random: Random;
  /** Virtual milliseconds since the epoch. */
  now(): number;
  process(name: string, options?: ProcessOptions): SimProcess;
  /** Runs `work` after `delayMs`, in the process if one is named. Returns a way to take it back. */
  after(delayMs: number, work: () => void, process?: SimProcess): () => void;
  /** For what stands outside every process: clients and the script of a scenario. */
  sleep(ms: number): Promise<void>;
  /** Lets time pass until `done` says so, or until the virtual time `limit`. True when done. */
  run(done: () => boolean, limit: number): Promise<boolean>;
  readonly events: number;
}

export interface SchedulerOptions {
  readonly seed: number | string;
  /** Turns of Node's event loop after which a process that has not asked for anything counts as waiting. */
  readonly quietTurns?: number;
}

export function createScheduler({ seed, quietTurns = 1 }: SchedulerOptions): Scheduler {
  const random = createRandom(seed);
  const queue = new EventQueue();
  let time = EPOCH;
  let order = 0;
  let events = 0;

  const after: Scheduler["after"] = (delayMs, work, process) => {
    const event: Event = { at: time + Math.max(0, delayMs), order: order++, process, run: work };
    queue.push(event);
    return () => {
      event.run = undefined;
    };
  };

  /** Waits until nothing in this Node process wants to run any more before the next event. */
  const settle = async (): Promise<void> => {
    for (let quiet = 0, seen = order; quiet < quietTurns; quiet++) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      if (order !== seen && quietTurns > 1) [quiet, seen] = [0, order];
    }
  };

  const step = (event: Event): void => {
    const { process, run } = event;
    if (run === undefined || process?.alive === false) return;
    if (process !== undefined && process.frozenUntil > event.at) {
      event.at = process.frozenUntil;
      queue.push(event);
      return;
    }
    time = Math.max(time, event.at);
    event.run = undefined;
    events++;
    run();
  };

  return {
    random,
    now: () => time,
    process: (name, options = {}) =>
      createProcess({ name, after, now: () => time, random: random.fork(name), skewMs: options.skewMs ?? 0 }),
    after,
    sleep: (ms) => new Promise((resolve) => void after(ms, resolve)),
    async run(done, limit) {
      await settle();
      while (!done()) {
        const event = queue.pop();
        if (event === undefined) return done();
        if (event.at > limit) {
          queue.push(event);
          time = Math.max(time, limit);
          return done();
        }
        const before = events;
        step(event);
        if (events !== before) await settle();
      }
      return true;
    },
    get events() {
      return events;
    },
  };
}

interface ProcessParts {
  readonly name: string;
  readonly after: Scheduler["after"];
  readonly now: () => number;
  readonly random: Random;
  readonly skewMs: number;
}

function createProcess({ name, after, now, random, skewMs }: ProcessParts): SimProcess {
  let alive = true;
  let frozenUntil = 0;
  let died: () => void = () => {};
  const death = new Promise<void>((resolve) => {
    died = resolve;
  });
  const startedAt = now() - random.int(1_000_000);
  const self: SimProcess = {
    name,
    death,
    clock: {
      wall: () => now() + skewMs,
      monotonic: () => now() - startedAt,
      sleep: (ms, signal) => new Promise((resolve) => sleepIn(self, { ms, signal, resolve, after })),
    },
    ids: seededIds(random.fork("ids"), now),
    get alive() {
      return alive;
    },
    get frozenUntil() {
      return frozenUntil;
    },
    kill() {
      if (!alive) return;
      alive = false;
      died();
    },
    freeze(ms) {
      frozenUntil = Math.max(frozenUntil, now() + ms);
    },
    enter: (work) => new Promise((resolve, reject) => void after(0, () => void work().then(resolve, reject), self)),
  };
  return self;
}

interface Sleep {
  readonly ms: number;
  readonly signal: AbortSignal | undefined;
  readonly resolve: () => void;
  readonly after: Scheduler["after"];
}

function sleepIn(process: SimProcess, { ms, signal, resolve, after }: Sleep): void {
  if (!process.alive) return;
  if (signal?.aborted) return resolve();
  const aborted = (): void => {
    cancel();
    if (process.alive) resolve();
  };
  const cancel = after(
    ms,
    () => {
      signal?.removeEventListener("abort", aborted);
      resolve();
    },
    process,
  );
  signal?.addEventListener("abort", aborted, { once: true });
}

/** UUIDs of version 7 from virtual time and the seed. */
function seededIds(random: Random, now: () => number): IdSource {
  const hex = (digits: number): string => Array.from({ length: digits }, () => random.int(16).toString(16)).join("");
  return {
    uuid() {
      const ms = Math.floor(now()).toString(16).padStart(12, "0");
      return `${ms.slice(0, 8)}-${ms.slice(8)}-7${hex(3)}-${"89ab"[random.int(4)]}${hex(3)}-${hex(12)}`;
    },
    token: (bytes) => hex(bytes * 2),
  };
}

/** A binary heap by time, then by the order in which events were made. */
class EventQueue {
  readonly #heap: Event[] = [];

  push(event: Event): void {
    const heap = this.#heap;
    let i = heap.push(event) - 1;
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (!before(heap, i, up)) break;
      swap(heap, i, up);
      i = up;
    }
  }

  pop(): Event | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return top;
    heap[0] = last;
    for (let i = 0; ;) {
      const [left, right] = [2 * i + 1, 2 * i + 2];
      let least = i;
      if (before(heap, left, least)) least = left;
      if (before(heap, right, least)) least = right;
      if (least === i) return top;
      swap(heap, i, least);
      i = least;
    }
  }
}

function before(heap: readonly Event[], i: number, j: number): boolean {
  const [a, b] = [heap[i], heap[j]];
  if (a === undefined || b === undefined) return false;
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function swap(heap: Event[], i: number, j: number): void {
  const [a, b] = [heap[i], heap[j]];
  if (a === undefined || b === undefined) return;
  heap[i] = b;
  heap[j] = a;
}
