import { isEnded } from "../core/run.ts";
import type { Run } from "../core/run.ts";
import type { Deps } from "./deps.ts";

/** Counts a run that this process has just ended. */
export function tellEnded({ telemetry }: Pick<Deps, "telemetry">, { graphId, status, createdAt, end }: Run): void {
  if (!isEnded(status) || status === "refused" || end === undefined) return;
  telemetry.metrics.runEnded({ graph: graphId, outcome: status, ms: end.at - createdAt });
}
