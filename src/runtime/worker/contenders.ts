/**
 * Workers that want the same rows. Nobody lists them: a worker knows of another by having lost a claim to it. From then on
 * each row has one worker that tries it at once, and those that know of each other agree on which; the others give it a
 * moment. Where that one is busy, or gone, the row is taken by whoever is not.
 */
import type { Clock } from "../../core/clock.ts";
import { sha256 } from "../../core/ids.ts";
import type { DueRow } from "./due-rows.ts";

/** A worker that one was lost to is reckoned with for this long. */
const REMEMBERED_MS = 60_000;
/** Of the first, two looks at the index, and what a claim takes to show in it. */
const MOMENT_MS = 100;
/** Nobody waits longer than this many. */
const MOST_MOMENTS = 2;

export class Contenders {
  readonly #clock: Clock;
  readonly #worker: string;
  readonly #lostAt = new Map<string, number>();
  /** When each row was seen first, of those that the last look saw. */
  #seenAt: ReadonlyMap<string, number> = new Map();

  /** `worker`: this one's name, by which others know it too. */
  constructor(clock: Clock, worker: string) {
    this.#clock = clock;
    this.#worker = worker;
  }

  lostTo(worker: string): void {
    if (worker !== this.#worker) this.#lostAt.set(worker, this.#clock.monotonic());
  }

  /** Of all rows that are ready now, those that this worker is to try. */
  take(rows: readonly DueRow[]): readonly DueRow[] {
    const now = this.#clock.monotonic();
    for (const [worker, at] of this.#lostAt) if (now - at >= REMEMBERED_MS) this.#lostAt.delete(worker);
    const before = this.#seenAt;
    const seenAt = new Map(rows.map(({ sort }) => [sort, before.get(sort) ?? now]));
    this.#seenAt = seenAt;
    return rows.filter(({ sort }) => {
      const moments = (now - (seenAt.get(sort) ?? now)) / MOMENT_MS;
      return moments >= MOST_MOMENTS || moments >= this.#othersFirst(sort);
    });
  }

  #othersFirst(sort: string): number {
    if (this.#lostAt.size === 0) return 0;
    const own = placeOf(this.#worker, sort);
    return [...this.#lostAt.keys()].filter((worker) => placeOf(worker, sort) < own).length;
  }
}

const placeOf = (worker: string, sort: string): string => sha256(`${worker} ${sort}`);
