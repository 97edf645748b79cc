/** What the audit log has of settings: who changed a webhook or a schedule, from what to what. */
import type { AuditSubject } from "../../core/audit.ts";
import { sha256 } from "../../core/ids.ts";
import type { TenantId } from "../../core/ids.ts";
import { canonicalJson } from "../../core/json.ts";
import type { JsonObject } from "../../core/json.ts";
import { jsonPatch } from "../../core/json-patch.ts";
import type { Origin } from "../../core/principal.ts";
import type { Schedule, ScheduledRequest } from "../../core/schedule.ts";
import type { Endpoint } from "../../core/webhook.ts";
import type { Deps } from "../deps.ts";

export interface AuditedChange {
  readonly by: { readonly tenant: TenantId; readonly subject: string; readonly origin?: Origin };
  readonly action: string;
  readonly id: string;
  /** Of the item that is changed; undefined where it is made. */
  readonly version: number | undefined;
  /** As `webhookShown` or `scheduleShown` have it; undefined where there is none. */
  readonly before: JsonObject | undefined;
  readonly after: JsonObject | undefined;
  readonly reason?: string;
}

/**
 * Records a change before it is written: an entry whose write lost is possible, a change without its entry is not. The
 * same change of the same version is the same entry.
 */
export async function auditChange(
  { audit, table }: Pick<Deps, "audit" | "table">,
  kind: "webhook" | "schedule",
  { by, action, id, version, before = {}, after = {}, reason }: AuditedChange,
): Promise<void> {
  const { tenant, subject: actor, origin } = by;
  const subject: AuditSubject = kind === "webhook" ? { webhook: id } : { schedule: id };
  await audit.record({
    tenant,
    kind,
    key: [id, action, String(version ?? 0), sha256(canonicalJson([actor, after]))],
    at: table.now(),
    actor,
    ...(origin === undefined ? {} : { origin }),
    action,
    subject,
    patch: jsonPatch(before, after),
    ...(reason === undefined ? {} : { reason }),
  });
}

/** Whom it tells of what. Of secrets only how many there are; of the address its host, since the rest may be one. */
export function webhookShown({ url, description, events, groups, state, secrets }: Endpoint): JsonObject {
  const host = URL.canParse(url) ? new URL(url).host : "";
  const signs = sha256(canonicalJson(secrets.map(({ sealed }) => sealed)));
  return { host, url: sha256(url), description, events, groups, state, secrets: signs };
}

/** When it fires what; of the request its digest, where that is at hand. */
export function scheduleShown(
  { assistantId, threadId, expression, timezone, endAt, enabled, missed, overlap, metadata }: Schedule,
  request?: Pick<ScheduledRequest, "body">,
): JsonObject {
  const shown = { assistantId, threadId, expression, timezone, endAt, enabled, missed, overlap, metadata };
  return request ? { ...shown, request: sha256(canonicalJson(request.body)) } : shown;
}
