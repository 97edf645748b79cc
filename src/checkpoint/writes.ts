/**
 * Task writes. I3: all regular writes of one task are one item, so they are there as a whole or not at all; LangGraph
 * takes a task with any stored write for finished. I2: their key carries the fence, and readers see those of an earlier
 * holder only where a barrier sealed them.
 */
import { INTERRUPT, WRITES_IDX_MAP, compareWritesSortKeys, writesSortKey } from "@langchain/langgraph-checkpoint";
import { HoldpointError, isHoldpointError } from "../core/errors.ts";
import { sha256 } from "../core/ids.ts";
import { threadKeys } from "../storage/keys.ts";
import type { Draft, Item, Table } from "../storage/table.ts";
import type { Bodies } from "./bodies.ts";
import { headerBytes, packBody, unpackBody } from "./body.ts";
import { CellWriter, cellReader, cellReaderV1, digested } from "./cells.ts";
import type { Cell, CellCode, CellCodeV1, CellReader, SegmentCode } from "./cells.ts";
import type { CellStore } from "./cell-store.ts";
import { named } from "./named.ts";
import { createFields } from "./record.ts";
import { isSlice } from "./pieces.ts";
import type { Segment } from "./pieces.ts";
import type { CheckpointRecord, Mark } from "./record.ts";
import { OF_TASK } from "./segments.ts";
import type { NamespaceRef } from "./segments.ts";

/** Who raised an interrupt first: the task itself, not the parents that report it after. */
export interface InterruptOwner {
  readonly id: string;
  readonly ns: string;
  readonly checkpointId: string;
  readonly taskId: string;
  /** How many answers the task had consumed when it raised this one. */
  readonly ordinal: number;
}

export interface IndexedWrite {
  /** Position among the task's writes; negative for LangGraph's special channels. */
  readonly idx: number;
  readonly channel: string;
  readonly cell: Cell;
}

/** One item: the regular writes of a task under one fence, or one of its special writes. */
export interface WriteSet {
  readonly taskId: string;
  readonly taskPath: string;
  readonly fence: number;
  readonly writes: readonly IndexedWrite[];
  readonly owners: readonly InterruptOwner[];
}

export interface PendingWriteCell extends IndexedWrite {
  readonly taskId: string;
  /** Of the set that it stands in. */
  readonly fence: number;
  readonly taskPath: string;
}

const WRITES_VERSION = 2;

/** Position of a write among its task's: fixed and negative for special channels. */
export const writeIndex = (channel: string, position: number): number => WRITES_IDX_MAP[channel] ?? position;

/** How a barrier names a write set: `taskId.fence`, or `taskId.fence.idx` for a special one. */
export function sealName(set: WriteSet): string {
  const idx = set.writes[0]?.idx ?? 0;
  return `${set.taskId}.${set.fence}${idx < 0 ? `.${idx}` : ""}`;
}

/** Decides whether a write set is visible. */
export type Visibility = (set: WriteSet) => boolean;

/**
 * The writes of a checkpoint count if the last mark above it (before the next checkpoint record) sealed them or bears
 * their fence; where there is no mark, if they bear the fence of the record itself, or it sealed them as a cut does.
 */
export function visibleBelow(record: Pick<CheckpointRecord, "fence" | "sealed">, marks: readonly Mark[]): Visibility {
  const { fence, sealed = [] } = marks.at(-1) ?? record;
  const names = new Set(sealed);
  return (set) => set.fence === fence || names.has(sealName(set));
}

/**
 * Merges the visible sets: of regular writes with one index the earliest holder's stays, of special ones the latest
 * counts. Ordered as live execution applies them.
 */
export function mergeWrites(sets: readonly WriteSet[]): readonly PendingWriteCell[] {
  const merged = new Map<string, PendingWriteCell>();
  for (const set of sets.toSorted((a, b) => a.fence - b.fence)) {
    for (const write of set.writes) {
      const key = `${set.taskId}\u0000${write.idx}`;
      if (write.idx < 0 || !merged.has(key))
        merged.set(key, { ...write, taskId: set.taskId, fence: set.fence, taskPath: set.taskPath });
    }
  }
  const sortKey = (w: PendingWriteCell) => writesSortKey(w.taskPath, w.taskId, w.idx);
  return [...merged.values()].toSorted((a, b) => compareWritesSortKeys(sortKey(a), sortKey(b)));
}

export interface TaskWritesDeps {
  readonly table: Table;
  readonly cells: CellStore;
  readonly bodies: Bodies;
}

export interface TaskWrites {
  /** Every stored set of a checkpoint, whatever its fence. */
  read(at: NamespaceRef, checkpointId: string): Promise<readonly WriteSet[]>;
  /** Stores a task's writes: regular ones insert-or-ignore by index, special ones overwrite. */
  put(at: NamespaceRef, checkpointId: string, set: WriteSet): Promise<void>;
  /** Removes every stored set of a checkpoint, and the segments that came with it. */
  remove(at: NamespaceRef, checkpointId: string): Promise<void>;
}

const REMOVED_AT_ONCE = 25;

