import { HoldpointError } from "../../core/errors.ts";
import type { Principal } from "../../core/principal.ts";
import { RUN_ENDPOINT, newDelivery, requeued, rotated } from "../../core/webhook.ts";
import type { Endpoint, HookDelivery, HookEvent } from "../../core/webhook.ts";
import { parseHookUrl } from "../../core/webhook-address.ts";
import { hookKeys } from "../../storage/keys.ts";
import type { Stored, Written } from "../../storage/records.ts";
import { auditChange, webhookShown } from "../audit/audit-change.ts";
import type { Deps } from "../deps.ts";
import { iso } from "./event-data.ts";
import { ensureRunEndpoint } from "./run-endpoint.ts";
import { newSecret, sealBody } from "./secrets.ts";
import type { NewEndpoint, WebhookUseCases } from "./use-cases.ts";

const MAX_ENDPOINTS = 100;
/** Deliveries of an endpoint that are sent at once when it is resumed; later ones at their time. */
const WAKED = 1000;

export function createWebhookUseCases(deps: Deps): WebhookUseCases {
  const find = async ({ tenant }: Principal, id: string): Promise<Stored<Endpoint>> => {
    const found =
      id === RUN_ENDPOINT ? await ensureRunEndpoint(deps, tenant) : await deps.webhooks.endpoint(tenant, id);
    if (!found) throw notFound(id);
    return found;
  };
  const change = async (
    principal: Principal,
    { id, action }: { readonly id: string; readonly action: string },
    to: (endpoint: Endpoint, now: number) => Endpoint,
  ): Promise<Endpoint> => {
    let current: Stored<Endpoint> | undefined = await find(principal, id);
    while (current) {
      const { value, version }: Stored<Endpoint> = current;
      const next = to(value, deps.table.now());
      const shown = { before: webhookShown(value), after: webhookShown(next) };
      await auditChange(deps, "webhook", { by: principal, action, id, version, ...shown });
      const written: Written<Endpoint> = await deps.webhooks.putEndpoint(next, { version });
      deps.interests.changed(principal.tenant);
      if (written.won) return next;
      ({ current } = written);
    }
    throw notFound(id);
  };
  return {
    async create(principal, wanted) {
      assertUrl(deps, wanted.url);
      if ((await deps.webhooks.endpoints(principal.tenant)).length >= MAX_ENDPOINTS)
        throw new HoldpointError("conflict", `a tenant has at most ${MAX_ENDPOINTS} webhook endpoints`);
      const endpointId = deps.ids.uuid();
      const { shown, sealed } = await newSecret(deps, principal.tenant, endpointId);
      const endpoint = draft(principal, wanted, { endpointId, sealed, now: deps.table.now() });
      const made = { version: undefined, before: undefined, after: webhookShown(endpoint) };
      await auditChange(deps, "webhook", { by: principal, action: "create", id: endpointId, ...made });
      await deps.webhooks.putEndpoint(endpoint, "absent");
      deps.interests.changed(principal.tenant);
      return { endpoint, secret: shown };
    },
    list: async ({ tenant }) =>
      (await deps.webhooks.endpoints(tenant)).filter(({ endpointId }) => endpointId !== RUN_ENDPOINT),
    get: async (principal, id) => (await find(principal, id)).value,
    async update(principal, id, wanted) {
      if (id === RUN_ENDPOINT) throw new HoldpointError("conflict", "the endpoint of runs has no settings of its own");
      if (wanted.url !== undefined) assertUrl(deps, wanted.url);
      return change(principal, { id, action: "update" }, (one, now) => ({ ...one, ...wanted, updatedAt: now }));
    },
    pause: (principal, id) =>
      change(principal, { id, action: "pause" }, (one, now) => ({ ...one, state: "paused", updatedAt: now })),
    async resume(principal, id) {
      const resumed = await change(principal, { id, action: "resume" }, resumedAt);
      await wake(deps, resumed);
      return resumed;
    },
    async rotate(principal, id) {
      const { shown, sealed } = await newSecret(deps, principal.tenant, id);
      const to = (one: Endpoint, now: number): Endpoint => rotated(one, sealed, now);
      return { endpoint: await change(principal, { id, action: "rotate" }, to), secret: shown };
    },
    async test(principal, id) {
      const { value } = await find(principal, id);
      if (value.url === "") throw new HoldpointError("conflict", "the endpoint of runs has no address of its own");
      return sendTest(deps, value);
    },
    async remove(principal, id) {
      const found = await find(principal, id);
      const gone = { version: found.version, before: webhookShown(found.value), after: undefined };
      await auditChange(deps, "webhook", { by: principal, action: "remove", id, ...gone });
      const removed = await deps.webhooks.removeEndpoint(found);
      if (removed.outcome === "lost") throw new HoldpointError("conflict", "the endpoint was changed meanwhile");
      deps.interests.changed(principal.tenant);
    },
    async deliveries(principal, id, { state, limit, after }) {
      await find(principal, id);
      const range = { descending: true, limit, ...(after === undefined ? {} : { after }) };
      const page = await deps.webhooks.deliveries(principal.tenant, id, range);
      const items = page.items.map(({ value }) => value).filter((one) => state === undefined || one.state === state);
      return { items, ...(page.next === undefined ? {} : { next: page.next }) };
    },
    async redeliver(principal, id, { at, deliveryId }) {
      await find(principal, id);
      const key = hookKeys.delivery(principal.tenant, id, { ms: at, id: deliveryId });
      for (;;) {
        const stored = await deps.webhooks.deliveryAt(key);
        if (!stored) throw new HoldpointError("not_found", `Delivery ${at}.${deliveryId} not found`);
        if (stored.value.state === "pending") return stored.value;
        const next = requeued(stored.value, deps.table.now());
        if ((await deps.webhooks.putDelivery(next, { version: stored.version })).won) return next;
      }
    },
  };
}

