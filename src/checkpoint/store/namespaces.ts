/**
 * Which namespaces a tenant has: a registry, so that none has to be looked for.
 *
 * Must stay true, without transactions:
 * - A namespace is in the registry before its first item is. One that is empty may stand there, and is listed by nobody.
 * - It is taken out only when it is empty and nobody has added an item on the strength of its entry for a day: a process
 *   that adds one first sees that the entry was touched within the last half of that day, or touches it.
 */
import type { TenantId } from "../../core/ids.ts";
import { storeKeys } from "../../storage/keys.ts";
import type { Stored } from "../../storage/records.ts";
import { createStoreNamespaces } from "../../storage/store-items.ts";
import type { StoreNamespace } from "../../storage/store-items.ts";
import type { Table } from "../../storage/table.ts";

const HOUR_MS = 3_600_000;
/** For how long an entry that was touched may be relied upon. */
const FRESH_MS = 12 * HOUR_MS;
/** After how long an entry of an empty namespace is removed. */
const FORGET_MS = 24 * HOUR_MS;

/** Until when, by the table's time, this process may rely on entries: bounded, least recently used first out. */
export type KnownNamespaces = Map<string, number>;
const MAX_KNOWN = 10_000;

export interface NamespacesOptions {
  readonly table: Table;
  readonly tenant: TenantId;
  /** Shared by the stores of one process. */
  readonly known: KnownNamespaces;
}

export interface Namespaces {
  /** Resolves once an item may be added to the namespace. */
  ensure(namespace: readonly string[]): Promise<void>;
  /** Pages of those that begin with the labels of `prefix`, in the order of their keys; some may be empty. */
  under(prefix: readonly string[]): AsyncGenerator<readonly Stored<StoreNamespace>[]>;
  /** Whether an item stands in it that has not expired. */
  hasItems(namespace: readonly string[]): Promise<boolean>;
  /** Takes out an entry whose namespace has just been seen empty, once it has been of no use for long enough. */
  forget(entry: Stored<StoreNamespace>): Promise<void>;
}

export function createNamespaces({ table, tenant, known }: NamespacesOptions): Namespaces {
  const entries = createStoreNamespaces(table);
  const hasItems = async (namespace: readonly string[]): Promise<boolean> => {
    const range = { prefix: storeKeys.itemPrefix, limit: 1 };
    return (await table.query(storeKeys.items(tenant, namespace), range)).items.length > 0;
  };
  return {
    hasItems,
    async ensure(namespace) {
      const key = JSON.stringify([tenant, namespace]);
      const until = known.get(key);
      known.delete(key);
      const now = table.now();
      const fresh = until !== undefined && until > now ? until : (await touched(namespace)) + FRESH_MS;
      known.set(key, fresh);
      for (const oldest of known.keys()) {
        if (known.size <= MAX_KNOWN) break;
        known.delete(oldest);
      }
    },
    async *under(prefix) {
      let after: string | undefined;
      do {
        const range = { prefix: storeKeys.namespacePrefix(prefix), ...(after === undefined ? {} : { after }) };
        const page = await entries.query(storeKeys.namespaces(tenant), range, "skip");
        yield page.items.filter(({ value }) => prefix.every((label, i) => value.namespace[i] === label));
        after = page.next;
      } while (after !== undefined);
    },
    async forget({ value, version }) {
      if (value.touchedAt >= table.now() - FORGET_MS) return;
      // Seen empty before the entry was read, perhaps.
      if (!(await hasItems(value.namespace)))
        await entries.remove(storeKeys.namespace(tenant, value.namespace), version);
    },
  };

  /** When the entry was last touched, which may be now. */
  async function touched(namespace: readonly string[]): Promise<number> {
    const now = table.now();
    let written = await entries.put({ tenant, namespace, touchedAt: now }, "absent");
    while (!written.won) {
      const { current }: { readonly current: Stored<StoreNamespace> | undefined } = written;
      if (current && current.value.touchedAt > now - FRESH_MS) return current.value.touchedAt;
      const entry = { ...(current?.value ?? { tenant, namespace }), touchedAt: now };
      written = await entries.put(entry, current ? { version: current.version } : "absent");
    }
    return now;
  }
}
