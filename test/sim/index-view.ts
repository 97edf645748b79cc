/**
 * The secondary indexes as processes see them: rows appear some time after their items were written, and a page may show
 * rows that are gone, hide some that are there, and speak of items that never were.
 */
import { tenantId, threadId } from "../../src/core/ids.ts";
import { intervalOf } from "../../src/storage/key-range.ts";
import { parseThreadPartition, threadKeys } from "../../src/storage/keys.ts";
import type { IndexName, IndexRow, Item, Key, Page, Range } from "../../src/storage/table.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import type { Chaos } from "./chaos.ts";
import type { IndexFault, Tally } from "./faults.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

export interface IndexViewOptions {
  readonly scheduler: Scheduler;
  readonly chaos: Chaos;
  readonly tally: Tally;
  readonly random: Random;
}

export interface IndexQuery {
  readonly index: IndexName;
  readonly pk: string;
  readonly range: Range;
}

export interface IndexView {
  /** An item was written, or removed. `isCurrent`: asked again when the row is to appear. */
  changed(key: Key, before: Item | undefined, after: Item | undefined, isCurrent: () => boolean): void;
  page(query: IndexQuery, fault: IndexFault | undefined): Promise<Page<IndexRow>>;
}

/** So many rows that are gone are remembered of each partition. */
const MEMORY = 20;
const NOWHERE = threadId("99999999-9999-4999-8999-999999999999");

export function createIndexView({ scheduler, chaos, tally, random }: IndexViewOptions): IndexView {
  const rows = createMemoryTable({ now: () => scheduler.now() });
  const gone = new Map<string, IndexRow[]>();

  const forget = ({ pk, sk }: Key, item: Item): void => {
    for (const [index, place] of Object.entries(item.index ?? {})) {
      const name = `${index} ${place.pk}`;
      const known = gone.get(name) ?? [];
      known.push({ sort: place.sk, key: { pk, sk } });
      gone.set(name, known.slice(-MEMORY));
    }
  };

  const distorted = (query: IndexQuery, { items, next }: Page<IndexRow>, fault: IndexFault): Page<IndexRow> => {
    const shown = distort({ items, gone: gone.get(`${query.index} ${query.pk}`) ?? [], random }, query, fault);
    if (shown === items) return { items, ...(next === undefined ? {} : { next }) };
    tally.count(NAMES[fault]);
    const sorted = shown.toSorted((a, b) => (a.sort < b.sort ? -1 : 1) * (query.range.descending === true ? -1 : 1));
    return { items: sorted.slice(0, query.range.limit), ...(next === undefined ? {} : { next }) };
  };

  return {
    changed(key, before, after, isCurrent) {
      if (before) forget(key, before);
      const show = (): void => {
        if (!isCurrent()) return;
        void (after
          ? rows.put({ ...key, attributes: {}, ...(after.index ? { index: after.index } : {}) }, "any")
          : rows.remove(key, "any"));
      };
      const { indexLagMs } = chaos.profile;
      if (indexLagMs === 0) return show();
      if (after?.index) tally.count("an index row that appears late");
      scheduler.after(random.exponential(indexLagMs), show);
    },
    async page(query, fault) {
      const page = await rows.queryIndex(query.index, query.pk, query.range);
      return fault === undefined ? page : distorted(query, page, fault);
    },
  };
}

const NAMES = {
  stale: "an index row that is gone",
  missing: "an index row that is not there yet",
  phantom: "an index row of nothing",
  doubled: "an index row twice",
} as const satisfies Record<IndexFault, string>;

interface Shown {
  readonly items: readonly IndexRow[];
  readonly gone: readonly IndexRow[];
  readonly random: Random;
}

/** The same array when there is nothing to show or to hide. */
function distort({ items, gone, random }: Shown, { range }: IndexQuery, fault: IndexFault): readonly IndexRow[] {
  const { from, before } = intervalOf(range);
  const allowed = gone.filter(({ sort }) => sort >= from && (before === undefined || sort < before));
  switch (fault) {
    case "stale": {
      const there = new Set(items.map(({ sort }) => sort));
      const shown = allowed.filter(({ sort }) => !there.has(sort) && random.chance(0.5));
      return shown.length === 0 ? items : [...items, ...shown];
    }
    case "missing": {
      const left = items.filter(() => random.chance(0.5));
      return left.length === items.length ? items : left;
    }
    case "phantom": {
      const [row] = allowed.length > 0 ? [random.pick(allowed)] : items;
      return row === undefined ? items : [...items, { sort: row.sort, key: nothing(row.key, random) }];
    }
    case "doubled":
      return items.length === 0 ? items : [...items, random.pick(items)];
  }
}

/** An item that never was: of a thread that never was, or of one that is there. */
function nothing({ pk, sk }: Key, random: Random): Key {
  const thread = parseThreadPartition(pk);
  const isHeader = sk === "H" || random.chance(0.5);
  if (!thread || isHeader)
    return { pk: threadKeys.header({ tenant: tenantId(thread?.tenant ?? "acme"), threadId: NOWHERE }).pk, sk };
  return { pk, sk: `${sk.slice(0, 2)}${NOWHERE}` };
}
