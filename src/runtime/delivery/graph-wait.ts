/**
 * A run executes the graph version it was accepted with, or another that can go on with what is in flight on its thread;
 * one of a pinned graph only the first (I9). Where this worker has neither, the run sleeps, visibly and with the reason,
 * until one that has finds it.
 */
import { limitError } from "../../core/limits.ts";
import type { ErrorInfo } from "../../core/errors.ts";
import { errorInfo } from "../../core/errors.ts";
import { sleepsSince } from "../../core/run.ts";
import type { Run, SleepKind } from "../../core/run.ts";
import type { Deps } from "../deps.ts";

/** Looked at again after this long at first, and then after as long as it has waited already. */
const LOOK_AGAIN_MS = { least: 2_000, most: 60_000 } as const;

/** Why this worker does not have the graph of a run; undefined when it does. */
export function whyNotHere(deps: Deps, run: Run): string | undefined {
  const graph = deps.graphs.get(run.graphId);
  if (!graph) {
    const failure = deps.graphs.failure(run.graphId);
    return failure
      ? `graph ${run.graphId} could not be loaded: ${failure.error.message}`
      : `graph ${run.graphId} is not registered here`;
  }
  const asked = run.graphVersion;
  return graph.pinned && asked !== undefined && asked !== graph.version
    ? `graph ${run.graphId} is pinned, and its version ${asked.slice(0, 12)} is not here`
    : undefined;
}

export function hasWaitedLongEnough(deps: Deps, run: Run): boolean {
  return waitedMs(deps, run, "graph") >= deps.settings.limits.graphWaitMs;
}

/** Table time at which a run that sleeps until a worker is there that can execute it is offered again. */
export function lookAgainAt(deps: Deps, run: Run, kind: SleepKind): number {
  const waited = waitedMs(deps, run, kind);
  return deps.table.now() + Math.min(LOOK_AGAIN_MS.most, Math.max(LOOK_AGAIN_MS.least, waited));
}

/** As late as that can be: of a run of which is not known how long it has waited. */
export function latestLook({ table }: Pick<Deps, "table">): number {
  return table.now() + LOOK_AGAIN_MS.most;
}

function waitedMs({ table }: Deps, run: Run, kind: SleepKind): number {
  const now = table.now();
  return now - sleepsSince(run, kind, now);
}

/** The end of a run that has waited long enough. */
export function gaveUpWaiting(deps: Deps, reason: string): ErrorInfo {
  const { graphWaitMs } = deps.settings.limits;
  const message = graphWaitMs === 0 ? reason : errorInfo(limitError("graphWaitMs", reason, graphWaitMs)).message;
  return { name: "graph_unavailable", message };
}
