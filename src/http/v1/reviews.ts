/** Reviews: what waits for a person, and the answers of people. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { HoldpointError } from "../../core/errors.ts";
import type { Hold, HoldAnswer } from "../../core/hold.ts";
import type { TenantId } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { DecideRequest, ReviewUseCases } from "../../runtime/runtime.ts";
import { idempotencyOf } from "../langgraph/headers.ts";
import { isObject, isoTime } from "../langgraph/objects.ts";
import { json, jsonObject, optional, parse, present, queryLimit } from "../parse.ts";
import type { Routes } from "../route.ts";

const DEFAULT_PAGE = 50;
const STATES = ["open", "done"] as const;
type State = (typeof STATES)[number];

const listQuery = z.object({
  state: z.enum(STATES).default("open"),
  limit: queryLimit(DEFAULT_PAGE),
  cursor: z.string().max(4096).optional(),
});
const reviewPath = z.object({ review_id: z.string().min(1).max(256) });

const text = z.string().max(10_000);
const accompanying = { digest: optional(z.string().max(256)), comment: optional(text) };
const accompaniment = z.object(accompanying);
/** Strict: who approves with other arguments has meant to edit. */
const answer = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("approve"), ...accompanying }),
  z.strictObject({ type: z.literal("edit"), args: jsonObject, ...accompanying }),
  z.strictObject({ type: z.literal("reject"), message: optional(text), ...accompanying }),
  z.strictObject({ type: z.literal("response"), message: text, ...accompanying }),
  z.strictObject({ type: z.literal("value"), value: json, ...accompanying }),
]);

export function addReviewRoutes(routes: Routes, reviews: ReviewUseCases): void {
  routes.get("/reviews", "reviews:read", async ({ principal, request, response }) => {
    const { state, limit, cursor } = parse(listQuery, request.query, "query");
    const after = cursor === undefined ? undefined : readCursor(principal.tenant, state, cursor);
    const page = await reviews.list(principal, { state, limit, ...present({ after }) });
    const next = page.next === undefined ? null : writeCursor(principal.tenant, state, page.next);
    if (next !== null) {
      response.setHeader(
        "link",
        `<${request.baseUrl}/reviews?state=${state}&limit=${limit}&cursor=${next}>; rel="next"`,
      );
    }
    response.json({ items: page.items.map(reviewObject), next_cursor: next });
  });

  routes.get("/reviews/:review_id", "reviews:read", async ({ principal, request, response }) => {
    const { review_id: id } = parse(reviewPath, request.params, "path");
    response.json(reviewObject(await reviews.get(principal, id)));
  });

  routes.post("/reviews/:review_id/decisions", "reviews:decide", async (call) => {
    const { review_id: id } = parse(reviewPath, call.request.params, "path");
    const decided = await reviews.decide(call.principal, id, parseDecision(call.body, idempotencyOf(call)?.key));
    call.response.json(reviewObject(decided));
  });
}

function parseDecision(body: unknown, idempotencyKey: string | undefined): DecideRequest {
  const { digest, comment } = parse(accompaniment, body, "body");
  if (digest === undefined) {
    throw new HoldpointError(
      "precondition_required",
      "digest is missing: send the digest of the review that was shown",
    );
  }
  return { answer: answerOf(parse(answer, body, "body")), digest, ...present({ comment, idempotencyKey }) };
}

function answerOf({ digest: _digest, comment: _comment, ...given }: z.infer<typeof answer>): HoldAnswer {
  return given.type === "reject" ? { type: "reject", ...present({ message: given.message }) } : given;
}

function reviewObject(hold: Hold): JsonObject {
  const { request } = hold;
  return {
    id: `${hold.threadId}.${hold.holdId}`,
    thread_id: hold.threadId,
    run_id: hold.runId,
    graph_id: hold.graphId,
    assistant_id: hold.assistantId,
    node: hold.node,
    origin: hold.origin,
    state: hold.state,
    reason: hold.reason ?? null,
    title: request?.title ?? null,
    description: request?.description ?? null,
    action: request?.action ?? null,
    args: request?.args ?? null,
    args_schema: request?.argsSchema ?? null,
    risk: request?.risk ?? null,
    groups: request?.groups ?? [],
    digest: hold.digest,
    interrupt_id: hold.interruptId,
    value: hold.value,
    started_by: hold.startedBy,
    raised_at: isoTime(hold.raisedAt),
    updated_at: isoTime(hold.updatedAt),
    decision: decisionObject(hold),
  };
}

/** Which run carries a decision on is not known before its follow-up: another decision's may. */
function decisionObject({ decision, carriedBy, followUpDue }: Hold): JsonObject | null {
  if (!decision) return null;
  const { id, by, at, comment, answer: given, continuation } = decision;
  const run = carriedBy ?? (followUpDue ? null : continuation);
  return { ...given, id, by, at: isoTime(at), comment: comment ?? null, continuation_run_id: run };
}

/** A cursor says whose list it continues, so that it is refused, and not misread, anywhere else. */
function writeCursor(tenant: TenantId, state: State, after: string): string {
  return Buffer.from(JSON.stringify([listMark(tenant, state), after])).toString("base64url");
}

function readCursor(tenant: TenantId, state: State, cursor: string): string {
  const [mark, after] = cursorParts(cursor);
  if (mark === listMark(tenant, state) && typeof after === "string") return after;
  throw new HoldpointError("invalid", "query.cursor: not a cursor of this list");
}

function cursorParts(cursor: string): readonly Json[] {
  try {
    const value = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8")) as Json;
    return Array.isArray(value) && !isObject(value) ? (value as readonly Json[]) : [];
  } catch {
    return [];
  }
}

function listMark(tenant: TenantId, state: State): string {
  return createHash("sha256").update(`${state} ${tenant}`).digest("base64url").slice(0, 22);
}
