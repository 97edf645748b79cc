/**
 * The table as a value: a call is data, and what it does is a function from items to items and a result. So a search can
 * go back to any moment, and two calls may be tried in either order.
 *
 * A version follows from the write and not from how many there were before, so that what a process has read does not
 * depend on what others did elsewhere: versions are compared and never counted.
 */
import { HoldpointError } from "../../src/core/errors.ts";
import { sha256 } from "../../src/core/ids.ts";
import { compareKeys, intervalOf } from "../../src/storage/key-range.ts";
import type {
  Draft,
  IndexName,
  IndexRow,
  Item,
  Key,
  Page,
  PutResult,
  Range,
  RemoveResult,
  Table,
  When,
} from "../../src/storage/table.ts";

export type Items = ReadonlyMap<string, Item>;

/** A call of the port, as data. */
export type TableOp =
  | { readonly op: "get"; readonly key: Key }
  | { readonly op: "put"; readonly draft: Draft; readonly when: When; readonly writeId: string }
  | { readonly op: "remove"; readonly key: Key; readonly when: Exclude<When, "absent"> }
  | { readonly op: "query"; readonly pk: string; readonly range: Range }
  | { readonly op: "queryIndex"; readonly index: IndexName; readonly pk: string; readonly range: Range }
  | { readonly op: "batchGet"; readonly keys: readonly Key[] };

/** What a call did: at most one item changes. */
export interface Applied {
  readonly items: Items;
  readonly result: unknown;
  readonly change?: { readonly key: Key; readonly before: Item | undefined; readonly after: Item | undefined };
}

export const nameOf = ({ pk, sk }: Key): string => `${pk} ${sk}`;

export const isWrite = ({ op }: TableOp): boolean => op === "put" || op === "remove";

export function applyOp(items: Items, call: TableOp): Applied {
  switch (call.op) {
    case "get":
      return { items, result: items.get(nameOf(call.key)) };
    case "put":
      return put(items, call);
    case "remove":
      return remove(items, call);
    case "query":
      return { items, result: query(items, call.pk, call.range) };
    case "queryIndex":
      return { items, result: queryIndex(items, call) };
    case "batchGet":
      return { items, result: call.keys.flatMap((key) => items.get(nameOf(key)) ?? []) };
  }
}

/** A handle whose every call goes through `send`; `writeId` names the n-th write, from 1. */
export function createOpTable(
  send: (op: TableOp) => Promise<unknown>,
  { now, writeId }: { readonly now: () => number; readonly writeId: (n: number) => string },
): Table {
  let writes = 0;
  const never = (): never => {
    throw new HoldpointError("internal", "this call is not modelled");
  };
  return {
    get: (key) => send({ op: "get", key }) as Promise<Item | undefined>,
    put: (draft, when, given) =>
      send({ op: "put", draft, when, writeId: given?.writeId ?? writeId(++writes) }) as Promise<PutResult>,
    remove: (key, when) => send({ op: "remove", key, when }) as Promise<RemoveResult>,
    query: (pk, range) => send({ op: "query", pk, range }) as Promise<Page<Item>>,
    queryIndex: (index, pk, range) => send({ op: "queryIndex", index, pk, range }) as Promise<Page<IndexRow>>,
    batchGet: (keys) => send({ op: "batchGet", keys }) as Promise<readonly Item[]>,
    batchPut: never,
    add: never,
    now,
    [Symbol.asyncDispose]: async () => {},
  };
}

function put(items: Items, { draft, when, writeId }: Extract<TableOp, { readonly op: "put" }>): Applied {
  const name = nameOf(draft);
  const before = items.get(name);
  if (when !== "any") {
    if (before?.writeId === writeId) return { items, result: { won: true, version: before.version } };
    const met = when === "absent" ? before === undefined : before?.version === when.version;
    if (!met) return { items, result: { won: false, current: before } };
  }
  const version = Number.parseInt(sha256(writeId).slice(0, 12), 16);
  const after: Item = { ...draft, version, writeId };
  return {
    items: new Map(items).set(name, after),
    result: { won: true, version },
    change: { key: draft, before, after },
  };
}

function remove(items: Items, { key, when }: Extract<TableOp, { readonly op: "remove" }>): Applied {
  const before = items.get(nameOf(key));
  if (before === undefined) return { items, result: { outcome: "gone" } };
  if (when !== "any" && before.version !== when.version) return { items, result: { outcome: "lost", current: before } };
  const rest = new Map(items);
  rest.delete(nameOf(key));
  return { items: rest, result: { outcome: "removed" }, change: { key, before, after: undefined } };
}

function query(items: Items, pk: string, range: Range): Page<Item> {
  const rows = [...items.values()].filter((item) => item.pk === pk).map((item) => ({ sort: item.sk, item }));
  return page(rows, range, ({ item }) => item);
}

function queryIndex(
  items: Items,
  { index, pk, range }: Extract<TableOp, { readonly op: "queryIndex" }>,
): Page<IndexRow> {
  const rows = [...items.values()].flatMap((item) => {
    const place = item.index?.[index];
    return place?.pk === pk ? [{ sort: place.sk, key: { pk: item.pk, sk: item.sk } }] : [];
  });
  return page(rows, range, (row) => row);
}

/** Pages are as long as they are asked to be: there are never many items here. */
function page<R extends { readonly sort: string }, T>(rows: readonly R[], range: Range, shown: (row: R) => T): Page<T> {
  const { from, before } = intervalOf(range);
  const { after, limit = Infinity, descending = false } = range;
  const sign = descending ? -1 : 1;
  const wanted = rows
    .filter(({ sort }) => compareKeys(sort, from) >= 0 && (before === undefined || compareKeys(sort, before) < 0))
    .filter(({ sort }) => after === undefined || compareKeys(sort, after) * sign > 0)
    .toSorted((a, b) => compareKeys(a.sort, b.sort) * sign);
  const shownRows = wanted.slice(0, limit);
  const last = shownRows.at(-1);
  return {
    items: shownRows.map(shown),
    ...(wanted.length > shownRows.length && last ? { next: last.sort } : {}),
  };
}
