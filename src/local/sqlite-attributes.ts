/**
 * Attributes on disk, format 1: `text` is their JSON, readable with any SQLite tool. Byte arrays, which JSON has not,
 * are null there and stand in `bytes`: a length-prefixed JSON list of [path, length], then the bytes one after another.
 */
import { HoldpointError } from "../core/errors.ts";
import { isList } from "../storage/item-size.ts";
import type { Attributes, Value } from "../storage/table.ts";

/** Number of the format that is written; every earlier one keeps a reader. */
export const ATTRIBUTES_FORMAT = 1;

export interface EncodedAttributes {
  readonly text: string;
  /** Null when there is no byte array anywhere. */
  readonly bytes: Uint8Array | null;
}

type Step = string | number;
interface Binary {
  readonly path: readonly Step[];
  readonly bytes: Uint8Array;
}

/** Attributes as a row holds them. */
export function encodeAttributes(attributes: Attributes): EncodedAttributes {
  const found: Binary[] = [];
  const rest = withoutBytes(attributes, [], found);
  if (found.length === 0) return { text: JSON.stringify(attributes), bytes: null };
  const places = Buffer.from(JSON.stringify(found.map(({ path, bytes }) => [path, bytes.byteLength])));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(places.byteLength);
  return { text: JSON.stringify(rest), bytes: Buffer.concat([length, places, ...found.map((binary) => binary.bytes)]) };
}

/** Returns its argument, uncopied, where nothing in it is a byte array. */
function withoutBytes(value: Value, path: readonly Step[], found: Binary[]): Value {
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) {
    found.push({ path, bytes: value });
    return null;
  }
  const before = found.length;
  if (isList(value)) {
    const copy = value.map((element, i) => withoutBytes(element, [...path, i], found));
    return found.length === before ? value : copy;
  }
  const copy = Object.entries(value).map(
    ([name, inner]) => [name, withoutBytes(inner, [...path, name], found)] as const,
  );
  return found.length === before ? value : Object.fromEntries(copy);
}

/**
 * The inverse. The byte arrays of the answer are views of `bytes`.
 * @throws HoldpointError `corrupt` for a row that no version of this program wrote
 */
export function decodeAttributes(format: number, text: string, bytes: Uint8Array | null): Attributes {
  if (format !== ATTRIBUTES_FORMAT) throw new HoldpointError("corrupt", `a row has the unknown format ${format}`);
  // What encodeAttributes wrote: JSON has no type of its own to check here.
  const attributes = JSON.parse(text) as Record<string, Value>;
  if (bytes === null) return attributes;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 4 + view.readUInt32LE(0);
  const places = JSON.parse(view.toString("utf8", 4, at)) as [Step[], number][];
  for (const [path, length] of places) {
    place(attributes, path, bytes.subarray(at, at + length));
    at += length;
  }
  return attributes;
}

function place(root: Record<string, Value>, path: readonly Step[], bytes: Uint8Array): void {
  // The containers on the way were just made by JSON.parse, so they may be written to.
  let holder = root as Record<Step, Value>;
  for (const step of path.slice(0, -1)) holder = holder[step] as Record<Step, Value>;
  // JSON.parse made the slot, as an own property even where its name is `__proto__`, which assignment would not reach.
  Object.defineProperty(holder, path.at(-1) ?? "", { value: bytes });
}
