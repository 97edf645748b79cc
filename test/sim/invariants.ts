/**
 * The checker: what must be true of every history, whatever the interleaving and whatever went wrong. Each invariant
 * is a function from facts to violations, so that each can be shown to fail on a history made by hand.
 */
import { isEnded } from "../../src/core/run.ts";
import type { Run } from "../../src/core/run.ts";
import type { Hold } from "../../src/core/hold.ts";
import { activeRunId, names } from "../../src/core/thread.ts";
import type { Thread } from "../../src/core/thread.ts";
import { factsOf } from "./facts.ts";
import type { Fact, FactOf } from "./facts.ts";

export interface Violation {
  readonly invariant: string;
  readonly what: string;
  readonly at: number;
}

/** What is there at the end, by id. */
interface Final {
  readonly runs: ReadonlyMap<string, Run>;
  readonly threads: ReadonlyMap<string, Thread>;
  readonly holds: ReadonlyMap<string, Hold>;
}

interface History {
  readonly facts: readonly Fact[];
  readonly final: Final;
  /** Name of a wish → the run that carries it. */
  readonly runOfTag: ReadonlyMap<string, Run>;
  readonly leaseMs: number;
}

type Report = (fact: Fact | undefined, what: string) => void;
type Invariant = (history: History, report: Report) => void;

export interface CheckOptions {
  readonly leaseMs: number;
}

/** Every violation of every invariant, in the order of the invariants. */
export function check(facts: readonly Fact[], { leaseMs }: CheckOptions): readonly Violation[] {
  const runs = new Map<string, Run>();
  const runOfTag = new Map<string, Run>();
  const threads = new Map<string, Thread>();
  const holds = new Map<string, Hold>();
  for (const fact of facts) {
    if (fact.kind === "run") runs.set(fact.run.runId, fact.run);
    if (fact.kind === "run") runOfTag.set(tagOf(fact.run), fact.run);
    if (fact.kind === "run-removed") runs.delete(fact.run.runId);
    if (fact.kind === "header") threads.set(fact.thread.threadId, fact.thread);
    if (fact.kind === "hold") holds.set(fact.hold.holdId, fact.hold);
  }
  const history = { facts, final: { runs, threads, holds }, runOfTag, leaseMs };
  const end = facts.at(-1)?.at ?? 0;
  return Object.entries(INVARIANTS).flatMap(([invariant, holdsTrue]) => {
    const found: Violation[] = [];
    holdsTrue(history, (fact, what) => found.push({ invariant, what, at: fact?.at ?? end }));
    return found;
  });
}

/** The name that a client gave its run, which every repeat of the request carries. */
export function tagOf(run: Run): string {
  const tag = run.payload?.metadata?.["tag"];
  const inherited = run.kind === "continuation" && run.payload?.command === undefined;
  return typeof tag === "string" && !inherited ? tag : `${run.kind} ${run.runId}`;
}

const answersTo = (facts: readonly Fact[]): readonly FactOf<"answer">[] => factsOf(facts, "answer");

/** Anything that was ever marked as running has executed. */
const executed = (facts: readonly Fact[], runId: string): boolean =>
  factsOf(facts, "run").some(({ run }) => run.runId === runId && run.deliveries > 0);

/** A queued run may wait for ever behind a review that nobody has decided. */
function waitsForReview(run: Run, { threads, holds }: Final): boolean {
  const thread = threads.get(run.threadId);
  if (!thread || run.kind === "continuation" || (thread.waiting?.reviews ?? 0) === 0) return false;
  const open = [...holds.values()].some((hold) => hold.threadId === run.threadId && hold.state === "pending");
  return open && thread.queue.some((entry) => entry.runId === run.runId);
}

