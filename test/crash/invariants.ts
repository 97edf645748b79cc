/**
 * What must be true after any number of crashes, put to everything that a test knows in the end. Each finding is a
 * violation in words, so that a negative control can show that it would have been found.
 */
import { isEnded } from "../../src/core/run.ts";
import type { Run } from "../../src/core/run.ts";
import { activeRunId } from "../../src/core/thread.ts";
import type { Evidence, ThreadSeen } from "./evidence.ts";
import { factsOf } from "./witness.ts";
import type { Fact, FactOf } from "./witness.ts";

export interface Violation {
  readonly invariant: string;
  readonly what: string;
}

/** After so many deliveries in a row that ended with their worker, a run is executed alone. */
export const SUSPECT_STRIKES = 2;

type Report = (what: string) => void;

/** Beyond two leases: what a machine that has more to do than it can may add. */
export const BUSY_MACHINE_MS = 2_000;

/** Made by somebody who died before any header named it: it is swept some minutes later. */
const isOrphan = ({ status, followUpAt }: Run): boolean => status === "pending" && followUpAt !== undefined;

const EVERY_THREAD: Readonly<Record<string, (thread: ThreadSeen, report: Report) => void>> = {
  "no accepted run is missing, and each has come to its end": ({ told, runs }, report) => {
    for (const [i, runId] of told.runs.entries()) {
      const run = runs.find((one) => one.runId === runId);
      if (!run) report(`run ${runId} was accepted and is gone`);
      else if (told.ends ? run.status !== told.ends[i] : run.status !== "success" && run.status !== "held")
        report(`run ${runId} was accepted and is ${run.status} ${run.error?.message ?? ""}`);
    }
  },

  "no run is on the thread that nobody asked for": ({ told, runs }, report) => {
    const asked = new Set(told.runs);
    const carried = new Set(told.decisions.map(({ reviewId }) => reviewId));
    const uninvited = runs.filter((run) => !asked.has(run.runId) && run.kind !== "continuation");
    for (const run of uninvited) report(`run ${run.runId} (${run.status}) was never accepted`);
    // What was refused was never accepted: of two decisions made at once, one may find that the other's continuation does.
    const isNone = (run: Run): boolean => isOrphan(run) || run.status === "refused";
    const continuations = runs.filter((run) => !asked.has(run.runId) && run.kind === "continuation" && !isNone(run));
    if (continuations.length > carried.size)
      report(
        `${continuations.map(({ runId, status }) => `${runId} (${status})`).join(", ")} carry ${carried.size} decisions on`,
      );
  },

  "nothing is left to run, and nobody holds the thread": ({ header, runs }, report) => {
    if (!header) return report("there is no header");
    if (header.lease) report(`it is still held by ${header.lease.owner}`);
    if (header.active) report(`${activeRunId(header) ?? "an update"} is still active`);
    if (header.queue.length > 0) report(`${header.queue.length} runs still wait in its queue`);
    for (const run of runs)
      if (!isEnded(run.status) && !isOrphan(run)) report(`run ${run.runId} is still ${run.status}`);
  },

  "checkpoints are one chain, under fences that only rise": ({ logs }, report) => {
    for (const [ns, records] of logs) {
      let [seq, fence, head]: [number, number, string | undefined] = [0, 0, undefined];
      for (const record of records) {
        const name = `record ${record.seq} of "${ns}"`;
        if (record.seq !== seq + 1) report(`${name} follows ${seq}`);
        if (record.fence < fence) report(`${name} has fence ${record.fence} above ${fence}`);
        ({ seq, fence } = record);
        if (record.kind === "checkpoint" && record.parentId !== head && head !== undefined)
          report(`${name} has another parent than the checkpoint before it`);
        if (record.kind === "checkpoint" || record.kind === "reset") head = record.checkpointId;
      }
    }
  },

  "events follow each other, under fences that only rise": ({ events }, report) => {
    for (const [i, number] of events.numbers.entries())
      if (number !== i) return report(`frame ${number} stands where ${i} was to be`);
    for (const [i, fence] of events.fences.entries())
      if (fence < (events.fences[i - 1] ?? 0)) report(`a batch of fence ${fence} follows one of a higher`);
  },

  "an acknowledged decision stands, and is applied by the run that it names": ({ told, holds, runs }, report) => {
    for (const { reviewId, type, comment, continuation } of told.decisions) {
      const carrier = runs.find((run) => run.runId === continuation);
      if (continuation !== undefined && (carrier?.deliveries ?? 0) === 0)
        report(
          `run ${continuation}, which was to carry ${type} on ${reviewId} on, is ${carrier?.status ?? "not there"}`,
        );
      const hold = holds.find((one) => reviewId.endsWith(`.${one.holdId}`));
      if (!hold) report(`the hold of decision ${type} on ${reviewId} is gone`);
      else if (hold.state !== "applied") report(`the decision ${type} on ${reviewId} is ${hold.state}`);
      else if (hold.decision?.answer.type !== type || (comment ?? hold.decision.comment) !== hold.decision.comment)
        report(`${type} by ${comment ?? "?"} was acknowledged on ${reviewId}, and another decision stands`);
      if (hold?.followUpDue === true) report(`the follow-up of ${reviewId} was never done`);
    }
  },

  "the state has a line for everything that took place, once": ({ told, log }, report) => {
    if (told.log && JSON.stringify(log) !== JSON.stringify(told.log))
      report(`its state is ${JSON.stringify(log)} and not ${JSON.stringify(told.log)}`);
  },
};

