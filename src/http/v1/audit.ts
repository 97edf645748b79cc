/** The audit log, for those who may read it. */
import { z } from "zod";
import { AUDIT_KINDS } from "../../core/audit.ts";
import type { JsonObject } from "../../core/json.ts";
import type { AuditUseCases, ShownEntry } from "../../runtime/audit/audit-log.ts";
import { isoTime } from "../langgraph/objects.ts";
import { parse, present, queryLimit } from "../parse.ts";
import type { Routes } from "../route.ts";
import { readCursor, writeCursor } from "./cursor.ts";
import { queryTime } from "./query-time.ts";

const DEFAULT_PAGE = 50;
const id = z.string().min(1).max(512).optional();

const listQuery = z.object({
  kind: z.enum(AUDIT_KINDS).optional(),
  actor: id,
  action: id,
  thread_id: id,
  run_id: id,
  review_id: id,
  since: queryTime,
  until: queryTime,
  limit: queryLimit(DEFAULT_PAGE),
  cursor: z.string().max(4096).optional(),
});

export function addAuditRoutes(routes: Routes, audit: AuditUseCases): void {
  routes.get("/audit", "audit:read", async ({ principal, request, response }) => {
    const { limit, cursor, thread_id, run_id, review_id, ...rest } = parse(listQuery, request.query, "query");
    const filter = present({ ...rest, threadId: thread_id, runId: run_id, review: review_id });
    const list = { name: "audit", ...filter };
    const before = cursor === undefined ? undefined : readCursor(principal, list, cursor);
    const page = await audit.list(principal, { ...filter, limit, ...present({ before }) });
    const next = page.next === undefined ? null : writeCursor(principal, list, page.next);
    response.json({ items: page.items.map(entryObject), next_cursor: next });
  });
}

/** Of an entry whose content was erased, what is left is what the chain vouches for. */
function entryObject({ id: entryId, kind, at, link, content }: ShownEntry): JsonObject {
  const common = { id: entryId, kind, at: isoTime(at), link: link ?? null, erased: content === undefined };
  if (!content) return common;
  const { actor, action, origin, subject, patch, reason, detail } = content;
  return {
    ...common,
    actor,
    action,
    request_id: origin?.requestId ?? null,
    address: origin?.address ?? null,
    thread_id: subject.threadId ?? null,
    run_id: subject.runId ?? null,
    root: subject.root ?? null,
    review_id: subject.review ?? null,
    effect: subject.effect ?? null,
    policy: subject.policy ?? null,
    webhook_id: subject.webhook ?? null,
    cron_id: subject.schedule ?? null,
    patch: patch?.map((operation) => ({ ...operation })) ?? null,
    reason: reason ?? null,
    detail: detail ?? null,
  };
}
