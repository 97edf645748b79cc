/**
 * Segments: bytes that records refer to. They are written before the record that names them and never changed (I3);
 * their names hold the position of that record and their content, so that two writers at one position share one only
 * if it is the same, and what no record refers to any more can be told from what one is about to name.
 */
import { HoldpointError } from "../core/errors.ts";
import { sha256 } from "../core/ids.ts";
import type { BlobOwner, Blobs } from "../storage/blobs.ts";
import { seqPart, threadKeys } from "../storage/keys.ts";
import type { ThreadRef } from "../storage/keys.ts";
import type { Draft, Key, Table } from "../storage/table.ts";
import type { Bodies } from "./bodies.ts";
import { compress, decompress } from "./body.ts";
import { digestOf } from "./cells.ts";
import type { Cell } from "./cells.ts";
import { named } from "./named.ts";
import { isSlice, joined, segmentName } from "./pieces.ts";
import type { Piece, Pieces, Segment } from "./pieces.ts";
import type { SegmentCache } from "./segment-cache.ts";

/** A namespace of a thread, in one generation. */
export interface NamespaceRef {
  readonly thread: ThreadRef;
  readonly generation: number;
  readonly ns: string;
}

export interface SegmentLimits {
  /** Largest segment that is one item. */
  readonly pieceBytes: number;
  /** A run of more bytes than this becomes a blob. */
  readonly blobBytes: number;
}

export interface SegmentDeps {
  readonly table: Table;
  /** Encrypted already, where anything is. */
  readonly blobs: Blobs;
  readonly bodies: Bodies;
  readonly limits: SegmentLimits;
  readonly cache: SegmentCache;
}

export interface Segments {
  /** Writes runs of bytes, small ones together, and says where each is. `owner`: the position of the record, or the task that names them. */
  write(at: NamespaceRef, owner: string, runs: readonly Uint8Array[]): Promise<readonly Pieces[]>;
  /** All bytes of a cell. @throws HoldpointError `corrupt` that names what is not as it was written */
  bytesOf(at: NamespaceRef, cell: Cell): Promise<Uint8Array>;
  /** Writes a segment of one namespace in another, and says what it is called there. @throws HoldpointError `corrupt` */
  copy(from: NamespaceRef, to: NamespaceRef, segment: Segment): Promise<Segment>;
  /** Removes those among these that are items and that task writes brought with them. Blobs may be named again, and stay. */
  removeOwn(at: NamespaceRef, segments: readonly Segment[]): Promise<void>;
  /** Removes those of records up to a position whose names are not `used`. May be repeated. */
  removeUnused(at: NamespaceRef, seq: number, used: ReadonlySet<string>): Promise<void>;
}

type ItemSegment = Extract<Segment, { readonly kind: "item" }>;

const ownerOf = ({ thread, generation }: NamespaceRef): BlobOwner => ({ ...thread, generation });

/** How a segment of task writes begins, where one of a record has its position. */
export const OF_TASK = "w";
const OF_RECORD = /^\d{12}-/;
const REMOVED_AT_ONCE = 25;

/** Digits of the content's digest in a segment's name. */
const NAME_DIGITS = 16;

