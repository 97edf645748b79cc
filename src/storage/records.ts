/**
 * How records become items, and back. What each version must keep to, so that two may share a table, stands here:
 * an item says its format (`v`; absent is 1), one of a later format is not judged, and attributes that this version does
 * not know stay on an item that it changes. Where there are keys, content is sealed here: format 2 is format 1 without it.
 */
import { HoldpointError } from "../core/errors.ts";
import { unlessUnreadable } from "../core/unreadable.ts";
import { newerFormat } from "../core/newer-format.ts";
import { SEALED, SEALED_FORMAT, createSealedContent } from "./encryption/sealed-content.ts";
import type { Content } from "./encryption/sealed-content.ts";
import { plainSealers } from "./encryption/sealer.ts";
import type { Sealers } from "./encryption/sealer.ts";
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
  /** What is sealed as one where there are keys. `encode` and `decode` then see the value without it. */
  readonly content?: Content<T>;
  index?(value: T): IndexEntries;
  expiresAt?(value: T): number | undefined;
}

/**
 * What becomes, among others, of items of a later format, and of those that nobody can read any more (`isUnreadable`):
 * a list goes on without them, a rule must not.
 */
export type IfUnreadable = "refuse" | "skip";

/**
 * Records of one noun on a table. Whatever reads throws `unsupported` for an item of a later format (`isNewerFormat`),
 * and, where content is sealed, what `Sealer.open` throws; whatever writes, what `Sealer.ready` throws.
 */
export interface Records<T> {
  /** Of an item that was read together with others. */
  of(item: Item): Promise<Stored<T>>;
  get(key: Key): Promise<Stored<T> | undefined>;
  getMany(keys: readonly Key[], ifUnreadable?: IfUnreadable): Promise<readonly Stored<T>[]>;
  put(value: T, when: When): Promise<Written<T>>;
  remove(key: Key, version: number): Promise<RemoveResult>;
  query(pk: string, range: Range, ifUnreadable?: IfUnreadable): Promise<Page<Stored<T>>>;
}

/** `sealers`: what encrypts content; without keys nothing is, and an item whose content is sealed is of a later format. */
export function createRecords<T extends object>(
  table: Table,
  codec: Codec<T>,
  sealers: Sealers = plainSealers,
): Records<T> {
  const content = codec.content && isSealing(sealers) ? createSealedContent(codec.content, sealers) : undefined;
  const names = new Set(["v", ...codec.names, ...(content ? [SEALED] : [])]);
  const newest = newestWith(sealers);
  const stored = async (item: Item): Promise<Stored<T>> => {
    const known = readable(item, newest);
    const decoded = orCorrupt(item, () => codec.decode(known));
    const value = content ? await content.opened(decoded, item) : decoded;
    return { value: withUnknown(value, item, names), version: item.version };
  };
  const allOf = async (items: readonly Item[], ifUnreadable: IfUnreadable): Promise<readonly Stored<T>[]> => {
    if (ifUnreadable === "refuse") return Promise.all(items.map(stored));
    const known = items.filter((item) => !isNewer(item, newest));
    const found = await Promise.all(known.map((item) => unlessUnreadable(stored(item))));
    return found.filter((one) => one !== undefined);
  };
  return {
    of: stored,
    async get(key) {
      const item = await table.get(key);
      return item && (await stored(item));
    },
    async getMany(keys, ifUnreadable = "refuse") {
      return allOf(await table.batchGet(keys), ifUnreadable);
    },
    async put(value, when) {
      const index = codec.index?.(value);
      const expiresAt = codec.expiresAt?.(value);
      const key = codec.key(value);
      const { rest, attributes } = content ? await content.sealed(value, key) : { rest: value, attributes: {} };
      const result = await table.put(
        {
          ...key,
          attributes: { ...unknownOf(value), ...codec.encode(rest), ...attributes },
          ...(index === undefined ? {} : { index }),
          ...(expiresAt === undefined ? {} : { expiresAt }),
        },
        when,
      );
      if (result.won) return { won: true, stored: { value, version: result.version } };
      return { won: false, current: result.current && (await stored(result.current)) };
    },
    remove: (key, version) => table.remove(key, { version }),
    async query(pk, range, ifUnreadable = "refuse") {
      const page = await table.query(pk, range);
      return { ...page, items: await allOf(page.items, ifUnreadable) };
    },
  };
}

/** What cannot be made out of an item is damage to it. @throws HoldpointError `corrupt` with the item's name */
export function orCorrupt<T>({ pk, sk }: Key, decode: () => T): T {
  try {
    return decode();
  } catch (cause) {
    if (cause instanceof HoldpointError) throw cause;
    throw new HoldpointError("corrupt", `item ${sk} of partition ${pk} is not what was written`, { cause });
  }
}

/** The format of every kind of item but those of the log, which say their own. Format 1 is not written down. */
const FORMAT = 1;

/** Who has no keys leaves what is sealed to who has them, as if a later version had written it. */
export const newestWith = (sealers: Sealers): number => (isSealing(sealers) ? SEALED_FORMAT : FORMAT);

const isSealing = (sealers: Sealers): boolean => sealers !== plainSealers;

const isNewer = ({ attributes: { v } }: Item, newest: number): boolean => typeof v === "number" && v > newest;

/**
 * The item, once it is known to be of a format that this version can read: `newest` or an earlier one. Whatever reads
 * attributes asks this first.
 * @throws HoldpointError `unsupported` for one of a later format (see `isNewerFormat`), `corrupt` for one that never was
 */
export function readable<I extends Item | undefined>(item: I, newest: number = FORMAT): I {
  if (item === undefined) return item;
  const { v = FORMAT } = item.attributes;
  const needs = v === SEALED_FORMAT ? " (which needs an encryption key)" : "";
  if (isNewer(item, newest)) throw newerFormat(`item ${item.sk} of format ${JSON.stringify(v)}${needs}`);
  if (v !== FORMAT && v !== newest)
    throw new HoldpointError("corrupt", `item ${item.sk} is of the unknown format ${JSON.stringify(v)}`);
  return item;
}

/** `readable`, for who needs only what is never sealed and may have no key. @throws HoldpointError as `readable` */
export const readableInClear = <I extends Item | undefined>(item: I): I =>
  readable(item, item?.attributes[SEALED] instanceof Uint8Array ? SEALED_FORMAT : FORMAT);

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
