/**
 * A cell is one serialized value: the bytes themselves, or the name of segments or of a blob that hold them.
 * Segments and blobs are written before the record that names them and never changed (I3).
 */
import type { SerializerProtocol } from "@langchain/langgraph-checkpoint";
import { HoldpointError, isHoldpointError } from "../core/errors.ts";
import { sha256 } from "../core/ids.ts";
import type { Blobs } from "../storage/blobs.ts";
import { threadKeys } from "../storage/keys.ts";
import type { ThreadRef } from "../storage/keys.ts";
import type { Draft, Table } from "../storage/table.ts";
import { compress, decompress } from "./body.ts";
import { isSyncSerializer } from "./serializer/serializer.ts";

/** Where a value's bytes are when they are not in the record itself. */
export type CellRef = { readonly segment: string; readonly pieces: number } | { readonly blob: string };

export interface Cell {
  /** The serializer's name of the encoding. */
  readonly type: string;
  readonly size: number;
  /** First 16 bytes of the SHA-256 of the serialized bytes, as hex. */
  readonly digest: string;
  readonly bytes?: Uint8Array;
  readonly ref?: CellRef;
}

export interface CellLimits {
  /** A value of more serialized bytes than this leaves its record. */
  readonly inlineBytes: number;
  /** All values of one record that stay in it. */
  readonly recordBytes: number;
  /** Largest piece of a value that is one segment item. */
  readonly pieceBytes: number;
  /** A value of more serialized bytes than this becomes a blob instead of segments. */
  readonly blobBytes: number;
}

export const CELL_LIMITS: CellLimits = {
  inlineBytes: 96 * 1024,
  recordBytes: 256 * 1024,
  pieceBytes: 192 * 1024,
  blobBytes: 256 * 1024,
};

/** A namespace of a thread, in one generation. */
export interface NamespaceRef {
  readonly thread: ThreadRef;
  readonly generation: number;
  readonly ns: string;
}

/** What LangGraph's serializer writes in place of a value that JSON cannot express, a bigint for one: the value is gone. */
const GAVE_UP = Buffer.from('"[unable to serialize, circular reference is too complex to analyze]"');

const digestOf = (bytes: Uint8Array): string => sha256(bytes).slice(0, 32);

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
  return { type, size: bytes.byteLength, digest: digestOf(bytes), bytes };
}

const whyOf = (cause: unknown): string => (isHoldpointError(cause, "invalid") ? `: ${cause.message}` : "");

/** @throws HoldpointError `corrupt` when the bytes cannot be read with this serializer */
export async function loadCell(serde: SerializerProtocol, cell: Cell): Promise<unknown> {
  if (cell.bytes === undefined) throw new HoldpointError("internal", "a value was read before its bytes were fetched");
  const loaded = isSyncSerializer(serde) ? serde.loadsSync(cell.type, cell.bytes) : undefined;
  if (loaded !== undefined) return loaded.value;
  const value: unknown = await serde.loadsTyped(cell.type, cell.bytes);
  return value;
}

/** How a cell is described in a record's header: type and size, and for what lies elsewhere digest and place. */
export type CellCode = readonly [string, number] | readonly [string, number, string, CellRef];

export const encodeCell = (cell: Cell): CellCode =>
  cell.ref === undefined ? [cell.type, cell.size] : [cell.type, cell.size, cell.digest, cell.ref];

/** Reads cells back in the order in which they were written. @throws HoldpointError `corrupt` when bytes are missing */
export function cellReader(rest: Uint8Array): (code: CellCode) => Cell {
  let offset = 0;
  return ([type, size, digest, ref]) => {
    if (ref !== undefined && digest !== undefined) return { type, size, digest, ref };
    const bytes = rest.subarray(offset, offset + size);
    offset += size;
    if (bytes.byteLength !== size) throw new HoldpointError("corrupt", "a record's body is torn");
    return { type, size, digest: digestOf(bytes), bytes };
  };
}

