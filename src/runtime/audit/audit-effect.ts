/** What the audit log has of effects: that one took place, and what an operator said of one. */
import type { AuditEntry } from "../../core/audit.ts";
import { intentOf } from "../../core/effect.ts";
import type { EffectEntry, EffectOutcome } from "../../core/effect.ts";
import type { Settlement } from "../../core/effect-settlement.ts";
import { canonicalJson } from "../../core/json.ts";
import { sha256 } from "../../core/ids.ts";

/** `actor`: on whose behalf the run makes the call. The same entry however often the outcome of one intent is recorded. */
export function effectEntry(entry: EffectEntry, outcome: EffectOutcome, by: { actor: string; at: number }): AuditEntry {
  const { tenant, root, token, name, runId, threadId, argsDigest, policy } = entry;
  const intent = intentOf(entry);
  const what =
    outcome.kind === "result"
      ? { result: outcome.body ?? sha256(canonicalJson(outcome.value)) }
      : { message: outcome.message };
  return {
    tenant,
    kind: "effect",
    key: [root, token, String(intent)],
    ...by,
    action: outcome.kind === "result" ? "happened" : "refused",
    subject: { root, runId, effect: token, ...(threadId === undefined ? {} : { threadId }) },
    detail: { name, policy: policy ?? "unsafe", intent, arguments: argsDigest, ...what },
  };
}

export function settlementEntry({ tenant, root, token, name, ...entry }: EffectEntry, word: Settlement): AuditEntry {
  const { id, by, at, origin, verdict, reason, intent, proposedBy, replaces, resultDigest } = word;
  const { runId, threadId } = entry.parked ?? entry;
  return {
    tenant,
    kind: "settlement",
    key: [root, token, id],
    at,
    actor: by,
    ...(origin === undefined ? {} : { origin }),
    action: verdict,
    subject: { root, runId, effect: token, ...(threadId === undefined ? {} : { threadId }) },
    reason,
    detail: {
      name,
      intent,
      word: id,
      stands: entry.proposal === undefined,
      ...(proposedBy === undefined ? {} : { proposedBy }),
      ...(replaces === undefined ? {} : { replaces }),
      ...(resultDigest === undefined ? {} : { result: resultDigest }),
    },
  };
}
