/**
 * A cell is one serialized value, as pieces: bytes that its record holds, and slices of segments. How it stands in a
 * record's header, and how it is read from there.
 */
import type { SerializerProtocol } from "@langchain/langgraph-checkpoint";
import { HoldpointError, isHoldpointError } from "../core/errors.ts";
import { sha256 } from "../core/ids.ts";
import { applied, isKept, isLiteral, isSlice, segmentName } from "./pieces.ts";
import type { Edit, Pieces, Segment } from "./pieces.ts";
import { isSyncSerializer } from "./serializer/serializer.ts";

export interface Cell {
  /** The serializer's name of the encoding. */
  readonly type: string;
  readonly size: number;
  /** First 16 bytes of the SHA-256 of the serialized bytes, as hex. */
  readonly digest: string;
  readonly pieces: Pieces;
  /** All of the bytes, where they are at hand. */
  readonly whole?: Uint8Array;
}

/** What LangGraph's serializer writes in place of a value that JSON cannot express, a bigint for one: the value is gone. */
const GAVE_UP = Buffer.from('"[unable to serialize, circular reference is too complex to analyze]"');

export const digestOf = (bytes: Uint8Array): string => sha256(bytes).slice(0, 32);

const cellOfBytes = (type: string, bytes: Uint8Array): Cell => ({
  type,
  size: bytes.byteLength,
  digest: digestOf(bytes),
  pieces: [{ bytes }],
  whole: bytes,
});

/**
 * Serializes a value.
 * @throws HoldpointError `invalid` that names the channel when the value cannot be written
 */
export async function dumpCell(serde: SerializerProtocol, channel: string, value: unknown): Promise<Cell> {
  const refused = (cause?: unknown): HoldpointError =>
    new HoldpointError("invalid", `the value of channel "${channel}" cannot be serialized${whyOf(cause)}`, {
      cause,
      detail: { channel },
    });
  let dumped: readonly [string, Uint8Array];
  try {
    dumped = isSyncSerializer(serde) ? serde.dumpsSync(value) : await serde.dumpsTyped(value);
  } catch (cause) {
    throw refused(cause);
  }
  const [type, bytes] = dumped;
  // A function or a symbol is written as nothing at all, which nobody could read again.
  if (type === "json" && (bytes.byteLength === 0 || (typeof value !== "string" && GAVE_UP.equals(bytes))))
    throw refused();
  return cellOfBytes(type, bytes);
}

const whyOf = (cause: unknown): string => (isHoldpointError(cause, "invalid") ? `: ${cause.message}` : "");

/** @throws HoldpointError `corrupt` when the bytes cannot be read with this serializer */
export async function loadBytes(serde: SerializerProtocol, type: string, bytes: Uint8Array): Promise<unknown> {
  const loaded = isSyncSerializer(serde) ? serde.loadsSync(type, bytes) : undefined;
  if (loaded !== undefined) return loaded.value;
  const value: unknown = await serde.loadsTyped(type, bytes);
  return value;
}

/** A piece as a header describes it: so many bytes behind it; offset and length of the bytes before; and of a segment. */
type PieceCode = number | readonly [number, number] | readonly [number, number, number];

/** Type, size, digest (empty where the bytes themselves are at hand to be digested), and what it is made of. */
export type CellCode = readonly [type: string, size: number, digest: string, ...edits: PieceCode[]];

/** A segment as a header names it: an item by id and number, or a blob by its name; and its size. */
export type SegmentCode = readonly [string, number, number] | readonly [string, number];

/** Gathers what a header says of cells, and the bytes that go behind it. */
export class CellWriter {
  readonly #segments = new Map<string, { readonly index: number; readonly segment: Segment }>();
  readonly #bytes: Uint8Array[] = [];