function resumedAt(before: Endpoint, now: number): Endpoint {
  const { reason: _, ...endpoint } = before;
  return { ...endpoint, state: "active", updatedAt: now };
}

const notFound = (id: string): HoldpointError => new HoldpointError("not_found", `Webhook ${id} not found`);

function assertUrl(deps: Deps, url: string): void {
  parseHookUrl(url, deps.settings.webhookHosts ?? []);
}

function draft(
  { tenant, subject }: Principal,
  wanted: NewEndpoint,
  { endpointId, sealed, now }: { readonly endpointId: string; readonly sealed: string; readonly now: number },
): Endpoint {
  return {
    tenant,
    endpointId,
    ...wanted,
    state: "active",
    secrets: [{ sealed }],
    createdBy: subject,
    createdAt: now,
    updatedAt: now,
  };
}

async function sendTest(deps: Deps, { tenant, endpointId }: Endpoint): Promise<HookDelivery> {
  const now = deps.table.now();
  const event: HookEvent = { id: deps.ids.uuid(), type: "webhook.test", at: now, groups: [] };
  const text = JSON.stringify({ type: event.type, timestamp: iso(now), data: { webhook_id: endpointId } });
  const body = await sealBody(deps, tenant, event.id, text);
  const delivery = newDelivery({ tenant, endpointId, event, body }, now);
  await deps.webhooks.putDelivery(delivery, "absent");
  return delivery;
}

/** Sends what waited. What this does not come to is sent at its time. */
async function wake(deps: Deps, { tenant, endpointId }: Endpoint): Promise<void> {
  const page = await deps.webhooks.deliveries(tenant, endpointId, { descending: true, limit: WAKED });
  const now = deps.table.now();
  const waiting = page.items.filter(({ value }) => value.state === "pending" && value.nextAt > now);
  for (const { value, version } of waiting) await deps.webhooks.putDelivery(requeued(value, now), { version });
}
