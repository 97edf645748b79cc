/** Callbacks: what other systems answer, with the token that they were given as their only credential. */
import { z } from "zod";
import { arrivalOf } from "../../core/callback-shape.ts";
import type { Hold } from "../../core/hold.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { CallbackUseCases } from "../../runtime/decisions/callback.ts";
import { isoTime } from "../langgraph/objects.ts";
import { parse, present, queryLimit } from "../parse.ts";
import type { Routes } from "../route.ts";
import { readCursor, writeCursor } from "./cursor.ts";

const DEFAULT_PAGE = 50;
const LIST = { name: "waits" };
const tokenPath = z.object({ token: z.string().min(1).max(4096) });
const listQuery = z.strictObject({ limit: queryLimit(DEFAULT_PAGE), cursor: z.string().max(4096).optional() });

export function addCallbackRoutes(routes: Routes, callbacks: CallbackUseCases): void {
  routes.byToken("/callbacks/:token", async ({ request, response, enter }) => {
    const { token } = parse(tokenPath, request.params, "path");
    using entered = enter(await callbacks.tenantOf(token));
    // It was read as JSON, and what of that is not safe was refused.
    const body = (await entered.body()) as Json | undefined;
    await callbacks.assertGenuine(body);
    const receipt = await callbacks.arrive(token, arrivalOf(body, token));
    response.json({ state: receipt.state, at: isoTime(receipt.at) });
  });

  routes.get("/waits", "reviews:read", async ({ principal, request, response }) => {
    const { limit, cursor } = parse(listQuery, request.query, "query");
    const after = cursor === undefined ? undefined : readCursor(principal, LIST, cursor);
    const page = await callbacks.list(principal, { limit, ...present({ after }) });
    const next = page.next === undefined ? null : writeCursor(principal, LIST, page.next);
    response.json({ items: page.items.map(waitObject), next_cursor: next });
  });
}

function waitObject(hold: Hold): JsonObject {
  const { times, subscription } = hold;
  return {
    id: `${hold.threadId}.${hold.holdId}`,
    thread_id: hold.threadId,
    run_id: hold.runId,
    graph_id: hold.graphId,
    node: hold.node,
    origin: hold.origin,
    state: hold.state,
    interrupt_id: hold.interruptId,
    due_at: times?.settlesAt === undefined ? null : isoTime(times.settlesAt),
    schema: hold.resultSchema ?? null,
    subscription: subscription
      ? { topic_arn: subscription.topicArn, subscribe_url: subscription.subscribeUrl, at: isoTime(subscription.at) }
      : null,
    raised_at: isoTime(hold.raisedAt),
  };
}
