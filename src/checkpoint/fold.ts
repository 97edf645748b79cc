/** From stored records back to states. Whatever is read is checked against the record's hash. */
import { HoldpointError } from "../core/errors.ts";
import { threadKeys } from "../storage/keys.ts";
import { headerBytes, joinBody, parseBody, unpackBody } from "./body.ts";
import { cellReader, cellReaderV1, digested, readSegments, segmentCode } from "./cells.ts";
import type { Cell, CellCode, CellCodeV1, CellReader } from "./cells.ts";
import { named } from "./named.ts";
import { isSlice, segmentName } from "./pieces.ts";
import type { Segment } from "./pieces.ts";
import type { CheckpointRecord } from "./record.ts";
import type { NamespaceRef } from "./segments.ts";
import { bodyOf, stateHash } from "./state.ts";
import type { Header, StoredCheckpoint } from "./state.ts";
import type { Progress } from "./visits.ts";

/**
 * Folds a chain, base first, into the state of its last record.
 * @throws HoldpointError `corrupt`, naming the first record that is not what was written
 */
export function foldChain(at: NamespaceRef, chain: readonly CheckpointRecord[]): StoredCheckpoint {
  const { state, isIntact } = folded(at, chain);
  if (isIntact) return state;
  const first = chain.findIndex((_, n) => !folded(at, chain.slice(0, n + 1)).isIntact);
  throw new HoldpointError("corrupt", `${nameOf(at, chain[first] ?? state.record)} is not what was written`);
}

const nameOf = ({ thread, generation, ns }: NamespaceRef, { seq, checkpointId }: CheckpointRecord): string =>
  `record ${threadKeys.log(thread, generation, ns, seq).sk} of checkpoint ${checkpointId}`;

function folded(
  at: NamespaceRef,
  chain: readonly CheckpointRecord[],
): { readonly state: StoredCheckpoint; readonly isIntact: boolean } {
  const channels = new Map<string, Cell>();
  let last: Read | undefined;
  for (const record of chain) {
    const before = last?.plain;
    last = named(nameOf(at, record), () => readBody(record, before, channels));
    for (const name of last.header.g) channels.delete(name);
    for (const [name, cell] of last.cells) channels.set(name, cell);
  }
  if (last === undefined) throw new HoldpointError("corrupt", "a checkpoint without a record");
  const { record, header, metadata, bytes, plain } = last;
  for (const [name, cell] of channels) channels.set(name, digested(cell));
  const isIntact = Buffer.from(stateHash(bytes, metadata, channels)).equals(record.hash);
  return { state: { ...progressOf(header), record, v: header.v, ts: header.ts, channels, metadata, plain }, isIntact };
}

interface Read {
  readonly record: CheckpointRecord;
  readonly header: Header;
  readonly metadata: Cell;
  readonly cells: readonly (readonly [string, Cell])[];
  readonly bytes: Uint8Array;
  readonly plain: Uint8Array;
}

/** `before`: the body of the record before it in its chain, and the channels there. */
function readBody(record: CheckpointRecord, before: Uint8Array | undefined, channels: ReadonlyMap<string, Cell>): Read {
  const { header, bytes, rest, plain } = unpackBody(record.body, record.seq === record.baseSeq ? undefined : before);
  if (!isHeader(header)) throw new HoldpointError("corrupt", `record ${record.seq} has no readable header`);
  // Which codes a header holds follows from its format.
  const read = (record.format === 1 ? cellReaderV1(rest) : cellReader(header.s ?? [], rest)) as CellReader<
    CellCode | CellCodeV1
  >;
  const metadata = digested(read(header.m));
  const cells = header.c.map(([name, code]) => [name, read(code, channels.get(name))] as const);
  return { record, header, metadata, cells, bytes, plain };
}

/** Names of all segments that the records of a chain name, base first. */
export function segmentsNamed(chain: readonly CheckpointRecord[]): readonly string[] {
  let before: Uint8Array | undefined;
  return chain.flatMap((record) => {
    const { header, plain } = unpackBody(record.body, record.seq === record.baseSeq ? undefined : before);
    before = plain;
    if (!isHeader(header)) throw new HoldpointError("corrupt", `record ${record.seq} has no readable header`);
    return record.format === 1 ? [] : readSegments(header.s ?? []).map(segmentName);
  });
}

/** What a checkpoint's own record names; in the first format each cell named its own. */
export function segmentsBehind(stored: StoredCheckpoint): readonly Segment[] {
  return stored.record.format === 1 ? [] : readSegments(headerOf(stored).header.s ?? []);
}

export interface Retold {
  readonly hash: Uint8Array;
  /** Before it is compressed. */
  readonly plain: Uint8Array;
}

/**
 * The body of a checkpoint's record, with other names for its segments. In a record of the first
 * format each cell names its own: that one is told anew.
 */
export async function retold(
  stored: StoredCheckpoint,
  rename: (segment: Segment) => Promise<Segment>,
): Promise<Retold> {
  const { header, rest } = headerOf(stored);
  if (stored.record.format === 1) {
    const named = new Set(header.c.map(([name]) => name));
    const cells = await Promise.all(
      [...stored.channels].map(async ([name, cell]) => [name, await renamedCell(cell, rename)] as const),
    );
    const metadata = await renamedCell(stored.metadata, rename);
    const entries = cells.flatMap(([name, cell]) =>
      named.has(name) ? [[name, { cell, edits: cell.pieces }] as const] : [],
    );
    const { encoded, plain } = bodyOf(stored, {
      metadata: { cell: metadata, edits: metadata.pieces },
      entries,
      gone: header.g,
    });
    return { hash: stateHash(encoded, stored.metadata, stored.channels), plain };
  }
  const codes = await Promise.all(readSegments(header.s ?? []).map(async (one) => segmentCode(await rename(one))));
  const encoded = headerBytes(header.s === undefined ? header : { ...header, s: codes });
  return { hash: stateHash(encoded, stored.metadata, stored.channels), plain: joinBody(encoded, [rest]) };
}

/** The cell, made of the segments that are called so. */
export async function renamedCell(cell: Cell, rename: (segment: Segment) => Promise<Segment>): Promise<Cell> {
  const pieces = await Promise.all(
    cell.pieces.map(async (piece) => (isSlice(piece) ? { ...piece, segment: await rename(piece.segment) } : piece)),
  );
  return { ...cell, pieces };
}

function headerOf({ plain, record }: StoredCheckpoint): { readonly header: Header; readonly rest: Uint8Array } {
  const { header, rest } = parseBody(plain);
  if (!isHeader(header)) throw new HoldpointError("corrupt", `record ${record.seq} has no readable header`);
  return { header, rest };
}

const progressOf = (header: Header): Progress => ({
  visits: header.vi,
  sends: header.sn,
  versionsSeen: header.vs,
  channelVersions: header.cv,
});

/** Enough to read it without surprises; the hash then says whether it is what was written. */
function isHeader(value: unknown): value is Header {
  if (typeof value !== "object" || value === null) return false;
  const { m, c, g, vi, sn, cv, vs } = { ...EMPTY, ...value };
  const maps = [vi, cv, vs].every((map) => typeof map === "object" && map !== null);
  return maps && [m, c, g, sn].every((list) => Array.isArray(list));
}
const EMPTY: Readonly<Record<"m" | "c" | "g" | "vi" | "sn" | "cv" | "vs", unknown>> = {
  m: null,
  c: null,
  g: null,
  vi: null,
  sn: null,
  cv: null,
  vs: null,
};
