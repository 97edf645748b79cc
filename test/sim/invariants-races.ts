/** What must be true where several want the same: votes, callbacks, retries, and words on effects. */
import { ASKED_AGAIN } from "../../src/core/hold.ts";
import { auditId } from "../../src/core/audit.ts";
import type { Decision, Hold } from "../../src/core/hold.ts";
import { decisionId } from "../../src/core/ids.ts";
import { canonicalJson } from "../../src/core/json.ts";
import { isEnded } from "../../src/core/run.ts";
import { settlementEntry } from "../../src/runtime/audit/audit-effect.ts";
import { factsOf } from "./facts.ts";
import { answersTo, holdChanges, tagOfDecision } from "./history.ts";
import type { Invariants } from "./history.ts";

export const raceInvariants: Invariants = {
  "a quorum counts different people who said the same": ({ facts }, report) => {
    for (const { fact, before, hold } of holdChanges(facts)) {
      const { decision, votes = [], request, holdId } = hold;
      const people = votes.map(({ by }) => by);
      if (new Set(people).size < people.length) report(fact, `somebody has two votes on hold ${holdId}`);
      if (!decision || decision.cause === "time" || before?.decision?.id === decision.id) continue;
      if (decision.answer.type === "reject") continue;
      const agreed = new Set([...agreeing(hold, decision), decision.by]);
      if (agreed.size < (request?.quorum ?? 1))
        report(fact, `hold ${holdId} was decided by ${[...agreed].join(" and ")}, of ${request?.quorum ?? 1}`);
    }
  },

  "an acknowledged vote is counted, and stays until its review is over": ({ facts }, report) => {
    for (const { fact, before, hold } of holdChanges(facts)) {
      const isOver = before?.state !== "pending" || (hold.state !== "pending" && hold.state !== "decided");
      const kept = new Set(hold.votes?.map(({ id }) => id));
      const lost = isOver ? undefined : before.votes?.find(({ id }) => !kept.has(id));
      if (lost) report(fact, `the vote of ${lost.by} on hold ${hold.holdId} was lost`);
    }
    const counted = new Set(factsOf(facts, "hold").flatMap(({ hold }) => hold.votes?.map(({ id }) => id) ?? []));
    for (const fact of answersTo(facts)) {
      const { wish, answer } = fact;
      if (wish.do !== "decide" || answer.is !== "yes" || !answer.vote || counted.has(decisionId(answer.id))) continue;
      report(fact, `vote ${wish.tag} was acknowledged, and never counted`);
    }
  },

  "nobody takes what somebody else has claimed": ({ facts }, report) => {
    for (const { fact, before, hold } of holdChanges(facts)) {
      const [held, next] = [before?.claim, hold.claim];
      if (!held || !next || held.by === next.by || held.until <= hold.updatedAt) continue;
      report(fact, `${next.by} claimed hold ${hold.holdId}, which ${held.by} had claimed`);
    }
  },

  "a hold that is over stays as it is, unless a later delivery finds that it waits after all": ({ facts }, report) => {
    for (const { fact, before, hold } of holdChanges(facts)) {
      const isOver = before?.state === "applied" || before?.state === "superseded" || before?.state === "cancelled";
      const isAnew = before?.state !== "applied" && (hold.state === "pending" || hold.state === "decided");
      // Whether that reason is true is another invariant's matter.
      const isTakenBack = hold.state === "superseded" && hold.reason === ASKED_AGAIN;
      // One holder may execute several runs, one after the other.
      const isLater = (than: Hold): boolean =>
        hold.fence > than.fence || (hold.fence === than.fence && hold.runId !== than.runId);
      if (!isOver || before.state === hold.state || isTakenBack || (isAnew && isLater(before))) continue;
      report(fact, `hold ${hold.holdId} went from ${before.state} to ${hold.state}`);
    }
  },

  "a callback is used once, and what it brought is what its code hears": ({ facts, final }, report) => {
    const won = new Map<string, string>();
    const heard = new Set(factsOf(facts, "heard").map(({ tag }) => tag));
    for (const fact of answersTo(facts)) {
      const { wish, answer } = fact;
      if (wish.do !== "call back" || answer.is !== "yes") continue;
      const { hold: id, tag } = wish;
      const before = won.get(id) ?? tag;
      if (before !== tag) report(fact, `callback ${id} was answered with ${before} and with ${tag}`);
      won.set(id, tag);
      const hold = final.holds.get(id);
      if (hold?.state === "applied" && !heard.has(tag))
        report(fact, `callback ${tag} was accepted, and nobody heard it`);
      if (hold?.decision && tagOfDecision(hold) !== tag)
        report(fact, `callback ${tag} was accepted, and does not stand`);
    }
    for (const [at, fact] of facts.entries()) {
      if (fact.kind !== "answer" || fact.wish.do !== "call back" || fact.answer.is !== "no") continue;
      const { tag, hold: id } = fact.wish;
      // An earlier attempt of the same request may still be on its way, and win once the callback is asked for again.
      const isBack = facts
        .slice(at)
        .some((late) => late.kind === "hold" && late.hold.holdId === id && late.hold.state === "pending");
      if (heard.has(tag) && won.get(id) !== tag && !isBack)
        report(fact, `callback ${tag} was refused, and its code has heard it`);
    }
  },

  "of one run one retry at a time is under way": ({ facts, final }, report) => {
    const active = new Map<string, string>();
    for (const fact of factsOf(facts, "run")) {
      const { run } = fact;
      if (run.replayOf === undefined || run.deliveries === 0) continue;
      const other = active.get(run.replayOf);
      const isOther = other !== undefined && other !== run.runId && final.runs.has(other);
      if (isOther) report(fact, `run ${run.replayOf} is tried again by ${other} and by ${run.runId}`);
      if (!isEnded(run.status)) active.set(run.replayOf, run.runId);
      else if (other === run.runId) active.delete(run.replayOf);
    }
  },

  "only a run that failed is tried again": ({ facts }, report) => {
    const statuses = new Map<string, string>();
    for (const fact of factsOf(facts, "run")) {
      const { runId, status, replayOf, deliveries } = fact.run;
      const of = replayOf === undefined ? undefined : statuses.get(replayOf);
      if (of !== undefined && deliveries > 0 && !["error", "timeout", "parked"].includes(of))
        report(fact, `run ${replayOf} is ${of}, and was tried again`);
      statuses.set(runId, status);
    }
  },

  "of one intent of an effect one word stands, and it is never another": ({ facts }, report) => {
    const said = new Map<string, string>();
    for (const fact of answersTo(facts)) {
      const { wish, answer } = fact;
      if (wish.do !== "settle" || answer.is !== "yes") continue;
      const intent = `${wish.token} ${wish.intent}`;
      const before = said.get(intent) ?? wish.verdict;
      if (before !== wish.verdict) report(fact, `effect ${intent} was said to have ${before} and ${wish.verdict}`);
      said.set(intent, wish.verdict);
    }
    const stands = new Map<string, string>();
    for (const fact of factsOf(facts, "entry")) {
      const { token, settlement } = fact.entry;
      if (!settlement) continue;
      const intent = `${token} ${settlement.intent}`;
      const before = stands.get(intent) ?? settlement.id;
      if (before !== settlement.id) report(fact, `effect ${intent} was settled twice`);
      stands.set(intent, settlement.id);
    }
  },

  "what cannot be undone is settled by two people": ({ facts }, report) => {
    for (const fact of factsOf(facts, "entry")) {
      const { irreversible, settlement, token } = fact.entry;
      if (irreversible && settlement && (settlement.proposedBy ?? settlement.by) === settlement.by)
        report(fact, `effect ${token} was settled by ${settlement.by} alone`);
    }
  },

  "what was said of an effect is followed up, and in the audit log": ({ facts }, report) => {
    const last = new Map(factsOf(facts, "entry").map(({ entry }) => [entry.token, entry]));
    for (const { token, followUp } of last.values())
      if (followUp) report(undefined, `what follows the word on effect ${token} is still due`);
    for (const { chained } of factsOf(facts, "audit")) {
      const found = new Set(chained);
      for (const { entry } of factsOf(facts, "entry")) {
        const words = [entry.settlement, entry.proposal].filter((word) => word !== undefined);
        const missing = words.find((word) => !found.has(auditId(settlementEntry(entry, word))));
        if (missing) report(undefined, `the word of ${missing.by} on effect ${entry.token} is not in the audit log`);
      }
    }
  },
};

function agreeing({ votes = [] }: Hold, { answer }: Decision): readonly string[] {
  const same = canonicalJson(answer);
  return votes.filter((vote) => canonicalJson(vote.answer) === same).map(({ by }) => by);
}
