/**
 * A table that does to its callers what DynamoDB, a network and a dying process do, drawn from a source of random numbers
 * that is passed in: the same numbers give the same faults. Each call that comes in draws the same number of times whatever
 * happens to it, so that one fault more does not move all the others.
 */
import { HoldpointError } from "../../src/core/errors.ts";
import type { Key, Range, Table } from "../../src/storage/table.ts";
import { createStaleIndex } from "./stale-index.ts";

/** What can happen to a call, each with its probability between 0 and 1; 0 when not given. */
export interface Faults {
  /** Throttled, or no connection: `unavailable`, and nothing was applied. */
  readonly refused?: number;
  /** Applied, and then `unavailable`: the reply was lost for good. */
  readonly replyLost?: number;
  /** Applied, the reply lost, and repeated under the same write id, as the SDK does. */
  readonly repeated?: number;
  /** Some of a `batchPut` applied, and then `unavailable`. */
  readonly partialBatch?: number;
  /** An index page that shows rows as they were and hides new ones. */
  readonly staleIndex?: number;
}

export type Method = "get" | "put" | "remove" | "query" | "queryIndex" | "batchGet" | "batchPut" | "add";

export interface Call {
  /** From 1. */
  readonly n: number;
  readonly method: Method;
  readonly pk: string;
  /** Sort key, or prefix of a page; of a batch, the first. */
  readonly sk: string;
  readonly fault?: keyof Faults | "killed";
}

/** The process dies: before call `n` is applied, or after it but before its reply. From then on no call is applied. */
export interface Kill {
  readonly n: number;
  readonly when: "before" | "after";
  /** Whether calls of the dead never return, or throw `TableKilled`; `hang` by default. */
  readonly callers?: "hang" | "throw";
}

/** What a killed table throws when it is not told to hang. */
export class TableKilled extends Error {}

export interface FaultyTableOptions {
  /** Numbers in [0, 1). */
  readonly random: () => number;
  readonly faults?: Faults;
  readonly kill?: Kill;
  /** Told of each fault as it happens. */
  readonly onFault?: (fault: keyof Faults) => void;
}

export interface FaultyTable extends Table {
  readonly calls: readonly Call[];
  readonly killed: boolean;
  /** From now on nothing goes wrong any more, except for the dead. */
  heal(): void;
}

/** Wraps a table; closing it does not close the table inside. */
export function createFaultyTable(inner: Table, options: FaultyTableOptions): FaultyTable {
  const { random, kill } = options;
  const calls: Call[] = [];
  const index = createStaleIndex(inner);
  let faults = options.faults ?? {};
  let killed = false;

  const die = (): Promise<never> => {
    killed = true;
    if (kill?.callers === "throw") throw new TableKilled(`the process was killed at call ${kill.n}`);
    return new Promise<never>(() => {});
  };

  /** `choose` names the faults that the call can meet, in the order in which they are tried. */
  const call = async <T>(
    about: Pick<Call, "method" | "pk" | "sk">,
    choose: readonly (keyof Faults)[],
    apply: (fault: keyof Faults | undefined) => Promise<T>,
  ): Promise<T> => {
    const n = calls.length + 1;
    const drawn = draw(choose, faults, random);
    const dies = killed || (kill !== undefined && n >= kill.n);
    const fault = dies ? "killed" : drawn;
    calls.push({ n, ...about, ...(fault === undefined ? {} : { fault }) });
    if (dies) {
      if (!killed && kill?.when === "after") {
        // Dead for everyone else from this moment, although its last words are still on their way.
        killed = true;
        await apply(undefined);
      }
      return die();
    }
    if (drawn !== undefined) options.onFault?.(drawn);
    if (drawn === "refused") throw failure("was refused", about);
    const result = await apply(drawn);
    if (drawn === "replyLost") throw failure("was applied, its reply lost", about);
    return result;
  };

  return {
    calls,
    get killed() {
      return killed;
    },
    heal: () => void (faults = {}),
    get: (key) => call({ method: "get", ...keyOf(key) }, READ, () => inner.get(key)),
    put: (draft, when, writeOptions) =>
      call({ method: "put", ...keyOf(draft) }, WRITE, async (fault) => {
        const writeId = writeOptions?.writeId ?? `faulty-${calls.length}-${Math.floor(random() * 2 ** 48)}`;
        const put = () => index.during([draft], () => inner.put(draft, when, { writeId }));
        if (fault === "repeated") await put();
        return put();
      }),
    remove: (key, when) =>
      call({ method: "remove", ...keyOf(key) }, WRITE, async (fault) => {
        const remove = () => index.during([key], () => inner.remove(key, when));
        if (fault === "repeated") await remove();
        return remove();
      }),
    query: (pk, range) => call({ method: "query", pk, sk: startOf(range) }, READ, () => inner.query(pk, range)),
    queryIndex: (name, pk, range) =>
      call({ method: "queryIndex", pk, sk: startOf(range) }, ["refused", "staleIndex"], (fault) =>
        fault === "staleIndex" ? index.stalePage({ name, pk, range }, random) : inner.queryIndex(name, pk, range),
      ),
    batchGet: (keys) => call({ method: "batchGet", ...keyOf(keys[0]) }, READ, () => inner.batchGet(keys)),
    batchPut: (drafts) =>
      call({ method: "batchPut", ...keyOf(drafts[0]) }, ["refused", "replyLost", "partialBatch"], async (fault) => {
        if (fault !== "partialBatch") return index.during(drafts, () => inner.batchPut(drafts));
        const landed = drafts.filter(() => random() < 0.5);
        await index.during(landed, () => inner.batchPut(landed));
        throw failure(`landed with ${landed.length} of ${drafts.length} items`, {
          method: "batchPut",
          ...keyOf(drafts[0]),
        });
      }),
    add: (key, field, delta, ceiling) =>
      call({ method: "add", ...keyOf(key) }, WRITE, async (fault) => {
        if (fault === "repeated") await inner.add(key, field, delta, ceiling);
        return inner.add(key, field, delta, ceiling);
      }),
    now: () => inner.now(),
    changes: inner.changes,
    [Symbol.asyncDispose]: async () => {},
  };
}

const READ: readonly (keyof Faults)[] = ["refused"];
const WRITE: readonly (keyof Faults)[] = ["refused", "replyLost", "repeated"];

/** The first fault whose number comes up; every one of them is drawn. */
function draw(choose: readonly (keyof Faults)[], faults: Faults, random: () => number): keyof Faults | undefined {
  return choose.map((name) => (random() < (faults[name] ?? 0) ? name : undefined)).find((name) => name !== undefined);
}

const failure = (what: string, { method, pk, sk }: Pick<Call, "method" | "pk" | "sk">): HoldpointError =>
  new HoldpointError("unavailable", `the call ${method} ${pk} ${sk} ${what}`);

const keyOf = (key: Key | undefined): Key => ({ pk: key?.pk ?? "", sk: key?.sk ?? "" });
const startOf = (range: Range): string => range.prefix ?? range.from ?? "";
