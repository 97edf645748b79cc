/**
 * The checker: what must be true of every history, whatever the interleaving and whatever went wrong. Each invariant
 * is a function from facts to violations, so that each can be shown to fail on a history made by hand.
 */
import type { Fact } from "./facts.ts";
import { historyOf } from "./history.ts";
import type { Invariants } from "./history.ts";
import { auditInvariants } from "./invariants-audit.ts";
import { fenceInvariants } from "./invariants-fences.ts";
import { holdInvariants } from "./invariants-holds.ts";
import { raceInvariants } from "./invariants-races.ts";
import { runInvariants } from "./invariants-runs.ts";
import { stateInvariants } from "./invariants-state.ts";
import { timeInvariants } from "./invariants-time.ts";

export interface Violation {
  readonly invariant: string;
  readonly what: string;
  /** Virtual time. */
  readonly at: number;
}

export const INVARIANTS: Invariants = {
  ...runInvariants,
  ...fenceInvariants,
  ...holdInvariants,
  ...stateInvariants,
  ...auditInvariants,
  ...timeInvariants,
  ...raceInvariants,
};

/** Every violation of every invariant. */
export function check(facts: readonly Fact[], { leaseMs }: { readonly leaseMs: number }): readonly Violation[] {
  const history = historyOf(facts, leaseMs);
  const end = facts.at(-1)?.at ?? 0;
  return Object.entries(INVARIANTS).flatMap(([invariant, isTrueOf]) => {
    const found: Violation[] = [];
    isTrueOf(history, (fact, what) => found.push({ invariant, what, at: fact?.at ?? end }));
    return found;
  });
}
