/**
 * The pause (durability: INTERRUPT writes, hold items, last frames, run item, header). A hold is open only while the
 * run item that it names is `held` and names it under the same fence, so holds may be put before the run has ended.
 *
 * What was handed over is settled here too, whatever came of the run, so that a decision never starts it again for
 * ever. Every write on a hold that was handed over is conditional on having been handed to this fence (I2).
 */
import { HoldpointError } from "../../core/errors.ts";
import { approves } from "../../core/approval-policy.ts";
import type { ApprovalPolicy } from "../../core/approval-policy.ts";
import { raisedAgain } from "../../core/hold-desk.ts";
import {
  ASKED_AGAIN,
  applied,
  assertNotLaterThan,
  breakpointId,
  cancelledHold,
  givenBack,
  isInTheWay,
  isWait,
  reopened,
  superseded,
  unheard,
} from "../../core/hold.ts";
import type { Hold } from "../../core/hold.ts";
import type { HoldTimes } from "../../core/hold-times.ts";
import { runId } from "../../core/ids.ts";
import type { RunId } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import { isAskedInsteadOf, reviewRequestOf } from "../../core/review-value.ts";
import { LOOKS_AFTER_MS } from "../../core/run.ts";
import type { Run, RunEnd } from "../../core/run.ts";
import { isUnanswered, stillWaits } from "../../checkpoint/interrupts.ts";
import type { FencedSaver } from "../../checkpoint/saver.ts";
import type { WaitingInterrupt } from "../../langgraph/drive.ts";
import type { Stored } from "../../storage/records.ts";
import { isBreakpoint } from "../decisions/breakpoints.ts";
import { supersedeStale } from "../decisions/stale-holds.ts";
import type { Deps } from "../deps.ts";
import { draftHold } from "./draft-hold.ts";

/** What a run leaves waiting. */
export type Left = Pick<RunEnd, "holds" | "waiting" | "interrupts"> & {
  /** Only timers and callbacks: the same run goes on once one of them is over, by this table time at the latest. */
  readonly sleepsUntil?: number;
};

interface Pause {
  readonly run: Run;
  readonly saver: FencedSaver;
  readonly fence: number;
  /** The decisions that this delivery was given. */
  readonly handed: readonly Hold[];
}

/** Bytes of all the interrupts with which a run may end: they stand on the run's own item. */
const MAX_INTERRUPTS_BYTES = 256 * 1024;

/**
 * Puts a hold for every interrupt that waits at the end of a delivery.
 * @throws HoldpointError `lost`; `too_large` for interrupts that no run item could name
 */
export async function raiseHolds(
  deps: Deps,
  pause: Pause & { readonly interrupts: readonly WaitingInterrupt[] },
): Promise<Left> {
  const { run, saver, fence, interrupts } = pause;
  const bytes = Buffer.byteLength(JSON.stringify(interrupts.map(({ value }) => value)));
  if (bytes > MAX_INTERRUPTS_BYTES) {
    throw new HoldpointError(
      "too_large",
      `the interrupts of this run have ${bytes} bytes, more than the limit of ${MAX_INTERRUPTS_BYTES}`,
    );
  }
  const root = saver.whereabouts.root() ?? run.root;
  const strictly = strictness(deps, run);
  const asks = interrupts.some(({ value }) => reviewRequestOf(value) !== undefined);
  const [policies, startedBy] = asks
    ? await Promise.all([deps.policies.list(run.tenant), starterOf(deps, run, root)])
    : [[], run.startedBy];
  const head = saver.head()?.checkpointId ?? "";
  const drafts = interrupts
    .flatMap((interrupt) => draftHold(deps, { run, fence, root, startedBy, interrupt: named(interrupt, head) }) ?? [])
    .map((draft) => ({ ...draft, ...strictly }))
    .map((draft) => withPolicies(draft, policies));
  assertNotRefused(deps, drafts);
  const holds = await Promise.all(drafts.map((draft) => putHold(deps, draft)));
  await supersedeStale(deps, run, fence, holds);
  await settleAll(deps, pause, applied);
  const reviews = holds.filter(isInTheWay).length;
  // What is over, or was asked by another run, is carried on by a continuation, which must not stay behind one that sleeps.
  const isOwnWait = (hold: Hold): boolean => isWait(hold) && hold.state === "pending" && hold.runId === run.runId;
  const sleeps = holds.length > 0 && holds.length === interrupts.length && holds.every(isOwnWait);
  const latest = Math.max(deps.table.now(), ...holds.map(({ times }) => times?.settlesAt ?? 0));
  return {
    ...(sleeps ? { sleepsUntil: latest + LOOKS_AFTER_MS } : {}),
    holds: holds.map((hold) => hold.holdId),
    waiting: { reviews, plain: interrupts.length - reviews },
    interrupts: interrupts.flatMap(({ id, value, raisedBy }): Json[] => (raisedBy ? [{ id, value }] : [])),
  };
}

