/**
 * Breakpoints (`interrupt_before`, `interrupt_after`). No task asks at one, so LangGraph passes it whenever it goes on from
 * there: that it is passed only when somebody has approved it is for us to see to.
 *
 * - `input: null` approves what waits, by the same conditional write as any decision (I4): when it is accepted, with that
 *   run as the continuation; or, where the run was queued before the stop, when it comes to it. Not while somebody else
 *   has claimed it.
 * - Whatever else goes on from a head at which a breakpoint waits stops there again.
 */
import { HoldpointError } from "../../core/errors.ts";
import { isClaimedByOthers } from "../../core/hold-desk.ts";
import { continuationId, decided, superseded } from "../../core/hold.ts";
import type { Decision, Hold, HoldState } from "../../core/hold.ts";
import { decisionId } from "../../core/ids.ts";
import type { Principal } from "../../core/principal.ts";
import type { Run, RunPayload } from "../../core/run.ts";
import type { Thread } from "../../core/thread.ts";
import type { Stored } from "../../storage/records.ts";
import type { FencedSaver } from "../../checkpoint/saver.ts";
import type { WaitingInterrupt } from "../../langgraph/drive.ts";
import { auditHold } from "../audit/audit-hold.ts";
import type { Deps } from "../deps.ts";
import { tellOfDecision } from "../webhooks/announce.ts";
import { decideWith, mayResume, openHolds } from "./by-resume.ts";
import { whyDecided } from "./decide.ts";
import { followUp } from "./follow-up.ts";

export const isBreakpoint = ({ origin }: Hold): boolean => origin === "breakpoint";

/** Whether a run brings nothing new: it goes on from where its thread stands, or from this checkpoint. */
const goesOnFrom = ({ input, command, checkpoint }: RunPayload, { raisedBy }: Hold): boolean =>
  (input === undefined || input === null) &&
  command === undefined &&
  (checkpoint === undefined || checkpoint.checkpointId === raisedBy.checkpointId);

/** Whether a run, before it is accepted, is to approve the breakpoint at which its thread waits. */
export async function passesBreakpoint(
  deps: Deps,
  payload: RunPayload,
  header: Stored<Thread> | undefined,
): Promise<boolean> {
  if (!header?.value.waiting || (payload.input ?? null) !== null || payload.command !== undefined) return false;
  const open = await openHolds(deps, header.value);
  return open.some(({ value }) => isBreakpoint(value) && goesOnFrom(payload, value));
}

/** Approves it with the run itself as the continuation. Returns why not, if it cannot be. */
export async function approveBreakpoint(
  deps: Deps,
  principal: Principal,
  run: Run,
): Promise<HoldpointError | undefined> {
  const open = (await openHolds(deps, run)).filter(({ value }) => isBreakpoint(value));
  for (const stored of open) {
    if (stored.value.decision?.continuation === run.runId) return undefined;
    const refusal = whyDecided(stored.value) ?? mayResume(principal, stored.value, deps.table.now());
    if (refusal) return refusal;
    if (await decideWith(deps, stored, { principal, run, answer: { type: "approve" } })) return undefined;
  }
  return new HoldpointError("conflict", "the breakpoint at which this thread waited was passed meanwhile");
}

export interface Passed {
  /** Those that are approved now, for this very run. */
  readonly handed: readonly Hold[];
  /** Somebody else was first, whose continuation goes before this run. */
  readonly decided?: Hold;
  /** One that this run may not pass, since somebody else has claimed it. */
  readonly claimed?: WaitingInterrupt;
}

/** A run without input that was queued before its thread stopped comes to the breakpoint: approved by who sent it. */
export async function passOnTheWay(
  deps: Deps,
  run: Run,
  { fence, payload, saver }: { readonly fence: number; readonly payload: RunPayload; readonly saver: FencedSaver },
): Promise<Passed> {
  const handed: Hold[] = [];
  for (const { value: hold } of await atHead(deps, run, saver, ["pending", "decided"])) {
    if (!goesOnFrom(payload, hold) || hold.carriedBy === run.runId) continue;
    const id = decisionId(run.runId);
    const decision: Decision = {
      id,
      by: run.startedBy,
      at: deps.table.now(),
      answer: { type: "approve" },
      continuation: continuationId(hold.holdId, id),
    };
    const written = await deps.holds.update(run, hold.holdId, (now) =>
      now.state === "pending" && now.fence <= fence && !isClaimedByOthers(run.startedBy, now, deps.table.now())
        ? { ...decided(now, decision), handedTo: fence, carriedBy: run.runId }
        : undefined,
    );
    const now = written?.value ?? hold;
    if (now.decision?.id === id) {
      handed.push(now);
      // Settling it ends its being due, and its follow-up may not have come to this.
      await Promise.all([auditHold(deps, now), tellOfDecision(deps, now)]);
    } else if (now.state === "decided") {
      await followUp(deps, run, now.holdId);
      return { decided: now, handed };
    } else if (now.state === "pending") return { claimed: waitingAt(now), handed };
  }
  return { handed };
}

/** What a run says that stops at a breakpoint once more. */
const waitingAt = ({ value, node }: Hold): WaitingInterrupt => ({ id: "", value, raisedBy: undefined, node });

/** The breakpoint at which the head waits, for who goes on from there and was not given its approval. */
export async function breakpointInTheWay(
  deps: Deps,
  run: Run,
  { saver, handed }: { readonly saver: FencedSaver; readonly handed: readonly Hold[] },
): Promise<WaitingInterrupt | undefined> {
  const given = new Set(handed.map(({ holdId }) => holdId));
  const waits = (await atHead(deps, run, saver, ["pending"])).find(({ value }) => !given.has(value.holdId));
  return waits && waitingAt(waits.value);
}

/** Of the decisions that were handed over, those that can still be carried on: an approval counts only where it was given. */
export async function dropStale(
  deps: Deps,
  run: Run,
  { saver, handed }: { readonly saver: FencedSaver; readonly handed: readonly Hold[] },
): Promise<readonly Hold[]> {
  const head = saver.head();
  // Once this run has written a checkpoint it has passed where it began.
  const isPassed = head?.runId === run.runId;
  const isStale = (hold: Hold): boolean =>
    isBreakpoint(hold) && !isPassed && hold.raisedBy.checkpointId !== head?.checkpointId;
  for (const { holdId } of handed.filter(isStale)) {
    await deps.holds.update(run, holdId, (hold) =>
      hold.state === "decided" ? superseded(hold, "the thread went on from elsewhere", deps.table.now()) : undefined,
    );
  }
  return handed.filter((hold) => !isStale(hold));
}

async function atHead(
  deps: Deps,
  run: Run,
  saver: FencedSaver,
  states: readonly HoldState[],
): Promise<readonly Stored<Hold>[]> {
  const head = saver.head()?.checkpointId;
  const holds = await deps.holds.ofThread(run, run.generation);
  return holds.filter(
    ({ value }) => isBreakpoint(value) && states.includes(value.state) && value.raisedBy.checkpointId === head,
  );
}
