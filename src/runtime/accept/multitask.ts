/**
 * How a run meets those that its thread has already. The strategy is decided in the header write that appends the run:
 * whom it stops is said there, so that whoever holds the thread honours it although the API may die before the runs
 * themselves have been told.
 */
import { HoldpointError } from "../../core/errors.ts";
import type { RunId } from "../../core/ids.ts";
import { entryOf, reasonNoRoom } from "../../core/queue-room.ts";
import { cancelled, isEnded } from "../../core/run.ts";
import type { Run } from "../../core/run.ts";
import { stopping } from "../../core/thread-changes.ts";
import { activeRunId, isBusy } from "../../core/thread.ts";
import type { Thread } from "../../core/thread.ts";
import { announced } from "../../core/webhook.ts";
import type { Deps } from "../deps.ts";
import { assertUndoable } from "../cancel/rollback.ts";
import { tellEnded } from "../tell-ended.ts";

export interface Meeting {
  readonly run: Run;
  /** Roll back what is there although it has effects. */
  readonly force: boolean;
}

/** Why a run with input is not taken on a thread that is there. */
export async function reasonNotToJoin(
  deps: Deps,
  { run, force }: Meeting,
  thread: Thread,
): Promise<HoldpointError | undefined> {
  const { threadId, waiting } = thread;
  if (waiting && waiting.reviews > 0) {
    const what = `Thread ${threadId} waits for a review: decide it under /v1/reviews first`;
    return new HoldpointError("conflict", what, { detail: { reviews: waiting.reviews } });
  }
  const { multitaskStrategy } = run.settings;
  if (multitaskStrategy === "reject" && isBusy(thread)) return new HoldpointError("conflict", "Thread is busy");
  if (multitaskStrategy === "rollback" && !force) {
    const active = activeRunId(thread);
    const found = active && (await deps.runs.get(thread, active));
    const refusal = found && (await assertUndoable(deps, found.value).catch(asConflict));
    if (refusal) return refusal;
  }
  return reasonNoRoom(thread, entryOf(run), deps.settings.limits.queuePerThread);
}

function asConflict(error: unknown): HoldpointError {
  if (error instanceof HoldpointError && error.code === "conflict") return error;
  throw error;
}

/** The header in which a run finds its place: with `interrupt` and `rollback`, what came before it is to stop. */
export function makingRoom(thread: Thread, { settings, kind }: Run): Thread {
  const strategy = settings.multitaskStrategy;
  const stops = kind === "input" && (strategy === "interrupt" || strategy === "rollback");
  return stops ? stopping(thread, strategy) : thread;
}

/** Tells the runs that a header just written says are to stop; what cannot be told now is found in the header. */
export async function tellStopped(deps: Deps, thread: Thread, { run, force }: Meeting): Promise<void> {
  const { active, queue } = thread;
  const entries = [...(active?.kind === "run" ? [active.entry] : []), ...queue];
  const told = entries.filter(({ runId, stop }) => stop !== undefined && runId !== run.runId);
  await Promise.all(
    told.map(({ runId, stop }) => tell(deps, thread, runId, { action: stop ?? "interrupt", run, force })),
  );
  if (told.length > 0) deps.hints.cancelled(thread);
}

async function tell(
  deps: Deps,
  thread: Thread,
  runId: RunId,
  { action, run, force }: Meeting & { readonly action: "interrupt" | "rollback" },
): Promise<void> {
  const request = {
    action,
    by: run.startedBy,
    at: deps.table.now(),
    reason: "a later run",
    ...(force ? { force } : {}),
  };
  const wanted = await deps.interests.inRuns(thread.tenant).catch(() => true);
  let endsNow = false;
  const written = await deps.runs
    .update(thread, runId, (current) => {
      const result = cancelled(current, request);
      endsNow = result.kind === "written" && isEnded(result.run.status);
      return result.kind === "written" ? announced(result.run, wanted) : undefined;
    })
    .catch((error: unknown) =>
      deps.log.warn({ run: runId, err: error }, "a run to be stopped is told by its header only"),
    );
  if (written) deps.hints.changed(thread, written.value);
  if (written && endsNow) tellEnded(deps, written.value);
}
