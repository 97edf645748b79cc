/** Long-term memory, for the API: what the graphs of the tenant keep. */
import type { Item, SearchItem } from "@langchain/langgraph-checkpoint";
import { asRefusal } from "../checkpoint/store/operations.ts";
import type { TableStore } from "../checkpoint/store/store.ts";
import type { Principal } from "../core/principal.ts";
import type { Deps } from "./deps.ts";
import type { StoredItem, StoreUseCases } from "./runtime.ts";

export function createStoreUseCases({ stores }: Pick<Deps, "stores">): StoreUseCases {
  const asked = async <T>({ tenant }: Principal, work: (store: TableStore) => Promise<T>): Promise<T> => {
    try {
      return await work(stores(tenant));
    } catch (error) {
      throw asRefusal(error);
    }
  };
  return {
    put: (principal, { namespace, key, value, index, ttl }) =>
      asked(principal, (store) =>
        store.put([...namespace], key, value, mutable(index), ttl === undefined ? {} : { ttl }),
      ),
    get: (principal, { namespace, key, refreshTtl }) =>
      asked(principal, async (store) => {
        const item = await store.get([...namespace], key, refreshTtl === undefined ? {} : { refreshTtl });
        return item === null ? undefined : shown(item);
      }),
    remove: (principal, { namespace, key }) => asked(principal, (store) => store.delete([...namespace], key)),
    search: (principal, { prefix, filter, ...rest }) =>
      asked(principal, async (store) => {
        const items = await store.search([...prefix], {
          ...rest,
          ...(filter === undefined ? {} : { filter: { ...filter } }),
        });
        return items.map(shown);
      }),
    namespaces: (principal, { prefix, suffix, ...rest }) =>
      asked(principal, (store) =>
        store.listNamespaces({
          ...rest,
          ...(prefix === undefined ? {} : { prefix: [...prefix] }),
          ...(suffix === undefined ? {} : { suffix: [...suffix] }),
        }),
      ),
  };
}

const mutable = (index: readonly string[] | false | undefined): string[] | false | undefined =>
  index === false || index === undefined ? index : [...index];

// What was written was JSON.
const shown = ({ value, ...item }: Item | SearchItem): StoredItem => ({ ...item, value: value as StoredItem["value"] });
