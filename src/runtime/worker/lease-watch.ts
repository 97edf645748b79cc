import type { Clock } from "../../core/clock.ts";
import type { Thread } from "../../core/thread.ts";
import type { Stored } from "../../storage/records.ts";

export interface LeaseWatchOptions {
  readonly clock: Clock;
  readonly leaseMs: number;
  readonly isKnownDead: (owner: string) => boolean;
}

/**
 * Decides, by this worker's own observation, when a lease has run out: (fence, beat) watched unchanged for a whole
 * lease on one's own monotonic clock, so that clocks need not agree. (The method of Amazon's DynamoDB lock client.)
 */
export class LeaseWatch {
  readonly #options: LeaseWatchOptions;
  #seen = new Map<string, { readonly sign: string; readonly since: number }>();

  constructor(options: LeaseWatchOptions) {
    this.#options = options;
  }

  /** Takes every header whose lease stands in the index now; returns those that may be taken over. */
  observe(headers: readonly Stored<Thread>[]): readonly Stored<Thread>[] {
    const { clock, leaseMs, isKnownDead } = this.#options;
    const now = clock.monotonic();
    const seen = new Map<string, { readonly sign: string; readonly since: number }>();
    const expired = headers.filter(({ value }) => {
      if (!value.lease) return false;
      const name = `${value.tenant} ${value.threadId}`;
      const sign = `${value.fence} ${value.lease.owner} ${value.lease.beat}`;
      const before = this.#seen.get(name);
      const since = before?.sign === sign ? before.since : now;
      seen.set(name, { sign, since });
      return now - since >= leaseMs || isKnownDead(value.lease.owner);
    });
    this.#seen = seen;
    return expired;
  }
}
