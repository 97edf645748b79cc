/**
 * The state of a checkpoint as serialized channels: what a record adds to its parent's, and how a chain of records is
 * folded back into the whole. Whatever is read is checked against the record's hash.
 */
import { createHash } from "node:crypto";
import { TASKS } from "@langchain/langgraph-checkpoint";
import type {
  ChannelVersions,
  Checkpoint,
  CheckpointMetadata,
  SerializerProtocol,
} from "@langchain/langgraph-checkpoint";
import { HoldpointError } from "../core/errors.ts";
import { seqPart, threadKeys } from "../storage/keys.ts";
import { compress, headerBytes, joinBody, unpackBody } from "./body.ts";
import { CellWriter, cellReader, cellReaderV1, digested, dumpCell } from "./cells.ts";
import type { Cell, CellCode, CellCodeV1, CellReader, SegmentCode } from "./cells.ts";
import type { CellStore, Change } from "./cell-store.ts";
import { literalBytes } from "./layout.ts";
import type { Entry } from "./layout.ts";
import { named } from "./named.ts";
import { applied, isSlice } from "./pieces.ts";
import type { CheckpointRecord } from "./record.ts";
import type { NamespaceRef } from "./segments.ts";
import type { splice } from "./splice.ts";
import { countVisits, sendNames } from "./visits.ts";
import type { Progress } from "./visits.ts";

/** A checkpoint with its channels still serialized. */
export interface StoredCheckpoint extends Progress {
  readonly record: CheckpointRecord;
  readonly v: number;
  readonly ts: string;
  readonly channels: ReadonlyMap<string, Cell>;
  readonly metadata: Cell;
  /** The record's body before it was compressed: the next one's dictionary. */
  readonly plain: Uint8Array;
}

/** The header of a record's body. */
interface Header {
  readonly v: number;
  readonly ts: string;
  readonly cv: ChannelVersions;
  readonly vs: Record<string, ChannelVersions>;
  readonly vi: Record<string, number>;
  readonly sn: readonly string[];
  /** Metadata. */
  readonly m: CellCode | CellCodeV1;
  /** Channels that this record says something of: all in a base, else what changed. */
  readonly c: readonly (readonly [string, CellCode | CellCodeV1])[];
  /** Channels of the parent that are no longer there. */
  readonly g: readonly string[];
  /** Segments that its cells refer to. */
  readonly s?: readonly SegmentCode[];
}

/** What `put` was given, serialized, before its position is known. */
export interface Prepared {
  readonly checkpoint: Checkpoint;
  readonly source: string;
  readonly step: number;
  readonly runId: string | undefined;
  readonly metadata: Cell;
  readonly channels: ReadonlyMap<string, Cell>;
  /** Of the channels that are not the parent's: what makes them of the parent's. */
  readonly changes: ReadonlyMap<string, Change>;
  readonly gone: readonly string[];
  readonly visits: Readonly<Record<string, number>>;
  readonly sends: readonly string[];
}

export interface PutInput {
  readonly checkpoint: Checkpoint;
  readonly metadata: CheckpointMetadata;
  readonly newVersions: ChannelVersions;
  readonly parent: StoredCheckpoint | undefined;
  readonly fresh: boolean;
  readonly addedSends: readonly string[];
  readonly runId: string | undefined;
}

export interface StateDeps {
  readonly at: NamespaceRef;
  readonly cells: CellStore;
  readonly serde: SerializerProtocol;
  readonly splice: typeof splice;
}

/**
 * Serializes what changed. A channel that `newVersions` does not name is inherited if the parent has it at the same
 * version; otherwise it is stored: a fork passes its grandparent as parent and names nothing as new.
 */
export async function prepareState(deps: StateDeps, input: PutInput): Promise<Prepared> {
  const { serde } = deps;
  const { checkpoint, metadata, newVersions, parent } = input;
  const metadataCell = dumpCell(serde, "metadata", metadata);
  const changes = new Map<string, Change>();
  const entries = await Promise.all(
    Object.entries(checkpoint.channel_values).map(
      async ([name, value]): Promise<readonly (readonly [string, Cell])[]> => {
        const before = parent?.channels.get(name);
        const version = checkpoint.channel_versions[name];
        if (!Object.hasOwn(newVersions, name) && version !== undefined) {
          if (before !== undefined && version === parent?.channelVersions[name]) return [[name, before]];
          if (parent === undefined && metadata.source !== "fork") return [];
        }
        const cell = await dumpCell(serde, name, value);
        if (before?.digest === cell.digest && before.type === cell.type) return [[name, before]];
        const change = await changeOf(deps, cell, before);
        changes.set(name, change);
        return [[name, change.cell]];
      },
    ),
  );
  const channels = new Map(entries.flat());
  return {
    checkpoint,
    source: metadata.source,
    step: metadata.step,
    runId: input.runId,
    metadata: await metadataCell,
    channels,
    changes,
    gone: [...(parent?.channels.keys() ?? [])].filter((name) => !channels.has(name)),
    visits: countVisits({
      parent,
      checkpoint,
      source: metadata.source,
      fresh: input.fresh,
      addedSends: input.addedSends,
    }),
    sends: sendNames(checkpoint.channel_values[TASKS]),
  };
}

async function changeOf(
  { at, cells, splice: spliced }: Pick<StateDeps, "at" | "cells" | "splice">,
  cell: Cell,
  before: Cell | undefined,
): Promise<Change> {
  if (before === undefined || cell.whole === undefined) return { cell, edits: cell.pieces, before: [] };
  const edits = spliced(await cells.bytesOf(at, before), cell.whole);
  return { cell: { ...cell, pieces: applied(before.pieces, edits) }, edits, before: before.pieces };
}

