/**
 * The Table port: item collections with single-item conditional writes, and nothing more.
 *
 * What every adapter promises (one contract suite checks it on each):
 * - `get`, `batchGet` and `query` are strongly consistent; `queryIndex` is a hint that may be stale or incomplete.
 * - A lost race is a return value that carries the item as it is, never an exception.
 * - Every conditional write leaves its `writeId` on the item. A "lost" race whose current item bears that id was won:
 *   this settles a reply that was lost on the way, until the next writer.
 * - `now()` is the table's time, the only clock for due times and expiry.
 */
export type Value =
  | string
  | number
  | boolean
  | null
  | Uint8Array
  | readonly Value[]
  | { readonly [key: string]: Value };
export type Attributes = Readonly<Record<string, Value>>;

export interface Key {
  readonly pk: string;
  readonly sk: string;
}

/** Where an item stands in a secondary index. Absent: it does not appear there. */
export type IndexName = "due" | "list";
export type IndexEntries = { readonly [name in IndexName]?: Key };

/** An item as it is to be written. */
export interface Draft extends Key {
  readonly attributes: Attributes;
  readonly index?: IndexEntries;
  /** Table time in milliseconds after which readers ignore the item and the table may remove it. */
  readonly expiresAt?: number;
}

/** An item as it is stored. `version` differs after every write; it is compared, never counted. */
export interface Item extends Draft {
  readonly version: number;
  readonly writeId: string;
}

/** Condition of a write: `absent` (no item, or an expired one), the version that was read, or `any`. */
export type When = "absent" | "any" | { readonly version: number };

export type PutResult =
  | { readonly won: true; readonly version: number }
  /** `current` is undefined when the item that was expected is not there any more. */
  | { readonly won: false; readonly current: Item | undefined };

/** `gone`: there was nothing to remove; after a reply was lost, that may have been our own doing. */
export type RemoveResult =
  | { readonly outcome: "removed" | "gone" }
  | { readonly outcome: "lost"; readonly current: Item };

/** A range of sort keys, both ends included. `prefix` is short for everything that starts with it. */
export interface Range {
  readonly prefix?: string;
  readonly from?: string;
  readonly to?: string;
  readonly descending?: boolean;
  readonly limit?: number;
  /** Where the page before this one ended: its `next`. */
  readonly after?: string;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Present when there may be more; pass it as `after`. Opaque. */
  readonly next?: string;
}

/** A row of a secondary index: the sort key there, and the key of the item it speaks of. */
export interface IndexRow {
  readonly sort: string;
  readonly key: Key;
}

export interface WriteOptions {
  /** Identifies this write across its repetitions; drawn at random when not given. */
  readonly writeId?: string;
}

export interface Table extends AsyncDisposable {
  /** Strongly consistent. Expired items are absent. @throws HoldpointError `unavailable` */
  get(key: Key): Promise<Item | undefined>;
  /** @throws HoldpointError `item_too_large` above 400 KB, `unavailable` when the outcome is unknown */
  put(draft: Draft, when: When, options?: WriteOptions): Promise<PutResult>;
  remove(key: Key, when: Exclude<When, "absent">): Promise<RemoveResult>;
  /** One page of a partition in the order of its sort keys; pages end at `limit` items or 1 MB. */
  query(pk: string, range: Range): Promise<Page<Item>>;
  /** One page of an index partition. Eventually consistent: confirm on the base item before acting. */
  queryIndex(index: IndexName, pk: string, range: Range): Promise<Page<IndexRow>>;
  /** Strongly consistent; what is absent is missing from the answer. Any number of keys. */
  batchGet(keys: readonly Key[]): Promise<readonly Item[]>;
  /** Unconditional, not atomic as a whole; unprocessed items are tried again until all have landed. */
  batchPut(drafts: readonly Draft[]): Promise<void>;
  /**
   * Adds `delta` to a numeric field of an item that is created when absent, and returns the new value;
   * undefined, with nothing changed, if the result would be above `ceiling`. Approximate: a lost reply may count twice.
   */
  add(key: Key, field: string, delta: number, ceiling?: number): Promise<number | undefined>;
  /** The table's time, milliseconds since the epoch. */
  now(): number;
  /**
   * Only where it is cheap (a local file): a number that differs from an earlier answer when another process has
   * changed the table in between. Undefined elsewhere. A hint, whose loss costs latency and never correctness.
   */
  readonly changes?: (() => number) | undefined;
}

/** Largest item an adapter accepts, in bytes of its names and values, as DynamoDB counts them. */
export const MAX_ITEM_BYTES = 400 * 1024;
