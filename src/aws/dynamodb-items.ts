/**
 * How items look in DynamoDB. What is written here is on disk: it never changes meaning.
 *
 * `pk`, `sk`: the key. `v`: version. `w`: write id. `x`: expiry in whole seconds, rounded up, for DynamoDB's TTL; `xm`: the
 * same in milliseconds, which readers and conditions compare. `due_pk`, `due_sk`, `list_pk`, `list_sk`: where the item stands
 * in the indexes. Everything the caller calls an attribute stands under its name with `_` in front. An item without `v` and
 * `w` was written by something else: for readers it is not there, and nothing is ever put in its place.
 */
import type { AttributeValue } from "@aws-sdk/client-dynamodb";
import { HoldpointError } from "../core/errors.ts";
import { isList } from "../storage/item-size.ts";
import type { Attributes, Draft, IndexEntries, Item, Key, Value } from "../storage/table.ts";

export type StoredItem = Record<string, AttributeValue>;

/** Name in DynamoDB of a caller's attribute. */
export const fieldName = (name: string): string => `_${name}`;

export const storedKey = ({ pk, sk }: Key): StoredItem => ({ pk: { S: pk }, sk: { S: sk } });

/** A draft as DynamoDB is asked to store it. */
export function storedItem(draft: Draft, version: number, writeId: string): StoredItem {
  const item: StoredItem = { ...storedKey(draft), v: storedNumber(version), w: { S: writeId } };
  for (const [name, value] of Object.entries(draft.attributes)) item[fieldName(name)] = storedValue(value);
  for (const name of ["due", "list"] as const) {
    const entry = draft.index?.[name];
    if (entry === undefined) continue;
    item[`${name}_pk`] = { S: entry.pk };
    item[`${name}_sk`] = { S: entry.sk };
  }
  if (draft.expiresAt !== undefined) {
    item["x"] = storedNumber(Math.ceil(draft.expiresAt / 1000));
    item["xm"] = storedNumber(draft.expiresAt);
  }
  return item;
}

export const storedNumber = (value: number): AttributeValue => ({ N: String(value) });

function storedValue(value: Value): AttributeValue {
  if (typeof value === "string") return { S: value };
  if (typeof value === "number") return storedNumber(value);
  if (typeof value === "boolean") return { BOOL: value };
  if (value === null) return { NULL: true };
  // A copy: the SDK reads it later, when the caller may have gone on to change it.
  if (value instanceof Uint8Array) return { B: new Uint8Array(value) };
  if (isList(value)) return { L: value.map(storedValue) };
  return { M: Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, storedValue(inner)])) };
}

/** True for what this program wrote, in whatever version. */
export const isOurs = (stored: StoredItem): boolean => stored["v"]?.N !== undefined && stored["w"]?.S !== undefined;

/** The item, unless it has expired at `now` or is not ours. */
export function liveItem(stored: StoredItem | undefined, now: number): Item | undefined {
  if (stored === undefined || !isOurs(stored)) return undefined;
  const expiresAt = stored["xm"]?.N;
  return expiresAt !== undefined && Number(expiresAt) <= now ? undefined : itemOf(stored);
}

function itemOf(stored: StoredItem): Item {
  const attributes = Object.entries(stored).flatMap(([name, value]): [string, Value][] =>
    name.startsWith("_") ? [[name.slice(1), valueOf(value)]] : [],
  );
  const expiresAt = stored["xm"]?.N;
  const index = indexOf(stored);
  return {
    pk: textOf(stored, "pk"),
    sk: textOf(stored, "sk"),
    attributes: Object.fromEntries(attributes) satisfies Attributes,
    ...(index === undefined ? {} : { index }),
    ...(expiresAt === undefined ? {} : { expiresAt: Number(expiresAt) }),
    version: Number(stored["v"]?.N),
    writeId: textOf(stored, "w"),
  };
}

function indexOf(stored: StoredItem): IndexEntries | undefined {
  const due = stored["due_pk"] && { due: { pk: textOf(stored, "due_pk"), sk: textOf(stored, "due_sk") } };
  const list = stored["list_pk"] && { list: { pk: textOf(stored, "list_pk"), sk: textOf(stored, "list_sk") } };
  return due === undefined && list === undefined ? undefined : { ...due, ...list };
}

/** @throws HoldpointError `corrupt` when the attribute is missing: something else wrote into our table */
export function textOf(stored: StoredItem, name: string): string {
  const text = stored[name]?.S;
  if (text !== undefined) return text;
  throw new HoldpointError("corrupt", `an item of the table has no text attribute ${name}: something else wrote it`);
}

function valueOf(stored: AttributeValue): Value {
  if (stored.S !== undefined) return stored.S;
  if (stored.N !== undefined) return Number(stored.N);
  if (stored.BOOL !== undefined) return stored.BOOL;
  if (stored.NULL !== undefined) return null;
  if (stored.B !== undefined) return stored.B;
  if (stored.L !== undefined) return stored.L.map(valueOf);
  if (stored.M !== undefined) {
    return Object.fromEntries(Object.entries(stored.M).map(([name, inner]) => [name, valueOf(inner)]));
  }
  throw new HoldpointError("corrupt", "an item of the table holds a set: something else wrote it");
}
