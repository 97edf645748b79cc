/**
 * The in-memory table as the processes of a simulation reach it: every call travels, takes effect at one instant that
 * the scheduler picks, and its answer travels back. What goes wrong on the way is drawn by `Chaos`.
 */
import { HoldpointError } from "../../src/core/errors.ts";
import type { Draft, Item, Key, PutResult, RemoveResult, Table } from "../../src/storage/table.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import type { Chaos, Fault } from "./chaos.ts";
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
  readonly onChange: (change: Change) => void;
  readonly onCrash: (process: SimProcess) => void;
  /** A process stands still, or waits for one call, for so long. */
  readonly onDelay: (process: SimProcess, kind: "frozen" | "stalled", ms: number) => void;
  /** Negative control: a repeated write is not recognised as one's own. */
  readonly forgetWriteIds?: boolean;
  /** Calls of one process are named here, in the order in which they are made. */
  readonly trace?: (line: string) => void;
}

export interface SimTable {
  /** The table as one process sees it. `local`: it can tell cheaply whether anything has changed, as a file can. */
  handle(process: SimProcess, options?: { readonly local?: boolean }): Table;
  /** The table itself, for who looks at it from outside: nothing goes wrong and no time passes. */
  readonly direct: Table;
}

export function createSimTable(options: SimTableOptions): SimTable {
  const { scheduler, chaos, onChange } = options;
  const inner = createMemoryTable({ now: () => scheduler.now() });
  const rows = createMemoryTable({ now: () => scheduler.now() });
  const mirror = new Map<string, Item>();
  let changes = 0;
  let writes = 0;

  const showLater = (key: Key, item: Item | undefined): void => {
    const name = nameOf(key);
    const show = (): void => {
      if (mirror.get(name) !== item) return;
      void (item
        ? rows.put({ ...key, attributes: {}, ...(item.index ? { index: item.index } : {}) }, "any")
        : rows.remove(key, "any"));
    };
    if (chaos.profile.indexLagMs === 0) show();
    else
      scheduler.after(chaos.latency() + (chaos.profile.indexLagMs * chaos.latency()) / chaos.profile.latencyMs, show);
  };

  const changed = (by: string, key: Key, after: Item | undefined): void => {
    const name = nameOf(key);
    const before = mirror.get(name);
    if (after) mirror.set(name, after);
    else mirror.delete(name);
    changes++;
    showLater(key, after);
    onChange({ at: scheduler.now(), by, key, before, after });
  };

  const put = async (
    by: string,
    draft: Draft,
    when: Parameters<Table["put"]>[1],
    writeId: string,
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

  const handle: SimTable["handle"] = (process, { local = false } = {}) => {
    const travel = createTravel(options, process);
    const skew = -scheduler.random.int(1000);
    return {
      get: (key) => travel(`get ${key.sk}`, () => inner.get(key)),
      put(draft, when, given) {
        const id = given?.writeId ?? `${process.name}.${++writes}`;
        let attempt = 0;
        return travel(`put ${draft.sk}`, () =>
          put(process.name, draft, when, options.forgetWriteIds === true ? `${id}.${++attempt}` : id),
        );
      },
      remove: (key, when) => travel(`remove ${key.sk}`, () => remove(process.name, key, when)),
      query: (pk, range) => travel(`query ${range.prefix ?? range.from ?? pk}`, () => inner.query(pk, range)),
      queryIndex: (index, pk, range) => travel(`index ${range.prefix ?? pk}`, () => rows.queryIndex(index, pk, range)),
      batchGet: (keys) => travel(`batchGet ${keys.length}`, () => inner.batchGet(keys)),
      async batchPut(drafts) {
        await Promise.all(
          drafts.map((draft) =>
            travel(`batchPut ${draft.sk}`, () => put(process.name, draft, "any", `${process.name}.${++writes}`)),
          ),
        );
      },
      add: (key, field, delta, ceiling) => travel(`add ${key.sk}`, () => inner.add(key, field, delta, ceiling)),
      now: () => scheduler.now() + skew,
      ...(local ? { changes: () => changes } : {}),
      [Symbol.asyncDispose]: async () => {},
    };
  };

  return { handle, direct: inner };
}

const READS = /^(get|query|batchGet) /;

type Travel = <T>(name: string, effect: () => Promise<T>) => Promise<T>;

function createTravel({ scheduler, chaos, onCrash, onDelay, trace }: SimTableOptions, process: SimProcess): Travel {
  let [calls, writes] = [0, 0];
  return (name, effect) => {
    if (!process.alive) return new Promise(() => {});
    const call = ++calls;
    const kind = name.startsWith("index ") ? "poll" : READS.test(name) ? "read" : "write";
    const fault = chaos.draw({ process: process.name, kind, write: kind === "write" ? ++writes : undefined });
    trace?.(`${process.name} #${call} ${name}${fault.kind === "none" ? "" : ` (${describeFault(fault)})`}`);
    return new Promise((resolve, reject) => {
      const answer = (settle: () => void): void => void scheduler.after(chaos.latency(), settle, process);
      const crash = (): void => {
        process.kill();
        onCrash(process);
      };
      const freeze = (ms: number): void => {
        process.freeze(ms);
        onDelay(process, "frozen", ms);
      };
      const refuse = (): void =>
        answer(() => reject(new HoldpointError("unavailable", "the table is away (simulated)")));
      const arrive = (): void => {
        if (fault.kind === "unavailable" && fault.when === "before") return refuse();
        const result = effect();
        result.catch(() => undefined);
        if (fault.kind === "unavailable") return refuse();
        if (fault.kind === "crash") return crash();
        if (fault.kind === "freeze" && fault.when === "after") freeze(fault.ms);
        if (fault.kind === "lost-reply") {
          const again = (): void => answer(() => void effect().then(resolve, reject));
          scheduler.after(fault.retryMs, () => void scheduler.after(chaos.latency(), again), process);
          return;
        }
        answer(() => void result.then(resolve, reject));
      };
      if (fault.kind === "crash" && fault.when === "before") return crash();
      if (fault.kind === "freeze" && fault.when === "before") {
        freeze(fault.ms);
        return void scheduler.after(0, () => void scheduler.after(chaos.latency(), arrive), process);
      }
      if (fault.kind === "slow") onDelay(process, "stalled", fault.ms);
      scheduler.after(chaos.latency() + (fault.kind === "slow" ? fault.ms : 0), arrive);
    });
  };
}

function describeFault(fault: Fault): string {
  const ms = "ms" in fault ? ` ${Math.round(fault.ms)} ms` : "";
  return `${fault.kind}${"when" in fault ? ` ${fault.when}` : ""}${ms}`;
}

const nameOf = (key: Key): string => `${key.pk}\u0000${key.sk}`;
