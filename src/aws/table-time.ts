/**
 * The time of a DynamoDB table: the `Date` of its answers, advanced by the local monotonic clock.
 *
 * `Date` has whole seconds, so one answer says that, somewhere between the moment at which it was asked and the moment at
 * which it came, the table's time lay within one second. What is kept is an estimate inside all the newest bounds: it
 * rises to the highest lower bound seen, so processes that talk to the same table come to agree within milliseconds.
 */
import type { Clock } from "../core/clock.ts";

const RESOLUTION_MS = 1000;

export interface TableTime {
  /** Milliseconds since the epoch. The wall clock's until the first answer; from then on it never goes back. */
  now(): number;
  /** Takes the `Date` header of an answer to a request sent at `sentAt` (monotonic) into account. */
  observe(date: string | undefined, sentAt: number): void;
}

export function createTableTime(clock: Clock): TableTime {
  /** Table time minus monotonic time; undefined before the first answer. */
  let offset: number | undefined;
  let latest = 0;
  return {
    now() {
      if (offset === undefined) return clock.wall();
      latest = Math.max(latest, Math.floor(clock.monotonic() + offset));
      return latest;
    },
    observe(date, sentAt) {
      const second = date === undefined ? Number.NaN : Date.parse(date);
      if (Number.isNaN(second)) return;
      const lowest = second - clock.monotonic();
      const highest = second + RESOLUTION_MS - sentAt;
      offset = Math.min(Math.max(offset ?? lowest, lowest), highest);
    },
  };
}
