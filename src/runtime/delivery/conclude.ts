/**
 * How a delivery that came to an end of its own becomes the end of its run: holds, last frames; the commit on the run
 * item is the caller's.
 */
import type { FencedSaver } from "../../checkpoint/saver.ts";
import type { Hold } from "../../core/hold.ts";
import type { Outcome, Run, RunEnd, RunPayload } from "../../core/run.ts";
import type { DriveOutcome } from "../../langgraph/drive.ts";
import { errorFrame } from "../../langgraph/frames.ts";
import type { Delivery } from "./deliver.ts";
import type { Executed } from "./execution.ts";
import type { Deps } from "../deps.ts";
import type { EventWriter } from "../events/event-writer.ts";
import { leaveHolds, raiseHolds } from "./raise.ts";
import type { Left } from "./raise.ts";
import { hideIfAsked } from "../cancel/rollback.ts";
import type { TimedOut } from "./run-time.ts";
import { rememberHead } from "../state-reader.ts";

/** A delivery that came to an end of its own. */
export type Concluded =
  | Extract<DriveOutcome, { readonly kind: "done" | "interrupted" | "aborted" | "failed" }>
  | TimedOut;

export interface Concluding {
  readonly run: Run;
  readonly saver: FencedSaver;
  readonly delivery: Delivery;
  readonly events: EventWriter;
  /** Resolves once the run item bears this delivery's mark; rejects when another holder was there first. */
  readonly marked: Promise<unknown>;
  readonly payload: RunPayload;
  readonly handed: readonly Hold[];
  readonly outcome: Concluded;
}

/** @throws HoldpointError `lost`, `unavailable` */
export async function conclude(
  deps: Deps,
  { run, saver, delivery, events, marked, payload, handed, outcome }: Concluding,
): Promise<Extract<Executed, { readonly kind: "ended" | "asleep" | "lost" }>> {
  const { lease } = delivery;
  if (saver.lost || lease.lost.aborted) return { kind: "lost" };
  await marked;
  const { sleepsUntil, ...left } = await leave(deps, { run, saver, delivery, handed, outcome });
  if (sleepsUntil !== undefined) {
    await events.flush();
    const reason = "it waits for its timers and callbacks";
    return { kind: "asleep", sleep: { kind: "hold", reason, until: sleepsUntil, holds: left.holds } };
  }
  const rolledBack = outcome.kind === "aborted" && (await hideIfAsked(deps, { run, saver, thread: lease.thread }));
  if (deps.hints.isFollowed(run)) await remember(deps, run, saver);
  const ending = outcomeOf(outcome, { at: deps.table.now(), ...left, ...endsAt(run, saver, payload) });
  if (ending.error) await events.emit(errorFrame(ending.error));
  await events.flush();
  return { kind: "ended", outcome: rolledBack ? { ...ending, rolledBack } : ending };
}

/** What the run leaves waiting. */
async function leave(
  deps: Deps,
  { run, saver, delivery, handed, outcome }: Pick<Concluding, "run" | "saver" | "delivery" | "handed" | "outcome">,
): Promise<Left> {
  const { lease } = delivery;
  const context = { run, saver, fence: lease.fence, handed };
  switch (outcome.kind) {
    case "done":
      return raiseHolds(deps, { ...context, interrupts: [] });
    case "interrupted":
      return raiseHolds(deps, { ...context, interrupts: outcome.interrupts });
    case "aborted":
    case "failed":
    case "timeout": {
      const { waiting } = lease.thread;
      const held = waiting && (await deps.runs.get(lease.thread, waiting.runId))?.value;
      const reason = outcome.kind === "aborted" ? "it was cancelled" : outcome.error.message;
      return leaveHolds(deps, { ...context, held, reason });
    }
  }
}

/** Only saves a reading: what goes wrong here goes wrong again for who reads, and must not change how the run ended. */
async function remember(deps: Deps, run: Run, saver: FencedSaver): Promise<void> {
  await rememberHead(deps, saver, run).catch((error: unknown) =>
    deps.log.debug({ thread: run.threadId, run: run.runId, err: error }, "what a run ended with is left to be read"),
  );
}

/** The checkpoint at which a run ended: the head, unless it executed from an older one and never wrote its own. */
function endsAt(run: Run, saver: FencedSaver, payload: RunPayload): Pick<RunEnd, "checkpointId"> {
  const head = saver.head();
  const checkpointId =
    head?.runId === run.runId ? head.checkpointId : (payload.checkpoint?.checkpointId ?? head?.checkpointId);
  return checkpointId === undefined ? {} : { checkpointId };
}

function outcomeOf(outcome: Concluded, end: RunEnd): Outcome {
  switch (outcome.kind) {
    case "done":
      return { status: "success", end };
    case "interrupted":
      return { status: "held", end };
    case "aborted":
      return { status: "cancelled", end };
    case "timeout":
      return { status: "timeout", error: outcome.error, end };
    case "failed":
      return { status: outcome.parks ? "parked" : "error", error: outcome.error, end };
  }
}