const ALL_TOGETHER: Readonly<Record<string, (evidence: Evidence, report: Report) => void>> = {
  "what was owed happened once, under one token": ({ threads, effects }, report) => {
    const happened = new Map<string, number>();
    for (const { what } of effects) happened.set(what, (happened.get(what) ?? 0) + 1);
    for (const [what, times] of happened) if (times > 1) report(`"${what}" happened ${times} times`);
    for (const { told } of threads) {
      const owed = new Set(told.effects.map((what) => `${told.threadId} ${what}`));
      for (const what of owed) if (!happened.has(what)) report(`"${what}" never happened`);
      for (const what of happened.keys())
        if (what.startsWith(told.threadId) && !owed.has(what)) report(`"${what}" happened, and nobody asked for it`);
    }
  },

  "a fence is given out once": ({ facts }, report) => {
    const holders = new Map<string, number>();
    for (const { thread, fence, pid } of factsOf(facts, "claim")) {
      const before = holders.get(`${thread} ${fence}`);
      if (before !== undefined) report(`${before} and ${pid} both took ${thread} under fence ${fence}`);
      holders.set(`${thread} ${fence}`, pid);
    }
  },

  "at most one run of a thread is active": ({ facts }, report) => {
    for (const [thread, runs] of spansOf(facts)) {
      for (const [i, one] of runs.entries())
        for (const other of runs.slice(i + 1))
          if (one.fromMs < other.toMs && other.fromMs < one.toMs)
            report(`${one.run} and ${other.run} of ${thread} ran at the same time`);
    }
  },

  "no write of a holder that was overtaken is accepted": ({ facts }, report) => {
    for (const stale of staleWrites(facts)) report(`${stale.call} of fence ${stale.fence} on ${stale.thread}`);
  },

  "no dead lease stands for more than two leases": ({ facts, leaseMs, unwritableMs }, report) => {
    for (const { thread, tookMs } of recoveriesOf(facts))
      if (tookMs > 2 * leaseMs + unwritableMs + BUSY_MACHINE_MS)
        report(`${thread} was taken over after ${Math.round(tookMs)} ms`);
  },
};

export const INVARIANTS: readonly string[] = [...Object.keys(EVERY_THREAD), ...Object.keys(ALL_TOGETHER)];