  /** `edits` make the cell of its parent's, or of nothing. */
  encode(cell: Cell, edits: readonly Edit[]): CellCode {
    const digest = cell.pieces.some(isSlice) ? cell.digest : "";
    return [cell.type, cell.size, digest, ...edits.map((edit) => this.#code(edit))];
  }

  get segments(): readonly SegmentCode[] {
    return [...this.#segments.values()].map(({ segment }) => segmentCode(segment));
  }

  /** In the order in which cells were encoded. */
  get bytes(): readonly Uint8Array[] {
    return this.#bytes;
  }

  #code(edit: Edit): PieceCode {
    if (isKept(edit)) return edit.keep;
    if (isLiteral(edit)) {
      this.#bytes.push(edit.bytes);
      return edit.bytes.byteLength;
    }
    return [edit.offset, edit.length, this.name(edit.segment)];
  }

  /** Where a segment stands in the list of those that the header names. */
  name(segment: Segment): number {
    const name = segmentName(segment);
    const known = this.#segments.get(name) ?? { index: this.#segments.size, segment };
    this.#segments.set(name, known);
    return known.index;
  }
}

export const segmentCode = (segment: Segment): SegmentCode =>
  segment.kind === "blob" ? [segment.id, segment.size] : [segment.id, segment.n, segment.size];

/** Segments as a header names them. */
export const readSegments = (codes: readonly SegmentCode[]): readonly Segment[] =>
  codes.map(([id, n, size]) => (size === undefined ? { kind: "blob", id, size: n } : { kind: "item", id, n, size }));

/** Reads cells in the order in which they were written; `before` is the parent's. @throws HoldpointError `corrupt` */
export type CellReader<Code> = (code: Code, before?: Cell) => Cell;

export function cellReader(segments: readonly SegmentCode[], rest: Uint8Array): CellReader<CellCode> {
  const take = bytesFrom(rest);
  const known = readSegments(segments);
  const editOf = (code: PieceCode): Edit => {
    if (typeof code === "number") return { bytes: take(code) };
    const [offset, length, index] = code;
    if (index === undefined) return { keep: [offset, length] };
    const segment = known[index];
    if (segment === undefined)
      throw new HoldpointError("corrupt", "a cell refers to a segment that its record does not name");
    return { segment, offset, length };
  };
  return ([type, size, digest, ...codes], before) => {
    const pieces = applied(before?.pieces ?? [], codes.map(editOf));
    return { type, size, digest, pieces };
  };
}

/** How format 1 described a cell: type and size, and for what lies elsewhere digest and place. */
export type CellCodeV1 =
  | readonly [string, number]
  | readonly [
      string,
      number,
      string,
      { readonly segment: string; readonly pieces: number } | { readonly blob: string },
    ];

export function cellReaderV1(rest: Uint8Array): CellReader<CellCodeV1> {
  const take = bytesFrom(rest);
  return ([type, size, digest, ref]) => {
    if (ref === undefined || digest === undefined) return { type, size, digest: "", pieces: [{ bytes: take(size) }] };
    return { type, size, digest, pieces: "blob" in ref ? blobV1(ref.blob, size) : segmentsV1(ref, size) };
  };
}

const blobV1 = (id: string, size: number): Pieces => [{ segment: { kind: "blob", id, size }, offset: 0, length: size }];

/** A value was cut evenly, but for the last piece. */
function segmentsV1(
  { segment: id, pieces }: { readonly segment: string; readonly pieces: number },
  size: number,
): Pieces {
  const step = Math.ceil(size / pieces);
  return Array.from({ length: pieces }, (_, n) => {
    const length = Math.min(step, size - n * step);
    return { segment: { kind: "item", id, n, size: length }, offset: 0, length };
  });
}

function bytesFrom(rest: Uint8Array): (length: number) => Uint8Array {
  let offset = 0;
  return (length) => {
    const bytes = rest.subarray(offset, offset + length);
    offset += length;
    if (bytes.byteLength !== length) throw new HoldpointError("corrupt", "a record's body is torn");
    return bytes;
  };
}

/** The cell with its digest: what a record holds whole bears none, since who reads it has the bytes. */
export function digested(cell: Cell): Cell {
  if (cell.digest !== "") return cell;
  const literals = cell.pieces.flatMap((piece) => (isLiteral(piece) ? [piece.bytes] : []));
  const [only] = literals;
  const whole = literals.length === 1 && only !== undefined ? only : Buffer.concat(literals);
  return { ...cell, digest: digestOf(whole), whole };
}