export interface CellStoreDeps {
  readonly table: Table;
  readonly blobs: Blobs;
  readonly limits: CellLimits;
}

export interface CellStore {
  /** Writes what is too large for one record elsewhere, and returns the cells as the record is to name them. */
  spill(at: NamespaceRef, owner: string, cells: readonly Cell[]): Promise<readonly Cell[]>;
  /** Fetches and checks the bytes of cells that lie elsewhere. @throws HoldpointError `corrupt` */
  fetch(at: NamespaceRef, cells: readonly Cell[]): Promise<readonly Cell[]>;
}

/** Segments in the table, and blobs above the threshold. */
export function createCellStore(deps: CellStoreDeps): CellStore {
  const { table, blobs, limits } = deps;

  const writeSegments = async (at: NamespaceRef, id: string, bytes: Uint8Array): Promise<CellRef> => {
    const pieces = Math.ceil(bytes.byteLength / limits.pieceBytes);
    const step = Math.ceil(bytes.byteLength / pieces);
    const drafts = Array.from({ length: pieces }, (_, n): Draft => ({
      ...threadKeys.segment(at.thread, { generation: at.generation, ns: at.ns, id, n }),
      attributes: { v: 1, b: compress(bytes.subarray(n * step, (n + 1) * step)) },
    }));
    await table.batchPut(drafts);
    return { segment: id, pieces };
  };

  const readSegments = async (at: NamespaceRef, id: string, pieces: number): Promise<Uint8Array> => {
    const keys = Array.from({ length: pieces }, (_, n) =>
      threadKeys.segment(at.thread, { generation: at.generation, ns: at.ns, id, n }),
    );
    const found = new Map((await table.batchGet(keys)).map((item) => [item.sk, item.attributes["b"]]));
    const parts = keys.map((key) => {
      const bytes = found.get(key.sk);
      if (!(bytes instanceof Uint8Array)) throw new HoldpointError("corrupt", `segment ${key.sk} is missing`);
      return decompress(bytes);
    });
    return Buffer.concat(parts);
  };

  return {
    spill: async (at, owner, cells) => {
      const large = tooLarge(cells, limits);
      return Promise.all(
        cells.map(async (cell, index): Promise<Cell> => {
          if (cell.bytes === undefined || !large.has(index)) return cell;
          // The name holds the owner as well as the content: no two records share a segment unless one inherits it.
          const id = sha256(`${owner}\u0000${index}\u0000${cell.digest}`).slice(0, 32);
          const ref =
            cell.size > limits.blobBytes
              ? { blob: await blobs.put(at.thread, compress(cell.bytes)) }
              : await writeSegments(at, id, cell.bytes);
          return { ...cell, ref };
        }),
      );
    },
    fetch: (at, cells) =>
      Promise.all(
        cells.map(async (cell): Promise<Cell> => {
          if (cell.bytes !== undefined || cell.ref === undefined) return cell;
          const { ref } = cell;
          const bytes =
            "blob" in ref
              ? decompress(await blobs.get(at.thread, ref.blob))
              : await readSegments(at, ref.segment, ref.pieces);
          if (digestOf(bytes) !== cell.digest)
            throw new HoldpointError("corrupt", "a segment is not what its record names");
          return { ...cell, bytes };
        }),
      ),
  };
}

/** Indexes of the cells that must leave the record: each that is large, then the largest until the rest fits. */
function tooLarge(cells: readonly Cell[], limits: CellLimits): ReadonlySet<number> {
  const inline = [...cells.entries()]
    .filter(([, cell]) => cell.ref === undefined)
    .toSorted(([, a], [, b]) => b.size - a.size);
  let total = inline.reduce((sum, [, cell]) => sum + cell.size, 0);
  const large = new Set<number>();
  for (const [index, cell] of inline) {
    if (cell.size <= limits.inlineBytes && total <= limits.recordBytes) break;
    large.add(index);
    total -= cell.size;
  }
  return large;
}
