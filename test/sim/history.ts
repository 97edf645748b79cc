/** What the invariants are functions of: the facts, and what is there at the end. */
import { outcomeOf } from "../../src/core/wait-value.ts";
import type { Hold } from "../../src/core/hold.ts";
import type { Run } from "../../src/core/run.ts";
import type { Thread } from "../../src/core/thread.ts";
import { factsOf } from "./facts.ts";
import type { Fact, FactOf } from "./facts.ts";

export interface History {
  readonly facts: readonly Fact[];
  readonly final: Final;
  /** The name that a client gave → the run that bears it. */
  readonly runOfTag: ReadonlyMap<string, Run>;
  readonly leaseMs: number;
}

/** What is there at the end, by id. */
export interface Final {
  readonly runs: ReadonlyMap<string, Run>;
  readonly threads: ReadonlyMap<string, Thread>;
  readonly holds: ReadonlyMap<string, Hold>;
}

/** Reports a violation at the fact that shows it, or at the end. */
export type Report = (fact: Fact | undefined, what: string) => void;
export type Invariant = (history: History, report: Report) => void;
export type Invariants = Readonly<Record<string, Invariant>>;

export function historyOf(facts: readonly Fact[], leaseMs: number): History {
  const runs = new Map<string, Run>();
  const runOfTag = new Map<string, Run>();
  const threads = new Map<string, Thread>();
  const holds = new Map<string, Hold>();
  for (const fact of facts) {
    if (fact.kind === "run") runs.set(fact.run.runId, fact.run);
    if (fact.kind === "run") runOfTag.set(tagOf(fact.run), fact.run);
    // A thread that is deleted takes its runs with it: they are what they were.
    if (fact.kind === "run-removed" && threads.get(fact.run.threadId)?.deleted !== true) runs.delete(fact.run.runId);
    if (fact.kind === "header") threads.set(fact.thread.threadId, fact.thread);
    if (fact.kind === "hold") holds.set(fact.hold.holdId, fact.hold);
  }
  return { facts, final: { runs, threads, holds }, runOfTag, leaseMs };
}

/** The name that a client gave its run; a continuation that the service made has none of its own. */
export function tagOf(run: Run): string {
  const tag = run.payload?.metadata?.["tag"];
  const inherited = run.kind === "continuation" && run.payload?.command === undefined;
  return typeof tag === "string" && !inherited ? tag : `${run.kind} ${run.runId}`;
}

export const answersTo = (facts: readonly Fact[]): readonly FactOf<"answer">[] => factsOf(facts, "answer");

export interface HoldChange {
  readonly fact: FactOf<"hold">;
  readonly before: Hold | undefined;
  readonly hold: Hold;
}

/** Every change of every hold, with what it was before. */
export function holdChanges(facts: readonly Fact[]): readonly HoldChange[] {
  const last = new Map<string, Hold>();
  return factsOf(facts, "hold").map((fact) => {
    const { hold } = fact;
    const before = last.get(hold.holdId);
    last.set(hold.holdId, hold);
    return { fact, before, hold };
  });
}

/** The name that a client gave its decision: a comment, or what a callback brought. */
export function tagOfDecision({ kept, decision = kept }: Hold): string | undefined {
  if (decision?.comment !== undefined || decision?.answer.type !== "value") return decision?.comment;
  const outcome = outcomeOf(decision.answer.value);
  return outcome?.kind === "arrived" && typeof outcome.result === "string" ? outcome.result : undefined;
}

export const isAccept = (fact: FactOf<"answer">): boolean => fact.wish.do === "accept" || fact.wish.do === "resume";

/** A hold can be decided only while the run that it names is `held` or sleeps, and names it under the same fence. */
export function isOpen(hold: Hold, run: Run | undefined): boolean {
  const named =
    run?.status === "held"
      ? run.end?.holds
      : run?.status === "waiting" && !run.cancelAsked
        ? run.sleep?.holds
        : undefined;
  return run?.fence === hold.fence && named?.includes(hold.holdId) === true;
}

/** Everything that a header names, the active run first. */
export const namedBy = (thread: Thread): string[] => [
  ...(thread.active?.kind === "run" ? [thread.active.entry.runId] : []),
  ...thread.queue.map((entry) => entry.runId),
];
