/** What can go wrong in a schedule, by name, and how often it did. */

/** A fault at one table call. `before` and `after` speak of the moment at which the call takes effect. */
export type Fault =
  | { readonly kind: "none" }
  /** The process dies. */
  | { readonly kind: "crash"; readonly when: "before" | "after" }
  /** The process stands still for so long, then goes on with what it remembers. */
  | { readonly kind: "freeze"; readonly when: "before" | "after"; readonly ms: number }
  /** The call takes effect, the reply is lost, the client repeats it under the same write id. */
  | { readonly kind: "lost-reply"; readonly retryMs: number }
  /** The caller is told `unavailable`: throttled, or timed out after so long; the call may take effect all the same. */
  | { readonly kind: "unavailable"; readonly applied: "never" | "before" | "later"; readonly ms: number }
  /** Some items of a batch take effect, then the caller is told `unavailable`. */
  | { readonly kind: "partial-batch" }
  /** A page of an index is not what the items say. */
  | { readonly kind: "index"; readonly rows: IndexFault }
  /** The call takes so much longer. */
  | { readonly kind: "slow"; readonly ms: number };

/** Rows that are gone, rows that are not there yet, rows of items that never were, rows that stand there twice. */
export type IndexFault = "stale" | "missing" | "phantom" | "doubled";

/** Every name under which a fault is counted where it takes place. */
export const FAULTS = [
  "killed before a call took effect",
  "killed after a call took effect",
  "frozen before a call took effect",
  "frozen after a call took effect",
  "frozen for more than two leases",
  "applied, its reply lost and repeated",
  "throttled",
  "timed out, never applied",
  "applied, then timed out",
  "timed out, then applied",
  "part of a batch applied, then unavailable",
  "a slow call",
  "a slow API",
  "a slow worker",
  "a wall clock ten minutes ahead",
  "a wall clock ten minutes behind",
  "an index row that appears late",
  "an index row that is gone",
  "an index row that is not there yet",
  "an index row of nothing",
  "an index row twice",
  "one thread offered to several workers",
  "a live owner taken for dead",
  "a worker drained",
] as const;
export type FaultName = (typeof FAULTS)[number];

/** How often each fault took place. */
export type FaultCounts = Readonly<Record<FaultName, number>>;

export interface Tally {
  count(name: FaultName): void;
  readonly counts: FaultCounts;
}

export function createTally(): Tally {
  const counts = noFaults();
  return { count: (name) => void counts[name]++, counts };
}

/** The counts of several schedules together. */
export function addFaults(a: FaultCounts, b: FaultCounts): FaultCounts {
  const sum = noFaults();
  for (const name of FAULTS) sum[name] = a[name] + b[name];
  return sum;
}

export function noFaults(): Record<FaultName, number> {
  return Object.fromEntries(FAULTS.map((name) => [name, 0])) as Record<FaultName, number>; // one for each name
}
