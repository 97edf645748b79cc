import type { Principal } from "../../core/principal.ts";
import type { RunId } from "../../core/ids.ts";
import type { Run } from "../../core/run.ts";
import type { Deps } from "../deps.ts";

export interface AuditedVerb {
  readonly principal: Principal;
  readonly run: Run;
  readonly action: "retry" | "resume" | "cancel" | "park";
  /** What makes a repetition the same entry. */
  readonly key: readonly string[];
  readonly reason?: string;
  readonly retriedBy?: RunId;
}

/** Records what an operator asks of a run: before it is done, so that nothing is done without a trace. */
export async function auditVerb(
  { audit, table }: Pick<Deps, "audit" | "table">,
  { principal, run, action, key, reason, retriedBy }: AuditedVerb,
): Promise<void> {
  const { tenant, threadId, runId, root, status, graphId } = run;
  const { subject: actor, origin } = principal;
  const entry = {
    tenant,
    kind: action,
    key: [runId, ...key],
    at: table.now(),
    actor,
    ...(origin === undefined ? {} : { origin }),
    action,
    subject: { threadId, runId, root },
    detail: { status, graph: graphId, ...(retriedBy === undefined ? {} : { retriedBy }) },
    ...(reason === undefined ? {} : { reason }),
  };
  await audit.record(entry, run.pool);
}
