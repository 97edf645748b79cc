/** What must be true of timers, and of reviews that expire. */
import { dueAt } from "../../src/core/hold-time.ts";
import type { Hold } from "../../src/core/hold.ts";
import { factsOf } from "./facts.ts";
import { isOpen } from "./history.ts";
import type { Invariants } from "./history.ts";

export const timeInvariants: Invariants = {
  "time decides nothing before its time": ({ facts }, report) => {
    const before = new Map<string, Hold>();
    for (const fact of factsOf(facts, "hold")) {
      const { hold } = fact;
      const old = before.get(hold.holdId);
      before.set(hold.holdId, hold);
      if (hold.decision?.cause !== "time" || old?.decision) continue;
      const due = old && dueAt(old);
      if (due === undefined || due > fact.at)
        report(fact, `hold ${hold.holdId} was decided at ${fact.at}, and was due at ${due ?? "no time"}`);
    }
  },

  "what time has decided is carried on, once": ({ facts, final }, report) => {
    for (const hold of final.holds.values()) {
      if (hold.decision?.cause !== "time") continue;
      if (hold.state === "decided") report(undefined, `hold ${hold.holdId} fired, and nobody ever heard of it`);
    }
    const times = new Map<string, number>();
    for (const { log } of factsOf(facts, "state"))
      for (const line of log.filter((text) => text.includes("holdpoint:time")))
        times.set(line, (times.get(line) ?? 0) + 1);
    for (const [line, count] of times) if (count > 1) report(undefined, `"${line}" took effect ${count} times`);
  },

  "what time has decided was heard by the code that asked": ({ facts, final }, report) => {
    const heard = new Set(factsOf(facts, "heard").map(({ tag }) => tag));
    for (const hold of final.holds.values()) {
      const isScript = hold.node === "script";
      if (!isScript || hold.decision?.cause !== "time" || hold.state !== "applied") continue;
      const tag = `${hold.decision.by} ${hold.interruptId}`;
      if (!heard.has(tag) && !heard.has(`refused ${tag}`))
        report(undefined, `hold ${hold.holdId} is applied, and its code was never told`);
    }
  },

  "nothing that waits is overdue at the end": ({ facts, final }, report) => {
    const end = facts.at(-1)?.at ?? 0;
    for (const hold of final.holds.values()) {
      const due = dueAt(hold);
      if (due !== undefined && due + LATE_MS < end && isOpen(hold, final.runs.get(hold.runId)))
        report(undefined, `hold ${hold.holdId} (${hold.origin}) was due at ${due}, and it is ${end}`);
    }
  },
};

/** A worker looks once a second at least, and one that died is replaced within a few. */
const LATE_MS = 5_000;
