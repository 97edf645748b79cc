/** What graphs keep over threads: the items of long-term memory, and which namespaces have any. */
import { HoldpointError } from "../core/errors.ts";
import type { TenantId } from "../core/ids.ts";
import type { Sealers } from "./encryption/sealer.ts";
import { storeKeys } from "./keys.ts";
import { createRecords, numberOf, textOf } from "./records.ts";
import type { Codec, Records } from "./records.ts";
import type { Attributes, Item, Table } from "./table.ts";

/** An item of long-term memory, as it is kept. */
export interface StoreItem {
  readonly tenant: TenantId;
  readonly namespace: readonly string[];
  readonly key: string;
  /** The value as JSON; undefined when it stands in `bodies`. */
  readonly json?: string;
  /** What semantic search looks at. */
  readonly vectors?: StoreVectors;
  /** What was too large for the item. */
  readonly bodies?: StoreBodies;
  /** Table time in milliseconds, as are the other two. */
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly expiresAt?: number;
  /** How long it lives after it was last written or, where reads refresh, read. */
  readonly ttlMs?: number;
}

/** Vectors of one width, one after the other. */
export interface StoreVectors {
  readonly dims: number;
  /** Float32, little-endian; undefined when they stand in `bodies`. */
  readonly bytes?: Uint8Array;
}

/** Bodies of one write of one item. */
export interface StoreBodies {
  /** Under whom they are kept: of this write alone, so that they can go when the item is written again. */
  readonly owner: string;
  readonly json?: string;
  readonly vectors?: string;
}

/** A namespace that has had items. */
export interface StoreNamespace {
  readonly tenant: TenantId;
  readonly namespace: readonly string[];
  /** Table time: an item was added shortly after it, or later. */
  readonly touchedAt: number;
}

export const storeItemCodec: Codec<StoreItem> = {
  names: ["i", "c", "u", "t", "d", "w", "e", "o", "b", "f", "l"],
  key: ({ tenant, namespace, key }) => storeKeys.item(tenant, namespace, key),
  encode: encodeItem,
  decode: decodeItem,
  expiresAt: ({ expiresAt }) => expiresAt,
  // What nobody can read any more may be replaced and removed.
  content: { paths: ["json", "vectors.bytes"], tenantOf: ({ tenant }) => tenant, unreadable: (item) => item },
};

/** Long-term memory, a partition for each namespace. `sealers`: what encrypts values and vectors. */
export const createStoreItems = (table: Table, sealers?: Sealers): Records<StoreItem> =>
  createRecords(table, storeItemCodec, sealers);

/** The registry of namespaces, a partition for each tenant: an item is never there before its namespace is. */
export const createStoreNamespaces = (table: Table): Records<StoreNamespace> =>
  createRecords(table, {
    names: ["i", "t", "u"],
    key: ({ tenant, namespace }: StoreNamespace) => storeKeys.namespace(tenant, namespace),
    encode: ({ tenant, namespace, touchedAt }) => ({ t: tenant, i: JSON.stringify(namespace), u: touchedAt }),
    decode: (item) => ({
      tenant: textOf(item, "t") as TenantId,
      namespace: labelsOf(item, JSON.parse(textOf(item, "i"))),
      touchedAt: numberOf(item, "u"),
    }),
  });

/** Names as JSON: keys may be hashed, and lone surrogates do not survive UTF-8. */
function encodeItem({ tenant, namespace, key, json, vectors, bodies, ...times }: StoreItem): Attributes {
  return {
    t: tenant,
    i: JSON.stringify([namespace, key]),
    c: times.createdAt,
    u: times.updatedAt,
    ...(json === undefined ? {} : { d: json }),
    ...(vectors === undefined ? {} : { w: vectors.dims }),
    ...(vectors?.bytes === undefined ? {} : { e: vectors.bytes }),
    ...(bodies === undefined ? {} : { o: bodies.owner }),
    ...(bodies?.json === undefined ? {} : { b: bodies.json }),
    ...(bodies?.vectors === undefined ? {} : { f: bodies.vectors }),
    ...(times.ttlMs === undefined ? {} : { l: times.ttlMs }),
  };
}

function decodeItem(item: Item): StoreItem {
  const { d, w, e, o, b, f, l } = item.attributes;
  const name: unknown = JSON.parse(textOf(item, "i"));
  const [namespace, key] = Array.isArray(name) ? (name as unknown[]) : [];
  if (typeof key !== "string") throw corrupt(item);
  return {
    tenant: textOf(item, "t") as TenantId,
    namespace: labelsOf(item, namespace),
    key,
    createdAt: numberOf(item, "c"),
    updatedAt: numberOf(item, "u"),
    ...(typeof d === "string" ? { json: d } : {}),
    ...(typeof w === "number" ? { vectors: { dims: w, ...(e instanceof Uint8Array ? { bytes: e } : {}) } } : {}),
    ...(typeof o === "string"
      ? {
          bodies: {
            owner: o,
            ...(typeof b === "string" ? { json: b } : {}),
            ...(typeof f === "string" ? { vectors: f } : {}),
          },
        }
      : {}),
    ...(typeof l === "number" ? { ttlMs: l } : {}),
    ...(item.expiresAt === undefined ? {} : { expiresAt: item.expiresAt }),
  };
}

function labelsOf(item: Item, labels: unknown): readonly string[] {
  if (Array.isArray(labels) && labels.every((label) => typeof label === "string")) return labels;
  throw corrupt(item);
}

const corrupt = (item: Item): HoldpointError =>
  new HoldpointError("corrupt", `item ${item.sk} does not say which item of a store it is`);
