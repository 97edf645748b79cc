import { HoldpointError } from "../../core/errors.ts";
import type { Principal } from "../../core/principal.ts";
import { cancelled, isEnded } from "../../core/run.ts";
import type { CancelRequest, Run } from "../../core/run.ts";
import { announced } from "../../core/webhook.ts";
import { cancelHeld } from "../decisions/cancel-holds.ts";
import type { Deps } from "../deps.ts";
import { findRun, waitForRun } from "../events/follow.ts";
import type { FollowDeps } from "../events/follow.ts";
import { assertUndoable } from "./rollback.ts";
import type { CancelRun } from "../runtime.ts";
import { tellEnded } from "../tell-ended.ts";
import { moveOn, wake } from "../worker/sweep.ts";

/**
 * Asks a run to stop. A run that has ended stays as it ended; of a held one, what it asks is cancelled.
 * @throws HoldpointError `conflict` for a continuation that has not begun, a rollback over effects or of a held run, and
 *   a held run that was answered
 */
export async function cancelRun(host: FollowDeps, principal: Principal, request: CancelRun): Promise<Run> {
  const { deps } = host;
  const run = await findRun(deps, principal, request.threadId, request.runId);
  const { action = "interrupt", force = false, reason } = request;
  if (action === "rollback" && !force && !isEnded(run.status)) await assertUndoable(deps, run);
  const asked = {
    action,
    by: principal.subject,
    at: deps.table.now(),
    ...(force ? { force } : {}),
    ...(request.parks ? { parks: true as const } : {}),
    ...(reason === undefined ? {} : { reason }),
  };
  const wanted = await deps.interests.inRuns(principal.tenant);
  let refusal: string | undefined;
  let endsNow = false;
  const after = await deps.runs.update(run, run.runId, (current) => {
    const result = cancelled(current, asked);
    endsNow = result.kind === "written" && isEnded(result.run.status);
    refusal = result.kind === "not_yet" ? result.reason : undefined;
    return result.kind === "written" ? announced(result.run, wanted) : undefined;
  });
  if (refusal !== undefined) throw new HoldpointError("conflict", refusal);
  const result = after?.value ?? run;
  deps.hints.cancelled(run);
  deps.hints.changed(run, result);
  if (endsNow) tellEnded(deps, result);
  // A sleeping run has no holder that would see to it; if this process dies here, the run's own row finds a worker.
  if (isEnded(result.status)) await moveOn(deps, result);
  if (result.status === "held" && request.onlyUnfinished !== true) await cancelQuestions(deps, result, asked);
  else if (result.status === "waiting") await wake(deps, result);
  if (!request.wait || isEnded(result.status)) return result;
  return (await waitForRun(host, principal, request)).run;
}

async function cancelQuestions(deps: Deps, held: Run, { action, by, reason }: CancelRequest): Promise<void> {
  if (action === "rollback") {
    throw new HoldpointError(
      "conflict",
      `run ${held.runId} has ended as held, and keeps its steps; it can be cancelled`,
    );
  }
  await cancelHeld(deps, held, { by, reason: reason ?? "the run was cancelled" });
}
