/**
 * LangGraph's long-term memory on a table.
 *
 * - Every item is one item of the table, with its vectors: what is found is whole, and what a put returns from is kept.
 * - In one batch everything is read before anything is written, and of several writes to one item the last one counts.
 * - Nothing is bound to a fence: a worker that was overtaken may still write here, as it may call any other service. A
 *   node that is executed again writes again.
 */
import { BaseStore, validateNamespace } from "@langchain/langgraph-checkpoint";
import type { Item, Operation, OperationResults, SearchItem } from "@langchain/langgraph-checkpoint";
import { systemIds } from "../../core/ids.ts";
import type { TenantId } from "../../core/ids.ts";
import type { Stored } from "../../storage/records.ts";
import { createStoreItems } from "../../storage/store-items.ts";
import type { StoreItem, StoreNamespace } from "../../storage/store-items.ts";
import { createBodies } from "./bodies.ts";
import type { Read } from "./bodies.ts";
import { filterOf, literalPrefix, meets } from "./filter.ts";
import { createNamespaces } from "./namespaces.ts";
import type { KnownNamespaces } from "./namespaces.ts";
import { askedFor } from "./operations.ts";
import type { Asked, Get, List, Search, StoreOperation } from "./operations.ts";
import type { StoreIndex, StoreOptions, StoresOptions, TtlConfig } from "./options.ts";
import { nameOf, putAll, readItems } from "./put.ts";
import type { Shelf } from "./put.ts";
import { pagesUnder } from "./scan.ts";
import { Best, nearest } from "./vectors.ts";

/** The store of one tenant. */
export const createStore = ({ tenant, ...options }: StoreOptions): TableStore => createStores(options)(tenant);

/** The stores of all tenants on one table, which share what is known of their namespaces. */
export function createStores(options: StoresOptions): (tenant: TenantId) => TableStore {
  const { table, blobs, sealers, ids = systemIds, index, ttl = {} } = options;
  const known: KnownNamespaces = new Map();
  const items = createStoreItems(table, sealers);
  const bodies = createBodies({ blobs, ids, items });
  return (tenant) => {
    const namespaces = createNamespaces({ table, tenant, known });
    return new TableStore({ tenant, table, items, bodies, namespaces }, { index, ttl });
  };
}

interface Configured {
  readonly index: StoreIndex | undefined;
  readonly ttl: TtlConfig;
}

/** Namespaces that are looked into at once. */
const NAMESPACES_AT_ONCE = 16;
/** An item's time is given to it again once so much of it has passed: a write for each reading would be dear. */
const REFRESHED_AFTER = 0.01;

/** LangGraph's BaseStore. Every reader and writer throws HoldpointError `unavailable` when the table is away. */
export class TableStore extends BaseStore {
  readonly #shelf: Shelf;
  readonly #index: StoreIndex | undefined;
  readonly #ttl: TtlConfig;

  constructor(shelf: Shelf, { index, ttl }: Configured) {
    super();
    this.#shelf = shelf;
    this.#index = index;
    this.#ttl = ttl;
  }

  /** @throws InvalidNamespaceError, HoldpointError `invalid` before anything is done; for the rest see `putAll` */
  override async batch<Op extends Operation[]>(operations: Op): Promise<OperationResults<Op>> {
    const results = await this.#batch(operations);
    return results as OperationResults<Op>; // one for each operation, in their order
  }

  override async get(
    namespace: string[],
    key: string,
    options: { readonly refreshTtl?: boolean } = {},
  ): Promise<Item | null> {
    const [item] = await this.batch([{ namespace, key, ...options }]);
    return item ?? null;
  }

  /** @param options what this version of LangGraph's interface leaves out; `ttl` in minutes, null for ever */
  // oxlint-disable-next-line max-params -- the first four are LangGraph's
  override async put(
    namespace: string[],
    key: string,
    value: Record<string, unknown>,
    index?: false | string[],
    options: { readonly ttl?: number | null } = {},
  ): Promise<void> {
    validateNamespace(namespace);
    await this.batch([{ namespace, key, value, ...(index === undefined ? {} : { index }), ...options }]);
  }

  /** Without `query` in the order of namespaces and keys; with one the nearest first, then what has no vectors. */
  override async search(
    namespacePrefix: string[],
    options: {
      filter?: Record<string, unknown>;
      limit?: number;
      offset?: number;
      query?: string;
      refreshTtl?: boolean;
    } = {},
  ): Promise<SearchItem[]> {
    const [items] = await this.batch([{ namespacePrefix, ...options }]);
    return items ?? [];
  }

