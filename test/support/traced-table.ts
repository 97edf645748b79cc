/** A table that notes every call, and that can die: from one call on nothing is applied, or nothing is answered. */
import type { Key, Table } from "../../src/storage/table.ts";

/** Thrown by a table whose process is dead; the test then starts another one. */
export class TableDied extends Error {}

export interface TracedCall {
  readonly method: "get" | "put" | "remove" | "query" | "queryIndex" | "batchGet" | "batchPut" | "add";
  /** First sort key or prefix that the call names. */
  readonly sk: string;
}

export interface TracedTable extends Table {
  readonly calls: TracedCall[];
  /** Calls whose sort key begins with one of these. */
  count(method: TracedCall["method"], ...prefixes: readonly string[]): number;
}

export interface TraceOptions {
  /** Dies at the n-th mutating call, from 1: before it is applied, or after it but before its answer. */
  readonly dieAt?: { readonly mutation: number; readonly when: "before" | "after" };
  /** Awaited before each call, to hold one back. */
  readonly before?: (call: TracedCall) => Promise<void> | void;
}

const MUTATIONS = new Set(["put", "remove", "batchPut", "add"]);

export function createTracedTable(inner: Table, options: TraceOptions = {}): TracedTable {
  const calls: TracedCall[] = [];
  let mutations = 0;
  let dead = false;
  const traced = async <T>(method: TracedCall["method"], sk: string, work: () => Promise<T>): Promise<T> => {
    if (dead) throw new TableDied();
    const call = { method, sk };
    await options.before?.(call);
    calls.push(call);
    const fatal = MUTATIONS.has(method) && ++mutations === options.dieAt?.mutation;
    if (!fatal) return work();
    dead = true;
    if (options.dieAt?.when === "after") await work();
    throw new TableDied();
  };
  const first = (keys: readonly Key[]): string => keys[0]?.sk ?? "";
  return {
    calls,
    count: (method, ...prefixes) =>
      calls.filter(
        (call) => call.method === method && (prefixes.length === 0 || prefixes.some((p) => call.sk.startsWith(p))),
      ).length,
    get: (key) => traced("get", key.sk, () => inner.get(key)),
    put: (draft, when, writeOptions) => traced("put", draft.sk, () => inner.put(draft, when, writeOptions)),
    remove: (key, when) => traced("remove", key.sk, () => inner.remove(key, when)),
    query: (pk, range) => traced("query", range.prefix ?? range.from ?? "", () => inner.query(pk, range)),
    queryIndex: (index, pk, range) => traced("queryIndex", pk, () => inner.queryIndex(index, pk, range)),
    batchGet: (keys) => traced("batchGet", first(keys), () => inner.batchGet(keys)),
    batchPut: (drafts) => traced("batchPut", first(drafts), () => inner.batchPut(drafts)),
    add: (key, field, delta, ceiling) => traced("add", key.sk, () => inner.add(key, field, delta, ceiling)),
    now: () => inner.now(),
    [Symbol.asyncDispose]: async () => {},
  };
}
