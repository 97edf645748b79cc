/**
 * The pause (durability: INTERRUPT writes, hold items, last frames, run item, header). A hold is open only while the
 * run item that it names is `held` and names it under the same fence, so holds may be put before the run has ended.
 *
 * What was handed over is settled here too, whatever came of the run, so that a decision never starts it again for
 * ever. Every write on a hold that was handed over is conditional on having been handed to this fence (I2).
 */
import { HoldpointError } from "../core/errors.ts";
import { applied, makeHoldId, plainDigest, reopened, superseded } from "../core/hold.ts";
import type { Hold } from "../core/hold.ts";
import { runId } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import { reviewRequestOf } from "../core/review-value.ts";
import type { Run, RunEnd } from "../core/run.ts";
import type { FencedSaver } from "../checkpoint/saver.ts";
import type { WaitingInterrupt } from "../langgraph/drive.ts";
import type { Stored } from "../storage/records.ts";
import type { Deps } from "./deps.ts";

/** What a run leaves waiting. */
export type Left = Pick<RunEnd, "holds" | "waiting" | "interrupts">;

interface Pause {
  readonly run: Run;
  readonly saver: FencedSaver;
  readonly fence: number;
  /** The decisions that this delivery was given. */
  readonly handed: readonly Hold[];
}

/** Puts a hold for every interrupt that waits at the end of a delivery. @throws HoldpointError `lost` */
export async function raiseHolds(deps: Deps, pause: Pause & { readonly interrupts: readonly WaitingInterrupt[] }): Promise<Left> {
  const { run, saver, fence, handed, interrupts } = pause;
  const root = saver.whereabouts.root() ?? run.root;
  const drafts = interrupts.flatMap((interrupt) => draftHold(deps, { run, fence, root, interrupt }) ?? []);
  const holds = await Promise.all(drafts.map((draft) => putHold(deps, draft)));
  await Promise.all(handed.map((hold) => settle(deps, { hold, fence, now: deps.table.now(), raised: holds })));
  const reviews = holds.filter((hold) => hold.origin === "review").length;
  return {
    holds: holds.map((hold) => hold.holdId),
    waiting: { reviews, plain: interrupts.length - reviews },
    interrupts: interrupts.flatMap(({ id, value, raisedBy }): Json[] => (raisedBy ? [{ id, value }] : [])),
  };
}

/**
 * A run that failed or was cancelled raises nothing. What waited before goes on waiting under the run that raised it,
 * and a decision that never reached the graph is given back to the reviewers.
 */
export async function leaveHolds(deps: Deps, { run, saver, fence, handed, reason }: Pause & { readonly reason: string }): Promise<Left> {
  const all = (await deps.holds.ofThread(run, run.generation)).map((stored) => stored.value);
  const open = all.filter((hold) => hold.state === "pending");
  const still = new Set((await saver.waitingInterrupts([...open, ...handed].map((hold) => hold.raisedBy))).map((owner) => owner.id));
  const now = deps.table.now();
  await Promise.all(
    handed.map((hold) => {
      const why = still.has(hold.interruptId) ? `the run that carried the decision on did not: ${reason}` : undefined;
      return settle(deps, { hold, fence, now, raised: [], ...(why === undefined ? {} : { reopenBecause: why }) });
    }),
  );
  const waiting = [...open, ...handed].filter((hold) => still.has(hold.interruptId));
  const reviews = waiting.filter((hold) => hold.origin === "review").length;
  return { holds: [], waiting: { reviews, plain: waiting.length - reviews }, interrupts: [] };
}

interface Settle {
  readonly hold: Hold;
  readonly fence: number;
  readonly now: number;
  /** What waits now: a review that was asked again names the digest that it supersedes. */
  readonly raised: readonly Hold[];
  readonly reopenBecause?: string;
}

async function settle(deps: Deps, { hold, fence, now, raised, reopenBecause }: Settle): Promise<void> {
  const again = raised.some((next) => reviewRequestOf(next.value)?.supersedes === hold.digest && next.raisedBy.taskId === hold.raisedBy.taskId);
  await deps.holds.update(hold, hold.holdId, (current) => {
    if (current.handedTo !== fence) throw new HoldpointError("lost", "the decision was handed to another holder");
    if (current.state !== "decided") return undefined;
    if (reopenBecause !== undefined) return reopened(current, reopenBecause, now);
    return again ? superseded(current, now) : applied(current, now);
  });
}

/** What waits at the head of a thread. */
export async function waitingAtHead(saver: FencedSaver): Promise<readonly WaitingInterrupt[]> {
  const pending = await saver.pendingInterrupts();
  const still = new Set((await saver.waitingInterrupts(pending.flatMap(({ owner }) => owner ?? []))).map((owner) => owner.id));
  return pending
    .filter(({ id, owner }) => owner === undefined || still.has(id))
    .map(({ id, value, owner }) => ({ id, value: value as Json, raisedBy: owner, node: "" })); // it was stored as JSON
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
    const { state } = current.value;
    // A cancelled hold whose interrupt waits after all (new input lost to a decision on its neighbour) is asked again.
    if (current.value.fence === draft.fence || (state !== "pending" && state !== "cancelled")) return current.value;
  }
}
