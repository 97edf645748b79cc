/** What must be true of the graph's state and of the world outside (I5). */
import { factsOf } from "./facts.ts";
import { answersTo, tagOf } from "./history.ts";
import type { Invariants } from "./history.ts";

export const stateInvariants: Invariants = {
  "no effect takes place twice": ({ facts }, report) => {
    const seen = new Set<string>();
    for (const fact of factsOf(facts, "effect")) {
      if (seen.has(fact.token)) report(fact, `effect ${fact.token} took place again`);
      seen.add(fact.token);
    }
  },

  "an effect is in doubt only after an earlier delivery broke off": ({ facts }, report) => {
    for (const fact of factsOf(facts, "run")) {
      if (fact.run.status === "parked" && fact.run.deliveries < 2) report(fact, `run ${tagOf(fact.run)} was parked on its first delivery: ${fact.run.error?.message ?? ""}`);
    }
  },

  "a run is in the state once if it ended in success, and never twice": ({ facts, final }, report) => {
    for (const { thread, log } of factsOf(facts, "state")) {
      for (const run of final.runs.values()) {
        if (run.threadId !== thread || run.kind !== "input") continue;
        const times = log.filter((entry) => entry === `in ${tagOf(run)}`).length;
        if (times > 1 || (times === 0 && run.status === "success")) report(undefined, `run ${tagOf(run)} (${run.status}) is in the state ${times} times`);
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

  "nothing in the product fails in a way that nobody expected": ({ facts }, report) => {
    for (const fact of factsOf(facts, "defect")) report(fact, fact.message);
  },
};
