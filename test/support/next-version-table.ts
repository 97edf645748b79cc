/**
 * The table as the next version of the service sees it: this version's code, whose records have a format 2. There `d` or
 * `z`, which hold what matters of an item, are called `d2` and `z2`; so who does not know format 2 cannot read it by
 * mistake. Items of the log say their own version and are left as they are.
 */
import type { Attributes, Item, Key, Table, Value } from "../../src/storage/table.ts";

export interface NextVersion {
  /** What it writes: of the two releases of a change the first reads 1 and 2 and writes 1, the second writes 2. */
  readonly writes: 1 | 2;
  /** Items whose format changes; all that are not of the log by default. */
  readonly of?: (key: Key) => boolean;
}

const NAMES: readonly (readonly [one: string, two: string])[] = [
  ["d", "d2"],
  ["z", "z2"],
];

export function createNextVersionTable<T extends Table>(table: T, { writes, of = () => true }: NextVersion): T {
  const read = <I extends Item | undefined>(item: I): I =>
    item?.attributes["v"] === 2 && !isOfLog(item) ? { ...item, attributes: toFormat1(item.attributes) } : item;
  const written = <D extends Key & { readonly attributes: Attributes }>(draft: D): D => {
    const changes = writes === 2 && draft.attributes["v"] === undefined && of(draft);
    return changes ? { ...draft, attributes: toFormat2(draft.attributes) } : draft;
  };
  return {
    ...table,
    get: async (key) => read(await table.get(key)),
    async put(draft, when, options) {
      const result = await table.put(written(draft), when, options);
      return result.won ? result : { ...result, current: read(result.current) };
    },
    async remove(key, when) {
      const result = await table.remove(key, when);
      return result.outcome === "lost" ? { ...result, current: read(result.current) } : result;
    },
    async query(pk, range) {
      const page = await table.query(pk, range);
      return { ...page, items: page.items.map(read) };
    },
    batchGet: async (keys) => (await table.batchGet(keys)).map(read),
    batchPut: (drafts) => table.batchPut(drafts.map(written)),
  };
}

/** Records, task writes and segments have formats of their own. */
const isOfLog = ({ sk }: Key): boolean => /^[CWS]#/.test(sk);

function renamed(attributes: Attributes, names: ReadonlyMap<string, string>): Record<string, Value> {
  return Object.fromEntries(Object.entries(attributes).map(([name, value]) => [names.get(name) ?? name, value]));
}

const toFormat2 = (attributes: Attributes): Attributes => ({ ...renamed(attributes, new Map(NAMES)), v: 2 });

function toFormat1(attributes: Attributes): Attributes {
  const { v: _, ...rest } = renamed(attributes, new Map(NAMES.map(([one, two]) => [two, one])));
  return rest;
}
