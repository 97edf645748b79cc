import type { Item, IndexEntries, Key, Page, Range, RemoveResult, Table, Attributes, When } from "./table.ts";

/** A record as it was read: its version is the condition of the next write. */
export interface Stored<T> {
  readonly value: T;
  readonly version: number;
}

export type Written<T> =
  | { readonly won: true; readonly stored: Stored<T> }
  | { readonly won: false; readonly current: Stored<T> | undefined };

/** How one noun is kept: where it stands and what of it is written. */
export interface Codec<T> {
  key(value: T): Key;
  encode(value: T): Attributes;
  decode(item: Item): T;
  index?(value: T): IndexEntries;
  expiresAt?(value: T): number | undefined;
}

/** Records of one noun on a table. */
export interface Records<T> {
  get(key: Key): Promise<Stored<T> | undefined>;
  getMany(keys: readonly Key[]): Promise<readonly Stored<T>[]>;
  put(value: T, when: When): Promise<Written<T>>;
  remove(key: Key, version: number): Promise<RemoveResult>;
  query(pk: string, range: Range): Promise<Page<Stored<T>>>;
}

export function createRecords<T>(table: Table, codec: Codec<T>): Records<T> {
  const stored = (item: Item): Stored<T> => ({ value: codec.decode(item), version: item.version });
  return {
    async get(key) {
      const item = await table.get(key);
      return item && stored(item);
    },
    async getMany(keys) {
      return (await table.batchGet(keys)).map(stored);
    },
    async put(value, when) {
      const index = codec.index?.(value);
      const expiresAt = codec.expiresAt?.(value);
      const result = await table.put(
        {
          ...codec.key(value),
          attributes: codec.encode(value),
          ...(index === undefined ? {} : { index }),
          ...(expiresAt === undefined ? {} : { expiresAt }),
        },
        when,
      );
      if (result.won) return { won: true, stored: { value, version: result.version } };
      return { won: false, current: result.current && stored(result.current) };
    },
    remove: (key, version) => table.remove(key, { version }),
    async query(pk, range) {
      const page = await table.query(pk, range);
      return { ...page, items: page.items.map(stored) };
    },
  };
}

/**
 * Reads, changes and writes a record until the write wins or `change` returns undefined ("leave it as it is").
 * `change` must be a pure function of the record as it is now; a lost race hands it the winner.
 */
export async function update<T>(
  records: Records<T>,
  key: Key,
  change: (value: T) => T | undefined,
  known?: Stored<T>,
): Promise<Stored<T> | undefined> {
  let current = known ?? (await records.get(key));
  while (current) {
    const next = change(current.value);
    if (next === undefined) return current;
    const written = await records.put(next, { version: current.version });
    if (written.won) return written.stored;
    current = written.current;
  }
  return undefined;
}

/** A text attribute of an item that must be there. */
export function textOf(item: Item, name: string): string {
  const value = item.attributes[name];
  if (typeof value !== "string") throw new TypeError(`item ${item.sk} has no text attribute ${name}`);
  return value;
}

/** A numeric attribute of an item that must be there. */
export function numberOf(item: Item, name: string): number {
  const value = item.attributes[name];
  if (typeof value !== "number") throw new TypeError(`item ${item.sk} has no numeric attribute ${name}`);
  return value;
}
