/** A history as lines that a person can read: what a failing seed prints. */
import { tagOf } from "./history.ts";
import type { Run } from "../../src/core/run.ts";
import type { Fact, FactOf } from "./facts.ts";
import { EPOCH } from "./scheduler.ts";

/** One line a fact; only of one thread when it is named. */
export function narrate(facts: readonly Fact[], thread?: string): readonly string[] {
  return facts.flatMap((fact) => {
    if (thread !== undefined && threadOf(fact) !== undefined && threadOf(fact) !== thread) return [];
    return [`${(fact.at - EPOCH).toFixed(1).padStart(8)} ${fact.by.padEnd(9)} ${tell(fact)}`];
  });
}

function threadOf(fact: Fact): string | undefined {
  if (fact.kind === "answer") return fact.wish.thread;
  if (fact.kind === "header") return fact.thread.threadId;
  if (fact.kind === "run" || fact.kind === "run-removed") return fact.run.threadId;
  if (fact.kind === "hold") return fact.hold.threadId;
  if (fact.kind === "entry") return fact.entry.parked?.threadId ?? fact.entry.threadId;
  if (fact.kind === "record") return fact.record.thread;
  return "thread" in fact ? fact.thread : undefined;
}

const short = (id: string): string => (id.length > 12 ? `…${id.slice(-5)}` : id);

const tellRun = (run: Run): string => {
  const end = run.end ? `, holds [${run.end.holds.map(short).join(" ")}]` : "";
  const asked = run.cancelAsked ? ", cancel asked" : "";
  const numbers = `fence ${run.fence}, delivery ${run.deliveries}, accept ${run.acceptNumber}`;
  return `run ${short(run.runId)} (${tagOf(run).slice(0, 14)}): ${run.status}, ${numbers}${asked}${end}`;
};

const TELL: { readonly [K in Fact["kind"]]: (fact: FactOf<K>) => string } = {
  answer({ wish, answer }) {
    const what =
      "hold" in wish ? `${wish.tag} on hold ${short(wish.hold)}` : "tag" in wish ? wish.tag : short(wish.run);
    const come = answer.is === "yes" ? `${answer.vote ? "vote " : ""}${short(answer.id)}` : answer.code;
    return `answer: ${wish.do} ${what} → ${answer.is} ${come}`;
  },
  header({ thread: { fence, lease, active, queue, waiting } }) {
    const at = active?.kind === "run" ? short(active.entry.runId) : (active?.kind ?? "-");
    const entries = queue.map(({ kind, runId }) => `${kind === "continuation" ? "k:" : ""}${short(runId)}`).join(" ");
    const waits = waiting ? `, waits ${waiting.reviews}+${waiting.plain} of ${short(waiting.runId)}` : "";
    const held = lease ? `${lease.owner} beat ${lease.beat}` : "-";
    return `header: fence ${fence}, lease ${held}, active ${at}, queue [${entries}]${waits}`;
  },
  run: ({ run }) => tellRun(run),
  "run-removed": ({ run }) => `removed ${tellRun(run)}`,
  hold({ hold }) {
    const { holdId, interruptId, state, fence, followUpDue, decision } = hold;
    const by = decision ? `, by ${decision.comment ?? decision.by} → ${short(decision.continuation)}` : "";
    return `hold ${short(holdId)} (interrupt ${short(interruptId)}): ${state}, fence ${fence}, due ${followUpDue}${by}`;
  },
  record: ({ record }) => `record ${record.seq}: ${record.kind} ${record.source ?? ""}, fence ${record.fence}`,
  events: ({ first, count, fence }) => `events ${first}+${count}, fence ${fence}`,
  read: ({ run, numbers, end }) => `read ${numbers.length} frames of run ${short(run)}, end ${end ?? "-"}`,
  waited: ({ run, end }) => `was told that run ${short(run)} is ${end}`,
  heard: ({ tag }) => `heard the answer of ${tag}`,
  effect: ({ token, run }) => `EFFECT ${short(token)} by run ${short(run)}`,
  entry({ entry }) {
    const { token, intents = 1, fence, outcome, cleared, parked, proposal, settlement, followUp } = entry;
    const states = Object.entries({ outcome, cleared, parked, proposal, settlement, followUp });
    const is = states.flatMap(([name, value]) => (value === undefined ? [] : [name])).join(", ");
    return `journal ${short(token)}: intent ${intents}, fence ${fence}, ${is === "" ? "open" : is}`;
  },
  audit: ({ chained, problems }) => `audit: ${chained.length} entries, ${problems.length} problems`,
  state: ({ log }) => `state: ${log.join(" | ")}`,
  defect: ({ message }) => `DEFECT ${message}`,
  started: () => "started",
  crashed: () => "CRASHED",
  drained: () => "drained and gone",
  frozen: ({ ms }) => `FROZEN for ${Math.round(ms)} ms`,
  stalled: ({ ms }) => `waits ${Math.round(ms)} ms for a call`,
  calm: () => "calm from here on",
};

function tell<K extends Fact["kind"]>(fact: FactOf<K>): string {
  const kind: K = fact.kind;
  return TELL[kind](fact);
}
