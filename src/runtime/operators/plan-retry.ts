/**
 * Whether a run can be tried again, and how. A retry goes on from the head of its thread: that must be where the failed
 * run left it, and be so until the retry has its place in the header's queue, behind which nothing can move it.
 */
import { HoldpointError } from "../../core/errors.ts";
import { isEnded } from "../../core/run.ts";
import type { Run, RunPayload } from "../../core/run.ts";
import { isBusy } from "../../core/thread.ts";
import type { Thread } from "../../core/thread.ts";
import type { FencedSaver } from "../../checkpoint/saver.ts";
import type { InFlight } from "../../langgraph/compatibility.ts";
import type { Deps } from "../deps.ts";
import type { Engine } from "../engine.ts";
import { readingSaver } from "../state-reader.ts";

/** `continue`: from the checkpoint at which it failed; `restart`: it never came to one, and begins with its own input. */
export type RetryMode = "continue" | "restart";

export interface RetryHost {
  readonly deps: Deps;
  readonly engine: Pick<Engine, "missingNodes">;
}

const refused = (reason: string, detail: Readonly<Record<string, unknown>> = {}): HoldpointError =>
  new HoldpointError("conflict", reason, { detail });

/** How to try a run again on its thread as that is now. @throws HoldpointError why not */
export async function planRetry({ deps, engine }: RetryHost, run: Run, thread: Thread): Promise<RetryMode> {
  assertFailed(run);
  if (isBusy(thread)) {
    const active = thread.active?.kind === "run" ? thread.active.entry.runId : thread.queue[0]?.runId;
    throw refused(`thread ${run.threadId} is busy: another run is active or queued`, { active: active ?? null });
  }
  if ((thread.waiting?.reviews ?? 0) > 0)
    throw refused(`thread ${run.threadId} waits for a review: decide it under /v1/reviews first`);
  const graph = deps.graphs.get(run.graphId);
  if (!graph) throw new HoldpointError("graph_unavailable", `graph ${run.graphId} is not registered any more`);
  const saver = readingSaver(deps, run);
  const mode = await modeOf(deps, saver, run);
  const { input, checkpoint } = await deps.runs.payload(run);
  const isFresh = mode === "restart" && input !== undefined && input !== null;
  const checkpointId = mode === "restart" ? checkpoint?.checkpointId : undefined;
  if (!isFresh)
    await assertHasNodes(engine, { graph, saver, threadId: run.threadId, ...(checkpointId && { checkpointId }) });
  return mode;
}

function assertFailed({ runId, status }: Run): void {
  if (!isEnded(status)) throw refused(`run ${runId} is ${status}: it is still active`, { status });
  switch (status) {
    case "error":
    case "timeout":
    case "parked":
      return;
    case "success":
      throw refused(`run ${runId} succeeded: there is nothing to try again`, { status });
    case "held":
      throw refused(`run ${runId} stopped at a question: it goes on once that is answered`, { status });
    default:
      throw refused(`run ${runId} ended as ${status}: only one that failed or was parked is tried again`, { status });
  }
}

async function modeOf(deps: Deps, saver: FencedSaver, run: Run): Promise<RetryMode> {
  const head = await saver.preload();
  if (head?.runId === run.runId) return "continue";
  const meant = await begunOf(deps, run);
  if (meant.startedAt === undefined) {
    // It, or a retry of it, may have been stopped just when its worker began: too late to say so.
    if (!(await saver.hasCheckpointOf(meant.root))) return "restart";
  } else if (head?.runId === meant.runId) return "continue";
  // It never came to a checkpoint of its own.
  else if (head?.checkpointId === meant.end?.checkpointId) return meant.kind === "input" ? "restart" : "continue";
  throw refused(`thread ${run.threadId} has moved on since run ${run.runId} failed`, {
    head: head?.checkpointId ?? null,
    head_run: head?.runId ?? null,
  });
}

/** A retry that never began stands for what it was to try again. */
async function begunOf(deps: Deps, run: Run): Promise<Run> {
  if (run.startedAt !== undefined || run.replayOf === undefined) return run;
  const of = await deps.runs.get(run, run.replayOf);
  return of === undefined ? run : begunOf(deps, of.value);
}

/** LangGraph would pass over work for a node that is gone, and end the run as a success. */
async function assertHasNodes(engine: Pick<Engine, "missingNodes">, at: InFlight): Promise<void> {
  const missing = await engine.missingNodes(at);
  if (missing.length === 0) return;
  throw refused(`graph ${at.graph.graphId} has no node ${missing.join(", ")} any more, at which the run would go on`, {
    missing,
  });
}

/** What the retry is asked to do. */
export function retryPayload(mode: RetryMode, failed: RunPayload): RunPayload {
  if (mode === "restart") return failed;
  const { input: _input, command: _command, checkpoint: _checkpoint, ...rest } = failed;
  return rest;
}
