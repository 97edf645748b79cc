import type { Attributes, Key, Table } from "../../src/storage/table.ts";

/** Adds one to `n` of an item as everything in the product changes items: read, then put on what was read. */
export async function increment(table: Table, key: Key): Promise<void> {
  let current = await table.get(key);
  for (;;) {
    const draft = { ...key, attributes: { n: countOf(current) + 1 } };
    const result = await table.put(draft, current === undefined ? "absent" : { version: current.version });
    if (result.won) return;
    ({ current } = result);
  }
}

/** What the increments of an item have come to. */
export function countOf(item: { readonly attributes: Attributes } | undefined): number {
  const n = item?.attributes["n"];
  return typeof n === "number" ? n : 0;
}

/** Runs `times` increments, `lanes` of them at a time. */
export async function incrementMany(table: Table, key: Key, times: number, lanes: number): Promise<void> {
  let left = times;
  const lane = async (): Promise<void> => {
    while (left-- > 0) await increment(table, key);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}