/**
 * What a task writes to a channel: often the channel's large value with a small change, of which what is in segments
 * already is not written again. `before`: the channel in the task's checkpoint.
 */
export async function dumpLike(
  deps: StateDeps,
  [channel, value]: readonly [string, unknown],
  before: Cell | undefined,
): Promise<Cell> {
  const cell = await dumpCell(deps.serde, channel, value);
  const isWorth = cell.size > deps.cells.limits.insertBytes && before?.pieces.some(isSlice);
  return isWorth ? (await changeOf(deps, cell, before)).cell : cell;
}

export interface Placement {
  readonly seq: number;
  readonly fence: number;
  readonly parentId: string | undefined;
  readonly parent: StoredCheckpoint | undefined;
  /** The parent is the last checkpoint of the log: the chain may go on. */
  readonly linear: boolean;
  readonly root: string | undefined;
}

/** A record's cells, metadata first, with its segments already written. */
interface Laid {
  readonly isBase: boolean;
  readonly metadata: Entry;
  readonly entries: readonly (readonly [string, Entry])[];
  readonly depth: number;
  readonly deltaBytes: number;
}

const asNew = (cell: Cell): Change => ({ cell, edits: cell.pieces, before: [] });

/** Everything in a base, else what changed. */
async function layOut({ at, cells }: StateDeps, prepared: Prepared, placed: Placement): Promise<Laid> {
  const { parent, linear, seq } = placed;
  const changes = [...prepared.changes];
  const owner = seqPart(seq);
  const depth = (parent?.record.depth ?? 0) + 1;
  const isBase =
    parent === undefined ||
    !linear ||
    depth >= cells.limits.chainRecords ||
    parent.record.deltaBytes > cells.limits.chainBytes;
  const all = [prepared.metadata, ...prepared.channels.values()];
  const names = isBase ? [...prepared.channels.keys()] : changes.map(([name]) => name);
  // The first record of a log is not split up yet: most threads are short.
  const [metadata, ...entries] =
    isBase && parent !== undefined
      ? await cells.ofBase(at, owner, all)
      : await cells.ofStep(
          at,
          owner,
          isBase ? all.map(asNew) : [asNew(prepared.metadata), ...changes.map(([, change]) => change)],
        );
  if (metadata === undefined) throw new HoldpointError("internal", "a record without metadata");
  const named = names.flatMap((name, n): (readonly [string, Entry])[] => {
    const entry = entries[n];
    return entry === undefined ? [] : [[name, entry]];
  });
  const deltaBytes = isBase ? 0 : parent.record.deltaBytes + literalBytes(entries);
  return { isBase, metadata, entries: named, depth: isBase ? 0 : depth, deltaBytes };
}

/** The record at its position; what is too large for it is written before. */
export async function composeRecord(deps: StateDeps, prepared: Prepared, at: Placement): Promise<StoredCheckpoint> {
  const laid = await layOut(deps, prepared, at);
  const { checkpoint } = prepared;
  const { isBase, metadata, entries } = laid;
  const channels = new Map([...prepared.channels, ...entries.map(([name, { cell }]) => [name, cell] as const)]);
  const writer = new CellWriter();
  const header: Header = {
    v: checkpoint.v,
    ts: checkpoint.ts,
    cv: checkpoint.channel_versions,
    vs: checkpoint.versions_seen,
    vi: prepared.visits,
    sn: prepared.sends,
    m: writer.encode(metadata.cell, metadata.edits),
    c: entries.map(([name, { cell, edits }]) => [name, writer.encode(cell, edits)] as const),
    g: isBase ? [] : prepared.gone,
    ...(writer.segments.length === 0 ? {} : { s: writer.segments }),
  };
  const encoded = headerBytes(header);
  const plain = joinBody(encoded, writer.bytes);
  const { seq, fence, parentId, parent, root } = at;
  const begins = prepared.source === "input" || parent === undefined;
  const inputStep = begins ? prepared.step : parent.record.inputStep;
  const record: CheckpointRecord = {
    kind: "checkpoint",
    format: 2,
    seq,
    fence,
    checkpointId: checkpoint.id,
    ...(parentId === undefined ? {} : { parentId }),
    ...(parent === undefined ? {} : { parentSeq: parent.record.seq }),
    baseSeq: isBase ? seq : (parent?.record.baseSeq ?? seq),
    depth: laid.depth,
    deltaBytes: laid.deltaBytes,
    ...(root === undefined ? {} : { root }),
    step: prepared.step,
    ...(inputStep === undefined ? {} : { inputStep }),
    source: prepared.source,
    ...(prepared.runId === undefined ? {} : { runId: prepared.runId }),
    hash: stateHash(encoded, metadata.cell, channels),
    body: compress(plain, isBase ? undefined : parent?.plain),
  };
  return { ...progressOf(header), record, v: header.v, ts: header.ts, channels, metadata: metadata.cell, plain };
}

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

const progressOf = (header: Header): Progress => ({
  visits: header.vi,
  sends: header.sn,
  versionsSeen: header.vs,
  channelVersions: header.cv,
});

function stateHash(header: Uint8Array, metadata: Cell, channels: ReadonlyMap<string, Cell>): Uint8Array {
  const hash = createHash("sha256").update(header).update(metadata.digest);
  for (const name of [...channels.keys()].toSorted()) {
    const cell = channels.get(name);
    if (cell) hash.update(`\n${JSON.stringify(name)} ${cell.type} ${cell.digest}`);
  }
  return new Uint8Array(hash.digest().subarray(0, 16));
}

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
