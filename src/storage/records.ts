/**
 * How records become items, and back. What each version must keep to, so that two may share a table, stands here:
 * an item says its format (`v`; absent is 1), one of a later format is not judged, and attributes that this version does
 * not know stay on an item that it changes.
 */
import { HoldpointError } from "../core/errors.ts";
import { newerFormat } from "../core/newer-format.ts";
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
  /** Every attribute that `encode` may write. Any other comes from a later version. */
  readonly names: readonly string[];
  key(value: T): Key;
  encode(value: T): Attributes;
  decode(item: Item): T;
  index?(value: T): IndexEntries;
  expiresAt?(value: T): number | undefined;
}

/** What becomes of items of a later format among others: a list goes on without them, a rule must not. */
export type IfNewer = "refuse" | "skip";

/** Records of one noun on a table. Whatever reads throws `unsupported` for an item of a later format: `isNewerFormat`. */
export interface Records<T> {
  /** Of an item that was read together with others. */
  of(item: Item): Stored<T>;
  get(key: Key): Promise<Stored<T> | undefined>;
  getMany(keys: readonly Key[], ifNewer?: IfNewer): Promise<readonly Stored<T>[]>;
  put(value: T, when: When): Promise<Written<T>>;
  remove(key: Key, version: number): Promise<RemoveResult>;
  query(pk: string, range: Range, ifNewer?: IfNewer): Promise<Page<Stored<T>>>;
}

export function createRecords<T extends object>(table: Table, codec: Codec<T>): Records<T> {
  const names = new Set(["v", ...codec.names]);
  const stored = (item: Item): Stored<T> => ({
    value: withUnknown(codec.decode(readable(item)), item, names),
    version: item.version,
  });
  const allOf = (items: readonly Item[], ifNewer: IfNewer): readonly Stored<T>[] =>
    (ifNewer === "skip" ? items.filter((item) => !isNewer(item)) : items).map(stored);
  return {
    of: stored,
    async get(key) {
      const item = await table.get(key);
      return item && stored(item);
    },
    async getMany(keys, ifNewer = "refuse") {
      return allOf(await table.batchGet(keys), ifNewer);
    },
    async put(value, when) {
      const index = codec.index?.(value);
      const expiresAt = codec.expiresAt?.(value);
      const result = await table.put(
        {
          ...codec.key(value),
          attributes: { ...unknownOf(value), ...codec.encode(value) },
          ...(index === undefined ? {} : { index }),
          ...(expiresAt === undefined ? {} : { expiresAt }),
        },
        when,
      );
      if (result.won) return { won: true, stored: { value, version: result.version } };
      return { won: false, current: result.current && stored(result.current) };
    },
    remove: (key, version) => table.remove(key, { version }),
    async query(pk, range, ifNewer = "refuse") {
      const page = await table.query(pk, range);
      return { ...page, items: allOf(page.items, ifNewer) };
    },
  };
}

/** The format of every kind of item but those of the log, which say their own. Format 1 is not written down. */
const FORMAT = 1;

const isNewer = ({ attributes: { v } }: Item): boolean => typeof v === "number" && v > FORMAT;

/**
 * The item, once it is known to be of a format that this version can read. Whatever reads attributes asks this first.
 * @throws HoldpointError `unsupported` for one of a later format (see `isNewerFormat`), `corrupt` for one that never was
 */
export function readable<I extends Item | undefined>(item: I): I {
  if (item === undefined) return item;
  const { v = FORMAT } = item.attributes;
  if (isNewer(item)) throw newerFormat(`item ${item.sk} of format ${JSON.stringify(v)}`);
  if (v !== FORMAT)
    throw new HoldpointError("corrupt", `item ${item.sk} is of the unknown format ${JSON.stringify(v)}`);
  return item;
}

/** Where a value carries the attributes that this version does not know. A symbol: a spread copies it, JSON does not. */
const UNKNOWN = Symbol("attributes of a later version");

function withUnknown<T extends object>(value: T, { attributes }: Item, names: ReadonlySet<string>): T {
  const unknown = Object.entries(attributes).filter(([name]) => !names.has(name));
  return unknown.length === 0 ? value : { ...value, [UNKNOWN]: Object.fromEntries(unknown) };
}

const unknownOf = (value: { readonly [UNKNOWN]?: Attributes }): Attributes => value[UNKNOWN] ?? {};

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
