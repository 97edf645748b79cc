/** What must be true of holds and decisions (I4). */
import { ASKED_AGAIN, isWait } from "../../src/core/hold.ts";
import type { Hold } from "../../src/core/hold.ts";
import { supersedesOf } from "../../src/core/review-value.ts";
import { isEnded } from "../../src/core/run.ts";
import type { Run } from "../../src/core/run.ts";
import { factsOf } from "./facts.ts";
import type { Fact } from "./facts.ts";
import { answersTo, holdChanges, isOpen, tagOfDecision } from "./history.ts";
import type { Final, History, Invariants } from "./history.ts";

export const holdInvariants: Invariants = {
  "a decision never changes, unless the run that carried it on did not": ({ facts, final }, report) => {
    const before = new Map<string, Hold>();
    for (const fact of factsOf(facts, "hold")) {
      const { hold } = fact;
      const old = before.get(hold.holdId);
      before.set(hold.holdId, hold);
      if (!old?.decision || old.decision.id === hold.decision?.id) continue;
      const givenBack = old.state === "decided" && hold.state === "pending" && failedUnder(final, old);
      if (!givenBack) report(fact, `the decision of hold ${hold.holdId} went from ${old.state} to ${hold.state}`);
    }
  },

  "nobody decides what somebody else has claimed": ({ facts }, report) => {
    for (const { fact, before, hold } of holdChanges(facts)) {
      const { claim, state, votes = [] } = before ?? {};
      // Time is nobody: who claims a review does not stop it from expiring.
      if (state !== "pending" || !claim || hold.decision?.cause === "time") continue;
      const vote = hold.decision ?? hold.votes?.find(({ id }) => votes.every((old) => old.id !== id));
      if (!vote || claim.by === vote.by || claim.until <= vote.at) continue;
      report(fact, `${vote.by} decided hold ${hold.holdId}, which ${claim.by} had claimed`);
    }
  },

  "two decisions of one hold are never both acknowledged": ({ facts }, report) => {
    const standing = new Map<string, string>();
    const back = new Set<string>();
    for (const { hold } of factsOf(facts, "hold")) {
      const before = standing.get(hold.holdId);
      if (before !== undefined && !hold.decision) back.add(before);
      if (hold.decision) standing.set(hold.holdId, hold.decision.id);
    }
    const won = new Map<string, string>();
    for (const fact of answersTo(facts)) {
      const { wish, answer } = fact;
      // One that was given back may have been acknowledged; the one that stands is another.
      if (wish.do !== "decide" || answer.is !== "yes" || answer.vote || back.has(answer.id)) continue;
      const before = won.get(wish.hold) ?? answer.id;
      if (before !== answer.id) report(fact, `hold ${wish.hold} was decided twice`);
      won.set(wish.hold, answer.id);
    }
  },

  "who is told that a decision lost does not stand as the one who decided, unless the review has come back since": (
    { facts, final },
    report,
  ) => {
    for (const [at, fact] of facts.entries()) {
      if (fact.kind !== "answer" || fact.wish.do !== "decide" || fact.answer.is !== "no") continue;
      const { tag, hold: id } = fact.wish;
      // An earlier attempt of the same request may still be on its way then, and cannot be told from a new one.
      const isBack = facts
        .slice(at)
        .some((late) => late.kind === "hold" && late.hold.holdId === id && isAsked(late.hold));
      if (final.holds.get(id)?.decision?.comment === tag && !isBack)
        report(fact, `${tag} was told ${fact.answer.code} and stands on hold ${id}`);
    }
  },

  "an acknowledged decision is applied exactly once": (history, report) => {
    const { facts, final } = history;
    for (const fact of answersTo(facts)) {
      const { wish, answer } = fact;
      if ((wish.do !== "decide" && wish.do !== "call back") || answer.is !== "yes" || answer.vote) continue;
      const hold = final.holds.get(wish.hold);
      const { tag } = wish;
      if (!hold) report(fact, `the hold of decision ${tag} is gone`);
      else if (tagOfDecision(hold) !== tag) continue; // given back, which another invariant judges
      else if (hold.state === "decided") report(fact, `decision ${tag} was acknowledged and never applied`);
      else if (hold.state === "cancelled" && !isTrulyOver(final, hold))
        report(fact, `decision ${tag} was acknowledged and its hold cancelled`);
      else if (hold.state === "superseded" && !isTrulyOver(final, hold))
        report(
          fact,
          `decision ${tag} on hold ${hold.holdId} (${hold.origin}) was acknowledged and dropped: ${hold.reason ?? ""}`,
        );
      else if (hold.state === "applied" && !tookEffect(history, hold))
        report(fact, `decision ${tag} on hold ${hold.holdId} (${hold.origin}) was marked applied and took no effect`);
    }
    for (const [line, times] of answersInState(facts))
      if (times > 1) report(undefined, `"${line}" took effect ${times} times`);
  },

  "no input and no update runs over a review that nobody has cancelled": ({ facts }, report) => {
    const holds = new Map<string, Hold>();
    const runs = new Map<string, Run>();
    for (const fact of facts) {
      if (fact.kind === "hold") holds.set(fact.hold.holdId, fact.hold);
      if (fact.kind === "run") runs.set(fact.run.runId, fact.run);
      if (fact.kind !== "record" || (fact.record.source !== "input" && fact.record.source !== "update")) continue;
      for (const hold of holds.values()) {
        const waits = (hold.state === "pending" || hold.state === "decided") && isOpen(hold, runs.get(hold.runId));
        if (waits && hold.origin === "review" && hold.threadId === fact.record.thread)
          report(fact, `${fact.record.source} was put over hold ${hold.holdId}, which is ${hold.state}`);
      }
    }
  },

  "a thread that waits for a review has one that somebody can decide": ({ final }, report) => {
    for (const thread of final.threads.values()) {
      if (thread.deleted || (thread.waiting?.reviews ?? 0) === 0) continue;
      const ours = [...final.holds.values()].filter(
        (hold) => hold.threadId === thread.threadId && hold.state === "pending" && hold.origin === "review",
      );
      if (!ours.some((hold) => isOpen(hold, final.runs.get(hold.runId))))
        report(undefined, `${thread.threadId} waits for a review that nobody can decide`);
    }
  },

  "who is told that a held run was cancelled finds nothing that it still asks, or that was answered just then": (
    { facts },
    report,
  ) => {
    const holds = new Map<string, Hold>();
    const runs = new Map<string, Run>();
    for (const fact of facts) {
      if (fact.kind === "hold") holds.set(fact.hold.holdId, fact.hold);
      if (fact.kind === "run") runs.set(fact.run.runId, fact.run);
      if (fact.kind !== "answer" || fact.wish.do !== "cancel" || fact.answer.is !== "yes") continue;
      const run = runs.get(fact.wish.run);
      for (const hold of holds.values())
        if (isOpen(hold, run) && (hold.state === "pending" || hold.state === "decided"))
          report(fact, `run ${run?.runId ?? ""} was cancelled, and hold ${hold.holdId} of it is ${hold.state}`);
    }
  },

  "a hold that is due is followed up": ({ final }, report) => {
    for (const hold of final.holds.values())
      if (hold.followUpDue) report(undefined, `hold ${hold.holdId} is ${hold.state} and still due`);
  },
};

