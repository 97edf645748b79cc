/** What must be true of the graph's state and of the world outside (I5). */
import { isEnded } from "../../src/core/run.ts";
import { factsOf } from "./facts.ts";
import { answersTo, tagOf } from "./history.ts";
import type { Invariants } from "./history.ts";

export const stateInvariants: Invariants = {
  "no effect takes place twice, also under another token": ({ facts }, report) => {
    const seen = new Set<string>();
    for (const fact of factsOf(facts, "effect")) {
      if (seen.has(fact.token) || seen.has(fact.what)) report(fact, `effect ${fact.what} took place again`);
      seen.add(fact.token).add(fact.what);
    }
  },

  "an effect is in doubt only after an earlier delivery broke off": ({ facts }, report) => {
    const brokenOff = new Set<string>();
    for (const fact of factsOf(facts, "run")) {
      const { status, deliveries, threadId } = fact.run;
      // What a run that was cancelled has begun is in doubt for the one that continues from its input.
      const isAsked = fact.run.cancelAsked?.parks === true;
      if (status === "parked" && !isAsked && deliveries < 2 && !brokenOff.has(threadId))
        report(fact, `run ${tagOf(fact.run)} was parked on its first delivery: ${fact.run.error?.message ?? ""}`);
      if (isEnded(status) && deliveries > 0 && status !== "success" && status !== "held") brokenOff.add(threadId);
    }
  },

  "a run is in the state once if it ended in success, and never twice": ({ facts, final }, report) => {
    for (const { thread, log } of factsOf(facts, "state")) {
      for (const run of final.runs.values()) {
        // A retry of one that brought answers brings nothing.
        const brings = (final.runs.get(run.root) ?? run).kind === "input";
        if (run.threadId !== thread || run.kind !== "input" || !brings) continue;
        const times = log.filter((entry) => entry === `in ${tagOf(run)}`).length;
        // The input of one that was parked just when its worker began may land after that, and a retry brings it again.
        const late = [...final.runs.values()].filter(
          ({ root, status, deliveries }) => root === run.root && status === "parked" && deliveries === 0,
        );
        if (times > 1 + late.length || (times === 0 && run.status === "success"))
          report(undefined, `run ${tagOf(run)} (${run.status}) is in the state ${times} times`);
      }
    }
  },

  "an acknowledged update is in the state once, a refused one is not": ({ facts }, report) => {
    const logs = new Map(factsOf(facts, "state").map(({ thread, log }) => [thread, log]));
    for (const fact of answersTo(facts)) {
      const { wish, answer } = fact;
      if (wish.do !== "update") continue;
      const times = logs.get(wish.thread)?.filter((entry) => entry === `update ${wish.tag}`).length ?? 0;
      const wrong = answer.is === "yes" ? times !== 1 : answer.is === "no" ? times > 0 : times > 1;
      if (wrong) report(fact, `update ${wish.tag} (${answer.is}) is in the state ${times} times`);
    }
  },

  "a reader gets every frame of its run once, in order, and then its end": ({ facts, final }, report) => {
    for (const fact of factsOf(facts, "read")) {
      const run = final.runs.get(fact.run);
      // The first frame of a delivery whose mark never landed belongs to nothing that began.
      const from = run?.firstEvent ?? Infinity;
      const there = factsOf(facts, "events")
        .flatMap(({ run: id, first, count }) =>
          id === fact.run ? Array.from({ length: count }, (_, i) => first + i) : [],
        )
        .filter((number) => number >= from);
      const wrong = fact.numbers.findIndex((number, i) => number !== there[i]);
      if (wrong >= 0) report(fact, `a reader of run ${fact.run} got ${fact.numbers.join(" ")} of ${there.join(" ")}`);
      if (fact.end !== undefined && fact.numbers.length !== there.length)
        report(
          fact,
          `a reader of run ${fact.run} was told of its end after ${fact.numbers.length} of ${there.length} frames`,
        );
      if (fact.end !== undefined && fact.end !== run?.status)
        report(fact, `a reader of run ${fact.run} was told ${fact.end}, and it is ${run?.status ?? "gone"}`);
      if (fact.end === undefined && run && isEnded(run.status))
        report(fact, `a reader of run ${fact.run} was never told of its end`);
    }
  },

  "who waits for a run is told how it ended": ({ facts, final }, report) => {
    for (const fact of factsOf(facts, "waited")) {
      const run = final.runs.get(fact.run);
      if (run?.status !== fact.end)
        report(fact, `run ${fact.run} was said to be ${fact.end}, and it is ${run?.status ?? "gone"}`);
    }
  },

  "nothing in the product fails in a way that nobody expected": ({ facts }, report) => {
    for (const fact of factsOf(facts, "defect")) report(fact, fact.message);
  },
};
