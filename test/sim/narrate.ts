/** A history as lines that a person can read: what a failing seed prints. */
import { tagOf } from "./history.ts";
import type { Fact } from "./facts.ts";
import { EPOCH } from "./scheduler.ts";

/** One line a fact; only of one thread when it is named. */
export function narrate(facts: readonly Fact[], thread?: string): readonly string[] {
  return facts.flatMap((fact) => {
    if (thread !== undefined && threadOf(fact) !== undefined && threadOf(fact) !== thread) return [];
    return [`${(fact.at - EPOCH).toFixed(1).padStart(8)} ${fact.by.padEnd(9)} ${tell(fact)}`];
  });
}

function threadOf(fact: Fact): string | undefined {
  switch (fact.kind) {
    case "answer":
      return fact.wish.thread;
    case "header":
      return fact.thread.threadId;
    case "run":
    case "run-removed":
      return fact.run.threadId;
    case "hold":
      return fact.hold.threadId;
    case "record":
      return fact.record.thread;
    case "events":
    case "state":
      return fact.thread;
    case "read":
    case "waited":
    case "heard":
    case "effect":
    case "started":
    case "crashed":
    case "drained":
    case "frozen":
    case "calm":
    case "defect":
      return undefined;
  }
}

const short = (id: string): string => (id.length > 12 ? `…${id.slice(-5)}` : id);

function tell(fact: Fact): string {
  switch (fact.kind) {
    case "answer": {
      const { wish, answer } = fact;
      const what = "hold" in wish ? `${wish.tag} on hold ${short(wish.hold)}` : "tag" in wish ? wish.tag : wish.run;
      return `answer: ${wish.do} ${what} → ${answer.is} ${answer.is === "yes" ? short(answer.id) : answer.code}`;
    }
    case "header": {
      const { fence, lease, active, queue, waiting } = fact.thread;
      const at = active?.kind === "run" ? short(active.entry.runId) : (active?.kind ?? "-");
      const entries = queue.map((entry) => `${entry.kind === "continuation" ? "k:" : ""}${short(entry.runId)}`).join(" ");
      return `header: fence ${fence}, lease ${lease ? `${lease.owner} beat ${lease.beat}` : "-"}, active ${at}, queue [${entries}]${waiting ? `, waits ${waiting.reviews}+${waiting.plain} of ${short(waiting.runId)}` : ""}`;
    }
    case "run":
    case "run-removed": {
      const { run } = fact;
      const end = run.end ? `, holds [${run.end.holds.map(short).join(" ")}]` : "";
      return `${fact.kind} ${short(run.runId)} (${tagOf(run).slice(0, 14)}): ${run.status}, fence ${run.fence}, delivery ${run.deliveries}, accept ${run.acceptNumber}${run.cancelAsked ? ", cancel asked" : ""}${end}`;
    }
    case "hold":
      return `hold ${short(fact.hold.holdId)} (interrupt ${short(fact.hold.interruptId)}): ${fact.hold.state}, fence ${fact.hold.fence}, due ${fact.hold.followUpDue}${fact.hold.decision ? `, by ${fact.hold.decision.comment ?? fact.hold.decision.by} → ${short(fact.hold.decision.continuation)}` : ""}`;
    case "record":
      return `record ${fact.record.seq}: ${fact.record.kind} ${fact.record.source ?? ""}, fence ${fact.record.fence}`;
    case "events":
      return `events ${fact.first}+${fact.count}, fence ${fact.fence}`;
    case "read":
      return `read ${fact.numbers.length} frames of run ${short(fact.run)}, end ${fact.end ?? "-"}`;
    case "waited":
      return `was told that run ${short(fact.run)} is ${fact.end}`;
    case "effect":
      return `EFFECT ${short(fact.token)} by run ${short(fact.run)}`;
    case "heard":
      return `heard the answer of ${fact.tag}`;
    case "state":
      return `state: ${fact.log.join(" | ")}`;
    case "defect":
      return `DEFECT ${fact.message}`;
    case "crashed":
      return "CRASHED";
    case "started":
      return "started";
    case "drained":
      return "drained and gone";
    case "frozen":
      return `FROZEN for ${Math.round(fact.ms)} ms`;
    case "calm":
      return "calm from here on";
  }
}
