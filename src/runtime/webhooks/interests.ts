import type { Clock } from "../../core/clock.ts";
import type { TenantId } from "../../core/ids.ts";
import type { Endpoint } from "../../core/webhook.ts";
import type { Webhooks } from "../../storage/webhooks.ts";

/**
 * Whether anybody of a tenant wants to be told. Asked before what is told of is committed, so that the commit is findable
 * (I11) where somebody does, and costs nothing where nobody does. What another process registered counts after five
 * seconds at most.
 */
export interface Interests {
  /** In how runs end, and in the reviews that they end with. @throws HoldpointError `unavailable` */
  inRuns(tenant: TenantId): Promise<boolean>;
  /** @throws HoldpointError `unavailable` */
  inDecisions(tenant: TenantId): Promise<boolean>;
  /** The tenant's endpoints were changed here. */
  changed(tenant: TenantId): void;
}

const KNOWN_MS = 5_000;
const KNOWN_TENANTS = 10_000;

export function createInterests(webhooks: Pick<Webhooks, "endpoints">, clock: Pick<Clock, "monotonic">): Interests {
  const known = new Map<TenantId, { readonly at: number; readonly endpoints: readonly Endpoint[] }>();
  const endpointsOf = async (tenant: TenantId): Promise<readonly Endpoint[]> => {
    const at = clock.monotonic();
    const entry = known.get(tenant);
    if (entry && at - entry.at < KNOWN_MS) return entry.endpoints;
    const endpoints = await webhooks.endpoints(tenant);
    known.delete(tenant);
    const [oldest] = known.keys();
    if (oldest !== undefined && known.size >= KNOWN_TENANTS) known.delete(oldest);
    known.set(tenant, { at, endpoints });
    return endpoints;
  };
  const isAsked = async (tenant: TenantId, events: readonly string[]): Promise<boolean> =>
    (await endpointsOf(tenant)).some(
      (one) => one.state !== "disabled" && one.events.some((event) => events.includes(event)),
    );
  return {
    inRuns: (tenant) => isAsked(tenant, ["run.ended", "review.opened"]),
    inDecisions: (tenant) => isAsked(tenant, ["review.decided"]),
    changed: (tenant) => void known.delete(tenant),
  };
}
