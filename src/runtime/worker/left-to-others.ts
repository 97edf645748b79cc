import type { Clock } from "../../core/clock.ts";
import type { ThreadRef } from "../../storage/keys.ts";

/**
 * What is due and for other workers to do: of a format that only a later version knows, or of a graph that is not here. It
 * stays due for them; here it takes neither a slot nor a reading from what can be done.
 */
export class LeftToOthers {
  readonly #clock: Clock;
  readonly #againMs: number;
  readonly #names = new Set<string>();
  #since = -Infinity;

  /** After `againMs`, at most, it is looked at again: meanwhile it may have been changed. */
  constructor(clock: Clock, againMs: number) {
    this.#clock = clock;
    this.#againMs = againMs;
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
    if (now - this.#since >= this.#againMs) {
      this.#names.clear();
      this.#since = now;
    }
    return this.#names;
  }
}

const nameOf = (ref: ThreadRef, sk: string): string => `${ref.tenant} ${ref.threadId} ${sk}`;
