/** What must be true of runs, the queue and the lease (I1). */
import { isEnded } from "../../src/core/run.ts";
import type { Run } from "../../src/core/run.ts";
import { activeRunId, names } from "../../src/core/thread.ts";
import type { Thread } from "../../src/core/thread.ts";
import { factsOf } from "./facts.ts";
import type { Fact } from "./facts.ts";
import { answersTo, isAccept, isOpen, namedBy, tagOf } from "./history.ts";
import type { Final, Invariants } from "./history.ts";

/** Workers come to what is due within this time. */
const SWEPT_WITHIN_MS = 5_000;

export const runInvariants: Invariants = {
  "an acknowledged run ends, or waits behind a review that is open": ({ facts, final }, report) => {
    for (const fact of answersTo(facts)) {
      const { wish, answer } = fact;
      if (!(isAccept(fact) || wish.do === "retry") || answer.is !== "yes") continue;
      const run = final.runs.get(answer.id);
      const name = "tag" in wish ? wish.tag : answer.id;
      if (!run) report(fact, `run ${name} was acknowledged and is gone`);
      else if (run.status === "refused") report(fact, `run ${name} was acknowledged and is refused`);
      else if (!isEnded(run.status) && !waitsBehindReview(run, final))
        report(fact, `run ${name} was acknowledged and is still ${run.status}`);
    }
  },

  "a refused run is never executed, nor acknowledged": ({ facts, runOfTag }, report) => {
    const acknowledged = new Set(
      answersTo(facts).flatMap((fact) =>
        isAccept(fact) && fact.answer.is === "yes" && "tag" in fact.wish ? [fact.wish.tag] : [],
      ),
    );
    for (const fact of answersTo(facts)) {
      if (!isAccept(fact) || fact.answer.is !== "no" || !("tag" in fact.wish)) continue;
      const { tag } = fact.wish;
      const run = runOfTag.get(tag);
      if (run && executed(facts, run)) report(fact, `run ${tag} was refused (${fact.answer.code}) and executed`);
      if (acknowledged.has(tag)) report(fact, `run ${tag} was refused (${fact.answer.code}) and acknowledged`);
    }
  },

  "a run never leaves a status in which it has ended": ({ facts }, report) => {
    const ended = new Map<string, Run>();
    for (const fact of factsOf(facts, "run")) {
      const before = ended.get(fact.run.runId);
      if (before && before.status !== fact.run.status)
        report(fact, `run ${tagOf(fact.run)} went from ${before.status} to ${fact.run.status}`);
      if (isEnded(fact.run.status)) ended.set(fact.run.runId, fact.run);
    }
  },

  "runs start in the order of the queue": ({ facts }, report) => {
    const place = new Map<string, number>();
    const last = new Map<string, number>();
    const seen = new Set<string>();
    for (const fact of facts) {
      if (fact.kind === "header")
        for (const entry of fact.thread.queue) if (!place.has(entry.runId)) place.set(entry.runId, place.size);
      if (fact.kind !== "run" || fact.run.deliveries === 0 || seen.has(fact.run.runId)) continue;
      seen.add(fact.run.runId);
      const lane = `${fact.run.threadId} ${fact.run.kind}`; // continuations may overtake input, and nothing else may
      const own = place.get(fact.run.runId);
      if (own === undefined) report(fact, `run ${tagOf(fact.run)} started and was in no queue`);
      else if (own < (last.get(lane) ?? -1))
        report(fact, `run ${tagOf(fact.run)} started after one that was queued behind it`);
      last.set(lane, Math.max(own ?? -1, last.get(lane) ?? -1));
    }
  },

  "a header names a run once, and drops none that has not ended": ({ facts }, report) => {
    const runs = new Map<string, Run>();
    const before = new Map<string, Thread>();
    for (const fact of facts) {
      if (fact.kind === "run") runs.set(fact.run.runId, fact.run);
      if (fact.kind === "run-removed") runs.delete(fact.run.runId);
      if (fact.kind !== "header") continue;
      const { thread } = fact;
      if (new Set(namedBy(thread)).size !== namedBy(thread).length)
        report(fact, `the header of ${thread.threadId} names a run twice`);
      const old = before.get(thread.threadId);
      for (const id of old && !thread.deleted ? namedBy(old) : []) {
        const run = runs.get(id);
        if (run && !isEnded(run.status) && !names(thread, run.runId))
          report(fact, `the header dropped run ${tagOf(run)}, which is ${run.status}`);
      }
      before.set(thread.threadId, thread);
    }
  },

  "a run that no header names is not kept for ever": ({ facts, final }, report) => {
    const end = facts.at(-1)?.at ?? 0;
    const removed = new Set(factsOf(facts, "run-removed").map(({ run }) => run.runId));
    for (const run of final.runs.values()) {
      if (removed.has(run.runId)) continue;
      const thread = final.threads.get(run.threadId);
      const overdue = run.followUpAt !== undefined && run.followUpAt + SWEPT_WITHIN_MS < end;
      if (overdue && !(thread && names(thread, run.runId)))
        report(undefined, `run ${tagOf(run)} is ${run.status}, named by nobody and overdue`);
    }
  },

  "a run that was asked to stop does not end in success": ({ facts, final }, report) => {
    for (const fact of answersTo(facts)) {
      if (fact.wish.do !== "cancel" || fact.answer.is !== "yes") continue;
      const run = final.runs.get(fact.wish.run);
      // One that was to be parked, and had succeeded by then, had ended when the cancel came.
      if (run?.cancelAsked && !run.cancelAsked.parks && run.status === "success")
        report(fact, `run ${tagOf(run)} was cancelled and ended in success`);
    }
  },

  "at the end nobody holds a lease, and nothing is left to run": ({ final }, report) => {
    for (const thread of final.threads.values()) {
      if (thread.lease) report(undefined, `${thread.threadId} is still held by ${thread.lease.owner}`);
      if (thread.active) report(undefined, `${thread.threadId} still has an active ${activeRunId(thread) ?? "update"}`);
    }
  },

  "no thread stays under a dead lease for more than two leases": ({ facts, leaseMs }, report) => {
    const calm = facts.find((fact) => fact.kind === "calm")?.at ?? Infinity;
    const fleet = new Fleet();
    const held = new Map<string, { readonly fact: Fact; readonly fence: number }>();
    const judge = (entry: { readonly fact: Fact }, at: number): void => {
      const stood = at - Math.max(entry.fact.at, calm, fleet.since);
      // Leases are read at a third of one.
      const late = stood > 2 * leaseMs + leaseMs / 3;
      if (late && fleet.isDead(entry.fact.by)) report(entry.fact, `a dead lease stood for ${Math.round(stood)} ms`);
    };
    for (const fact of facts) {
      fleet.see(fact);
      if (fact.kind !== "header") continue;
      const { threadId, lease, fence } = fact.thread;
      const before = held.get(threadId);
      if (before && before.fence !== fence) judge(before, fact.at);
      // Anyone may append to a held header; whose lease it is shows in who wrote its beat.
      const beat = before?.fence !== fence || lease?.owner.startsWith(`${fact.by}/`);
      if (lease && beat) held.set(threadId, { fact, fence });
      if (!lease) held.delete(threadId);
    }
    for (const entry of held.values()) judge(entry, facts.at(-1)?.at ?? 0);
  },
};