export function createSegments({ table, blobs, bodies, limits, cache }: SegmentDeps): Segments {
  const wholes = new WeakMap<Cell, Promise<Uint8Array>>();
  const keyOf = (at: NamespaceRef, { id, n }: ItemSegment): Key =>
    threadKeys.segment(at.thread, { generation: at.generation, ns: at.ns, id, n });
  const cacheKey = (at: NamespaceRef, segment: Segment): string => {
    if (segment.kind === "blob") return `${threadKeys.partition(at.thread)} ${at.generation} ${segment.id}`;
    const { pk, sk } = keyOf(at, segment);
    return `${pk} ${sk}`;
  };

  const writeBlob = async (at: NamespaceRef, bytes: Uint8Array): Promise<Piece> => {
    const segment: Segment = {
      kind: "blob",
      id: await blobs.put(ownerOf(at), compress(bytes)),
      size: bytes.byteLength,
    };
    cache.set(cacheKey(at, segment), bytes);
    return { segment, offset: 0, length: bytes.byteLength };
  };

  const writeItems = async (at: NamespaceRef, owner: string, bytes: Uint8Array): Promise<readonly Segment[]> => {
    const count = Math.ceil(bytes.byteLength / limits.pieceBytes);
    const step = Math.ceil(bytes.byteLength / count);
    const cuts = Array.from({ length: count }, (_, n) => bytes.subarray(n * step, (n + 1) * step));
    const written = cuts.map((part) => {
      const id = `${owner}-${sha256(part).slice(0, NAME_DIGITS)}`;
      return { segment: { kind: "item", id, n: 0, size: part.byteLength } as const, part };
    });
    // One batch may not name an item twice.
    const distinct = new Map(written.map((one) => [one.segment.id, one]));
    const drafts = [...distinct.values()].map(async ({ segment, part }): Promise<Draft> => {
      const key = keyOf(at, segment);
      return { ...key, attributes: { v: 1, b: await bodies.sealed(at.thread, key.sk, compress(part)) } };
    });
    await table.batchPut(await Promise.all(drafts));
    for (const { segment, part } of written) cache.set(cacheKey(at, segment), part);
    return written.map(({ segment }) => segment);
  };

  const readItems = async (at: NamespaceRef, wanted: readonly ItemSegment[]) => {
    if (wanted.length === 0) return [];
    const found = new Map((await table.batchGet(wanted.map((one) => keyOf(at, one)))).map((item) => [item.sk, item]));
    const read = async (segment: ItemSegment): Promise<readonly [Segment, Uint8Array]> => {
      const { sk } = keyOf(at, segment);
      const stored = found.get(sk)?.attributes["b"];
      if (!(stored instanceof Uint8Array)) throw new HoldpointError("corrupt", `segment ${sk} is missing`);
      const packed = await bodies.opened(at.thread, sk, stored);
      const bytes = named(`segment ${sk}`, () => decompress(packed));
      const [, digest] = segment.id.split("-");
      if (digest !== undefined && !sha256(bytes).startsWith(digest))
        throw new HoldpointError("corrupt", `segment ${sk} is not what was written`);
      return [segment, bytes];
    };
    return Promise.all(wanted.map(read));
  };

  const readBlob = async (at: NamespaceRef, segment: Segment): Promise<readonly [Segment, Uint8Array]> => [
    segment,
    decompress(await blobs.get(ownerOf(at), segment.id)),
  ];

  const fetch = async (at: NamespaceRef, cell: Cell): Promise<Uint8Array> => {
    const wanted = new Map(
      cell.pieces.filter(isSlice).map(({ segment }): [string, Segment] => [segmentName(segment), segment]),
    );
    const bytes = new Map<string, Uint8Array>();
    for (const [name, segment] of wanted) {
      const known = cache.get(cacheKey(at, segment));
      if (known !== undefined) bytes.set(name, known);
    }
    const missing = [...wanted.values()].filter((segment) => !bytes.has(segmentName(segment)));
    const items = missing.filter((segment) => segment.kind === "item");
    const large = missing.filter((segment) => segment.kind === "blob");
    const [ofItems, ofBlobs] = await Promise.all([
      readItems(at, items),
      Promise.all(large.map((segment) => readBlob(at, segment))),
    ]);
    for (const [segment, found] of [...ofItems, ...ofBlobs]) {
      bytes.set(segmentName(segment), found);
      cache.set(cacheKey(at, segment), found);
    }
    const whole = joined(cell.pieces, (segment) => bytes.get(segmentName(segment)) ?? new Uint8Array());
    if (cell.digest !== "" && digestOf(whole) !== cell.digest) {
      const names = [...wanted.keys()].join(", ");
      throw new HoldpointError("corrupt", `a value is not what was written; it is made of segments ${names || "none"}`);
    }
    return whole;
  };

  return {
    async write(at, owner, runs) {
      const large = runs.map((run) => (run.byteLength > limits.blobBytes ? writeBlob(at, run) : undefined));
      const small = runs.filter((_, n) => large[n] === undefined);
      const together = Buffer.concat(small);
      const segments = together.byteLength === 0 ? [] : await writeItems(at, owner, together);
      let offset = 0;
      return Promise.all(
        runs.map(async (run, n): Promise<Pieces> => {
          const blob = await large[n];
          if (blob !== undefined) return [blob];
          const from = offset;
          offset += run.byteLength;
          return piecesAt(segments, from, run.byteLength);
        }),
      );
    },
    bytesOf(at, cell) {
      if (cell.whole !== undefined) return Promise.resolve(cell.whole);
      const known = wholes.get(cell);
      if (known !== undefined) return known;
      const whole = fetch(at, cell);
      wholes.set(cell, whole);
      // What could not be read now may be read the next time.
      whole.catch(() => wholes.delete(cell));
      return whole;
    },
    async copy(from, to, segment) {
      if (segment.kind === "blob")
        return { ...segment, id: await blobs.put(ownerOf(to), await blobs.get(ownerOf(from), segment.id)) };
      const [here, there] = [keyOf(from, segment), keyOf(to, segment)];
      const item = await table.get(here);
      const stored = item?.attributes["b"];
      if (item === undefined || !(stored instanceof Uint8Array))
        throw new HoldpointError("corrupt", `segment ${here.sk} is missing`);
      const b = await bodies.sealed(to.thread, there.sk, await bodies.opened(from.thread, here.sk, stored));
      await table.put({ ...there, attributes: { ...item.attributes, b } }, "any");
      return segment;
    },
    async removeOwn(at, named) {
      const items = named.filter((segment) => segment.kind === "item");
      const own = items.filter(({ id }) => id.startsWith(OF_TASK));
      await Promise.all(own.map((segment) => table.remove(keyOf(at, segment), "any")));
    },
    async removeUnused(at, seq, used) {
      const prefix = threadKeys.segmentPrefix(at.generation, at.ns);
      const pk = threadKeys.partition(at.thread);
      const range = { from: prefix, to: `${prefix}${seqPart(seq)}~`, limit: REMOVED_AT_ONCE };
      for (let after: string | undefined; ;) {
        const page = await table.query(pk, { ...range, ...(after === undefined ? {} : { after }) });
        const unused = page.items.filter(({ sk }) => {
          const name = sk.slice(prefix.length);
          return OF_RECORD.test(name) && !used.has(name);
        });
        await Promise.all(unused.map(({ sk }) => table.remove({ pk, sk }, "any")));
        if (page.next === undefined) return;
        after = page.next;
      }
    },
  };
}

/** The slices that hold these bytes of the segments' bytes, one after the other. */
function piecesAt(segments: readonly Segment[], from: number, length: number): Pieces {
  const pieces: Piece[] = [];
  let start = 0;
  for (const segment of segments) {
    const [begin, end] = [Math.max(from, start), Math.min(from + length, start + segment.size)];
    if (begin < end) pieces.push({ segment, offset: begin - start, length: end - begin });
    start += segment.size;
  }
  return pieces;
}
