import type { Hold, HoldState } from "../core/hold.ts";
import type { HoldId, TenantId } from "../core/ids.ts";
import { plainSealers } from "./encryption/sealer.ts";
import type { Sealers } from "./encryption/sealer.ts";
import { duePartition, listPartition, readySort, threadKeys, timePart } from "./keys.ts";
import type { ThreadRef } from "./keys.ts";
import { createRecords, numberOf, textOf, update } from "./records.ts";
import type { Codec, Records, Stored, Written } from "./records.ts";
import type { IndexEntries, Item, Page, Range, Table, Value } from "./table.ts";

/** Hold items: a decision is one conditional write on one of them (I4). */
export interface Holds {
  get(ref: ThreadRef, hold: HoldId): Promise<Stored<Hold> | undefined>;
  getMany(ref: ThreadRef, holds: readonly HoldId[]): Promise<readonly Stored<Hold>[]>;
  put(hold: Hold, when: "absent" | { readonly version: number }): Promise<Written<Hold>>;
  update(ref: ThreadRef, hold: HoldId, change: (hold: Hold) => Hold | undefined): Promise<Stored<Hold> | undefined>;
  /** Every hold of the thread's generation. */
  ofThread(ref: ThreadRef, generation: number): Promise<readonly Stored<Hold>[]>;
  /** Holds of a tenant in the order in which they were raised; confirmed on the base items. Without those of a later format. */
  list(tenant: TenantId, open: boolean, range: Range): Promise<Page<Hold>>;
}

/** `sealers`: what encrypts what was shown and answered; nothing by default. */
export function createHolds(table: Table, shards: number, sealers: Sealers = plainSealers): Holds {
  const codec: Codec<Hold> = {
    names: ["g", "s", "f", "d"],
    key: (hold: Hold) => threadKeys.hold(hold, hold.holdId),
    encode: (hold): Record<string, Value> => ({
      g: hold.generation,
      s: hold.state,
      f: hold.fence,
      d: JSON.stringify(hold),
    }),
    decode: (item: Item) => ({ ...(JSON.parse(textOf(item, "d")) as Hold), generation: numberOf(item, "g") }),
    index: (hold) => indexEntries(hold, shards),
    content: { paths: ["value", "request", "digest", "decision", "reason"], tenantOf: ({ tenant }) => tenant },
  };
  const records: Records<Hold> = createRecords(table, codec, sealers);
  return {
    get: (ref, hold) => records.get(threadKeys.hold(ref, hold)),
    getMany: (ref, holds) => records.getMany(holds.map((hold) => threadKeys.hold(ref, hold))),
    put: (hold, when) => records.put(hold, when),
    update: (ref, hold, change) => update(records, threadKeys.hold(ref, hold), change),
    async ofThread(ref, generation) {
      const found: Stored<Hold>[] = [];
      let after: string | undefined;
      do {
        const page = await records.query(threadKeys.partition(ref), {
          prefix: threadKeys.holdPrefix,
          ...(after === undefined ? {} : { after }),
        });
        found.push(...page.items.filter((stored) => stored.value.generation === generation));
        after = page.next;
      } while (after !== undefined);
      return found;
    },
    async list(tenant, open, range) {
      const rows = await table.queryIndex("list", listPartition(tenant, "reviews"), {
        ...range,
        prefix: listPrefix(open),
      });
      const found = await records.getMany(
        rows.items.map((row) => row.key),
        "skip",
      );
      const bySort = new Map(found.map(({ value }) => [listSort(value), value]));
      return { ...rows, items: rows.items.flatMap((row) => bySort.get(row.sort) ?? []) };
    },
  };
}

const isOpen = (state: HoldState): boolean => state === "pending";
const listPrefix = (open: boolean): string => (open ? "open#" : "done#");
const listSort = (hold: Hold): string =>
  `${listPrefix(isOpen(hold.state))}${timePart(hold.raisedAt)}#${hold.threadId}#${hold.holdId}`;

function indexEntries(hold: Hold, shards: number): IndexEntries {
  const list = { pk: listPartition(hold.tenant, "reviews"), sk: listSort(hold) };
  if (!hold.followUpDue) return { list };
  const at = { tenant: hold.tenant, priority: 5, dueAt: hold.updatedAt, subject: `${hold.threadId}/${hold.holdId}` };
  return { list, due: { pk: duePartition(hold.pool, hold.tenant, shards), sk: readySort(at) } };
}