/** Who is there to take a lease over. */
class Fleet {
  readonly #dead = new Set<string>();
  readonly #workers = new Set<string>();
  #since = 0;

  /** From when on there has always been a worker awake; infinite while there is none. */
  get since(): number {
    return this.#workers.size === 0 ? Infinity : this.#since;
  }

  isDead(process: string): boolean {
    return this.#dead.has(process);
  }

  see(fact: Fact): void {
    switch (fact.kind) {
      case "started":
        if (this.#workers.size === 0) this.#since = fact.at;
        this.#workers.add(fact.by);
        return;
      case "frozen":
      case "stalled":
        this.#since = Math.max(this.#since, fact.at + fact.ms);
        return;
      case "crashed":
        this.#dead.add(fact.by);
        this.#workers.delete(fact.by);
        return;
      case "drained":
        this.#workers.delete(fact.by);
        return;
      default:
        return;
    }
  }
}

/** Anything that was ever marked as running has executed. */
function executed(facts: readonly Fact[], run: Run): boolean {
  return factsOf(facts, "run").some((fact) => fact.run.runId === run.runId && fact.run.deliveries > 0);
}

/** A queued run may wait for ever behind a review that nobody has decided. */
function waitsBehindReview(run: Run, { runs, threads, holds }: Final): boolean {
  const thread = threads.get(run.threadId);
  if (!thread || run.kind === "continuation" || (thread.waiting?.reviews ?? 0) === 0) return false;
  const open = [...holds.values()].some(
    (hold) => hold.threadId === run.threadId && hold.state === "pending" && isOpen(hold, runs.get(hold.runId)),
  );
  return open && thread.queue.some((entry) => entry.runId === run.runId);
}
