/** Reviews: what waits for a person, and the answers of people. */
import type { Response } from "express";
import { z } from "zod";
import type { Clock } from "../../core/clock.ts";
import { deskVersion } from "../../core/hold-desk.ts";
import type { Hold } from "../../core/hold.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { Log } from "../../runtime/deps.ts";
import type { Decided, ReviewChange, ReviewUseCases } from "../../runtime/reviews/use-cases.ts";
import type { Metrics } from "../../telemetry/metrics.ts";
import { problemOf } from "../errors.ts";
import { idempotencyOf } from "../langgraph/headers.ts";
import type { HttpLimits } from "../limits.ts";
import { parse, present, queryLimit } from "../parse.ts";
import { whenGone } from "../reader.ts";
import type { Call, Routes } from "../route.ts";
import { openEventStream } from "../sse.ts";
import { traceOf } from "../trace.ts";
import { batchOf, decisionOf, filterOf, filterQuery, ifMatchOf, STATES, WORKS } from "./review-bodies.ts";
import { readCursor, writeCursor } from "./cursor.ts";
import { reviewObject } from "./review-object.ts";

export interface ReviewRoutes {
  readonly reviews: ReviewUseCases;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: HttpLimits;
  readonly metrics: Metrics;
  /** Aborts when this process stops serving. */
  readonly closing: AbortSignal;
}

const DEFAULT_PAGE = 50;
const DAY_MS = 24 * 3_600_000;

const listQuery = filterQuery.extend({
  state: z.enum(STATES).default("open"),
  limit: queryLimit(DEFAULT_PAGE),
  cursor: z.string().max(4096).optional(),
});
const sinceQuery = z.strictObject({ since: z.iso.datetime({ offset: true }).optional() });
const reviewPath = z.object({ review_id: z.string().min(1).max(256) });

export function addReviewRoutes(routes: Routes, host: ReviewRoutes): void {
  const { reviews, clock } = host;
  routes.get("/reviews", "reviews:read", (call) => answerPage(reviews, call));
  routes.get("/reviews/counts", "reviews:read", async ({ principal, request, response }) => {
    const filter = filterOf(parse(filterQuery, request.query, "query"), principal);
    const { open, assignedToMe, unassigned, snoozed, byRisk, atLeast } = await reviews.count(principal, filter);
    response.json({ open, assigned_to_me: assignedToMe, unassigned, snoozed, by_risk: byRisk, at_least: atLeast });
  });
  routes.get("/reviews/statistics", "reviews:read", async ({ principal, request, response }) => {
    const { since } = parse(sinceQuery, request.query, "query");
    const from = since === undefined ? clock.wall() - 30 * DAY_MS : Date.parse(since);
    const { reviewers, ...rest } = await reviews.statistics(principal, from);
    response.json({ ...rest, reviewers: reviewers.map(snakeCase) });
  });
  routes.get("/reviews/stream", "reviews:read", (call) => answerChanges(host, call));
  routes.post("/reviews/decisions", "reviews:decide", async (call) => {
    const decisions = { ...batchOf(call.body), ...present({ idempotencyKey: idempotencyOf(call)?.key }) };
    const decided = await reviews.decideMany(call.principal, decisions);
    call.response.json({ dry_run: decisions.dryRun, items: decided.map(decidedObject) });
  });

  routes.get("/reviews/:review_id", "reviews:read", async ({ principal, request, response }) => {
    const { review_id: id } = parse(reviewPath, request.params, "path");
    answerReview(response, await reviews.get(principal, id));
  });
  routes.post("/reviews/:review_id/decisions", "reviews:decide", async (call) => {
    const { review_id: id } = parse(reviewPath, call.request.params, "path");
    const given = present({ idempotencyKey: idempotencyOf(call)?.key, ifMatch: ifMatchOf(call.request) });
    answerReview(call.response, await reviews.decide(call.principal, id, { ...decisionOf(call.body), ...given }));
  });
  for (const [what, workOf] of Object.entries(WORKS)) {
    routes.post(`/reviews/:review_id/${what}`, "reviews:decide", async ({ principal, request, response, body }) => {
      const { review_id: id } = parse(reviewPath, request.params, "path");
      const work = workOf(body, clock.wall());
      answerReview(response, await reviews.work(principal, id, { work, ...present({ ifMatch: ifMatchOf(request) }) }));
    });
  }
}

function answerReview(response: Response, hold: Hold): void {
  response.setHeader("etag", `"${deskVersion(hold)}"`);
  response.json(reviewObject(hold));
}

async function answerPage(reviews: ReviewUseCases, { principal, request, response }: Call): Promise<void> {
  const { state, limit, cursor, ...query } = parse(listQuery, request.query, "query");
  const filter = filterOf(query, principal);
  const list = { name: "reviews", state, filter };
  const after = cursor === undefined ? undefined : readCursor(principal, list, cursor);
  const page = await reviews.list(principal, { state, filter, limit, ...present({ after }) });
  const next = page.next === undefined ? null : writeCursor(principal, list, page.next);
  if (next !== null) {
    const asked = new URLSearchParams(request.originalUrl.split("?")[1] ?? "");
    asked.set("cursor", next);
    response.setHeader("link", `<${request.baseUrl}/reviews?${asked.toString()}>; rel="next"`);
  }
  response.json({ items: page.items.map(reviewObject), next_cursor: next });
}

function decidedObject(decided: Decided): object {
  if ("hold" in decided) return { id: decided.id, status: 200, review: reviewObject(decided.hold) };
  const { status, code, detail, facts } = problemOf(decided.error);
  return { id: decided.id, status, error: { ...facts, code, detail } };
}

/** Server-sent events until the reader has gone: `review`, `gone`, and `ready` once everything open was sent. */
async function answerChanges(
  { reviews, clock, log, limits, closing, metrics }: ReviewRoutes,
  call: Call,
): Promise<void> {
  const { principal, request, response } = call;
  const filter = filterOf(parse(filterQuery, request.query, "query"), principal);
  call.waits();
  const signal = AbortSignal.any([whenGone(response), closing]);
  using _open = metrics.streamOpened();
  const stream = openEventStream(response, clock, limits);
  try {
    for await (const change of reviews.watch(principal, filter, signal)) {
      if (!(await stream.send({ event: change.kind, data: changeObject(change) })) || signal.aborted) break;
    }
    stream.end();
  } catch (error) {
    if (!signal.aborted) log.error({ trace_id: traceOf(response), err: error }, "a stream of reviews broke off");
    response.destroy();
  }
}

function changeObject(change: ReviewChange): JsonObject {
  switch (change.kind) {
    case "review":
      return reviewObject(change.hold);
    case "gone":
      return { id: change.id };
    case "ready":
      return { truncated: change.truncated };
  }
}

/** Keys of one flat object as the API spells them. */
const snakeCase = (figures: object): JsonObject =>
  Object.fromEntries(
    Object.entries(figures).map(([key, value]) => [
      key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      value as Json, // numbers and texts
    ]),
  );
