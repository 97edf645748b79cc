import type { TenantId } from "../../core/ids.ts";
import { RUN_ENDPOINT } from "../../core/webhook.ts";
import type { Endpoint } from "../../core/webhook.ts";
import type { Stored } from "../../storage/records.ts";
import type { Deps } from "../deps.ts";
import { newSecret } from "./secrets.ts";

/** The tenant's endpoint for addresses that runs name themselves: made with the first of them, for its secret. */
export async function ensureRunEndpoint(deps: Deps, tenant: TenantId): Promise<Stored<Endpoint>> {
  for (;;) {
    const found = await deps.webhooks.endpoint(tenant, RUN_ENDPOINT);
    if (found) return found;
    const { sealed } = await newSecret(deps, tenant, RUN_ENDPOINT);
    const now = deps.table.now();
    const endpoint: Endpoint = {
      tenant,
      endpointId: RUN_ENDPOINT,
      url: "",
      description: "signs what is sent to the webhook of runs",
      events: [],
      groups: [],
      state: "active",
      secrets: [{ sealed }],
      createdBy: "system",
      createdAt: now,
      updatedAt: now,
    };
    const written = await deps.webhooks.putEndpoint(endpoint, "absent");
    if (written.won) return written.stored;
  }
}
