/** A table that records every call: how many round trips a run takes one after another, and what its writes cost. */
import { itemBytes } from "../../src/storage/item-size.ts";
import type { Draft, IndexEntries, IndexName, Key, Table } from "../../src/storage/table.ts";

/** One call of the table. Times in milliseconds on the clock that was passed in. */
export interface Call {
  readonly operation: "get" | "put" | "remove" | "query" | "queryIndex" | "batchGet" | "batchPut" | "add";
  /** Sort keys of what was read or written. */
  readonly keys: readonly string[];
  readonly start: number;
  readonly end: number;
  /** Write units as DynamoDB counts them, rows of the indexes included; 0 for reads. */
  readonly units: number;
  /** Read units as DynamoDB counts them, for the bytes of what was answered; 0 for writes. */
  readonly readUnits: number;
}

export interface CountingTable extends Table {
  /** The calls that have ended, in the order of their ends. */
  readonly calls: readonly Call[];
  /** Bytes of all items that were written through it and are still there, as DynamoDB counts them. */
  bytes(): number;
}

export interface CountingOptions {
  /** Milliseconds that only go forward. */
  readonly now: () => number;
  /** Called before each call is passed on; a round trip of known length makes calls that run side by side overlap. */
  readonly roundTrip?: () => Promise<void>;
}

/**
 * The longest sequence of calls of which each began after the one before it had ended: what remains of the time when
 * everything but the table is free. Calls that merely happened to follow each other count, so it is an upper bound of
 * the true dependency.
 */
export function sequentialChain<C extends Pick<Call, "start" | "end">>(calls: readonly C[]): C[] {
  const chain: C[] = [];
  for (const call of calls.toSorted((a, b) => a.end - b.end)) {
    const last = chain.at(-1);
    if (last === undefined || call.start >= last.end) chain.push(call);
  }
  return chain;
}

/** Write units of one item: one for each KB begun, of the larger of what was there and what is there now. */
export function itemUnits(before: Draft | undefined, after: Draft | undefined): number {
  const bytes = Math.max(...[before, after].map((draft) => (draft === undefined ? 0 : itemBytes(draft))));
  return Math.max(1, Math.ceil(bytes / 1024)) + indexUnits(before?.index ?? {}, after?.index ?? {});
}

/** A row that appears or disappears costs one unit; one that moves costs two; one that stays as it was is free. */
function indexUnits(before: IndexEntries, after: IndexEntries): number {
  const names: readonly IndexName[] = ["due", "list"];
  return names.reduce((sum, name) => {
    const [old, now] = [before[name], after[name]];
    if (old?.pk === now?.pk && old?.sk === now?.sk) return sum;
    return sum + (old === undefined ? 0 : 1) + (now === undefined ? 0 : 1);
  }, 0);
}

const READ_UNIT_BYTES = 4096;

/** Read units of one strongly consistent read of so many bytes; a read that finds nothing costs one. */
export const readUnitsOf = (bytes: number): number => Math.max(1, Math.ceil(bytes / READ_UNIT_BYTES));

/** Rows of an index hold keys and little else, and are read at half the price. */
const INDEX_ROW_BYTES = 200;

/** Wraps a table; what it holds should have been written through the wrapper, or index rows count as new. */
export function createCountingTable(table: Table, { now, roundTrip }: CountingOptions): CountingTable {
  const calls: Call[] = [];
  const held = new Map<string, Draft>();
  const id = ({ pk, sk }: Key): string => JSON.stringify([pk, sk]);

  async function counted<T>(
    about: Pick<Call, "operation"> & { readonly keys: readonly string[] },
    call: () => Promise<T>,
    unitsOf: (result: T) => { readonly units?: number; readonly readUnits?: number },
  ): Promise<T> {
    const start = now();
    await roundTrip?.();
    const result = await call();
    calls.push({ ...about, start, end: now(), units: 0, readUnits: 0, ...unitsOf(result) });
    return result;
  }

  function store(draft: Draft): number {
    const units = itemUnits(held.get(id(draft)), draft);
    held.set(id(draft), draft);
    return units;
  }

  function forget(key: Key): number {
    const units = itemUnits(held.get(id(key)), undefined);
    held.delete(id(key));
    return units;
  }

  const bytesOf = (item: Draft | undefined): number => (item === undefined ? 0 : itemBytes(item));

  return {
    calls,
    bytes: () => [...held.values()].reduce((sum, draft) => sum + itemBytes(draft), 0),
    get: (key) =>
      counted(
        { operation: "get", keys: [key.sk] },
        () => table.get(key),
        (item) => ({ readUnits: readUnitsOf(bytesOf(item)) }),
      ),
    put: (draft, when, options) =>
      counted(
        { operation: "put", keys: [draft.sk] },
        () => table.put(draft, when, options),
        // A condition that fails still costs a unit.
        ({ won }) => ({ units: won ? store(draft) : 1 }),
      ),
    remove: (key, when) =>
      counted(
        { operation: "remove", keys: [key.sk] },
        () => table.remove(key, when),
        ({ outcome }) => ({ units: outcome === "removed" ? forget(key) : 1 }),
      ),
    query: (pk, range) =>
      counted(
        { operation: "query", keys: [range.prefix ?? range.from ?? ""] },
        () => table.query(pk, range),
        ({ items }) => ({ readUnits: readUnitsOf(items.reduce((sum, item) => sum + bytesOf(item), 0)) }),
      ),
    queryIndex: (index, pk, range) =>
      counted(
        { operation: "queryIndex", keys: [`${index} ${range.prefix ?? ""}`] },
        () => table.queryIndex(index, pk, range),
        ({ items }) => ({ readUnits: readUnitsOf(items.length * INDEX_ROW_BYTES) / 2 }),
      ),
    batchGet: (keys) =>
      counted(
        { operation: "batchGet", keys: keys.map(({ sk }) => sk) },
        () => table.batchGet(keys),
        (items) => ({
          readUnits: items.reduce((sum, item) => sum + readUnitsOf(bytesOf(item)), keys.length - items.length),
        }),
      ),
    batchPut: (drafts) =>
      counted(
        { operation: "batchPut", keys: drafts.map(({ sk }) => sk) },
        () => table.batchPut(drafts),
        () => ({ units: drafts.reduce((sum, draft) => sum + store(draft), 0) }),
      ),
    add: (key, field, delta, ceiling) =>
      counted(
        { operation: "add", keys: [key.sk] },
        () => table.add(key, field, delta, ceiling),
        () => ({ units: 1 }),
      ),
    now: () => table.now(),
    [Symbol.asyncDispose]: () => table[Symbol.asyncDispose](),
  };
}
