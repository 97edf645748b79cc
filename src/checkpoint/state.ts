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
import { headerBytes, packBody, unpackBody } from "./body.ts";
import { cellReader, dumpCell, encodeCell } from "./cells.ts";
import type { Cell, CellCode } from "./cells.ts";
import type { CheckpointRecord } from "./record.ts";
import { countVisits, sendNames } from "./visits.ts";
import type { Progress } from "./visits.ts";

/** Records after a base until the next base, at most. */
const CHAIN_RECORDS = 16;
/** A new base also comes when the records since the last hold more than this, or than the whole state does. */
const CHAIN_BYTES = 48 * 1024;

/** A checkpoint with its channels still serialized. */
export interface StoredCheckpoint extends Progress {
  readonly record: CheckpointRecord;
  readonly v: number;
  readonly ts: string;
  readonly channels: ReadonlyMap<string, Cell>;
  readonly metadata: Cell;
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
  readonly m: CellCode;
  /** Channels that this record holds itself. */
  readonly c: readonly (readonly [string, CellCode])[];
  /** Channels of the parent that are no longer there. */
  readonly g: readonly string[];
}

/** What `put` was given, serialized, before its position is known. */
export interface Prepared {
  readonly checkpoint: Checkpoint;
  readonly source: string;
  readonly step: number;
  readonly runId: string | undefined;
  readonly metadata: Cell;
  readonly channels: ReadonlyMap<string, Cell>;
  readonly changed: ReadonlySet<string>;
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

/**
 * Serializes what changed. A channel that `newVersions` does not name is inherited if the parent has it at the same
 * version; otherwise it is stored: a fork passes its grandparent as parent and names nothing as new.
 */
export async function prepareState(serde: SerializerProtocol, input: PutInput): Promise<Prepared> {
  const { checkpoint, metadata, newVersions, parent } = input;
  const metadataCell = dumpCell(serde, "metadata", metadata);
  const changed = new Set<string>();
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
        changed.add(name);
        return [[name, cell]];
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
    changed,
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

export interface Placement {
  readonly seq: number;
  readonly fence: number;
  readonly parentId: string | undefined;
  readonly parent: StoredCheckpoint | undefined;
  /** The parent is the last checkpoint of the log: the chain may go on. */
  readonly linear: boolean;
  readonly root: string | undefined;
}

/** Which cells the record at this position would hold: all of them in a base, else what changed. Metadata comes first. */
export function planRecord(prepared: Prepared, at: Placement): RecordPlan {
  const own = [...prepared.changed].map((name): readonly [string, Cell] => [name, cellOf(prepared, name)]);
  const inlineBytes = (cells: readonly (readonly [string, Cell])[]): number =>
    cells.reduce((sum, [, cell]) => sum + (cell.ref === undefined ? cell.size : 0), 0);
  const all = [...prepared.channels];
  const depth = (at.parent?.record.depth ?? 0) + 1;
  const deltaBytes = (at.parent?.record.deltaBytes ?? 0) + inlineBytes(own);
  const tooLong = depth >= CHAIN_RECORDS || deltaBytes > Math.max(CHAIN_BYTES, inlineBytes(all));
  const base = at.parent === undefined || !at.linear || tooLong;
  return base ? { base, entries: all, depth: 0, deltaBytes: 0 } : { base, entries: own, depth, deltaBytes };
}

export interface RecordPlan {
  readonly base: boolean;
  readonly entries: readonly (readonly [string, Cell])[];
  readonly depth: number;
  readonly deltaBytes: number;
}

function cellOf(prepared: Prepared, name: string): Cell {
  const cell = prepared.channels.get(name);
  if (cell === undefined) throw new HoldpointError("internal", `channel ${name} was not prepared`);
  return cell;
}

/** The record at its position, from a plan whose large cells have been written elsewhere (`spilled`: metadata, then entries). */
export function composeRecord(
  prepared: Prepared,
  at: Placement,
  plan: RecordPlan,
  spilled: readonly Cell[],
): StoredCheckpoint {
  const [metadata, ...cells] = spilled;
  if (metadata === undefined) throw new HoldpointError("internal", "a record without metadata");
  const { checkpoint } = prepared;
  const entries = plan.entries.map(([name], index): readonly [string, Cell] => [
    name,
    cells[index] ?? cellOf(prepared, name),
  ]);
  const channels = new Map([...prepared.channels, ...entries]);
  const header: Header = {
    v: checkpoint.v,
    ts: checkpoint.ts,
    cv: checkpoint.channel_versions,
    vs: checkpoint.versions_seen,
    vi: prepared.visits,
    sn: prepared.sends,
    m: encodeCell(metadata),
    c: entries.map(([name, cell]) => [name, encodeCell(cell)] as const),
    g: plan.base ? [] : prepared.gone,
  };
  const inline = [metadata, ...entries.map(([, cell]) => cell)].flatMap((c) =>
    c.ref === undefined && c.bytes ? [c.bytes] : [],
  );
  const encoded = headerBytes(header);
  const { seq, fence, parentId, parent, root } = at;
  const begins = prepared.source === "input" || parent === undefined;
  const inputStep = begins ? prepared.step : parent.record.inputStep;
  const record: CheckpointRecord = {
    kind: "checkpoint",
    seq,
    fence,
    checkpointId: checkpoint.id,
    ...(parentId === undefined ? {} : { parentId }),
    ...(parent === undefined ? {} : { parentSeq: parent.record.seq }),
    baseSeq: plan.base ? seq : (parent?.record.baseSeq ?? seq),
    depth: plan.depth,
    deltaBytes: plan.deltaBytes,
    ...(root === undefined ? {} : { root }),
    step: prepared.step,
    ...(inputStep === undefined ? {} : { inputStep }),
    source: prepared.source,
    ...(prepared.runId === undefined ? {} : { runId: prepared.runId }),
    hash: stateHash(encoded, metadata, channels),
    body: packBody(encoded, inline),
  };
  return { ...progressOf(header), record, v: header.v, ts: header.ts, channels, metadata };
}

/** Folds a chain, base first, into the state of its last record. @throws HoldpointError `corrupt` when the hash differs */
export function foldChain(chain: readonly CheckpointRecord[]): StoredCheckpoint {
  const channels = new Map<string, Cell>();
  let last:
    | {
        readonly record: CheckpointRecord;
        readonly header: Header;
        readonly metadata: Cell;
        readonly bytes: Uint8Array;
      }
    | undefined;
  for (const record of chain) {
    const { header, bytes, rest } = unpackBody(record.body);
    if (!isHeader(header)) throw new HoldpointError("corrupt", `record ${record.seq} has no readable header`);
    const read = cellReader(rest);
    const metadata = read(header.m);
    for (const name of header.g) channels.delete(name);
    for (const [name, code] of header.c) channels.set(name, read(code));
    last = { record, header, metadata, bytes };
  }
  if (last === undefined) throw new HoldpointError("corrupt", "a checkpoint without a record");
  const { record, header, metadata, bytes } = last;
  if (!Buffer.from(stateHash(bytes, metadata, channels)).equals(record.hash)) {
    throw new HoldpointError("corrupt", `checkpoint ${record.checkpointId} is not the one that was written`);
  }
  return { ...progressOf(header), record, v: header.v, ts: header.ts, channels, metadata };
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
