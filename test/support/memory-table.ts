/**
 * The whole Table port in memory, for unit tests and the simulation. Every call is applied at one instant, between two
 * turns of the event loop, so it is linearizable by construction; time is whatever clock it is given.
 */
import { assertStorable, isList, itemBytes } from "../../src/storage/item-size.ts";
import type {
  Attributes,
  Draft,
  IndexName,
  IndexRow,
  Item,
  Key,
  Page,
  PutResult,
  Range,
  RemoveResult,
  Table,
  Value,
  When,
} from "../../src/storage/table.ts";

export interface MemoryTableOptions {
  /** The table's time, milliseconds. Defaults to a clock that stands still at 1,700,000,000,000. */
  readonly now?: () => number;
  /** Bytes after which a page ends, as DynamoDB's 1 MB does. */
  readonly pageBytes?: number;
}

export interface MemoryTable extends Table {
  /** Every live item, in the order of its keys: for assertions and invariant checkers. */
  dump(): readonly Item[];
}

const DEFAULT_NOW = 1_700_000_000_000;

/** A new, empty table. */
export function createMemoryTable(options: MemoryTableOptions = {}): MemoryTable {
  const now = options.now ?? (() => DEFAULT_NOW);
  const pageBytes = options.pageBytes ?? 1024 * 1024;
  const partitions = new Map<string, Map<string, Item>>();
  let lastVersion = 0;

  const find = (key: Key): Item | undefined => {
    const item = partitions.get(key.pk)?.get(key.sk);
    return item === undefined || (item.expiresAt !== undefined && item.expiresAt <= now()) ? undefined : item;
  };
  const store = (draft: Draft, writeId: string): Item => {
    assertStorable(draft);
    const item: Item = { ...copyDraft(draft), version: ++lastVersion, writeId };
    let partition = partitions.get(draft.pk);
    if (partition === undefined) partitions.set(draft.pk, (partition = new Map<string, Item>()));
    partition.set(draft.sk, item);
    return item;
  };
  const liveItems = (): Item[] =>
    [...partitions.values()].flatMap((p) => [...p.values()]).filter((item) => find(item) === item);

  const put = (draft: Draft, when: When, writeId: string): PutResult => {
    const current = find(draft);
    if (when !== "any") {
      if (current?.writeId === writeId) return { won: true, version: current.version };
      const met = when === "absent" ? current === undefined : current?.version === when.version;
      if (!met) return { won: false, current: current && copyItem(current) };
    }
    return { won: true, version: store(draft, writeId).version };
  };
  const remove = (key: Key, when: Exclude<When, "absent">): RemoveResult => {
    const current = find(key);
    if (current === undefined) return { outcome: "gone" };
    if (when !== "any" && current.version !== when.version) return { outcome: "lost", current: copyItem(current) };
    partitions.get(key.pk)?.delete(key.sk);
    lastVersion++;
    return { outcome: "removed" };
  };
  const query = (pk: string, range: Range): Page<Item> => {
    const rows = [...(partitions.get(pk)?.values() ?? [])]
      .filter((item) => find(item) === item)
      .map((item) => ({ sort: item.sk, cursor: item.sk, item }));
    const { page, next } = cut(rows, range, (row) => itemBytes(row.item), pageBytes);
    return {
      items: page.map((row) => copyItem(row.item)),
      ...(next === undefined ? {} : { next }),
    };
  };
  const queryIndex = (index: IndexName, pk: string, range: Range): Page<IndexRow> => {
    const rows = liveItems().flatMap((item) => {
      const entry = item.index?.[index];
      return entry?.pk === pk ? [{ sort: entry.sk, cursor: `${entry.sk}\u0000${item.pk}\u0000${item.sk}`, item }] : [];
    });
    const { page, next } = cut(rows, range, () => 200, pageBytes);
    const items = page.map(({ sort, item }): IndexRow => ({
      sort,
      key: { pk: item.pk, sk: item.sk },
    }));
    return { items, ...(next === undefined ? {} : { next }) };
  };

  return {
    get: async (key) => {
      const item = find(key);
      return item && copyItem(item);
    },
    put: async (draft, when, writeOptions) => put(draft, when, writeOptions?.writeId ?? `w${lastVersion + 1}`),
    remove: async (key, when) => remove(key, when),
    query: async (pk, range) => query(pk, range),
    queryIndex: async (index, pk, range) => queryIndex(index, pk, range),
    batchGet: async (keys) =>
      keys
        .map(find)
        .filter((item) => item !== undefined)
        .map(copyItem),
    batchPut: async (drafts) => {
      for (const draft of drafts) store(draft, `w${lastVersion + 1}`);
    },
    add: async (key, field, delta, ceiling) => {
      const current = find(key);
      const value = current?.attributes[field];
      const sum = (typeof value === "number" ? value : 0) + delta;
      if (ceiling !== undefined && sum > ceiling) return undefined;
      store(
        {
          ...(current ?? { pk: key.pk, sk: key.sk }),
          attributes: { ...current?.attributes, [field]: sum },
        },
        `w${lastVersion + 1}`,
      );
      return sum;
    },
    now,
    changes: () => lastVersion,
    dump: () =>
      liveItems()
        .toSorted((a, b) => compareBytes(a.pk, b.pk) || compareBytes(a.sk, b.sk))
        .map(copyItem),
    [Symbol.asyncDispose]: async () => {},
  };
}

