/**
 * The bytes of a value as pieces: literal ones, and slices of segments that are kept elsewhere and never change. What a
 * step changes is told as edits of the parent's bytes; applied to its pieces they give the new ones, without anything
 * being read. (A rope, as Boehm, Atkinson and Plass have it, with the piece table of text editors under it.)
 */
import { HoldpointError } from "../core/errors.ts";

/** Bytes that records refer to: pieces of an item collection (`n` of `id`), or a blob under its name. */
export type Segment =
  | { readonly kind: "item"; readonly id: string; readonly n: number; readonly size: number }
  | { readonly kind: "blob"; readonly id: string; readonly size: number };

export interface Literal {
  readonly bytes: Uint8Array;
}

export interface Slice {
  readonly segment: Segment;
  readonly offset: number;
  readonly length: number;
}

export type Piece = Literal | Slice;
export type Pieces = readonly Piece[];

/** So many of the bytes before, from an offset on. */
export interface Kept {
  readonly keep: readonly [offset: number, length: number];
}

export type Edit = Kept | Piece;

export const isLiteral = (piece: Edit): piece is Literal => "bytes" in piece;
export const isKept = (edit: Edit): edit is Kept => "keep" in edit;
export const isSlice = (piece: Edit): piece is Slice => "segment" in piece;

export const segmentName = (segment: Segment): string =>
  segment.kind === "blob" ? segment.id : `${segment.id}.${segment.n}`;

const lengthOf = (piece: Piece): number => (isLiteral(piece) ? piece.bytes.byteLength : piece.length);

const cut = (piece: Piece, offset: number, length: number): Piece =>
  isLiteral(piece)
    ? { bytes: piece.bytes.subarray(offset, offset + length) }
    : { segment: piece.segment, offset: piece.offset + offset, length };

/** A part of the bytes. @throws HoldpointError `corrupt` when they do not reach so far */
function part(pieces: Pieces, [offset, length]: readonly [number, number]): Pieces {
  const found: Piece[] = [];
  let [skip, left] = [offset, length];
  for (const piece of pieces) {
    if (left === 0) break;
    const size = lengthOf(piece);
    if (skip >= size) {
      skip -= size;
      continue;
    }
    const taken = Math.min(size - skip, left);
    found.push(taken === size ? piece : cut(piece, skip, taken));
    left -= taken;
    skip = 0;
  }
  if (left > 0) throw new HoldpointError("corrupt", "an edit keeps bytes that its parent does not have");
  return found;
}

/** The pieces of what these edits make of a value. Slices that continue one another become one. */
export function applied(before: Pieces, edits: readonly Edit[]): Pieces {
  const pieces: Piece[] = [];
  for (const edit of edits) {
    for (const piece of isKept(edit) ? part(before, edit.keep) : [edit]) {
      const last = pieces.at(-1);
      const goesOn =
        last !== undefined &&
        isSlice(last) &&
        isSlice(piece) &&
        segmentName(last.segment) === segmentName(piece.segment) &&
        last.offset + last.length === piece.offset;
      if (goesOn) pieces[pieces.length - 1] = { ...last, length: last.length + piece.length };
      else if (lengthOf(piece) > 0) pieces.push(piece);
    }
  }
  return pieces;
}

/** The bytes as one; `bytesOf` gives those of a segment. */
export function joined(pieces: Pieces, bytesOf: (segment: Segment) => Uint8Array): Uint8Array {
  const parts = pieces.map((piece) => {
    if (isLiteral(piece)) return piece.bytes;
    const whole = bytesOf(piece.segment);
    if (piece.offset + piece.length > whole.byteLength)
      throw new HoldpointError("corrupt", `segment ${segmentName(piece.segment)} is shorter than what is kept of it`);
    return whole.subarray(piece.offset, piece.offset + piece.length);
  });
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
}
