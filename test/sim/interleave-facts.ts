/** What is on the table, as the checker reads it: each item once, whatever the way on which it came to be there. */
import { sha256 } from "../../src/core/ids.ts";
import type { Hold } from "../../src/core/hold.ts";
import type { Run } from "../../src/core/run.ts";
import type { Thread } from "../../src/core/thread.ts";
import { threadKeys } from "../../src/storage/keys.ts";
import type { Item, Key } from "../../src/storage/table.ts";
import type { Fact } from "./facts.ts";
import { REF } from "./interleave-activities.ts";
import { digest } from "./interleave-process.ts";
import { nameOf } from "./interleave-table.ts";
import type { Applied, Items } from "./interleave-table.ts";
import { createRecorder } from "./recorder.ts";
import { EPOCH } from "./scheduler.ts";

/** The checker asks for the order of events among themselves, of records, and of everything else with new input. */
type Orders = Readonly<Record<"events" | "records" | "main", string>>;

/** Items, and what is remembered of how they were written: two that are the same have the same history for the checker. */
export interface Kept {
  readonly items: Items;
  /** Of the items whose order does not matter. */
  readonly sum: number;
  /** Of the writes that the checker speaks of, in their order. */
  readonly order: Orders;
}

const HEADER = nameOf(threadKeys.header(REF));

export const headerIn = (items: Items): Item | undefined => items.get(HEADER);

export function threadIn(header: Item | undefined): Thread | undefined {
  const fact = header && decoded.get(header);
  return fact?.kind === "header" ? fact.thread : undefined;
}

/** Items as facts of the checker: those that are there now, read once each. */
const decoded = new WeakMap<Item, Fact>();
const factOf = new Map<string, Fact | undefined>();

/** What a call says to the checker. */
export async function factsOf(by: string, { change }: Applied): Promise<readonly Fact[]> {
  if (!change || !isOrdered(change.key)) return [];
  const { key, before, after } = change;
  const name = `${nameOf(key)} ${digest(after)} ${after ? before !== undefined : digest(before)}`;
  if (!factOf.has(name)) {
    const recorder = createRecorder();
    recorder.onChange({ at: EPOCH, by, key, before, after });
    const [fact] = await recorder.facts();
    factOf.set(name, fact);
  }
  const fact = factOf.get(name);
  if (!fact) return [];
  if (after) decoded.set(after, fact);
  return [{ ...fact, by }];
}

/** The checker speaks of the order of these. */
const isOrdered = ({ pk, sk }: Key): boolean => /^(?:H$|[RAC]#)/.test(sk) || pk.includes("#e#");

const MODULUS = 2 ** 52;
const numberOf = (item: Item | undefined): number => (item ? Number.parseInt(digest(item).slice(0, 12), 16) : 0);

/** What is there after a call that said so. */
export function changed<S extends Kept>(state: S, { items, change }: Applied, facts: readonly Fact[]): S {
  if (!change) return state;
  const { key, before, after } = change;
  const [fact] = facts;
  if (!fact) return { ...state, items, sum: (state.sum + numberOf(after) + MODULUS - numberOf(before)) % MODULUS };
  const what = `${nameOf(key)} ${digest(after)}`;
  // A run that nobody has executed or named yet may have been there before or not.
  const isNew = fact.kind === "run" && before === undefined && fact.run.status === "pending";
  if (isNew) return { ...state, items, sum: (state.sum + numberOf(after)) % MODULUS };
  if (fact.kind === "events") return { ...state, items, order: chained(state.order, "events", what) };
  if (fact.kind !== "record") return { ...state, items, order: chained(state.order, "main", what) };
  const order = chained(state.order, "records", what);
  const { source } = fact.record;
  const drops = source === "input" || source === "update";
  return { ...state, items, order: drops ? chained(order, "main", what) : order };
}

export const chained = (order: Orders, which: keyof Orders, what: string): Orders => ({
  ...order,
  [which]: sha256(`${order[which]} ${what}`).slice(0, 16),
});

export function holdsIn(items: Items): readonly { readonly hold: Hold; readonly item: Item }[] {
  return [...items.values()].flatMap((item) => {
    const fact = item.sk.startsWith(threadKeys.holdPrefix) ? decoded.get(item) : undefined;
    return fact?.kind === "hold" ? [{ hold: fact.hold, item }] : [];
  });
}

export function runOf(items: Items, id: string): Run | undefined {
  const item = items.get(nameOf(threadKeys.run(REF, id)));
  const fact = item && decoded.get(item);
  return fact?.kind === "run" ? fact.run : undefined;
}

/** The run that is executed was asked to stop. */
export function isToStop(items: Items): boolean {
  const header = headerIn(items);
  const fact = header && decoded.get(header);
  const active = fact?.kind === "header" && fact.thread.active?.kind === "run" ? fact.thread.active.entry : undefined;
  return active !== undefined && runOf(items, active.runId)?.cancelAsked !== undefined;
}