const isAsked = ({ state }: Hold): boolean => state === "pending";

/**
 * The reasons for which a decision may be set aside: its review came back with other content, or, for what only the run
 * itself waits for, that run has ended. Each must be true.
 */
function isTrulyOver(final: Final, hold: Hold): boolean {
  const { holds, runs } = final;
  if (hold.reason === ASKED_AGAIN) return failedUnder(final, hold) || isAskedAgain([...holds.values()], hold);
  const status = runs.get(hold.runId)?.status ?? "pending";
  const reasons = [`the run that asked is ${status}`, "the run that asked was over before it heard of it"];
  const hasStopped = isEnded(status) && status !== "success" && status !== "held";
  return isWait(hold) && hasStopped && reasons.includes(hold.reason ?? "");
}

/** Either it was answered and its code asked on, or it was never heard and its task showed something else in its place. */
const isAskedAgain = (holds: readonly Hold[], { raisedBy, interruptId, digest, holdId }: Hold): boolean =>
  holds.some(
    (other) =>
      (other.raisedBy.taskId === raisedBy.taskId && supersedesOf(other.value) === digest) ||
      (other.interruptId === interruptId && other.holdId !== holdId),
  );

/** The continuation to which this decision was handed, or the run that waited for it itself, then or on a later delivery, ended without carrying it on. */
function failedUnder({ runs }: Final, hold: Hold): boolean {
  const failed = new Set(["cancelled", "error", "parked", "timeout"]);
  return [...runs.values()].some(
    (run) =>
      run.threadId === hold.threadId &&
      (run.kind === "continuation" || run.runId === hold.runId) &&
      run.fence >= (hold.handedTo ?? Infinity) &&
      failed.has(run.status),
  );
}

/** The answer is in the state, or its code heard it and what that did was dropped by later input, a failure or a cancel. */
function tookEffect({ facts, final }: History, hold: Hold): boolean {
  const tag = tagOfDecision(hold) ?? "";
  if ([...answersInState(facts).keys()].some((line) => line.endsWith(` ${tag}`))) return true;
  const heard = facts.findIndex((fact) => fact.kind === "heard" && fact.tag === tag);
  // Its code meant to ask again, and its run was over before that was stored.
  const isRefused = facts.some((fact) => fact.kind === "heard" && fact.tag === `refused ${tag}`);
  if (heard < 0) return isRefused && failedUnder(final, hold);
  const dropped = facts
    .slice(heard)
    .some(
      (fact) =>
        fact.kind === "record" &&
        fact.record.thread === hold.threadId &&
        (fact.record.source === "input" || fact.record.source === "update"),
    );
  return dropped || failedUnder(final, hold);
}

/** The lines of answers → how often each is in the final state. */
function answersInState(facts: readonly Fact[]): ReadonlyMap<string, number> {
  const times = new Map<string, number>();
  const lines = factsOf(facts, "state").flatMap(({ log }) => log.filter((line) => line.startsWith("answer ")));
  for (const line of lines) times.set(line, (times.get(line) ?? 0) + 1);
  return times;
}
