/**
 * Which bytes a record holds itself, and which go into segments. A record that goes on from its parent holds edits; a
 * base holds everything there is, as references to what was written before and one segment of what was not.
 */
import { HoldpointError } from "../core/errors.ts";
import type { Cell } from "./cells.ts";
import { applied, isKept, isLiteral, isSlice, segmentName } from "./pieces.ts";
import type { Edit, Piece, Pieces } from "./pieces.ts";

export interface LayoutLimits {
  /** A value of a task's writes of more bytes than this leaves its item. */
  readonly inlineBytes: number;
  /** What one step inserts into a channel leaves its record above this. */
  readonly insertBytes: number;
  /** In a base, a channel of more bytes than this is kept in segments. */
  readonly channelBytes: number;
  /** All bytes that stay in one item. */
  readonly recordBytes: number;
}

/** A cell as a record is to describe it. */
export interface Entry {
  readonly cell: Cell;
  readonly edits: readonly Edit[];
}

/** Segments smaller than this, or of which less than a part is in use, are written anew once there are too many. */
const SMALL_BYTES = 24 * 1024;
const SPARSE = 1 / 4;
const MOST_SMALL = 8;
/** A channel of more pieces is written anew as a whole. */
const MOST_PIECES = 400;

/** Names of the segments whose bytes a base is to write anew, so that a state is never read from too many of them. */
export function wornOut(cells: readonly Cell[]): ReadonlySet<string> {
  const used = new Map<string, { readonly size: number; readonly inUse: number }>();
  const crumbled = new Set<string>();
  for (const { pieces } of cells) {
    for (const { segment, length } of pieces.filter(isSlice)) {
      const name = segmentName(segment);
      used.set(name, { size: segment.size, inUse: (used.get(name)?.inUse ?? 0) + length });
      if (pieces.length > MOST_PIECES) crumbled.add(name);
    }
  }
  const poor = [...used].filter(([, { size, inUse }]) => size < SMALL_BYTES || inUse < size * SPARSE);
  return new Set([...crumbled, ...(poor.length > MOST_SMALL ? poor.map(([name]) => name) : [])]);
}

/** Whether a base needs the bytes of this cell, and not only their names. */
export const needsBytes = (cell: Cell, worn: ReadonlySet<string>, { channelBytes }: LayoutLimits): boolean =>
  cell.size <= channelBytes
    ? cell.pieces.some(isSlice)
    : cell.pieces.some((piece) => isSlice(piece) && worn.has(segmentName(piece.segment)));

/** The cell of a base: what is worn out, or was never in a segment, is a literal. `whole`: its bytes, where needed. */
export function settled(
  cell: Cell,
  whole: Uint8Array | undefined,
  { worn, limits }: { readonly worn: ReadonlySet<string>; readonly limits: LayoutLimits },
): Entry {
  if (cell.size <= limits.channelBytes && whole !== undefined) return { cell, edits: [{ bytes: whole }] };
  const edits: Piece[] = [];
  let offset = 0;
  /** Where the literal that is being gathered began. */
  let from: number | undefined;
  const close = (): void => {
    if (from !== undefined) edits.push({ bytes: bytesBetween(cell, whole, [from, offset]) });
    from = undefined;
  };
  for (const piece of cell.pieces) {
    const stays = isSlice(piece) && !worn.has(segmentName(piece.segment));
    if (stays) close();
    else from ??= offset;
    if (stays) edits.push(piece);
    offset += isLiteral(piece) ? piece.bytes.byteLength : piece.length;
  }
  close();
  return { cell, edits };
}

/** Literals that stand side by side, as one. */
function bytesBetween(cell: Cell, whole: Uint8Array | undefined, [from, to]: readonly [number, number]): Uint8Array {
  if (whole !== undefined) return whole.subarray(from, to);
  const literals: Uint8Array[] = [];
  let offset = 0;
  for (const piece of cell.pieces) {
    const size = isLiteral(piece) ? piece.bytes.byteLength : piece.length;
    if (offset >= from && offset < to) {
      if (!isLiteral(piece)) throw new HoldpointError("internal", "bytes of a segment are needed and were not read");
      literals.push(piece.bytes);
    }
    offset += size;
  }
  return Buffer.concat(literals);
}

interface Place {
  readonly entry: number;
  readonly edit: number;
  readonly bytes: Uint8Array;
}

/** The literals that leave: all that `must`, then the largest until the others fit. */
export function leaving(
  entries: readonly Entry[],
  recordBytes: number,
  must: (bytes: Uint8Array, cell: Cell) => boolean,
): readonly Place[] {
  const places = entries.flatMap(({ edits }, entry) =>
    edits.flatMap((piece, edit): Place[] =>
      !isKept(piece) && isLiteral(piece) ? [{ entry, edit, bytes: piece.bytes }] : [],
    ),
  );
  const isForced = ({ entry, bytes }: Place): boolean => {
    const cell = entries[entry]?.cell;
    return cell !== undefined && must(bytes, cell);
  };
  const forced = new Set(places.filter(isForced));
  const others = places
    .filter((place) => !forced.has(place))
    .toSorted((a, b) => b.bytes.byteLength - a.bytes.byteLength);
  let total = others.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
  for (const place of others) {
    if (total <= recordBytes) break;
    forced.add(place);
    total -= place.bytes.byteLength;
  }
  // In the order of the value, so that what is read together stands together.
  return places.filter((place) => forced.has(place));
}

/** The entries with those literals in their new places, and each cell made of what it is now made of. */
export function moved(
  entries: readonly Entry[],
  places: readonly Place[],
  pieces: readonly Pieces[],
  parentOf: (entry: number) => Pieces = () => [],
): readonly Entry[] {
  const found = new Map(places.map(({ entry, edit }, n) => [`${entry} ${edit}`, pieces[n] ?? []]));
  return entries.map(({ cell, edits }, entry) => {
    const kept = edits.flatMap((edit, n): readonly Edit[] => found.get(`${entry} ${n}`) ?? [edit]);
    return { cell: { ...cell, pieces: applied(parentOf(entry), kept) }, edits: kept };
  });
}

/** Bytes of these entries that stay in the item. */
export const literalBytes = (entries: readonly Entry[]): number =>
  entries.reduce(
    (sum, { edits }) =>
      sum + edits.reduce((more, edit) => more + (!isKept(edit) && isLiteral(edit) ? edit.bytes.byteLength : 0), 0),
    0,
  );
