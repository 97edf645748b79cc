import { isWait } from "../core/hold.ts";
import type { Hold, HoldState } from "../core/hold.ts";
import { dueAt } from "../core/hold-time.ts";
import type { HoldId, TenantId } from "../core/ids.ts";
import { marksOf } from "../core/review-filter.ts";
import { plainSealers } from "./encryption/sealer.ts";
import type { Sealers } from "./encryption/sealer.ts";
import { duePartition, futureSort, listPartition, readySort, threadKeys, timePart } from "./keys.ts";
import type { ThreadRef } from "./keys.ts";
import { createRecords, numberOf, textOf, update } from "./records.ts";
import type { Codec, Records, Stored, Written } from "./records.ts";
import type { IndexEntries, Item, Key, Range, Table, Value } from "./table.ts";

/** What waits for people, and what waits for a time or another system. */
export type ListedHolds = "reviews" | "waits";

/** Hold items: a decision is one conditional write on one of them (I4). */
export interface Holds {
  get(ref: ThreadRef, hold: HoldId): Promise<Stored<Hold> | undefined>;
  getMany(ref: ThreadRef, holds: readonly HoldId[]): Promise<readonly Stored<Hold>[]>;
  put(hold: Hold, when: "absent" | { readonly version: number }): Promise<Written<Hold>>;
  update(ref: ThreadRef, hold: HoldId, change: (hold: Hold) => Hold | undefined): Promise<Stored<Hold> | undefined>;
  /** Every hold of the thread's generation. */
  ofThread(ref: ThreadRef, generation: number): Promise<readonly Stored<Hold>[]>;
  /** What the index says of a tenant's holds, in the order in which they were raised: a hint. */
  rows(tenant: TenantId, rows: RowRange): Promise<readonly HoldRow[]>;
  /** The holds that rows speak of, in their order. Without those of a later format, and those that are done by now, or open. */
  ofRows(rows: readonly HoldRow[], open: boolean): Promise<readonly Hold[]>;
}

export interface RowRange extends Pick<Range, "descending" | "limit"> {
  /** Reviews, unless it is given. */
  readonly kind?: ListedHolds;
  readonly open: boolean;
  /** The last row that was seen: those after it are meant. */
  readonly after?: string;
  /** Times between which they were raised, the first included. */
  readonly since?: number;
  readonly before?: number;
}

/** A row of the index of holds. */
export interface HoldRow {
  /** Its place: what to continue after. */
  readonly sort: string;
  readonly key: Key;
  /** See core/review-filter.ts; undefined in what an older version wrote. */
  readonly marks: string | undefined;
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
    content: {
      paths: [
        "value",
        "request",
        "digest",
        "decision",
        "kept",
        "votes",
        "comments",
        "reason",
        "resultSchema",
        "subscription",
      ],
      tenantOf: ({ tenant }) => tenant,
    },
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
    async rows(tenant, { kind = "reviews", open, after, since, before, descending = false, limit }) {
      const prefix = listPrefix(open);
      const rows = await table.queryIndex("list", listPartition(tenant, kind), {
        prefix,
        descending,
        ...(limit === undefined ? {} : { limit: limit + 1 }),
        ...rangeOf(prefix, { after, since, before, descending }),
      });
      const found = rows.items.filter(({ sort }) => sort !== after).slice(0, limit);
      return found.map(({ sort, key }) => ({ sort, key, marks: sort.split("#")[MARKS] }));
    },
    async ofRows(rows, open) {
      const found = await records.getMany(
        rows.map(({ key }) => key),
        "skip",
      );
      const byKey = new Map(found.map(({ value }) => [nameOf(threadKeys.hold(value, value.holdId)), value]));
      const holds = rows.flatMap(({ key }) => byKey.get(nameOf(key)) ?? []);
      return holds.filter(({ state }) => isOpen(state) === open);
    },
  };
}

const nameOf = ({ pk, sk }: Key): string => `${pk} ${sk}`;

/** Both ends of a range of the table are included: the row that was seen is taken out of what was read. */
function rangeOf(
  prefix: string,
  { after, since, before, descending }: { readonly [K in "after" | "since" | "before" | "descending"]: RowRange[K] },
): Pick<Range, "from" | "to"> {
  const earliest = since === undefined ? undefined : `${prefix}${timePart(since)}`;
  // `#` follows the time in every row.
  const latest = before === undefined ? undefined : `${prefix}${timePart(before)}`;
  const from = descending === true ? earliest : (after ?? earliest);
  const to = descending === true ? (after ?? latest) : latest;
  return { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
}

const isOpen = (state: HoldState): boolean => state === "pending";
const listPrefix = (open: boolean): string => (open ? "open#" : "done#");
const listSort = (hold: Hold): string =>
  `${listPrefix(isOpen(hold.state))}${timePart(hold.raisedAt)}#${hold.threadId}#${hold.holdId}#${marksOf(hold)}`;
/** Where the marks stand in it. */
const MARKS = 4;

const listOf = (hold: Hold): ListedHolds => (isWait(hold) ? "waits" : "reviews");

/** A decided one is found at once until its follow-up is done, an undecided one when its time comes (I11). */
function indexEntries(hold: Hold, shards: number): IndexEntries {
  const list = { pk: listPartition(hold.tenant, listOf(hold)), sk: listSort(hold) };
  const pk = duePartition(hold.pool, hold.tenant, shards);
  const row = { tenant: hold.tenant, priority: 5, subject: `${hold.threadId}/${hold.holdId}` };
  if (hold.followUpDue) return { list, due: { pk, sk: readySort({ ...row, dueAt: hold.updatedAt }) } };
  const at = dueAt(hold);
  return at === undefined ? { list } : { list, due: { pk, sk: futureSort({ ...row, dueAt: at }) } };
}
