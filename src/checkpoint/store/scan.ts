/** All items under a prefix of namespaces, a page at a time; without those that nobody can read any more. */
import type { TenantId } from "../../core/ids.ts";
import { whyUnreadable } from "../../storage/encryption/sealed-content.ts";
import { storeKeys } from "../../storage/keys.ts";
import type { Records, Stored } from "../../storage/records.ts";
import type { StoreItem } from "../../storage/store-items.ts";
import type { Page } from "../../storage/table.ts";
import type { Namespaces } from "./namespaces.ts";

export interface ScanOf {
  readonly tenant: TenantId;
  readonly items: Records<StoreItem>;
  readonly namespaces: Namespaces;
}

export interface Scan {
  readonly prefix: readonly string[];
  /** How many more items are wanted at most; all when undefined. Asked before each page. */
  readonly wanted?: () => number;
}

type ItemPage = Page<Stored<StoreItem>>;

/** Namespaces whose first pages are read at once. */
const AT_ONCE = 16;

/**
 * Pages in the order of namespaces and, within one, of keys. The namespace that is the prefix itself is read together
 * with the registry; of those below it few at first and then more at once, for whoever needs no more than the first.
 */
export async function* pagesUnder(of: ScanOf, { prefix, wanted }: Scan): AsyncGenerator<readonly Stored<StoreItem>[]> {
  const pageOf = async (namespace: readonly string[], after?: string): Promise<ItemPage> => {
    const page = await of.items.query(
      storeKeys.items(of.tenant, namespace),
      {
        prefix: storeKeys.itemPrefix,
        ...(wanted === undefined ? {} : { limit: wanted() }),
        ...(after === undefined ? {} : { after }),
      },
      "skip",
    );
    return { ...page, items: page.items.filter(({ value }) => whyUnreadable(value) === undefined) };
  };
  const own = prefix.length === 0 ? undefined : unheard(pageOf(prefix));
  for await (const group of groups(of.namespaces.under(prefix))) {
    const readings = group.map((entry) => {
      const { namespace } = entry.value;
      return { entry, reading: own && namespace.length === prefix.length ? own : unheard(pageOf(namespace)) };
    });
    for (const { entry, reading } of readings) {
      let page = await reading;
      if (page.items.length === 0 && page.next === undefined) await of.namespaces.forget(entry);
      yield page.items;
      while (page.next !== undefined) {
        page = await pageOf(entry.value.namespace, page.next);
        yield page.items;
      }
    }
  }
}

/** What is read ahead may never be asked for; whoever asks hears of its failure. */
function unheard<T>(reading: Promise<T>): Promise<T> {
  reading.catch(() => undefined);
  return reading;
}

/** The same entries, one at first, and then twice as many each time. */
async function* groups<T>(pages: AsyncIterable<readonly T[]>): AsyncGenerator<readonly T[]> {
  let size = 1;
  for await (const page of pages) {
    for (let start = 0; start < page.length;) {
      yield page.slice(start, start + size);
      start += size;
      size = Math.min(AT_ONCE, size * 2);
    }
  }
}
