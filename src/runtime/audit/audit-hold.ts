import type { AuditEntry } from "../../core/audit.ts";
import type { DecisionLink } from "../../core/decision-link.ts";
import type { Hold, Vote } from "../../core/hold.ts";
import { jsonPatch } from "../../core/json-patch.ts";
import type { Origin, Principal } from "../../core/principal.ts";
import type { Run } from "../../core/run.ts";
import type { Deps } from "../deps.ts";

/**
 * Records what a hold has come to, if that was somebody's word: decided, or cancelled on the record. Part of what follows
 * up a hold, which stays due until then; and before a decision is handed to its continuation, which may settle it first.
 */
export async function auditHold({ audit }: Pick<Deps, "audit">, hold: Hold): Promise<void> {
  // A timer that has fired is nobody's word.
  if (hold.origin === "timer") return;
  const entry = entryOf(hold);
  if (entry) await audit.record(entry, hold.pool);
}

/**
 * Records that somebody has answered a review which needs others as well. Before the vote is put, since nothing follows
 * it: an entry whose vote lost is possible, a vote without its entry is not.
 */
export async function auditVote({ audit }: Pick<Deps, "audit">, hold: Hold, vote: Vote): Promise<void> {
  const entry = answerEntry(hold, vote);
  await audit.record({ ...entry, detail: { ...entry.detail, vote: true } }, hold.pool);
}

function entryOf(hold: Hold): AuditEntry | undefined {
  const { threadId, holdId, state, decision } = hold;
  if (state === "cancelled") {
    const { cancelledBy = "", reason = "", updatedAt } = hold;
    const key = [threadId, holdId, "cancelled", String(updatedAt)];
    return { ...commonOf(hold), key, at: updatedAt, actor: cancelledBy, action: "cancel", reason };
  }
  const entry = decision && answerEntry(hold, decision);
  if (decision?.cause !== "policy" || !entry) return entry;
  return { ...entry, subject: { ...entry.subject, policy: decision.by.replace(/^policy:/, "") } };
}

const commonOf = ({ tenant, threadId, holdId, runId, root, digest, graphId, node }: Hold) =>
  ({
    tenant,
    kind: "decision",
    subject: { threadId, runId, root, review: `${threadId}.${holdId}` },
    detail: { digest, graph: graphId, node },
  }) as const;

/** Records that somebody was given a link to answer with. Before it is handed out. */
export async function auditLink(
  { audit }: Pick<Deps, "audit">,
  hold: Hold,
  { id, user, groups, answer, expiresAt, issuedBy }: DecisionLink,
  { at, origin }: { readonly at: number; readonly origin: Origin | undefined },
): Promise<void> {
  const common = commonOf(hold);
  const entry: AuditEntry = {
    ...common,
    key: [hold.threadId, hold.holdId, "link", id],
    at,
    actor: issuedBy,
    ...(origin === undefined ? {} : { origin }),
    action: "link",
    detail: { ...common.detail, user, groups, answer, expires_at: new Date(expiresAt).toISOString() },
  };
  await audit.record(entry, hold.pool);
}

/** Records that an answer by `command.resume` was not taken, where others that came with it were. */
export async function auditTooLate(
  { audit, table }: Pick<Deps, "audit" | "table">,
  hold: Hold,
  { principal, run }: { readonly principal: Principal; readonly run: Pick<Run, "runId"> },
): Promise<void> {
  const { subject: actor, origin } = principal;
  const entry: AuditEntry = {
    ...commonOf(hold),
    key: [hold.threadId, hold.holdId, "too-late", run.runId],
    at: table.now(),
    actor,
    ...(origin === undefined ? {} : { origin }),
    action: "too-late",
    reason: `another answer came before that of run ${run.runId}`,
  };
  await audit.record(entry, hold.pool);
}

function answerEntry(hold: Hold, { id, by, at, origin, answer, comment, linkBy }: Vote): AuditEntry {
  const reason = comment ?? (answer.type === "reject" ? answer.message : undefined);
  const shown = hold.request?.args;
  const common = commonOf(hold);
  return {
    ...common,
    ...(linkBy === undefined ? {} : { detail: { ...common.detail, link_by: linkBy } }),
    key: [hold.threadId, hold.holdId, id],
    at,
    actor: by,
    ...(origin === undefined ? {} : { origin }),
    action: answer.type,
    ...(answer.type === "edit" && shown ? { patch: jsonPatch({ args: shown }, { args: answer.args }) } : {}),
    ...(reason === undefined ? {} : { reason }),
  };
}
