/** Webhook endpoints of a tenant, and the log of what was delivered to each. */
import { z } from "zod";
import type { JsonObject } from "../../core/json.ts";
import { HOOK_EVENTS, RUN_ENDPOINT } from "../../core/webhook.ts";
import type { Attempt, Endpoint, HookDelivery } from "../../core/webhook.ts";
import type { WebhookUseCases, WithSecret } from "../../runtime/webhooks/use-cases.ts";
import { isoTime } from "../langgraph/objects.ts";
import { name, optional, parse, present, queryLimit, uuid } from "../parse.ts";
import type { Call, Routes } from "../route.ts";
import { readCursor, writeCursor } from "./cursor.ts";

const DEFAULT_PAGE = 50;
const PATH = "/webhooks/:webhook_id";

const url = z.string().min(1).max(2048);
const events = z.array(z.enum(HOOK_EVENTS)).min(1).max(HOOK_EVENTS.length);
const groups = z.array(name).max(100);
const description = z.string().max(1024);
const newEndpoint = z.strictObject({
  url,
  events,
  groups: optional(groups),
  description: optional(description),
});
const change = z.strictObject({
  url: optional(url),
  events: optional(events),
  groups: optional(groups),
  description: optional(description),
});
const path = z.object({ webhook_id: z.union([z.literal(RUN_ENDPOINT), uuid]) });
const deliveryPath = z.object({
  delivery_id: z.string().regex(/^\d{1,13}\.[0-9a-f-]{36}$/, "not the id of a delivery"),
});
const logQuery = z.strictObject({
  state: z.enum(["pending", "delivered", "dead"]).optional(),
  limit: queryLimit(DEFAULT_PAGE),
  cursor: z.string().max(4096).optional(),
});

export function addWebhookRoutes(routes: Routes, webhooks: WebhookUseCases): void {
  routes.post("/webhooks", "webhooks:write", async ({ principal, body, response }) => {
    const { groups: of = [], description: text = "", ...wanted } = parse(newEndpoint, body, "body");
    const made = await webhooks.create(principal, { ...wanted, groups: of, description: text });
    response.status(201).json(withSecret(made));
  });
  routes.get("/webhooks", "webhooks:read", async ({ principal, response }) => {
    response.json({ items: (await webhooks.list(principal)).map(endpointObject), next_cursor: null });
  });
  routes.get(PATH, "webhooks:read", async (call) => {
    call.response.json(endpointObject(await webhooks.get(call.principal, idOf(call))));
  });
  routes.patch(PATH, "webhooks:write", async (call) => {
    const wanted = present(parse(change, call.body, "body"));
    call.response.json(endpointObject(await webhooks.update(call.principal, idOf(call), wanted)));
  });
  routes.delete(PATH, "webhooks:write", async (call) => {
    await webhooks.remove(call.principal, idOf(call));
    call.response.status(204).end();
  });
  addActions(routes, webhooks);
  addLog(routes, webhooks);
}

function addActions(routes: Routes, webhooks: WebhookUseCases): void {
  routes.post(`${PATH}/pause`, "webhooks:write", async (call) => {
    call.response.json(endpointObject(await webhooks.pause(call.principal, idOf(call))));
  });
  routes.post(`${PATH}/resume`, "webhooks:write", async (call) => {
    call.response.json(endpointObject(await webhooks.resume(call.principal, idOf(call))));
  });
  routes.post(`${PATH}/rotate`, "webhooks:write", async (call) => {
    call.response.json(withSecret(await webhooks.rotate(call.principal, idOf(call))));
  });
  routes.post(`${PATH}/test`, "webhooks:write", async (call) => {
    call.response.status(202).json(deliveryObject(await webhooks.test(call.principal, idOf(call))));
  });
}

function addLog(routes: Routes, webhooks: WebhookUseCases): void {
  routes.get(`${PATH}/deliveries`, "webhooks:read", async (call) => {
    const { state, limit, cursor } = parse(logQuery, call.request.query, "query");
    const list = { name: "deliveries", of: idOf(call), state };
    const after = cursor === undefined ? undefined : readCursor(call.principal, list, cursor);
    const page = await webhooks.deliveries(call.principal, idOf(call), { limit, ...present({ state, after }) });
    const next = page.next === undefined ? null : writeCursor(call.principal, list, page.next);
    call.response.json({ items: page.items.map(deliveryObject), next_cursor: next });
  });
  routes.post(`${PATH}/deliveries/:delivery_id/redeliver`, "webhooks:write", async (call) => {
    const { delivery_id: given } = parse(deliveryPath, call.request.params, "path");
    const [at = "", deliveryId = ""] = given.split(".");
    const place = { at: Number(at), deliveryId };
    call.response.status(202).json(deliveryObject(await webhooks.redeliver(call.principal, idOf(call), place)));
  });
}

const idOf = ({ request }: Call): string => parse(path, request.params, "path").webhook_id;

const withSecret = ({ endpoint, secret }: WithSecret): JsonObject => ({ ...endpointObject(endpoint), secret });

function endpointObject(endpoint: Endpoint): JsonObject {
  return {
    id: endpoint.endpointId,
    url: endpoint.url,
    description: endpoint.description,
    events: endpoint.events,
    groups: endpoint.groups,
    state: endpoint.state,
    reason: endpoint.reason ?? null,
    created_by: endpoint.createdBy,
    created_at: isoTime(endpoint.createdAt),
    updated_at: isoTime(endpoint.updatedAt),
  };
}

function deliveryObject(delivery: HookDelivery): JsonObject {
  const { event } = delivery;
  return {
    id: `${event.at}.${delivery.deliveryId}`,
    webhook_id: delivery.endpointId,
    message_id: delivery.deliveryId,
    event: event.type,
    event_at: isoTime(event.at),
    thread_id: event.threadId ?? null,
    run_id: event.runId ?? null,
    url: delivery.url ?? null,
    state: delivery.state,
    reason: delivery.reason ?? null,
    tries: delivery.tries,
    next_try_at: delivery.state === "pending" ? isoTime(delivery.nextAt) : null,
    attempts: delivery.attempts.map(attemptObject),
    created_at: isoTime(delivery.createdAt),
  };
}

const attemptObject = ({ at, ms, status, error }: Attempt): JsonObject => ({
  at: isoTime(at),
  duration_ms: Math.round(ms),
  status: status ?? null,
  error: error ?? null,
});
