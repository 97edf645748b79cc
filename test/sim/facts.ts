/**
 * What happened in a schedule, in its order: every change of an item that matters, every question of a client and its
 * answer, every act of a graph upon the world. The checker knows nothing else, so that a history made by hand can be
 * put to it as well.
 */
import type { EffectEntry } from "../../src/core/effect.ts";
import type { Hold } from "../../src/core/hold.ts";
import type { MultitaskStrategy, Run, RunStatus } from "../../src/core/run.ts";
import type { Thread } from "../../src/core/thread.ts";

/** What a client wanted. `tag` names the run or the decision, and is the same in every repeat. */
export type Wish =
  | { readonly do: "accept"; readonly thread: string; readonly tag: string; readonly strategy: MultitaskStrategy }
  /** `command.resume`: an accept that decides what waits. */
  | { readonly do: "resume"; readonly thread: string; readonly tag: string }
  | { readonly do: "decide"; readonly thread: string; readonly tag: string; readonly hold: string }
  /** Another system answers a callback; `tag` is what it brings. */
  | { readonly do: "call back"; readonly thread: string; readonly tag: string; readonly hold: string }
  | { readonly do: "cancel" | "park"; readonly thread: string; readonly run: string }
  /** An operator has a run tried again, or a parked one go on. */
  | { readonly do: "retry"; readonly thread: string; readonly tag: string; readonly run: string }
  /** An operator says what became of an effect. */
  | {
      readonly do: "settle";
      readonly thread: string;
      readonly tag: string;
      readonly token: string;
      readonly intent: number;
      readonly verdict: "happened" | "not_happened";
    }
  | { readonly do: "update"; readonly thread: string; readonly tag: string };

/**
 * What a client was told. `yes` carries the run or decision, or a vote that does not decide yet; `no` is a definite refusal; `unknown` is everything after
 * which a client has to ask again (503, a lost connection).
 */
export type Answer =
  | { readonly is: "yes"; readonly id: string; readonly vote?: true }
  | { readonly is: "no"; readonly code: string }
  | { readonly is: "unknown"; readonly code: string };

export type Fact = { readonly at: number; readonly by: string } & (
  | { readonly kind: "answer"; readonly wish: Wish; readonly answer: Answer }
  | { readonly kind: "header"; readonly thread: Thread }
  | { readonly kind: "run"; readonly run: Run }
  | { readonly kind: "run-removed"; readonly run: Run }
  | { readonly kind: "hold"; readonly hold: Hold }
  | { readonly kind: "record"; readonly record: RecordFact }
  | {
      readonly kind: "events";
      readonly thread: string;
      readonly generation: number;
      readonly run: string;
      readonly first: number;
      readonly count: number;
      readonly fence: number;
    }
  /** Everything that one reader of a run got, however often it had to come back; `end` once it was told of one. */
  | {
      readonly kind: "read";
      readonly run: string;
      readonly numbers: readonly number[];
      readonly end: RunStatus | undefined;
    }
  /** What somebody who waited for a run was told. */
  | { readonly kind: "waited"; readonly run: string; readonly end: RunStatus }
  /** The world outside saw an effect; `what` says what it means. */
  | { readonly kind: "effect"; readonly token: string; readonly run: string; readonly what: string }
  /** What the journal holds of an effect. */
  | { readonly kind: "entry"; readonly entry: EffectEntry }
  /**
   * Graph code got the answer to its interrupt; what it then did need not be stored yet. `refused …`: it was to other
   * content, and so the code asks again.
   */
  | { readonly kind: "heard"; readonly tag: string }
  | { readonly kind: "started" | "crashed" | "drained" }
  | { readonly kind: "frozen"; readonly ms: number }
  /** One of its calls takes so much longer. */
  | { readonly kind: "stalled"; readonly ms: number }
  /** From here on nothing goes wrong any more. */
  | { readonly kind: "calm" }
  | { readonly kind: "defect"; readonly message: string }
  /** The audit log at the end: ids of the entries in its chain, and what is wrong with that. */
  | { readonly kind: "audit"; readonly chained: readonly string[]; readonly problems: readonly string[] }
  /** What the thread's graph has in its state at the end: one entry for everything that took place, in its order. */
  | { readonly kind: "state"; readonly thread: string; readonly log: readonly string[] }
);

export interface RecordFact {
  readonly thread: string;
  readonly generation: number;
  readonly ns: string;
  readonly seq: number;
  readonly fence: number;
  readonly kind: "checkpoint" | "barrier" | "reset" | "removed";
  readonly source?: string;
  readonly checkpointId?: string;
  readonly parentId?: string;
  /** Of a reset: the position from which the thread goes on. */
  readonly targetSeq?: number;
  /** True if an item stood at this position before. */
  readonly overwritten: boolean;
}

export type FactOf<K extends Fact["kind"]> = Extract<Fact, { readonly kind: K }>;

export function factsOf<K extends Fact["kind"]>(facts: readonly Fact[], kind: K): readonly FactOf<K>[] {
  return facts.filter((fact): fact is FactOf<K> => fact.kind === kind);
}
