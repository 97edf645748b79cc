import type { Clock } from "../../core/clock.ts";
import type { ThreadRef } from "../../storage/keys.ts";

/** So long, at most, until it is looked at again: meanwhile it may have been written in a format that is known here. */
const AGAIN_MS = 30_000;

/**
 * What is due and of a format that only a later version knows. It stays due for workers of that version; here it takes
 * neither a slot nor a reading from what can be done.
 */
export class LeftToNewer {
  readonly #clock: Clock;
  readonly #names = new Set<string>();
  #since = -Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `sk`: of the item in its thread's partition. */
  add(ref: ThreadRef, sk: string): void {
    this.#current().add(nameOf(ref, sk));
  }

  has(ref: ThreadRef, sk: string): boolean {
    return this.#current().has(nameOf(ref, sk));
  }

  #current(): Set<string> {
    const now = this.#clock.monotonic();
    if (now - this.#since >= AGAIN_MS) {
      this.#names.clear();
      this.#since = now;
    }
    return this.#names;
  }
}

const nameOf = (ref: ThreadRef, sk: string): string => `${ref.tenant} ${ref.threadId} ${sk}`;