/**
 * A run that failed or was cancelled raises nothing. What waited before goes on waiting under the held run that asked
 * for it; what this run itself asked is cancelled on the record; and a decision that never reached the graph is given
 * back to the reviewers.
 */
export async function leaveHolds(
  deps: Deps,
  pause: Pause & { readonly held: Run | undefined; readonly reason: string },
): Promise<Left> {
  const { run, saver, held, reason } = pause;
  const all = (await deps.holds.ofThread(run, run.generation)).map(({ value }) => value);
  const atHead = await idsAtHead(saver, all);
  const namesIt = (hold: Hold): boolean => held?.status === "held" && (held.end?.holds.includes(hold.holdId) ?? false);
  const waits = (hold: Hold): boolean => atHead.has(hold.interruptId) && namesIt(hold);
  for (const { holdId } of all.filter(({ state }) => state === "pending")) {
    await deps.holds.update(run, holdId, (hold) => {
      if (hold.state !== "pending") return undefined;
      assertNotLaterThan(pause.fence, hold);
      const now = deps.table.now();
      // Also what this run never asked again: an earlier holder of it still could.
      if (held && waits(hold)) return givenBack(hold, held, { by: pause.fence, now });
      return hold.runId === run.runId
        ? { ...cancelledHold(hold, run.startedBy, reason, { now, followUpDue: false }), handedTo: pause.fence }
        : undefined;
    });
  }
  await settleAll(deps, pause, (hold, now) => {
    if (!held || !waits(hold)) return applied(hold, now);
    const again = reopened(hold, `the run that carried the decision on did not: ${reason}`, now);
    // This run may have asked for it itself, and slept.
    return hold.runId === held.runId ? again : givenBack(again, held, { by: pause.fence, now });
  });
  // Read again, since others may have been cancelled or decided meanwhile: until the continuation of a decision has run,
  // nothing may go over what it answers.
  const left = all.length === 0 ? [] : (await deps.holds.ofThread(run, run.generation)).map(({ value }) => value);
  const waiting = left.filter((hold) => (hold.state === "pending" || hold.state === "decided") && waits(hold));
  const reviews = waiting.filter(isInTheWay).length;
  return { holds: [], waiting: { reviews, plain: waiting.length - reviews }, interrupts: [] };
}

/** What waits there: interrupts, and a breakpoint that nothing has gone on from. */
async function idsAtHead(saver: FencedSaver, holds: readonly Hold[]): Promise<ReadonlySet<string>> {
  const ids = (await waitingAtHead(saver)).map(({ id }) => id);
  const stops = holds.filter((hold) => isBreakpoint(hold) && hold.raisedBy.checkpointId === saver.head()?.checkpointId);
  const threadId = stops[0]?.threadId;
  if (threadId === undefined) return new Set(ids);
  const tuple = await saver.getTuple({ configurable: { thread_id: threadId } });
  const isUntouched = tuple !== undefined && (tuple.pendingWrites ?? []).length === 0;
  return new Set(isUntouched ? [...ids, ...stops.map(({ interruptId }) => interruptId)] : ids);
}

/** What came of the decisions that were handed over. One that was never consumed is never called applied. */
async function settleAll(
  deps: Deps,
  { run, saver, fence, handed }: Pause,
  come: (hold: Hold, now: number) => Hold,
): Promise<void> {
  if (handed.length === 0) return;
  const unanswered = new Set(
    (
      await saver.interruptsThat(
        isUnanswered,
        handed.map((hold) => hold.raisedBy),
      )
    ).map(({ id }) => id),
  );
  const waiting = await waitingAtHead(saver);
  const atHead = new Set(waiting.map(({ id }) => id));
  for (const before of handed) {
    const { holdId, interruptId } = before;
    const isAskedAgain = waiting.some((next) => isAskedInsteadOf(next, before));
    const dropped = unanswered.has(interruptId) && !atHead.has(interruptId);
    if (dropped)
      deps.log.error({ thread: run.threadId, hold: holdId }, "the thread moved on before a decision could be applied");
    await deps.holds.update(run, holdId, (hold) => {
      if (hold.handedTo !== fence) throw new HoldpointError("lost", "the decision was handed to another holder");
      if (hold.state !== "decided") return undefined;
      const now = deps.table.now();
      if (dropped) return superseded(hold, "the thread moved on before the decision could be applied", now);
      // Also where the run has failed since, and nobody is asked yet.
      if (isAskedAgain) return superseded(hold, ASKED_AGAIN, now);
      const next = come(hold, now);
      if (next.state !== "applied" || !unanswered.has(interruptId)) return next;
      return isWait(hold)
        ? unheard(hold, NOT_HEARD, now)
        : superseded(hold, "nobody waits for this decision any more", now);
    });
  }
}

const NOT_HEARD = "the run that asked was over before it heard of it";

