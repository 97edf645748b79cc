/** Where the bytes of cells go, and where they are read from: what both records and task writes need. */
import type { Cell } from "./cells.ts";
import { leaving, moved, needsBytes, settled, wornOut } from "./layout.ts";
import type { Entry, LayoutLimits } from "./layout.ts";
import type { Pieces } from "./pieces.ts";
import { createSegments } from "./segments.ts";
import type { NamespaceRef, SegmentDeps, SegmentLimits, Segments } from "./segments.ts";

export interface CellLimits extends LayoutLimits, SegmentLimits {
  /** Records from a base to the next, at most. */
  readonly chainRecords: number;
  /** The next base also comes once the records since the last hold more than this. */
  readonly chainBytes: number;
}

export const CELL_LIMITS: CellLimits = {
  inlineBytes: 96 * 1024,
  insertBytes: 24 * 1024,
  channelBytes: 2 * 1024,
  recordBytes: 256 * 1024,
  pieceBytes: 192 * 1024,
  blobBytes: 256 * 1024,
  chainRecords: 32,
  chainBytes: 48 * 1024,
};

export interface CellStore extends Pick<Segments, "bytesOf" | "copy" | "removeOwn" | "removeUnused"> {
  readonly limits: CellLimits;
  /** Entries of a task's writes: each large value leaves. `owner`: the task, the checkpoint and the fence. */
  ofTask(at: NamespaceRef, owner: string, cells: readonly Cell[]): Promise<readonly Entry[]>;
  /** Entries of a record that goes on from its parent: what one step inserts stays in it, unless it is large. */
  ofStep(at: NamespaceRef, owner: string, changes: readonly Change[]): Promise<readonly Entry[]>;
  /** Entries of a base. */
  ofBase(at: NamespaceRef, owner: string, cells: readonly Cell[]): Promise<readonly Entry[]>;
}

/** A cell as edits of the parent's pieces. */
export interface Change extends Entry {
  readonly before: Pieces;
}

export function createCellStore({ limits, ...deps }: SegmentDeps & { readonly limits: CellLimits }): CellStore {
  const segments = createSegments({ ...deps, limits });
  const { recordBytes, inlineBytes, insertBytes, channelBytes } = limits;

  const spilled = async (
    { at, owner }: { readonly at: NamespaceRef; readonly owner: string },
    entries: readonly Entry[],
    {
      must,
      before,
    }: {
      readonly must: (bytes: Uint8Array, cell: Cell) => boolean;
      readonly before?: (entry: number) => Pieces;
    },
  ): Promise<readonly Entry[]> => {
    const places = leaving(entries, recordBytes, must);
    const written =
      places.length === 0
        ? []
        : await segments.write(
            at,
            owner,
            places.map(({ bytes }) => bytes),
          );
    return moved(entries, places, written, before);
  };

  return {
    limits,
    bytesOf: (at, cell) => segments.bytesOf(at, cell),
    copy: (from, to, segment) => segments.copy(from, to, segment),
    removeOwn: (at, named) => segments.removeOwn(at, named),
    removeUnused: (at, seq, used) => segments.removeUnused(at, seq, used),
    ofTask: (at, owner, cells) =>
      spilled(
        { at, owner },
        cells.map((cell) => ({ cell, edits: cell.pieces })),
        {
          must: ({ byteLength }) => byteLength > inlineBytes,
        },
      ),
    ofStep: (at, owner, changes) =>
      spilled({ at, owner }, changes, {
        must: ({ byteLength }) => byteLength > insertBytes,
        before: (entry) => changes[entry]?.before ?? [],
      }),
    async ofBase(at, owner, cells) {
      const worn = wornOut(cells.filter(({ size }) => size > channelBytes));
      const entries = await Promise.all(
        cells.map(async (cell) => {
          const whole = needsBytes(cell, worn, limits) ? await segments.bytesOf(at, cell) : cell.whole;
          return settled(cell, whole, { worn, limits });
        }),
      );
      return spilled({ at, owner }, entries, { must: (_, cell) => cell.size > channelBytes });
    },
  };
}
