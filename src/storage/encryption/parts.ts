/**
 * The fields of a record that are content, as one byte string. What is written here is on disk, inside of what is
 * sealed: `length of the header (4) | header as JSON: [path, kind, length] of each field | the fields, one after the other`.
 */
import { HoldpointError } from "../../core/errors.ts";

type Fields = Readonly<Record<string, unknown>>;

/** By their paths, such as `end.interrupts`. */
export type Parts = ReadonlyMap<string, unknown>;

/** Text and bytes stand there as they are; everything else as JSON. */
type Kind = "text" | "bytes" | "json";
type Entry = readonly [path: string, kind: Kind, length: number];

/** A value without the fields at these paths, and those that it had. */
export function takenOut<T extends object>(value: T, paths: readonly string[]): readonly [rest: T, parts: Parts] {
  const parts = new Map<string, unknown>();
  let rest = { ...value } as Fields; // a record is plain data
  for (const path of paths) {
    const [without, found] = takenAt(rest, path.split("."));
    if (found === undefined) continue;
    rest = without;
    parts.set(path, found);
  }
  return [rest as T, parts]; // `putBack` gives it what it lacks
}

function takenAt(value: Fields, [name = "", ...deeper]: readonly string[]): readonly [Fields, unknown] {
  const { [name]: field, ...others } = value;
  if (deeper.length === 0) return [others, field];
  if (!isFields(field)) return [value, undefined];
  const [rest, found] = takenAt(field, deeper);
  return [{ ...value, [name]: rest }, found];
}

/** The value with its fields again. @throws HoldpointError `corrupt` when it has no place for one */
export function putBack<T extends object>(value: T, parts: Parts): T {
  let whole = { ...value } as Fields; // a record is plain data
  for (const [path, part] of parts) whole = putAt(whole, path.split("."), part);
  return whole as T; // as it was before `takenOut`
}

function putAt(value: Fields, [name = "", ...deeper]: readonly string[], part: unknown): Fields {
  if (deeper.length === 0) return { ...value, [name]: part };
  const field = value[name];
  if (!isFields(field)) throw new HoldpointError("corrupt", `it lacks the field ${name}, of which content is there`);
  return { ...value, [name]: putAt(field, deeper, part) };
}

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The parts as bytes. */
export function packed(parts: Parts): Uint8Array {
  const fields = [...parts].map(([path, part]) => [path, ...bytesOf(part)] as const);
  const entries: readonly Entry[] = fields.map(([path, kind, bytes]) => [path, kind, bytes.byteLength]);
  const header = Buffer.from(JSON.stringify(entries));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(header.byteLength);
  return Buffer.concat([length, header, ...fields.map(([, , bytes]) => bytes)]);
}

function bytesOf(part: unknown): readonly [Kind, Uint8Array] {
  if (part instanceof Uint8Array) return ["bytes", part];
  // UTF-8 has no lone surrogates; JSON does.
  if (typeof part === "string" && part.isWellFormed()) return ["text", Buffer.from(part)];
  return ["json", Buffer.from(JSON.stringify(part))];
}

/** The parts that were packed. The bytes are known to be those. */
export function unpacked(packedParts: Uint8Array): Parts {
  const bytes = Buffer.from(packedParts.buffer, packedParts.byteOffset, packedParts.byteLength);
  let at = 4 + bytes.readUInt32BE(0);
  const entries = JSON.parse(bytes.toString("utf8", 4, at)) as readonly Entry[];
  return new Map(
    entries.map(([path, kind, length]) => {
      const part = bytes.subarray(at, (at += length));
      return [path, partOf(kind, part)];
    }),
  );
}

function partOf(kind: Kind, bytes: Buffer): unknown {
  switch (kind) {
    case "text":
      return bytes.toString("utf8");
    case "bytes":
      return new Uint8Array(bytes);
    case "json":
      return JSON.parse(bytes.toString("utf8"));
  }
}
