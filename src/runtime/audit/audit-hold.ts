import type { AuditEntry } from "../../core/audit.ts";
import type { Hold } from "../../core/hold.ts";
import { jsonPatch } from "../../core/json-patch.ts";
import type { Deps } from "../deps.ts";

/**
 * Records what a hold has come to, if that was somebody's word: decided, or cancelled on the record. Part of what follows
 * up a hold, which stays due until then; and before a decision is handed to its continuation, which may settle it first.
 */
export async function auditHold({ audit }: Pick<Deps, "audit">, hold: Hold): Promise<void> {
  const entry = entryOf(hold);
  if (entry) await audit.record(entry, hold.pool);
}

function entryOf(hold: Hold): AuditEntry | undefined {
  const { tenant, threadId, holdId, runId, root, state, decision } = hold;
  const common = {
    tenant,
    kind: "decision",
    subject: { threadId, runId, root, review: `${threadId}.${holdId}` },
    detail: { digest: hold.digest, graph: hold.graphId, node: hold.node },
  } as const;
  if (state === "cancelled") {
    const { cancelledBy = "", reason = "", updatedAt } = hold;
    const key = [threadId, holdId, "cancelled", String(updatedAt)];
    return { ...common, key, at: updatedAt, actor: cancelledBy, action: "cancel", reason };
  }
  if (!decision) return undefined;
  const { id, by, at, origin, answer, comment } = decision;
  const reason = comment ?? (answer.type === "reject" ? answer.message : undefined);
  const shown = hold.request?.args;
  return {
    ...common,
    key: [threadId, holdId, id],
    at,
    actor: by,
    ...(origin === undefined ? {} : { origin }),
    action: answer.type,
    ...(answer.type === "edit" && shown ? { patch: jsonPatch({ args: shown }, { args: answer.args }) } : {}),
    ...(reason === undefined ? {} : { reason }),
  };
}