export function createTaskWrites({ table, cells, bodies }: TaskWritesDeps): TaskWrites {
  const draftOf = async (at: NamespaceRef, checkpointId: string, set: WriteSet): Promise<Draft> => {
    const special = set.writes[0]?.idx ?? 0;
    const { taskId, fence } = set;
    const key = threadKeys.taskWrites(at.thread, {
      generation: at.generation,
      ns: at.ns,
      checkpointId,
      taskId,
      fence,
      ...(special < 0 ? { special } : {}),
    });
    const writer = new CellWriter();
    const header: Header = {
      w: set.writes.map(({ idx, channel, cell }) => [idx, channel, writer.encode(cell, cell.pieces)] as const),
      ...(set.owners.length === 0 ? {} : { o: set.owners }),
      ...(writer.segments.length === 0 ? {} : { s: writer.segments }),
    };
    const b = await bodies.sealed(at.thread, key.sk, packBody(headerBytes(header), writer.bytes));
    return { ...key, attributes: { v: WRITES_VERSION, t: taskId, p: set.taskPath, f: fence, b } };
  };

  const read = (at: NamespaceRef, item: Item): Promise<WriteSet> =>
    readWriteSet(item, (body) => bodies.opened(at.thread, item.sk, body));

  const spilled = async (at: NamespaceRef, checkpointId: string, set: WriteSet): Promise<WriteSet> => {
    const owner = `${checkpointId}\u0000${set.taskId}\u0000${set.fence}`;
    const entries = await cells.ofTask(
      at,
      `${OF_TASK}${sha256(owner).slice(0, 16)}`,
      set.writes.map((write) => write.cell),
    );
    return { ...set, writes: set.writes.map((write, n) => ({ ...write, cell: entries[n]?.cell ?? write.cell })) };
  };

  const putRegular = async (at: NamespaceRef, checkpointId: string, set: WriteSet): Promise<void> => {
    let wanted = set;
    let result = await table.put(await draftOf(at, checkpointId, wanted), "absent");
    while (!result.won) {
      const { current } = result;
      const there = current === undefined ? [] : (await read(at, current)).writes;
      const missing = set.writes.filter((write) => there.every(({ idx }) => idx !== write.idx));
      if (current !== undefined && missing.length === 0) return;
      wanted = { ...set, writes: [...there, ...missing] };
      const { attributes, ...key } = await draftOf(at, checkpointId, wanted);
      // What a newer version has added to the item stays on it.
      result = await table.put(
        { ...key, attributes: { ...current?.attributes, ...attributes } },
        current === undefined ? "absent" : { version: current.version },
      );
    }
  };

  return {
    read: async (at, checkpointId) => {
      const sets: WriteSet[] = [];
      const pk = threadKeys.partition(at.thread);
      const prefix = threadKeys.taskWritesPrefix(at.generation, at.ns, checkpointId);
      for (let after: string | undefined; ;) {
        const page = await table.query(pk, { prefix, ...(after === undefined ? {} : { after }) });
        sets.push(...(await Promise.all(page.items.map((item) => read(at, item)))));
        if (page.next === undefined) return sets;
        after = page.next;
      }
    },
    put: async (at, checkpointId, set) => {
      const { writes, ...task } = await spilled(at, checkpointId, set);
      // Answers first: a task found with its answers but not its interrupt just raises it again.
      for (const write of writes.filter(({ idx }) => idx < 0).toSorted((a, b) => a.idx - b.idx)) {
        const owners = write.channel === INTERRUPT ? set.owners : [];
        await table.put(await draftOf(at, checkpointId, { ...task, owners, writes: [write] }), "any");
      }
      const regular = writes.filter(({ idx }) => idx >= 0);
      if (regular.length > 0) await putRegular(at, checkpointId, { ...task, owners: [], writes: regular });
    },
    remove: async (at, checkpointId) => {
      const pk = threadKeys.partition(at.thread);
      const range = { prefix: threadKeys.taskWritesPrefix(at.generation, at.ns, checkpointId), limit: REMOVED_AT_ONCE };
      for (;;) {
        const { items, next } = await table.query(pk, range);
        for (const item of items) {
          // Who is interrupted in between finds the item, and with it the names, again.
          await cells.removeOwn(at, await read(at, item).then(segmentsIn, unreadable));
          await table.remove(item, "any");
        }
        if (next === undefined) return;
      }
    },
  };
}

/** What nobody can read, because it is damaged or its key was dropped, is removed like the rest. */
function unreadable(error: unknown): readonly Segment[] {
  if (isHoldpointError(error, "corrupt") || isHoldpointError(error, "gone")) return [];
  throw error;
}

const segmentsIn = ({ writes }: WriteSet): readonly Segment[] =>
  writes.flatMap(({ cell }) => cell.pieces.filter(isSlice).map(({ segment }) => segment));

interface Header {
  readonly w: readonly (readonly [number, string, CellCode | CellCodeV1])[];
  readonly o?: readonly InterruptOwner[];
  /** Segments that its cells refer to. */
  readonly s?: readonly SegmentCode[];
}

const isHeader = (value: unknown): value is Header =>
  typeof value === "object" &&
  value !== null &&
  "w" in value &&
  Array.isArray(value.w) &&
  (!("o" in value) || Array.isArray(value.o));

async function readWriteSet(item: Item, open: (body: Uint8Array) => Promise<Uint8Array>): Promise<WriteSet> {
  const fields = createFields(item);
  const format = fields.version(WRITES_VERSION);
  const body = await open(fields.bytes("b"));
  const { header, rest } = named(`task writes ${item.sk}`, () => unpackBody(body));
  if (!isHeader(header)) throw new HoldpointError("corrupt", `item ${item.sk} has no readable header`);
  // Which codes a header holds follows from its format.
  const read = (format === 1 ? cellReaderV1(rest) : cellReader(header.s ?? [], rest)) as CellReader<
    CellCode | CellCodeV1
  >;
  return {
    taskId: fields.text("t") ?? "",
    taskPath: fields.text("p") ?? "",
    fence: fields.number("f"),
    writes: header.w.map(([idx, channel, code]) => ({ idx, channel, cell: digested(read(code)) })),
    owners: header.o ?? [],
  };
}