interface Row {
  readonly sort: string;
  /** What tells rows of the same sort key apart; also the cursor. */
  readonly cursor: string;
}

function cut<R extends Row>(
  rows: readonly R[],
  range: Range,
  size: (row: R) => number,
  pageBytes: number,
): { page: R[]; next?: string } {
  const direction = range.descending === true ? -1 : 1;
  const { prefix, from, to, after } = range;
  const wanted = rows
    .filter(({ sort }) => prefix === undefined || sort.startsWith(prefix))
    .filter(({ sort }) => from === undefined || compareBytes(sort, from) >= 0)
    .filter(({ sort }) => to === undefined || compareBytes(sort, to) <= 0)
    .filter(({ cursor }) => after === undefined || compareBytes(cursor, after) * direction > 0)
    .toSorted((a, b) => (compareBytes(a.sort, b.sort) || compareBytes(a.cursor, b.cursor)) * direction);
  const page: R[] = [];
  let bytes = 0;
  for (const row of wanted) {
    if (page.length >= (range.limit ?? Infinity) || bytes >= pageBytes) return { page, ...nextOf(page) };
    page.push(row);
    bytes += size(row);
  }
  return { page };
}

const nextOf = (page: readonly Row[]): { next?: string } => {
  const last = page.at(-1);
  return last === undefined ? {} : { next: last.cursor };
};

/** Sort keys are ordered by their UTF-8 bytes, as in DynamoDB and SQLite; that is the order of their code points. */
function compareBytes(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    const surrogates = Number(isSurrogate(x)) - Number(isSurrogate(y));
    return surrogates || x - y;
  }
  return a.length - b.length;
}
const isSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdfff;

function copyValue(value: Value): Value {
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  if (isList(value)) return value.map(copyValue);
  if (typeof value === "object" && value !== null) return copyAttributes(value);
  return value;
}
const copyAttributes = (attributes: Attributes): Attributes =>
  Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, copyValue(value)]));
const copyDraft = (draft: Draft): Draft => ({
  pk: draft.pk,
  sk: draft.sk,
  attributes: copyAttributes(draft.attributes),
  ...(draft.index === undefined ? {} : { index: structuredClone(draft.index) }),
  ...(draft.expiresAt === undefined ? {} : { expiresAt: draft.expiresAt }),
});
const copyItem = (item: Item): Item => ({
  ...copyDraft(item),
  version: item.version,
  writeId: item.writeId,
});
