/**
 * A retry is accepted like any other run: run item first, then one conditional write on the header (I1). The plan is made
 * anew for every header that the append is conditional on, so that the thread is where the failed run left it, idle, when
 * the retry gets its place: at most one is ever active. A repeat under the same key is the same run.
 */
import { HoldpointError } from "../../core/errors.ts";
import type { RunId } from "../../core/ids.ts";
import { canonicalJson } from "../../core/json.ts";
import type { Principal } from "../../core/principal.ts";
import type { Run } from "../../core/run.ts";
import { accept, threadOfRun } from "../accept/accept.ts";
import { auditVerb } from "./audit-verb.ts";
import type { Assistants } from "../assistants.ts";
import { findRun } from "../events/follow.ts";
import { upToDate } from "../threads/repair.ts";
import { planRetry, retryPayload } from "./plan-retry.ts";
import type { RetryHost, RetryMode } from "./plan-retry.ts";
import type { Verb } from "./use-cases.ts";

export interface RetryWith extends RetryHost {
  readonly assistants: Assistants;
}

interface Asked {
  readonly principal: Principal;
  readonly verb: Verb;
  readonly as: "retry" | "resume";
  /** Of the run that goes on, where its id follows from why it does: however often it is asked for, it is this one. */
  readonly named?: RunId;
}

/** Another attempt at a run that has failed or was parked. @throws HoldpointError why there is none */
export async function retryRun(host: RetryWith, asked: Asked): Promise<Run> {
  const { deps, assistants } = host;
  const { principal, verb, as, named } = asked;
  const threadId = await threadOfRun(deps, principal, verb.runId);
  const failed = await findRun(deps, principal, threadId, verb.runId);
  if (as === "resume" && failed.status !== "parked")
    throw new HoldpointError("conflict", `run ${failed.runId} is ${failed.status}: only a parked one is resumed`);
  const payload = await deps.runs.payload(failed);
  const mode = await firstMode(host, failed, verb.idempotency !== undefined || named !== undefined);
  return accept(deps, assistants, principal, {
    threadId,
    ifNotExists: "reject",
    assistantId: failed.assistantId,
    payload: retryPayload(mode, payload),
    settings: { ...failed.settings, multitaskStrategy: "reject" },
    ...(verb.idempotency ? { idempotency: verb.idempotency } : {}),
    ...(named === undefined ? {} : { named: { runId: named, threadId } }),
    replay: {
      of: failed,
      obstacle: async (thread, run) => {
        const planned = await planRetry(host, failed, thread).catch(asConflict);
        if (planned instanceof HoldpointError) return planned;
        // The item may be of an earlier attempt, which knew less of the thread.
        const made = await deps.runs.payload(run);
        if (canonicalJson(made) !== canonicalJson(retryPayload(planned, payload)))
          return new HoldpointError("conflict", "the thread has moved on; look at the run again");
        // Before the append, which is the commit: nothing is tried again without a trace.
        await auditVerb(deps, {
          principal,
          run: failed,
          action: as,
          key: [run.runId],
          retriedBy: run.runId,
          ...reasonOf(verb),
        });
        return undefined;
      },
    },
  });
}

/** What an earlier attempt came to is asked first: then there is no plan to be made, and none is refused. */
async function firstMode(host: RetryWith, failed: Run, mayBeRepeated: boolean): Promise<RetryMode> {
  const header = await upToDate(host.deps, failed);
  if (!header) throw new HoldpointError("not_found", "Run not found");
  try {
    return await planRetry(host, failed, header.value);
  } catch (error) {
    // An earlier attempt may have made it so; one that has not is told by the obstacle.
    if (mayBeRepeated && asConflict(error)) return "continue";
    throw error;
  }
}

const reasonOf = ({ reason }: Verb) => (reason === undefined ? {} : { reason });

function asConflict(error: unknown): HoldpointError {
  if (error instanceof HoldpointError && (error.code === "conflict" || error.code === "graph_unavailable"))
    return error;
  throw error;
}
