/**
 * What goes wrong, drawn from the seed: at each table call of a process that may be hurt, perhaps one fault. Every
 * schedule draws its own profile first ("swarm testing"), so that some have many crashes, some only slow calls, some
 * nothing at all.
 */
import type { Random } from "./random.ts";

/** A fault at one table call. `before` and `after` speak of the moment at which the call takes effect. */
export type Fault =
  | { readonly kind: "none" }
  /** The process dies. */
  | { readonly kind: "crash"; readonly when: "before" | "after" }
  /** The process stands still for so long, then goes on with what it remembers. */
  | { readonly kind: "freeze"; readonly when: "before" | "after"; readonly ms: number }
  /** The call takes effect, the reply is lost, the client repeats it under the same write id. */
  | { readonly kind: "lost-reply"; readonly retryMs: number }
  /** The caller is told `unavailable`. */
  | { readonly kind: "unavailable"; readonly when: "before" | "after" }
  /** The call takes so much longer. */
  | { readonly kind: "slow"; readonly ms: number };

/** Probability of each fault per call, and how many crashes and freezes there may be. */
export interface Profile {
  readonly crash: number;
  readonly freeze: number;
  readonly lostReply: number;
  readonly unavailable: number;
  readonly slow: number;
  readonly budget: number;
  /** Probability with which a worker takes a live owner for dead: its lease is taken from it, its fence must protect. */
  readonly rash: number;
  /** Mean of a call's way there, and of its way back. */
  readonly latencyMs: number;
  /** Index rows appear this much later on average; 0: at once. */
  readonly indexLagMs: number;
}

export const CALM: Profile = {
  crash: 0,
  freeze: 0,
  lostReply: 0,
  unavailable: 0,
  slow: 0,
  budget: 0,
  rash: 0,
  latencyMs: 2,
  indexLagMs: 0,
};

/** A crash, or a freeze, at exactly one write: the n-th (from 1) of the process of this name. */
export interface Planned {
  readonly process: string;
  readonly write: number;
  readonly when: "before" | "after";
  /** Stands still for so long, and does not die. */
  readonly freezeMs?: number;
}

/** A call of a process. Polls are most of them and the least of what can go wrong, so they are hurt less often. */
export interface Call {
  readonly process: string;
  readonly kind: "write" | "read" | "poll";
  /** Its number among the writes of its process. */
  readonly write: number | undefined;
}

export interface Chaos {
  readonly profile: Profile;
  draw(call: Call): Fault;
  latency(): number;
  /** A worker takes a live owner for dead. */
  rash(): boolean;
  /** From now on nothing goes wrong. */
  calm(): void;
}

/** Draws a profile: each kind of fault is there or not, more or less often. */
export function drawProfile(random: Random): Profile {
  const maybe = (chance: number, rate: number): number => (random.chance(chance) ? rate * random.next() : 0);
  return {
    crash: maybe(0.6, 0.04),
    freeze: maybe(0.4, 0.03),
    lostReply: maybe(0.5, 0.1),
    unavailable: maybe(0.3, 0.03),
    slow: maybe(0.4, 0.05),
    budget: 1 + random.int(4),
    rash: maybe(0.2, 0.1),
    latencyMs: random.pick([1, 2, 5, 20]),
    indexLagMs: random.pick([0, 0, 5, 100]),
  };
}

export interface ChaosOptions {
  readonly random: Random;
  readonly profile: Profile;
  readonly leaseMs: number;
  readonly planned?: Planned;
}

export function createChaos({ random, profile, leaseMs, planned }: ChaosOptions): Chaos {
  let on = true;
  let budget = profile.budget;
  const spend = (probability: number): boolean => {
    if (budget <= 0 || !random.chance(probability)) return false;
    budget--;
    return true;
  };
  const when = (): "before" | "after" => random.pick(["before", "after"]);
  return {
    profile,
    draw({ process, kind, write }) {
      if (planned?.process === process && planned.write === write) {
        const { when: at, freezeMs } = planned;
        return freezeMs === undefined ? { kind: "crash", when: at } : { kind: "freeze", when: at, ms: freezeMs };
      }
      if (!on || (kind === "poll" && random.chance(0.95))) return { kind: "none" };
      if (spend(profile.crash)) return { kind: "crash", when: when() };
      if (spend(profile.freeze)) return { kind: "freeze", when: when(), ms: leaseMs * (0.3 + 2 * random.next()) };
      if (random.chance(profile.lostReply)) return { kind: "lost-reply", retryMs: random.exponential(leaseMs / 10) };
      if (random.chance(profile.unavailable)) return { kind: "unavailable", when: when() };
      if (random.chance(profile.slow)) return { kind: "slow", ms: random.exponential(leaseMs / 3) };
      return { kind: "none" };
    },
    rash: () => on && random.chance(profile.rash),
    latency: () => random.exponential(profile.latencyMs),
    calm() {
      on = false;
    },
  };
}
