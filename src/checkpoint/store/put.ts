/** Writes: of several to one item the last, each with the vectors of its texts. */
import { HoldpointError } from "../../core/errors.ts";
import type { TenantId } from "../../core/ids.ts";
import { storeKeys } from "../../storage/keys.ts";
import type { Records, Stored } from "../../storage/records.ts";
import type { StoreItem, StoreVectors } from "../../storage/store-items.ts";
import type { Table } from "../../storage/table.ts";
import type { Bodies } from "./bodies.ts";
import type { Namespaces } from "./namespaces.ts";
import type { Put } from "./operations.ts";
import type { StoreIndex } from "./options.ts";
import { textsAt } from "./texts.ts";
import { packed } from "./vectors.ts";

/** What items are read and written with. */
export interface Shelf {
  readonly tenant: TenantId;
  readonly table: Table;
  readonly items: Records<StoreItem>;
  readonly bodies: Bodies;
  readonly namespaces: Namespaces;
}

/** Items that are written at once. */
const AT_ONCE = 16;

/**
 * Writes all, each item by itself: when one fails others may have been written.
 * @throws what the table, the blobs or the embeddings threw; HoldpointError `invalid` for a value that is no JSON
 */
export async function putAll(shelf: Shelf, puts: readonly Put[], index: StoreIndex | undefined): Promise<void> {
  const last = [...new Map(puts.map((put) => [nameOf(put), put])).values()];
  const writes = await withVectors(last.map(draftOf), index);
  const before = await readItems(shelf, last);
  for (let start = 0; start < writes.length; start += AT_ONCE) {
    const some = writes
      .slice(start, start + AT_ONCE)
      .map((write) => writeOne(shelf, write, before.get(nameOf(write.put))));
    // None is left under way when the first failure is told.
    await Promise.allSettled(some);
    await Promise.all(some);
  }
}

/** What is there of the items that are named, by `nameOf`: one request, whatever their number. */
export async function readItems(
  { tenant, items }: Pick<Shelf, "tenant" | "items">,
  named: readonly Named[],
): Promise<ReadonlyMap<string, Stored<StoreItem>>> {
  const keys = new Map(named.map((one) => [nameOf(one), storeKeys.item(tenant, one.namespace, one.key)]));
  const [first, ...others] = keys.values();
  if (first === undefined) return new Map();
  const found = others.length > 0 ? await items.getMany([first, ...others]) : [await items.get(first)];
  return new Map(found.flatMap((stored) => (stored ? [[nameOf(stored.value), stored]] : [])));
}

export interface Named {
  readonly namespace: readonly string[];
  readonly key: string;
}

/** Tells items apart, whatever their names consist of. */
export const nameOf = ({ namespace, key }: Named): string => JSON.stringify([namespace, key]);

interface Write {
  readonly put: Put;
  /** Undefined deletes. */
  readonly json: string | undefined;
  readonly vectors?: StoreVectors;
}

function draftOf(put: Put): Write {
  if (put.value === undefined) return { put, json: undefined };
  try {
    const json: string | undefined = JSON.stringify(put.value);
    if (json?.startsWith("{")) return { put, json };
  } catch (cause) {
    throw new HoldpointError("invalid", `the value of ${put.key} cannot be written as JSON`, { cause });
  }
  throw new HoldpointError("invalid", `the value of ${put.key} is no object as JSON`);
}

/** Every text is embedded once, and all in one call. */
async function withVectors(writes: readonly Write[], index: StoreIndex | undefined): Promise<readonly Write[]> {
  if (index === undefined) return writes;
  const texts = writes.map(({ put, json }) => {
    const paths = put.index ?? index.fields ?? ["$"];
    return paths === false || json === undefined ? [] : textsAt(JSON.parse(json), paths);
  });
  const all = [...new Set(texts.flat())];
  if (all.length === 0) return writes;
  const embedded = await index.embeddings.embedDocuments(all);
  const vectors = new Map(all.map((text, i) => [text, embedded[i]]));
  return writes.map((write, i) => {
    const own = (texts[i] ?? []).map((text) => vectors.get(text) ?? []);
    const dims = index.dims ?? own[0]?.length ?? 0;
    return own.length === 0 ? write : { ...write, vectors: { dims, bytes: packed(own, dims) } };
  });
}

async function writeOne(
  shelf: Shelf,
  { put, json, vectors }: Write,
  before: Stored<StoreItem> | undefined,
): Promise<void> {
  if (json === undefined) return remove(shelf, before);
  const { table, items, bodies, namespaces, tenant } = shelf;
  const { namespace, key, ttlMs } = put;
  const named = { tenant, namespace, key, createdAt: table.now(), updatedAt: table.now(), json };
  const item = await bodies.fitted({ ...named, ...(vectors && { vectors }), ...(ttlMs !== undefined && { ttlMs }) });
  for (let current = before; ;) {
    if (!current) await namespaces.ensure(namespace);
    const now = table.now();
    const createdAt = current?.value.createdAt ?? now;
    const updatedAt = Math.max(now, createdAt);
    const written = await items.put(
      { ...item, createdAt, updatedAt, ...(ttlMs !== undefined && { expiresAt: now + ttlMs }) },
      current ? { version: current.version } : "absent",
    );
    if (written.won) return current && bodies.drop(current.value);
    // Somebody else was there meanwhile; the last one wins, and only the first says when the item was created.
    current = written.current;
  }
}

async function remove({ items, bodies, tenant }: Shelf, before: Stored<StoreItem> | undefined): Promise<void> {
  for (let current = before; current;) {
    const { value, version }: Stored<StoreItem> = current;
    const key = storeKeys.item(tenant, value.namespace, value.key);
    const { outcome } = await items.remove(key, version);
    if (outcome !== "lost") return bodies.drop(value);
    current = await items.get(key);
  }
}
