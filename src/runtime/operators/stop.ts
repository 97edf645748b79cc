/** Cancelling and parking a run, on the record. */
import { HoldpointError } from "../../core/errors.ts";
import type { Principal } from "../../core/principal.ts";
import { cancelled, isEnded } from "../../core/run.ts";
import type { Run } from "../../core/run.ts";
import { threadOfRun } from "../accept/accept.ts";
import { cancelRun } from "../cancel/cancel.ts";
import { findRun } from "../events/follow.ts";
import type { FollowDeps } from "../events/follow.ts";
import { auditVerb } from "./audit-verb.ts";
import type { Verb } from "./use-cases.ts";

interface Asked {
  readonly principal: Principal;
  readonly verb: Verb;
  readonly as: "cancel" | "park";
}

/**
 * The run as it is then: one that a worker executes has heard of it soon.
 * @throws HoldpointError `conflict` for one that has ended, and cannot be stopped any more
 */
export async function stopRun(host: FollowDeps, { principal, verb, as }: Asked): Promise<Run> {
  const { deps } = host;
  const { runId, reason } = verb;
  const threadId = await threadOfRun(deps, principal, runId);
  const run = await findRun(deps, principal, threadId, runId);
  const isDone = run.status === (as === "park" ? "parked" : "cancelled");
  if (isDone) return run;
  // What a held run asks can be cancelled; it has ended, and so it cannot be parked.
  if (isEnded(run.status) && (as === "park" || run.status !== "held"))
    throw new HoldpointError("conflict", `run ${runId} has ended as ${run.status}`, { detail: { status: run.status } });
  const asked = { by: principal.subject, at: deps.table.now() };
  const possible = cancelled(run, asked);
  if (possible.kind === "not_yet") throw new HoldpointError("conflict", possible.reason);
  const why = reason === undefined ? {} : { reason };
  await auditVerb(deps, { principal, run, action: as, key: [], ...why });
  // What a run asks that has just ended as held is nothing to park.
  const parks = as === "park" ? { parks: true as const, onlyUnfinished: true } : {};
  const signal = new AbortController().signal;
  return cancelRun(host, principal, { threadId, runId, wait: false, ...parks, ...why, signal });
}
