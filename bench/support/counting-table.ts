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
}

export interface CountingTable extends Table {
  /** The calls that have ended, in the order of their ends. */
  readonly calls: readonly Call[];
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
export function sequentialChain(calls: readonly Call[]): Call[] {
  const chain: Call[] = [];
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

/** Wraps a table; what it holds should have been written through the wrapper, or index rows count as new. */
export function createCountingTable(table: Table, { now, roundTrip }: CountingOptions): CountingTable {
  const calls: Call[] = [];
  const held = new Map<string, Draft>();
  const id = ({ pk, sk }: Key): string => JSON.stringify([pk, sk]);

  async function counted<T>(
    about: Pick<Call, "operation"> & { readonly keys: readonly string[] },
    call: () => Promise<T>,
    unitsOf: (result: T) => number = () => 0,
  ): Promise<T> {
    const start = now();
    await roundTrip?.();
    const result = await call();
    calls.push({ ...about, start, end: now(), units: unitsOf(result) });
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

  return {
    calls,
    get: (key) => counted({ operation: "get", keys: [key.sk] }, () => table.get(key)),
    put: (draft, when, options) =>
      counted(
        { operation: "put", keys: [draft.sk] },
        () => table.put(draft, when, options),
        // A condition that fails still costs a unit.
        ({ won }) => (won ? store(draft) : 1),
      ),
    remove: (key, when) =>
      counted(
        { operation: "remove", keys: [key.sk] },
        () => table.remove(key, when),
        ({ outcome }) => (outcome === "removed" ? forget(key) : 1),
      ),
    query: (pk, range) =>
      counted({ operation: "query", keys: [range.prefix ?? range.from ?? ""] }, () => table.query(pk, range)),
    queryIndex: (index, pk, range) =>
      counted({ operation: "queryIndex", keys: [`${index} ${range.prefix ?? ""}`] }, () =>
        table.queryIndex(index, pk, range),
      ),
    batchGet: (keys) => counted({ operation: "batchGet", keys: keys.map(({ sk }) => sk) }, () => table.batchGet(keys)),
    batchPut: (drafts) =>
      counted(
        { operation: "batchPut", keys: drafts.map(({ sk }) => sk) },
        () => table.batchPut(drafts),
        () => drafts.reduce((sum, draft) => sum + store(draft), 0),
      ),
    add: (key, field, delta, ceiling) =>
      counted(
        { operation: "add", keys: [key.sk] },
        () => table.add(key, field, delta, ceiling),
        () => 1,
      ),
    now: () => table.now(),
    [Symbol.asyncDispose]: () => table[Symbol.asyncDispose](),
  };
}
