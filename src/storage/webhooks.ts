import type { TenantId } from "../core/ids.ts";
import type { Endpoint, HookDelivery } from "../core/webhook.ts";
import { futureSort, hookKeys, hookPartition, readySort } from "./keys.ts";
import { createRecords, textOf } from "./records.ts";
import type { Records, Stored, Written } from "./records.ts";
import type { IndexEntries, Item, Key, Page, Range, RemoveResult, Table } from "./table.ts";

/** Webhook endpoints, and the deliveries to each: its log. */
export interface Webhooks {
  endpoint(tenant: TenantId, id: string): Promise<Stored<Endpoint> | undefined>;
  /** All of a tenant, in the order of their ids. Without those of a later format. */
  endpoints(tenant: TenantId): Promise<readonly Endpoint[]>;
  putEndpoint(endpoint: Endpoint, when: "absent" | { readonly version: number }): Promise<Written<Endpoint>>;
  removeEndpoint(stored: Stored<Endpoint>): Promise<RemoveResult>;
  /** By the key that stands in the `due` index. */
  deliveryAt(key: Key): Promise<Stored<HookDelivery> | undefined>;
  putDelivery(delivery: HookDelivery, when: "absent" | { readonly version: number }): Promise<Written<HookDelivery>>;
  /** A page of an endpoint's log. Without those of a later format. */
  deliveries(tenant: TenantId, endpoint: string, range: Range): Promise<Page<Stored<HookDelivery>>>;
}

/** What has come to its end is kept this long. */
const KEPT_MS = 30 * 24 * 3_600_000;

export function createWebhooks(table: Table, shards: number): Webhooks {
  const endpoints: Records<Endpoint> = createRecords(table, {
    names: ["d"],
    key: (one: Endpoint) => hookKeys.endpoint(one.tenant, one.endpointId),
    encode: (one) => ({ d: JSON.stringify(one) }),
    decode: (item: Item) => JSON.parse(textOf(item, "d")) as Endpoint,
  });
  const deliveries: Records<HookDelivery> = createRecords(table, {
    names: ["d", "b"],
    key: (delivery: HookDelivery) => deliveryKey(delivery),
    encode: ({ body, ...rest }) => ({ d: JSON.stringify(rest), b: body }),
    decode: deliveryOf,
    index: (delivery) => indexEntries(delivery, shards),
    expiresAt: (delivery) => (delivery.state === "pending" ? undefined : delivery.updatedAt + KEPT_MS),
  });
  return {
    endpoint: (tenant, id) => endpoints.get(hookKeys.endpoint(tenant, id)),
    async endpoints(tenant) {
      const found: Endpoint[] = [];
      let after: string | undefined;
      do {
        const range = { prefix: hookKeys.endpointPrefix, ...(after === undefined ? {} : { after }) };
        const page = await endpoints.query(hookKeys.endpoints(tenant), range, "skip");
        found.push(...page.items.map(({ value }) => value));
        after = page.next;
      } while (after !== undefined);
      return found;
    },
    putEndpoint: (endpoint, when) => endpoints.put(endpoint, when),
    removeEndpoint: ({ value, version }) =>
      endpoints.remove(hookKeys.endpoint(value.tenant, value.endpointId), version),
    deliveryAt: (key) => deliveries.get(key),
    putDelivery: (delivery, when) => deliveries.put(delivery, when),
    deliveries: (tenant, endpoint, range) =>
      deliveries.query(hookKeys.deliveries(tenant, endpoint), { prefix: hookKeys.deliveryPrefix, ...range }, "skip"),
  };
}

/** The same for the same event and endpoint, whoever makes it: `absent` is then what makes it once. */
function deliveryKey({ tenant, endpointId, event, deliveryId }: Omit<HookDelivery, "body">): Key {
  return hookKeys.delivery(tenant, endpointId, { ms: event.at, id: deliveryId });
}

function deliveryOf(item: Item): HookDelivery {
  const { b: body } = item.attributes;
  return { ...(JSON.parse(textOf(item, "d")) as HookDelivery), body: body instanceof Uint8Array ? body : Buffer.of() };
}

/** Endpoint by endpoint, as if each were a tenant: none with thousands of deliveries hides another's. */
function indexEntries(delivery: HookDelivery, shards: number): IndexEntries {
  if (delivery.state !== "pending") return {};
  const at = {
    tenant: `${delivery.tenant}/${delivery.endpointId}` as TenantId,
    priority: 5,
    dueAt: delivery.nextAt,
    subject: delivery.deliveryId,
  };
  return { due: { pk: hookPartition(delivery.tenant, shards), sk: delivery.ready ? readySort(at) : futureSort(at) } };
}
