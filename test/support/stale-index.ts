/** Remembers where items stood in the indexes, to show index pages as a replica that is behind would. */
import { compareKeys, intervalOf } from "../../src/storage/key-range.ts";
import type { IndexName, IndexRow, Item, Key, Page, Range, Table } from "../../src/storage/table.ts";

export interface IndexQuery {
  readonly name: IndexName;
  readonly pk: string;
  readonly range: Range;
}

export interface StaleIndex {
  /** Runs a write and remembers which rows it took away and which it brought. */
  during<T>(keys: readonly Key[], write: () => Promise<T>): Promise<T>;
  /** A page that shows about half of the rows that are gone, and hides about half of the newest. */
  stalePage(query: IndexQuery, random: () => number): Promise<Page<IndexRow>>;
}

interface Placed {
  readonly name: IndexName;
  readonly pk: string;
  readonly row: IndexRow;
}

/** More than these are forgotten, the oldest first. */
const MEMORY = 200;

export function createStaleIndex(inner: Table): StaleIndex {
  const gone = new Map<string, Placed>();
  const fresh = new Map<string, Placed>();

  const remember = (into: Map<string, Placed>, out: Map<string, Placed>, placed: Placed): void => {
    const name = nameOf(placed);
    out.delete(name);
    into.delete(name);
    into.set(name, placed);
    for (const oldest of into.keys()) if (into.size > MEMORY) into.delete(oldest);
  };

  return {
    async during(keys, write) {
      const before = (await inner.batchGet(keys)).flatMap(placesOf);
      const result = await write();
      const after = (await inner.batchGet(keys)).flatMap(placesOf);
      const [had, has] = [new Set(before.map(nameOf)), new Set(after.map(nameOf))];
      for (const placed of before) if (!has.has(nameOf(placed))) remember(gone, fresh, placed);
      for (const placed of after) if (!had.has(nameOf(placed))) remember(fresh, gone, placed);
      return result;
    },
    async stalePage({ name, pk, range }, random) {
      const { items, next } = await inner.queryIndex(name, pk, range);
      const hidden = new Set([...fresh.keys()].filter(() => random() < 0.5));
      const shown = [...gone.values()].filter((placed) => random() < 0.5 && placed.name === name && placed.pk === pk);
      const rows = [
        ...items.filter((row) => !hidden.has(nameOf({ name, pk, row }))),
        ...shown.map(({ row }) => row).filter((row) => allows(range, row.sort)),
      ].toSorted((a, b) => compareKeys(a.sort, b.sort) * (range.descending === true ? -1 : 1));
      return { items: rows.slice(0, range.limit), ...(next === undefined ? {} : { next }) };
    },
  };
}

const nameOf = ({ name, pk, row }: Placed): string => JSON.stringify([name, pk, row.sort, row.key.pk, row.key.sk]);

function placesOf(item: Item): Placed[] {
  const key = { pk: item.pk, sk: item.sk };
  return (["due", "list"] as const).flatMap((name) => {
    const entry = item.index?.[name];
    return entry === undefined ? [] : [{ name, pk: entry.pk, row: { sort: entry.sk, key } }];
  });
}

function allows(range: Range, sort: string): boolean {
  const { from, before } = intervalOf(range);
  return compareKeys(sort, from) >= 0 && (before === undefined || compareKeys(sort, before) < 0);
}
