/**
 * One try of one delivery: claimed by a conditional write, sent, and settled by another one. Who dies in between leaves it
 * findable, and it is sent again under the same id: a target sees an event at least once, and can tell by the id.
 */
import { claimed, dead, isGone, postponed, readied, signatureHeaders, tried } from "../../core/webhook.ts";
import type { Endpoint, HookDelivery, HookSender, Sent } from "../../core/webhook.ts";
import { parseHookUrl } from "../../core/webhook-address.ts";
import { errorInfo } from "../../core/errors.ts";
import type { Stored } from "../../storage/records.ts";
import type { Key } from "../../storage/table.ts";
import type { Deps } from "../deps.ts";
import { auditChange, webhookShown } from "../audit/audit-change.ts";
import { keysOf, openBody } from "./secrets.ts";

/** Who changed an endpoint that was disabled because its target said so. */
const BY_TARGET = "holdpoint:webhook-target";

/** Its time has come: from now on it stands among what is ready, endpoint by endpoint. */
export async function ready(deps: Deps, key: Key): Promise<void> {
  const stored = await deps.webhooks.deliveryAt(key);
  if (!stored || stored.value.state !== "pending" || stored.value.ready) return;
  if (stored.value.nextAt > deps.table.now()) return;
  await deps.webhooks.putDelivery(readied(stored.value), { version: stored.version });
}

/** @throws HoldpointError `unavailable`; it stays findable */
export async function attempt(deps: Deps, sender: HookSender, key: Key, signal: AbortSignal): Promise<void> {
  const stored = await deps.webhooks.deliveryAt(key);
  if (!stored?.value.ready || stored.value.state !== "pending") return;
  const { value, version } = stored;
  const endpoint = (await deps.webhooks.endpoint(value.tenant, value.endpointId))?.value;
  const now = deps.table.now();
  const without = unsent(value, endpoint, now);
  if (without || !endpoint) {
    await deps.webhooks.putDelivery(without ?? dead(value, "its endpoint was deleted", now), { version });
    return;
  }
  const claim = await deps.webhooks.putDelivery(claimed(value, now), { version });
  if (claim.won) await send(deps, sender, { claim: claim.stored, endpoint, signal });
}

/** What becomes of a delivery whose endpoint takes nothing now. */
function unsent(delivery: HookDelivery, endpoint: Endpoint | undefined, now: number): HookDelivery | undefined {
  switch (endpoint?.state) {
    case "active":
      return undefined;
    case "paused":
      return postponed(delivery, now);
    case "disabled":
      return dead(delivery, endpoint.reason ?? "its endpoint is disabled", now);
    case undefined:
      return dead(delivery, "its endpoint was deleted", now);
  }
}

interface Sending {
  readonly claim: Stored<HookDelivery>;
  readonly endpoint: Endpoint;
  readonly signal: AbortSignal;
}

async function send(deps: Deps, sender: HookSender, { claim, endpoint, signal }: Sending): Promise<void> {
  const { value: delivery, version } = claim;
  const startedAt = deps.table.now();
  const sent = await post(deps, sender, { claim, endpoint, signal });
  // A process that stops has not learnt anything about the target: whoever finds the delivery sends it.
  if (signal.aborted && sent.kind === "failed") return;
  const now = deps.table.now();
  const random = Number.parseInt(deps.ids.token(2), 16) / 0x1_00_00;
  const next = tried(delivery, { sent, startedAt, now, random });
  await deps.webhooks.putDelivery(next, { version });
  const { threadId: thread, runId: run, type } = delivery.event;
  const how = sent.kind === "answered" ? { status: sent.status } : { error: sent.error };
  const said = { webhook: endpoint.endpointId, delivery: delivery.deliveryId, event: type, thread, run, ...how };
  if (next.state === "delivered") deps.log.debug(said, "webhook delivered");
  else if (next.state === "dead") deps.log.warn({ ...said, reason: next.reason }, "webhook given up");
  else deps.log.info({ ...said, tries: next.tries }, "webhook not taken; it is tried again");
  if (isGone(sent) && delivery.url === undefined) await disable(deps, endpoint, now);
}

async function post(deps: Deps, sender: HookSender, { claim, endpoint, signal }: Sending): Promise<Sent> {
  const { value: delivery } = claim;
  try {
    const url = parseHookUrl(delivery.url ?? endpoint.url, deps.settings.webhookHosts ?? []).href;
    const [body, keys] = await Promise.all([openBody(deps, delivery), keysOf(deps, endpoint, deps.table.now())]);
    const signed = signatureHeaders({ id: delivery.deliveryId, at: deps.table.now(), body, keys });
    const headers = { "content-type": "application/json", "user-agent": "holdpoint-webhooks", ...signed };
    return await sender.send({ url, headers, body, signal });
  } catch (error) {
    return { kind: "failed", error: errorInfo(error).message };
  }
}

async function disable(deps: Deps, { tenant, endpointId: id }: Endpoint, now: number): Promise<void> {
  for (;;) {
    const found = await deps.webhooks.endpoint(tenant, id);
    if (found?.value.state !== "active") break;
    const reason = "the target is gone (410)";
    const next: Endpoint = { ...found.value, state: "disabled", reason, updatedAt: now };
    const shown = { before: webhookShown(found.value), after: webhookShown(next) };
    const by = { tenant, subject: BY_TARGET };
    await auditChange(deps, "webhook", { by, action: "disable", id, version: found.version, ...shown, reason });
    if ((await deps.webhooks.putEndpoint(next, { version: found.version })).won) break;
  }
  deps.interests.changed(tenant);
}
