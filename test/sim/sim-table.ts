/**
 * The in-memory table as the processes of a simulation reach it: every call travels, takes effect at one instant that
 * the scheduler picks, and its answer travels back.
 */
import type { Draft, Item, Key, PutResult, RemoveResult, Table } from "../../src/storage/table.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import type { Chaos } from "./chaos.ts";
import type { Courier, TableCall } from "./courier.ts";
import type { Fault, Tally } from "./faults.ts";
import { createIndexView } from "./index-view.ts";
import type { Scheduler, SimProcess } from "./scheduler.ts";

/** An item that was changed, by whom. `after` is undefined when it was removed. */
export interface Change {
  readonly at: number;
  readonly by: string;
  readonly key: Key;
  readonly before: Item | undefined;
  readonly after: Item | undefined;
}

export interface SimTableOptions {
  readonly scheduler: Scheduler;
  readonly chaos: Chaos;
  readonly tally: Tally;
  /** How the calls of a process travel. */
  readonly courierOf: (process: SimProcess) => Courier;
  readonly onChange: (change: Change) => void;
  /** Negative control: a repeated write is not recognised as one's own. */
  readonly forgetWriteIds?: boolean;
}

export interface SimTable {
  /** The table as one process sees it. `local`: it can tell cheaply whether anything has changed, as a file can. */
  handle(process: SimProcess, options?: { readonly local?: boolean }): Table;
  /** The table itself, for who looks at it from outside: nothing goes wrong and no time passes. */
  readonly direct: Table;
}

export function createSimTable(options: SimTableOptions): SimTable {
  const { scheduler, chaos, tally, onChange } = options;
  const inner = createMemoryTable({ now: () => scheduler.now() });
  const random = scheduler.random.fork("index");
  const rows = createIndexView({ scheduler, chaos, tally, random });
  const mirror = new Map<string, Item>();
  /** Ready rows by what they said → the processes that were shown them. */
  const offers = new Map<string, Set<string>>();
  let changes = 0;

  const changed = (by: string, key: Key, after: Item | undefined): void => {
    const name = nameOf(key);
    const before = mirror.get(name);
    if (after) mirror.set(name, after);
    else mirror.delete(name);
    changes++;
    rows.changed(key, before, after, () => mirror.get(name) === after);
    onChange({ at: scheduler.now(), by, key, before, after });
  };

  const put = async (
    by: string,
    draft: Draft,
    { when, writeId }: { readonly when: Parameters<Table["put"]>[1]; readonly writeId: string },
  ): Promise<PutResult> => {
    const result = await inner.put(draft, when, { writeId });
    if (result.won && mirror.get(nameOf(draft))?.version !== result.version)
      changed(by, draft, { ...draft, version: result.version, writeId });
    return result;
  };
  const remove = async (by: string, key: Key, when: Parameters<Table["remove"]>[1]): Promise<RemoveResult> => {
    const result = await inner.remove(key, when);
    if (result.outcome === "removed") changed(by, key, undefined);
    return result;
  };
  const offered = (process: SimProcess, sort: string, key: Key): void => {
    if (!sort.startsWith("r#") || key.sk !== "H") return;
    const name = `${key.pk} ${sort}`;
    const seen = offers.get(name) ?? new Set();
    offers.set(name, seen);
    if (seen.size > 0 && !seen.has(process.name)) tally.count("one thread offered to several workers");
    seen.add(process.name);
  };

  const handle: SimTable["handle"] = (process, { local = false } = {}) => {
    const send = options.courierOf(process);
    const skew = -scheduler.random.int(1000);
    let writes = 0;
    const call = <T>(
      kind: TableCall<T>["kind"],
      name: string,
      keys: readonly Key[],
      effect: TableCall<T>["effect"],
    ): Promise<T> => send({ kind, name, keys, effect });
    return {
      get: (key) => call("read", `get ${key.sk}`, [key], () => inner.get(key)),
      put(draft, when, given) {
        const id = given?.writeId ?? `${process.name}.${++writes}`;
        let attempt = 0;
        return call("write", `put ${draft.sk}`, [draft], () =>
          put(process.name, draft, {
            when,
            writeId: options.forgetWriteIds === true ? `${id}.${++attempt}` : id,
          }),
        );
      },
      remove: (key, when) => call("write", `remove ${key.sk}`, [key], () => remove(process.name, key, when)),
      query: (pk, range) =>
        call("read", `query ${range.prefix ?? range.from ?? pk}`, [{ pk, sk: "" }], () => inner.query(pk, range)),
      queryIndex: (index, pk, range) =>
        call("poll", `index ${range.prefix ?? pk}`, [], async (fault) => {
          const page = await rows.page({ index, pk, range }, fault.kind === "index" ? fault.rows : undefined);
          for (const { sort, key } of page.items) offered(process, sort, key);
          return page;
        }),
      batchGet: (keys) => call("read", `batchGet ${keys.length}`, keys, () => inner.batchGet(keys)),
      batchPut(drafts) {
        const ids = drafts.map(() => `${process.name}.${++writes}`);
        return call("batch", `batchPut ${drafts.length}`, drafts, async (fault) => {
          for (const [i, draft] of drafts.entries())
            if (lands(fault, i, drafts.length)) await put(process.name, draft, { when: "any", writeId: ids[i] ?? "" });
        });
      },
      add: (key, field, delta, ceiling) =>
        call("write", `add ${key.sk}`, [key], () => inner.add(key, field, delta, ceiling)),
      now: () => scheduler.now() + skew,
      ...(local ? { changes: () => changes } : {}),
      [Symbol.asyncDispose]: async () => {},
    };
  };

  return { handle, direct: inner };
}

/** Whether an item of a batch lands: who dies, or is told that the table is away, may have got through with some. */
function lands(fault: Fault, index: number, count: number): boolean {
  const isTorn = fault.kind === "partial-batch" || fault.kind === "crash";
  return !isTorn || index % 2 === (count > 1 ? 1 : 0);
}

const nameOf = (key: Key): string => `${key.pk}\u0000${key.sk}`;
