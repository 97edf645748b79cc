/**
 * The pause (durability: INTERRUPT writes, hold items, last frames, run item, header). A hold is open only while the
 * run item names it under the same fence, so holds may be put before the run has ended.
 */
import { HoldpointError } from "../core/errors.ts";
import { makeHoldId, plainDigest } from "../core/hold.ts";
import type { Hold } from "../core/hold.ts";
import { runId } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import { reviewRequestOf } from "../core/review-value.ts";
import type { Run } from "../core/run.ts";
import type { FencedSaver } from "../checkpoint/saver.ts";
import type { DriveOutcome, WaitingInterrupt } from "../langgraph/drive.ts";
import type { Stored } from "../storage/records.ts";
import type { Deps } from "./deps.ts";

/** What a run leaves waiting. */
export interface Raised {
  readonly holds: readonly Hold[];
  readonly waiting: { readonly reviews: number; readonly plain: number };
  /** As LangGraph shows them; static breakpoints have none. */
  readonly interrupts: readonly Json[];
}

export interface RaiseWith {
  readonly run: Run;
  readonly saver: FencedSaver;
  readonly fence: number;
  readonly outcome: DriveOutcome;
}

/** Puts a hold for every interrupt that waits at the end of a delivery. @throws HoldpointError `lost` */
export async function raiseHolds(deps: Deps, { run, saver, fence, outcome }: RaiseWith): Promise<Raised> {
  const interrupts = outcome.kind === "interrupted" ? outcome.interrupts : outcome.kind === "done" ? [] : await waitingAtHead(saver);
  const root = saver.whereabouts.root() ?? run.root;
  const drafts = interrupts.flatMap((interrupt) => draftHold(deps, { run, fence, root, interrupt }) ?? []);
  const holds = await Promise.all(drafts.map((draft) => putHold(deps, draft)));
  const reviews = holds.filter((hold) => hold.origin === "review").length;
  return {
    holds,
    waiting: { reviews, plain: interrupts.length - reviews },
    interrupts: interrupts.flatMap(({ id, value, raisedBy }) => (raisedBy ? [{ id, value }] : [])),
  };
}

/** What waits at the head: also what a run that failed or was cancelled leaves undecided of other tasks. */
export async function waitingAtHead(saver: FencedSaver): Promise<readonly WaitingInterrupt[]> {
  const pending = await saver.pendingInterrupts();
  return pending.map(({ id, value, owner }) => ({ id, value: value as Json, raisedBy: owner, node: "" }));
}

interface DraftWith {
  readonly run: Run;
  readonly fence: number;
  readonly root: string;
  readonly interrupt: WaitingInterrupt;
}

function draftHold(deps: Deps, { run, fence, root, interrupt }: DraftWith): Hold | undefined {
  const { id: interruptId, value, raisedBy, node } = interrupt;
  if (!raisedBy) return undefined;
  const review = reviewRequestOf(value);
  const digest = review?.digest ?? plainDigest(value);
  const { tenant, threadId, generation } = run;
  const now = deps.table.now();
  return {
    tenant,
    threadId,
    holdId: makeHoldId({ tenant, threadId, generation, interruptId, digest }),
    generation,
    fence,
    runId: run.runId,
    root: runId(root),
    graphId: run.graphId,
    assistantId: run.assistantId,
    pool: run.pool,
    startedBy: run.startedBy,
    node,
    origin: review ? "review" : "interrupt",
    interruptId,
    raisedBy,
    value,
    ...(review === undefined ? {} : { request: review.request }),
    digest,
    state: "pending",
    followUpDue: false,
    raisedAt: now,
    updatedAt: now,
  };
}

/** Replaces an undecided hold of a lower fence; leaves a decided one as it is; is lost against a higher fence. */
async function putHold(deps: Deps, draft: Hold): Promise<Hold> {
  let current: Stored<Hold> | undefined;
  for (;;) {
    const next = current ? { ...draft, raisedAt: current.value.raisedAt } : draft;
    const written = await deps.holds.put(next, current ? { version: current.version } : "absent");
    if (written.won) return next;
    current = written.current;
    if (!current) continue;
    if (current.value.fence > draft.fence) throw new HoldpointError("lost", "another holder raised this hold");
    if (current.value.state !== "pending" || current.value.fence === draft.fence) return current.value;
  }
}
