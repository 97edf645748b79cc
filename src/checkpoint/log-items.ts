/** The items that the records of one log are, each sealed for its place, whether it counts or not. */
import { threadKeys } from "../storage/keys.ts";
import type { Draft, Item, Key, Range, Table } from "../storage/table.ts";
import type { Bodies } from "./bodies.ts";
import { DONE, readRecord, recordDraft } from "./record.ts";
import type { CheckpointRecord, LogRecord } from "./record.ts";
import type { NamespaceRef } from "./segments.ts";

const PAGE = 50;

/** A record as it is stored: its body is sealed. */
export interface StoredRecord {
  readonly record: LogRecord;
  readonly version: number;
  readonly index: Draft["index"];
  readonly expires: boolean;
}

export interface LogDeps {
  readonly table: Table;
  readonly bodies: Bodies;
}

export interface LogItems {
  keyOf(seq: number): Key;
  /** Positions up to this one (Infinity: all), newest first. */
  downTo(upTo: number, from?: number): Range;
  /** Positions from this one on, oldest first. */
  upFrom(seq: number): Range;
  itemsOf(range: Range): AsyncGenerator<Item>;
  opened(record: CheckpointRecord): Promise<CheckpointRecord>;
  draftOf(record: LogRecord): Promise<Draft>;
  /** Everything below a position, newest first. */
  stored(below?: number): AsyncGenerator<StoredRecord>;
  /** Puts another record in the place of one that was read; nothing happens when somebody else has. */
  replace(stored: StoredRecord, record: LogRecord, expiresAt?: number): Promise<void>;
  /** Notes on a cut that what it hides has been removed. */
  settle(seq: number): Promise<void>;
}

export function createLogItems({ table, bodies }: LogDeps, at: NamespaceRef): LogItems {
  const pk = threadKeys.partition(at.thread);
  const prefix = threadKeys.logPrefix(at.generation, at.ns);
  const keyOf = (seq: number): Key => threadKeys.log(at.thread, at.generation, at.ns, seq);
  const downTo = (upTo: number, from = 1): Range => ({
    ...(upTo === Infinity ? { prefix } : { from: keyOf(from).sk, to: keyOf(upTo).sk }),
    descending: true,
  });
  async function* itemsOf(range: Range): AsyncGenerator<Item> {
    for (let after: string | undefined; ;) {
      const page = await table.query(pk, { ...range, ...(after === undefined ? {} : { after }) });
      yield* page.items;
      if (page.next === undefined) return;
      after = page.next;
    }
  }
  const draftOf = async (record: LogRecord): Promise<Draft> => {
    if (record.kind !== "checkpoint") return recordDraft(at, record);
    const body = await bodies.sealed(at.thread, keyOf(record.seq).sk, record.body);
    return recordDraft(at, { ...record, body });
  };
  return {
    keyOf,
    downTo,
    // Every key of this log lies below one more digit than a position has.
    upFrom: (seq) => ({ from: keyOf(seq).sk, to: `${prefix}:` }),
    itemsOf,
    draftOf,
    opened: async (record) => ({
      ...record,
      body: await bodies.opened(at.thread, keyOf(record.seq).sk, record.body),
    }),
    async *stored(below = Infinity) {
      if (below <= 1) return;
      for await (const item of itemsOf({ ...downTo(below - 1), limit: PAGE })) {
        const { version, index, expiresAt } = item;
        yield { record: readRecord(item), version, index, expires: expiresAt !== undefined };
      }
    },
    replace: async ({ version, index }, record, expiresAt) => {
      const kept = record.kind === "removed" || index === undefined ? {} : { index };
      const expiry = expiresAt === undefined ? {} : { expiresAt };
      await table.put({ ...(await draftOf(record)), ...kept, ...expiry }, { version });
    },
    settle: async (seq) => {
      const item = await table.get(keyOf(seq));
      if (item === undefined) return;
      const { version, writeId: _, ...draft } = item;
      await table.put({ ...draft, attributes: { ...draft.attributes, ...DONE } }, { version });
    },
  };
}