/** Everything that should not be, in words. */
export function violationsOf(evidence: Evidence): readonly Violation[] {
  const found: Violation[] = [];
  for (const [invariant, check] of Object.entries(EVERY_THREAD)) {
    for (const thread of evidence.threads)
      check(thread, (what) => found.push({ invariant, what: `${thread.told.threadId}: ${what}` }));
  }
  for (const [invariant, check] of Object.entries(ALL_TOGETHER)) {
    check(evidence, (what) => found.push({ invariant, what }));
  }
  return found;
}

/** How many runs were acknowledged, those that carry a decision on among them, and are gone or have no end. */
export const lostRuns = ({ threads }: Evidence): number =>
  threads.reduce((sum, { told, runs }) => {
    const carriers = told.decisions.flatMap(({ continuation }) => (continuation === undefined ? [] : [continuation]));
    const promised = [...new Set([...told.runs, ...carriers])];
    const hasEnded = (id: string): boolean => runs.some((run) => run.runId === id && isEnded(run.status));
    return sum + promised.filter((id) => !hasEnded(id)).length;
  }, 0);

/** How often something happened that had happened before. */
export const doubledEffects = ({ effects }: Evidence): number =>
  effects.length - new Set(effects.map(({ what }) => what)).size;

interface Span {
  readonly run: string;
  fromMs: number;
  toMs: number;
}

/** From when to when each run was certainly `running`: from the reply to its first mark until its end was sent. */
function spansOf(facts: readonly Fact[]): ReadonlyMap<string, readonly Span[]> {
  const threads = new Map<string, Map<string, Span>>();
  for (const { thread, run, status, atMs, sentMs } of factsOf(facts, "run")) {
    const runs = threads.get(thread) ?? new Map<string, Span>();
    threads.set(thread, runs);
    const span = runs.get(run);
    if (status === "running" && !span) runs.set(run, { run, fromMs: atMs, toMs: atMs });
    if (isEnded(status) && span) span.toMs = sentMs;
  }
  return new Map([...threads].map(([thread, runs]) => [thread, [...runs.values()]]));
}

/** Writes of processes that had been stopped until another held their thread, and that won all the same. */
export function staleWrites(facts: readonly Fact[]): readonly FactOf<"woke">[] {
  const claims = factsOf(facts, "claim");
  return factsOf(facts, "woke").filter(
    ({ won, kind, thread, fence, pid, atMs }) =>
      won &&
      // Task writes have the fence in their key: they are written where nobody looks, which the state shows.
      kind !== "writes" &&
      claims.some((claim) => claim.thread === thread && claim.pid !== pid && claim.fence > fence && claim.atMs < atMs),
  );
}

/** How long each thread stood still whose holder was killed or stopped, until another took it. */
export function recoveriesOf(facts: readonly Fact[]): readonly { readonly thread: string; readonly tookMs: number }[] {
  const held = new Map<string, number>();
  const lostAt = new Map<string, { readonly pid: number; readonly atMs: number }>();
  const recoveries: { thread: string; tookMs: number }[] = [];
  for (const fact of facts) {
    if (fact.is === "claim") {
      const lost = lostAt.get(fact.thread);
      // A suspect waits for a worker of its own.
      const isSuspect = fact.strikes >= SUSPECT_STRIKES;
      if (lost && lost.pid !== fact.pid && !isSuspect)
        recoveries.push({ thread: fact.thread, tookMs: fact.atMs - lost.atMs });
      lostAt.delete(fact.thread);
      held.set(fact.thread, fact.pid);
    }
    if (fact.is === "release") held.delete(fact.thread);
    if (fact.is === "killed" || fact.is === "stopped" || fact.is === "died")
      for (const [thread, pid] of held)
        if (pid === fact.pid && !lostAt.has(thread)) lostAt.set(thread, { pid, atMs: fact.atMs });
  }
  return recoveries;
}
