/**
 * What goes wrong, drawn from the seed: at each table call of a process that may be hurt, perhaps one fault. Every
 * schedule draws its own profile first ("swarm testing"), so that some have many crashes, some only slow calls, some
 * nothing at all.
 */
import type { Fault, IndexFault } from "./faults.ts";
import type { Random } from "./random.ts";

/** Probability of each fault per call, and how many crashes and freezes there may be. */
export interface Profile {
  readonly crash: number;
  readonly freeze: number;
  readonly lostReply: number;
  readonly unavailable: number;
  readonly slow: number;
  readonly partialBatch: number;
  /** Of a page of an index that is not what the items say. */
  readonly index: number;
  readonly budget: number;
  /** Probability with which a worker takes a live owner for dead: its lease is taken from it, its fence must protect. */
  readonly rash: number;
  /** Mean of a call's way there, and of its way back. */
  readonly latencyMs: number;
  /** The processes of this role are so many times slower than the others. */
  readonly slowRole: { readonly role: "api" | "worker"; readonly factor: number } | undefined;
  /** Index rows appear this much later on average; 0: at once. */
  readonly indexLagMs: number;
}

export const CALM: Profile = {
  crash: 0,
  freeze: 0,
  lostReply: 0,
  unavailable: 0,
  slow: 0,
  partialBatch: 0,
  index: 0,
  budget: 0,
  rash: 0,
  latencyMs: 2,
  slowRole: undefined,
  indexLagMs: 0,
};

/** A crash, or a freeze, at exactly one write, or call: the n-th (from 1) of the process of this name. */
export type Planned = {
  readonly process: string;
  readonly when: "before" | "after";
  /** Stands still for so long, and does not die. */
  readonly freezeMs?: number;
} & ({ readonly write: number } | { readonly call: number });

/** A call of a process. Polls are most of them and the least of what can go wrong, so they are hurt less often. */
export interface Call {
  readonly process: string;
  readonly kind: "write" | "batch" | "read" | "poll";
  /** Its number among the writes of its process. */
  readonly write: number | undefined;
  /** Its number among the calls of its process; polls do not count. */
  readonly call: number | undefined;
}

export interface Chaos {
  readonly profile: Profile;
  draw(call: Call): Fault;
  /** Of a call of this process, one way. */
  latency(process: string): number;
  /** True while everything takes this process longer than others. */
  isSlow(process: string): boolean;
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
    unavailable: maybe(0.4, 0.05),
    slow: maybe(0.4, 0.05),
    partialBatch: maybe(0.5, 1),
    index: maybe(0.4, 0.5),
    budget: 1 + random.int(4),
    rash: maybe(0.2, 0.1),
    latencyMs: random.pick([1, 2, 5, 20]),
    slowRole: random.chance(0.2)
      ? { role: random.pick(["api", "worker"]), factor: random.pick([5, 20, 50]) }
      : undefined,
    indexLagMs: random.pick([0, 0, 5, 100]),
  };
}

export interface ChaosOptions {
  readonly random: Random;
  readonly profile: Profile;
  readonly leaseMs: number;
  readonly planned?: Planned;
}

/** Most calls to an index say nothing new. */
const POLLS_HURT = 0.05;

export function createChaos({ random, profile, leaseMs, planned }: ChaosOptions): Chaos {
  let on = true;
  let budget = profile.budget;
  const spend = (probability: number): boolean => {
    if (budget <= 0 || !random.chance(probability)) return false;
    budget--;
    return true;
  };
  const when = (): "before" | "after" => random.pick(["before", "after"]);
  // Most are about as long as a lease; some go on for several.
  const freezeMs = (): number => leaseMs * (random.chance(0.3) ? 2 + 4 * random.next() : 0.3 + 2 * random.next());
  const { slowRole, latencyMs } = profile;
  const isSlow = (process: string): boolean => on && slowRole !== undefined && process.startsWith(slowRole.role);
  return {
    profile,
    isSlow,
    draw({ process, kind, ...number }) {
      if (planned?.process === process && isAt(planned, number)) {
        const { when: at, freezeMs: ms } = planned;
        return ms === undefined ? { kind: "crash", when: at } : { kind: "freeze", when: at, ms };
      }
      if (!on) return { kind: "none" };
      if (kind === "poll" && random.chance(profile.index)) {
        const rows: IndexFault = random.pick(["stale", "missing", "phantom", "doubled"]);
        return { kind: "index", rows };
      }
      if (kind === "poll" && !random.chance(POLLS_HURT)) return { kind: "none" };
      if (spend(profile.crash)) return { kind: "crash", when: when() };
      if (spend(profile.freeze)) return { kind: "freeze", when: when(), ms: freezeMs() };
      if (kind === "batch" && random.chance(profile.partialBatch)) return { kind: "partial-batch" };
      if (random.chance(profile.lostReply)) return { kind: "lost-reply", retryMs: random.exponential(leaseMs / 10) };
      if (random.chance(profile.unavailable)) return unavailable(random, leaseMs);
      if (random.chance(profile.slow)) return { kind: "slow", ms: random.exponential(leaseMs / 3) };
      return { kind: "none" };
    },
    rash: () => on && random.chance(profile.rash),
    latency: (process) => random.exponential(latencyMs * (isSlow(process) ? (slowRole?.factor ?? 1) : 1)),
    calm() {
      on = false;
    },
  };
}

function isAt(planned: Planned, { write, call }: Pick<Call, "write" | "call">): boolean {
  return "write" in planned ? planned.write === write : planned.call === call;
}

/** Throttled at once, or timed out, whatever became of the call. */
function unavailable(random: Random, leaseMs: number): Fault {
  if (random.chance(0.4)) return { kind: "unavailable", applied: "never", ms: 0 };
  const applied = random.pick(["never", "before", "later"] as const);
  return { kind: "unavailable", applied, ms: random.exponential(leaseMs / 5) };
}