/** What waits at the head of a thread. */
export async function waitingAtHead(saver: FencedSaver): Promise<readonly WaitingInterrupt[]> {
  const pending = await saver.pendingInterrupts();
  const still = new Set(
    (
      await saver.interruptsThat(
        stillWaits,
        pending.flatMap(({ owner }) => owner ?? []),
      )
    ).map((owner) => owner.id),
  );
  return pending
    .filter(({ id, owner }) => owner === undefined || still.has(id))
    .map(({ id, value, owner }) => ({ id, value: value as Json, raisedBy: owner, node: "" })); // it was stored as JSON
}

/** How a graph was registered that has new input refused while anything of it waits. */
function strictness({ graphs }: Deps, { graphId }: Run): Pick<Hold, "strict"> {
  return (graphs.get(graphId)?.plainInterrupts ?? "lenient") === "lenient" ? {} : { strict: true };
}

/** Where a policy approves what is asked, the hold is due at once: it is decided as soon as its run has ended. */
function withPolicies(hold: Hold, policies: readonly ApprovalPolicy[]): Hold {
  if (!policies.some(({ rule }) => approves(rule, hold))) return hold;
  return { ...hold, times: { ...hold.times, policyAt: hold.raisedAt } };
}

/** @throws HoldpointError `unsupported` for a plain `interrupt()` of a graph that was registered to have none */
function assertNotRefused({ graphs }: Deps, drafts: readonly Hold[]): void {
  const plain = drafts.find(
    ({ origin, graphId }) => origin === "interrupt" && graphs.get(graphId)?.plainInterrupts === "refused",
  );
  if (!plain) return;
  const setting = `graph ${plain.graphId} is registered with "plainInterrupts": "refused"`;
  throw new HoldpointError(
    "unsupported",
    `${setting}, and node ${plain.node} raised a plain interrupt(): use review()`,
  );
}

/** A breakpoint is one and the same, whoever comes to it. */
function named(interrupt: WaitingInterrupt, checkpointId: string): WaitingInterrupt {
  if (interrupt.id !== "") return interrupt;
  const id = breakpointId(interrupt.value);
  return { ...interrupt, id, raisedBy: { id, ns: "", checkpointId, taskId: "", ordinal: 0 } };
}

/**
 * Whose input it is that the run goes on with, whoever has resumed it since: they may not decide under four eyes. On a copy
 * of a thread that is a run of another one.
 */
async function starterOf(deps: Deps, run: Run, root: string): Promise<string> {
  const id = runId(root);
  const first = id === run.runId ? run : ((await deps.runs.get(run, id))?.value ?? (await elsewhere(deps, run, id)));
  return first?.startedBy ?? run.startedBy;
}

async function elsewhere({ runs }: Deps, { tenant }: Run, id: RunId): Promise<Run | undefined> {
  const threadId = await runs.threadOf(tenant, id);
  return threadId && (await runs.get({ tenant, threadId }, id))?.value;
}

/**
 * Replaces an undecided hold of a lower fence; leaves a decided one as it is; is lost against a later holder. That is not
 * left to the log: a delivery that finds nothing to execute appends nothing that a later barrier could refuse.
 */
async function putHold(deps: Deps, draft: Hold): Promise<Hold> {
  let current: Stored<Hold> | undefined;
  for (;;) {
    const next = current ? askedAgain(draft, current.value) : draft;
    const written = await deps.holds.put(next, current ? { version: current.version } : "absent");
    if (written.won) return next;
    current = written.current;
    if (!current) continue;
    assertNotLaterThan(draft.fence, current.value);
    const { state, fence } = current.value;
    // Whoever cancelled or replaced it, its interrupt waits after all: new input lost to a decision or was refused in the
    // end, its run is tried again, or its code has come back to what it had asked before.
    const isOver = state === "cancelled" || state === "superseded";
    if (!isOver && (state !== "pending" || fence === draft.fence)) return current.value;
  }
}

/** Who waits does so from the first time that it was asked on, and timers and callbacks keep what they asked for then. */
function askedAgain(draft: Hold, before: Hold): Hold {
  const { times, resultSchema, request, subscription, kept, decision } = before;
  const groups = draft.request && request && { request: { ...draft.request, ...widened(draft, request, times) } };
  return {
    ...raisedAgain(draft, before),
    ...(times === undefined ? {} : { times }),
    ...(resultSchema === undefined ? {} : { resultSchema }),
    ...(subscription === undefined ? {} : { subscription }),
    ...groups,
    ...(kept === undefined ? {} : { kept }),
    // It came before anybody could hear of it: see `unheard`.
    ...(isWait(before) && decision !== undefined ? { state: "decided", decision, followUpDue: true } : {}),
  };
}

/** An escalation is not undone by asking again. */
function widened(
  { request: now }: Hold,
  before: NonNullable<Hold["request"]>,
  times: HoldTimes | undefined,
): Pick<NonNullable<Hold["request"]>, "groups"> | object {
  const groups = times?.escalation?.done ? before.groups : now?.groups;
  return groups === undefined ? {} : { groups };
}