export const INVARIANTS: Readonly<Record<string, Invariant>> = {
  /** I1 */
  "an acknowledged run ends, or waits for a review that is open": ({ facts, final }, report) => {
    for (const fact of answersTo(facts)) {
      const { wish, answer } = fact;
      if ((wish.do !== "accept" && wish.do !== "resume") || answer.is !== "yes") continue;
      const run = final.runs.get(answer.id);
      if (!run) report(fact, `run ${wish.tag} was acknowledged and is gone`);
      else if (run.status === "refused") report(fact, `run ${wish.tag} was acknowledged and is refused`);
      else if (!isEnded(run.status) && !waitsForReview(run, final)) report(fact, `run ${wish.tag} was acknowledged and is still ${run.status}`);
    }
  },
  "a refused run is never executed, nor acknowledged": ({ facts, runOfTag }, report) => {
    for (const fact of answersTo(facts)) {
      const { wish, answer } = fact;
      if ((wish.do !== "accept" && wish.do !== "resume") || answer.is !== "no") continue;
      const run = runOfTag.get(wish.tag);
      if (run && executed(facts, run.runId)) report(fact, `run ${wish.tag} was refused (${answer.code}) and executed`);
      const other = answersTo(facts).find((a) => a.wish.do === wish.do && "tag" in a.wish && a.wish.tag === wish.tag && a.answer.is === "yes");
      if (other) report(fact, `run ${wish.tag} was refused (${answer.code}) and acknowledged`);
    }
  },
  "a run never leaves a status in which it has ended": ({ facts }, report) => {
    const ended = new Map<string, Run>();
    for (const fact of factsOf(facts, "run")) {
      const before = ended.get(fact.run.runId);
      if (before && before.status !== fact.run.status) report(fact, `run ${tagOf(fact.run)} went from ${before.status} to ${fact.run.status}`);
      if (isEnded(fact.run.status)) ended.set(fact.run.runId, fact.run);
    }
  },
  /** I2 */
  "every holder has a fence of its own, and fences only rise": ({ facts }, report) => {
    const owners = new Map<string, string>();
    const last = new Map<string, number>();
    for (const fact of factsOf(facts, "header")) {
      const { threadId, fence, lease } = fact.thread;
      if (fence < (last.get(threadId) ?? 0)) report(fact, `the fence of ${threadId} fell to ${fence}`);
      last.set(threadId, fence);
      if (!lease) continue;
      const owner = owners.get(`${threadId} ${fence}`) ?? lease.owner;
      if (owner !== lease.owner) report(fact, `${owner} and ${lease.owner} both hold ${threadId} under fence ${fence}`);
      owners.set(`${threadId} ${fence}`, owner);
    }
  },
  "no record of a lower fence stands above one of a higher": ({ facts }, report) => {
    const tops = new Map<string, { seq: number; fence: number }>();
    for (const fact of factsOf(facts, "record")) {
      const { thread, generation, ns, seq, fence, overwritten } = fact.record;
      const name = `${thread} ${generation} ${ns}`;
      const top = tops.get(name) ?? { seq: 0, fence: 0 };
      if (overwritten) report(fact, `record ${seq} of ${thread} was overwritten`);
      if (seq !== top.seq + 1) report(fact, `record ${seq} of ${thread} follows ${top.seq}`);
      if (fence < top.fence) report(fact, `record ${seq} of ${thread} has fence ${fence} above ${top.fence}`);
      tops.set(name, { seq, fence });
    }
  },
  "no event of a lower fence follows one of a higher, and none is missing": ({ facts }, report) => {
    const ends = new Map<string, { next: number; fence: number }>();
    for (const fact of factsOf(facts, "events")) {
      const name = `${fact.thread} ${fact.generation}`;
      const end = ends.get(name) ?? { next: 0, fence: 0 };
      if (fact.first !== end.next) report(fact, `events of ${fact.thread} go on at ${fact.first} after ${end.next}`);
      if (fact.fence < end.fence) report(fact, `events of ${fact.thread} of fence ${fact.fence} follow ${end.fence}`);
      ends.set(name, { next: fact.first + fact.count, fence: fact.fence });
    }
  },
  "a run is never written under a lower fence than before": ({ facts }, report) => {
    const fences = new Map<string, number>();
    for (const fact of factsOf(facts, "run")) {
      const before = fences.get(fact.run.runId) ?? 0;
      if (fact.run.fence < before) report(fact, `run ${tagOf(fact.run)} went from fence ${before} to ${fact.run.fence}`);
      fences.set(fact.run.runId, fact.run.fence);
    }
  },
  "runs start in the order of the queue": ({ facts }, report) => {
    const place = new Map<string, number>();
    const started = new Map<string, number>();
    const seen = new Set<string>();
    for (const fact of facts) {
      if (fact.kind === "header") for (const entry of fact.thread.queue) if (!place.has(entry.runId)) place.set(entry.runId, place.size);
      if (fact.kind !== "run" || fact.run.deliveries === 0 || seen.has(fact.run.runId)) continue;
      seen.add(fact.run.runId);
      const lane = `${fact.run.threadId} ${fact.run.kind}`;
      const own = place.get(fact.run.runId);
      if (own === undefined) report(fact, `run ${tagOf(fact.run)} started and was in no queue`);
      else if (own < (started.get(lane) ?? -1)) report(fact, `run ${tagOf(fact.run)} started after one that was queued behind it`);
      started.set(lane, Math.max(own ?? -1, started.get(lane) ?? -1));
    }
  },
  "a header names a run once, and drops none that has not ended": ({ facts }, report) => {
    const runs = new Map<string, Run>();
    const before = new Map<string, Thread>();
    for (const fact of facts) {
      if (fact.kind === "run") runs.set(fact.run.runId, fact.run);
      if (fact.kind === "run-removed") runs.delete(fact.run.runId);
      if (fact.kind !== "header") continue;
      const named = namedBy(fact.thread);
      if (new Set(named).size !== named.length) report(fact, `the header of ${fact.thread.threadId} names a run twice`);
      const old = before.get(fact.thread.threadId);
      if (old && !fact.thread.deleted) {
        for (const id of namedBy(old)) {
          const run = runs.get(id);
          if (run && !isEnded(run.status) && !names(fact.thread, run.runId)) report(fact, `the header dropped run ${tagOf(run)}, which is ${run.status}`);
        }
      }
      before.set(fact.thread.threadId, fact.thread);
    }
  },
  "an acknowledged cancel of a run ends it as anything but success": ({ facts, final, runOfTag }, report) => {
    for (const fact of answersTo(facts)) {
      if (fact.wish.do !== "cancel" || fact.answer.is !== "yes") continue;
      const run = final.runs.get(runOfTag.get(fact.wish.run)?.runId ?? "");
      const asked = run?.cancelAsked !== undefined;
      if (run && asked && run.status === "success") report(fact, `run ${fact.wish.run} was cancelled and ended in success`);
    }
  },
  /** I4 */
  "a hold is decided once, and its decision never changes": ({ facts }, report) => {
    const first = new Map<string, Hold>();
    for (const fact of factsOf(facts, "hold")) {
      const { hold } = fact;
      const before = first.get(hold.holdId);
      if (before?.decision && before.decision.id !== hold.decision?.id) report(fact, `the decision of hold ${hold.holdId} was replaced`);
      if (before && before.state !== "pending" && hold.state === "pending") report(fact, `hold ${hold.holdId} is open again`);
      first.set(hold.holdId, hold);
    }
  },
  "two different decisions of one hold are never both acknowledged": ({ facts }, report) => {
    const won = new Map<string, FactOf<"answer">>();
    for (const fact of answersTo(facts)) {
      if (fact.wish.do !== "decide" || fact.answer.is !== "yes") continue;
      const before = won.get(fact.wish.hold);
      if (before && before.answer.is === "yes" && before.answer.id !== fact.answer.id) report(fact, `hold ${fact.wish.hold} was decided twice`);
      won.set(fact.wish.hold, fact);
    }
  },
  "who is told that its decision lost does not stand as the one who decided": ({ facts, final }, report) => {
    for (const fact of answersTo(facts)) {
      if (fact.wish.do !== "decide" || fact.answer.is !== "no") continue;
      const hold = final.holds.get(fact.wish.hold);
      if (hold?.decision?.comment === fact.wish.tag) report(fact, `${fact.wish.tag} was told ${fact.answer.code} and stands on hold ${hold.holdId}`);
    }
  },
  "an acknowledged decision is applied exactly once": ({ facts, final }, report) => {
    const applied = appliedAnswers(facts);
    for (const fact of answersTo(facts)) {
      if (fact.wish.do !== "decide" || fact.answer.is !== "yes") continue;
      const hold = final.holds.get(fact.wish.hold);
      const times = applied.get(hold?.interruptId ?? "") ?? 0;
      if (!hold?.decision) report(fact, `decision ${fact.wish.tag} is not on its hold`);
      else if (hold.state === "decided") report(fact, `decision ${fact.wish.tag} was acknowledged and never applied`);
      else if (hold.state === "applied" && times !== 1 && !abandoned(final, hold)) report(fact, `decision ${fact.wish.tag} of hold ${hold.holdId} (${hold.origin}) took effect ${times} times`);
    }
    for (const [interrupt, times] of applied) if (times > 1) report(undefined, `the answer to interrupt ${interrupt} took effect ${times} times`);
  },
  "new input never runs over a review that nobody has decided": ({ facts }, report) => {
    const holds = new Map<string, Hold>();
    const runs = new Map<string, Run>();
    for (const fact of facts) {
      if (fact.kind === "hold") holds.set(fact.hold.holdId, fact.hold);
      if (fact.kind === "run") runs.set(fact.run.runId, fact.run);
      if (fact.kind !== "record" || (fact.record.source !== "input" && fact.record.source !== "update")) continue;
      for (const hold of holds.values()) {
        const open = hold.state === "pending" || hold.state === "decided";
        const run = runs.get(hold.runId);
        const named = run?.status === "held" && run.fence === hold.fence && run.end?.holds.includes(hold.holdId) === true;
        if (open && named && hold.origin === "review" && hold.threadId === fact.record.thread) report(fact, `input was put over hold ${hold.holdId}, which is ${hold.state}`);
      }
    }
  },
  "a thread that waits has a hold that somebody can decide": ({ final }, report) => {
    for (const thread of final.threads.values()) {
      if (!thread.waiting || thread.deleted || thread.waiting.reviews === 0) continue;
      const run = final.runs.get(thread.waiting.runId);
      const open = [...final.holds.values()].some(
        (hold) => hold.threadId === thread.threadId && hold.state === "pending" && run?.fence === hold.fence && run.end?.holds.includes(hold.holdId) === true,
      );
      if (!open) report(undefined, `${thread.threadId} waits for a review that nobody can decide`);
    }
  },
  "at the end nobody holds a lease, and nothing is left to run": ({ final }, report) => {
    for (const thread of final.threads.values()) {
      if (thread.lease) report(undefined, `${thread.threadId} is still held by ${thread.lease.owner}`);
      if (thread.active) report(undefined, `${thread.threadId} still has an active ${activeRunId(thread) ?? "update"}`);
    }
  },
  "no thread stays under a dead lease for more than two leases": ({ facts, leaseMs }, report) => {
    const calm = facts.find((fact) => fact.kind === "calm")?.at;
    if (calm === undefined) return;
    const dead = new Set<string>();
    const held = new Map<string, { fact: Fact; sign: string; since: number }>();
    const late = (entry: { fact: Fact; since: number }, at: number): void => {
      if (at - Math.max(entry.since, calm) > 2 * leaseMs + leaseMs / 3) report(entry.fact, `a dead lease stood for ${at - Math.max(entry.since, calm)} ms`);
    };
    for (const fact of facts) {
      if (fact.kind === "crashed") dead.add(fact.by);
      if (fact.kind !== "header") continue;
      const { threadId, lease, fence } = fact.thread;
      const before = held.get(threadId);
      if (before && before.sign !== `${fence}` && dead.has(before.fact.by)) late(before, fact.at);
      if (lease) held.set(threadId, { fact, sign: `${fence}`, since: fact.at });
      else held.delete(threadId);
    }
    for (const entry of held.values()) if (dead.has(entry.fact.by)) late(entry, facts.at(-1)?.at ?? 0);
  },
  /** I3 */
  "the checkpoints of a thread are one chain": ({ facts }, report) => {
    const heads = new Map<string, string | undefined>();
    for (const fact of factsOf(facts, "record")) {
      if (fact.record.kind !== "checkpoint") continue;
      const name = `${fact.record.thread} ${fact.record.generation} ${fact.record.ns}`;
      if (heads.has(name) && fact.record.parentId !== heads.get(name)) report(fact, `record ${fact.record.seq} of ${fact.record.thread} has another parent than the head`);
      heads.set(name, fact.record.checkpointId);
    }
  },
  /** I5 */
  "no effect takes place twice": ({ facts }, report) => {
    const seen = new Set<string>();
    for (const fact of factsOf(facts, "effect")) {
      if (seen.has(fact.token)) report(fact, `effect ${fact.token} took place again`);
      seen.add(fact.token);
    }
  },
  "every run that ended in success is in the state once, and in its order": ({ facts, final }, report) => {
    for (const { thread, log } of factsOf(facts, "state")) {
      const inputs = log.filter((entry) => entry.startsWith("in "));
      for (const run of final.runs.values()) {
        if (run.threadId !== thread || run.kind !== "input" || run.payload?.command !== undefined) continue;
        const times = inputs.filter((entry) => entry === `in ${tagOf(run)}`).length;
        if (times > 1 || (times === 0 && run.status === "success")) report(undefined, `run ${tagOf(run)} (${run.status}) is in the state ${times} times`);
      }
    }
  },
  "an acknowledged update of the state is in it once, a refused one is not": ({ facts }, report) => {
    const logs = new Map(factsOf(facts, "state").map(({ thread, log }) => [thread, log]));
    for (const fact of answersTo(facts)) {
      const { wish, answer } = fact;
      if (wish.do !== "update") continue;
      const times = logs.get(wish.thread)?.filter((entry) => entry === `update ${wish.tag}`).length ?? 0;
      const wrong = answer.is === "yes" ? times !== 1 : answer.is === "no" ? times > 0 : times > 1;
      if (wrong) report(fact, `update ${wish.tag} (${answer.is}) is in the state ${times} times`);
    }
  },
  "nothing in the product failed in a way that nobody expected": ({ facts }, report) => {
    for (const fact of factsOf(facts, "defect")) report(fact, fact.message);
  },
};

const namedBy = (thread: Thread): string[] => [
  ...(thread.active?.kind === "run" ? [thread.active.entry.runId] : []),
  ...thread.queue.map((entry) => entry.runId),
];

/** Interrupt id → how often its answer is in the final state. */
function appliedAnswers(facts: readonly Fact[]): ReadonlyMap<string, number> {
  const times = new Map<string, number>();
  for (const { log } of factsOf(facts, "state")) {
    for (const entry of log) {
      const hold = /^answer (\S+)/.exec(entry)?.[1];
      if (hold !== undefined) times.set(hold, (times.get(hold) ?? 0) + 1);
    }
  }
  return times;
}

/** The continuation that was handed this decision was cancelled or failed: the decision is settled, not applied. */
function abandoned({ runs }: Final, hold: Hold): boolean {
  return [...runs.values()].some((run) => run.threadId === hold.threadId && run.kind === "continuation" && ["cancelled", "error"].includes(run.status));
}
