/** What must be true of the audit log at the end: every decision that was ever won is in it, once, and in its chain. */
import { auditId } from "../../src/core/audit.ts";
import { factsOf } from "./facts.ts";
import type { Invariants } from "./history.ts";

export const auditInvariants: Invariants = {
  "every decision that was won is in the audit log, and in one link of its chain": ({ facts }, report) => {
    for (const { chained, problems } of factsOf(facts, "audit")) {
      for (const problem of problems) report(undefined, problem);
      const found = new Set(chained);
      for (const { hold } of factsOf(facts, "hold")) {
        const { tenant, threadId, holdId, decision, origin } = hold;
        // That a timer has fired is nobody's decision.
        if (!decision || origin === "timer") continue;
        const id = auditId({ tenant, kind: "decision", key: [threadId, holdId, decision.id] });
        if (!found.has(id)) report(undefined, `decision ${decision.id} of ${decision.by} is not in the audit log`);
        found.add(id);
      }
    }
  },
};