  async #batch(operations: readonly (Operation | StoreOperation)[]): Promise<readonly unknown[]> {
    const asked = operations.map((operation) => askedFor(operation, this.#ttl));
    const gets = asked.filter((one) => one.do === "get");
    const found = readItems(this.#shelf, gets);
    const results = await Promise.all(asked.map((one) => this.#answer(one, found)));
    const puts = asked.filter((one) => one.do === "put");
    if (puts.length > 0) await putAll(this.#shelf, puts, this.#index);
    return results;
  }

  async #answer(asked: Asked, found: ReturnType<typeof readItems>): Promise<unknown> {
    switch (asked.do) {
      case "get":
        return this.#get(asked, await found);
      case "search":
        return this.#search(asked);
      case "list":
        return this.#list(asked);
      case "put":
        return undefined;
    }
  }

  async #get(get: Get, found: Awaited<ReturnType<typeof readItems>>): Promise<Item | null> {
    const stored = found.get(nameOf(get));
    const read = stored && (await this.#shelf.bodies.read(stored));
    if (read === undefined) return null;
    if (get.refresh) await this.#refresh(read.stored);
    return itemOf(read);
  }

  async #search(search: Search): Promise<readonly SearchItem[]> {
    const { limit, query, refresh } = search;
    if (limit === 0) return [];
    const ranked =
      query === undefined || this.#index === undefined ? undefined : this.#ranked(search, query, this.#index);
    const found = await (ranked ?? this.#matches(search));
    if (refresh) await Promise.all(found.map(({ read }) => this.#refresh(read.stored)));
    return found.map(({ read, score }) => ({ ...itemOf(read), ...(score === undefined ? {} : { score }) }));
  }

  /** The first that match, in their order: read no further than that. */
  async #matches({ prefix, filter, limit, offset }: Search): Promise<readonly Found[]> {
    const found: Read[] = [];
    let left = offset + limit;
    const scan = Object.keys(filter).length === 0 ? { prefix, wanted: () => left } : { prefix };
    for await (const read of this.#reading(scan, filter)) {
      if (left <= limit) found.push(read);
      if (--left === 0) break;
    }
    return found.map((read) => ({ read }));
  }

  /** The nearest that match, by exact comparison with all of them; never more of them in memory than are wanted. */
  async #ranked(
    { prefix, filter, limit, offset }: Search,
    query: string,
    index: StoreIndex,
  ): Promise<readonly Found[]> {
    const vector = await index.embeddings.embedQuery(query);
    const wanted = offset + limit;
    const best = new Best<Stored<StoreItem>>(wanted);
    const unranked: Stored<StoreItem>[] = [];
    for await (const stored of this.#matching({ prefix }, filter)) {
      const score = await this.#scoreOf(stored, vector);
      if (score !== undefined) best.offer(score, stored);
      else if (unranked.length < wanted) unranked.push(stored);
    }
    const ranked = [...best.sorted(), ...unranked.map((value) => ({ value, score: undefined }))];
    const read = ranked.slice(offset, wanted).map(async ({ value, score }) => {
      const one = await this.#shelf.bodies.read(value);
      return one && { read: one, score };
    });
    return (await Promise.all(read)).filter((one) => one !== undefined);
  }

  async #scoreOf(stored: Stored<StoreItem>, query: readonly number[]): Promise<number | undefined> {
    // Vectors of another width are those of another model.
    if (stored.value.vectors?.dims !== query.length) return undefined;
    const bytes = await this.#shelf.bodies.vectors(stored);
    return bytes && nearest(query, bytes);
  }

  async *#reading(scan: ScanFor, filter: Search["filter"]): AsyncGenerator<Read> {
    const matches = filterOf(filter);
    for await (const page of pagesUnder(this.#shelf, scan)) {
      for (const stored of page) {
        const read = await this.#shelf.bodies.read(stored);
        if (read && matches(read.value)) yield read;
      }
    }
  }

  /** As `reading`, without reading values that nothing is asked about. */
  async *#matching(scan: ScanFor, filter: Search["filter"]): AsyncGenerator<Stored<StoreItem>> {
    if (Object.keys(filter).length > 0) for await (const { stored } of this.#reading(scan, filter)) yield stored;
    else for await (const page of pagesUnder(this.#shelf, scan)) yield* page;
  }

  /** A lost race is another reader's refresh, or a write, which says how long the item lives from then on. */
  async #refresh({ value, version }: Stored<StoreItem>): Promise<void> {
    const { ttlMs, expiresAt } = value;
    if (ttlMs === undefined || expiresAt === undefined) return;
    const refreshed = this.#shelf.table.now() + ttlMs;
    if (refreshed - expiresAt < ttlMs * REFRESHED_AFTER) return;
    await this.#shelf.items.put({ ...value, expiresAt: refreshed }, { version });
  }

  async #list({ conditions, maxDepth, limit, offset }: List): Promise<string[][]> {
    const { namespaces } = this.#shelf;
    const listed = new Map<string, string[]>();
    const shown = ({ value }: Stored<StoreNamespace>): string[] => value.namespace.slice(0, maxDepth);
    for await (const page of namespaces.under(literalPrefix(conditions))) {
      const candidates = page.filter(({ value }) => conditions.every((one) => meets(one, value.namespace)));
      for (let start = 0; start < candidates.length; start += NAMESPACES_AT_ONCE) {
        if (listed.size >= offset + limit) break;
        const some = candidates
          .slice(start, start + NAMESPACES_AT_ONCE)
          .filter((entry) => !listed.has(JSON.stringify(shown(entry))));
        const full = await Promise.all(some.map(({ value }) => namespaces.hasItems(value.namespace)));
        for (const [n, entry] of some.entries()) {
          if (full[n]) listed.set(JSON.stringify(shown(entry)), shown(entry));
          else await namespaces.forget(entry);
        }
      }
      if (listed.size >= offset + limit) break;
    }
    return [...listed.values()].slice(offset, offset + limit);
  }
}

type ScanFor = Parameters<typeof pagesUnder>[1];

interface Found {
  readonly read: Read;
  readonly score?: number | undefined;
}

const itemOf = ({ stored: { value: item }, value }: Read): Item => ({
  namespace: [...item.namespace],
  key: item.key,
  value,
  createdAt: new Date(item.createdAt),
  updatedAt: new Date(item.updatedAt),
});
