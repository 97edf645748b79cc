/**
 * The state of a checkpoint as serialized channels, and what a record adds to its parent's. How a chain of records is
 * folded back into the whole is in `fold.ts`.
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
import { seqPart } from "../storage/keys.ts";
import { compress, headerBytes, joinBody } from "./body.ts";
import { CellWriter, dumpCell } from "./cells.ts";
import type { Cell, CellCode, CellCodeV1, SegmentCode } from "./cells.ts";
import type { CellStore, Change } from "./cell-store.ts";
import { literalBytes } from "./layout.ts";
import type { Entry } from "./layout.ts";
import { applied, isSlice } from "./pieces.ts";
import type { CheckpointRecord } from "./record.ts";
import type { Segment } from "./pieces.ts";
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
export interface Header {
  readonly v: number;
  readonly ts: string;
  readonly cv: ChannelVersions;
  readonly vs: Readonly<Record<string, ChannelVersions>>;
  readonly vi: Readonly<Record<string, number>>;
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
  /** Of the last cut below it; 0 where there is none. */
  readonly cutSeq: number;
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
  const described: Described = {
    v: checkpoint.v,
    ts: checkpoint.ts,
    channelVersions: checkpoint.channel_versions,
    versionsSeen: checkpoint.versions_seen,
    visits: prepared.visits,
    sends: prepared.sends,
  };
  const { encoded, plain } = bodyOf(described, { metadata, entries, gone: isBase ? [] : prepared.gone });
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
    ...(at.cutSeq === 0 ? {} : { cutSeq: at.cutSeq }),
    ...(root === undefined ? {} : { root }),
    step: prepared.step,
    ...(inputStep === undefined ? {} : { inputStep }),
    source: prepared.source,
    ...(prepared.runId === undefined ? {} : { runId: prepared.runId }),
    hash: stateHash(encoded, metadata.cell, channels),
    body: compress(plain, isBase ? undefined : parent?.plain),
  };
  return { ...described, record, channels, metadata: metadata.cell, plain };
}

/** What a header says besides cells. */
type Described = Progress & Pick<StoredCheckpoint, "v" | "ts">;

interface Cells {
  readonly metadata: Entry;
  readonly entries: readonly (readonly [string, Entry])[];
  readonly gone: readonly string[];
  /** Segments to be named although no cell is made of them. */
  readonly besides?: readonly Segment[];
}

/** A body before it is compressed, and its header as it is hashed. */
export function bodyOf(of: Described, { metadata, entries, gone, besides = [] }: Cells) {
  const writer = new CellWriter();
  const m = writer.encode(metadata.cell, metadata.edits);
  const c = entries.map(([name, { cell, edits }]) => [name, writer.encode(cell, edits)] as const);
  for (const segment of besides) writer.name(segment);
  const header: Header = {
    v: of.v,
    ts: of.ts,
    cv: of.channelVersions,
    vs: of.versionsSeen,
    vi: of.visits,
    sn: of.sends,
    m,
    c,
    g: gone,
    ...(writer.segments.length === 0 ? {} : { s: writer.segments }),
  };
  const encoded = headerBytes(header);
  return { encoded, plain: joinBody(encoded, writer.bytes) };
}

/** Of a header as it is stored, and of everything that the checkpoint holds. */
export function stateHash(header: Uint8Array, metadata: Cell, channels: ReadonlyMap<string, Cell>): Uint8Array {
  const hash = createHash("sha256").update(header).update(metadata.digest);
  for (const name of [...channels.keys()].toSorted()) {
    const cell = channels.get(name);
    if (cell) hash.update(`\n${JSON.stringify(name)} ${cell.type} ${cell.digest}`);
  }
  return new Uint8Array(hash.digest().subarray(0, 16));
}
