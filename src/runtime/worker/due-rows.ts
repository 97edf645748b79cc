/**
 * What stands in the `due` index for this worker's pool. Rows are hints: what may be done about one is decided on the
 * item that it speaks of.
 */
import { runId, threadId, tenantId } from "../../core/ids.ts";
import {
  EXPIRY_PREFIX,
  FUTURE_PREFIX,
  READY_PREFIX,
  afterTenant,
  dueShard,
  expiryUntil,
  futureUntil,
  parseEffectKey,
  parseThreadPartition,
} from "../../storage/keys.ts";
import type { EffectRef } from "../../storage/effects.ts";
import type { ThreadRef } from "../../storage/keys.ts";
import type { IndexRow } from "../../storage/table.ts";
import type { Deps } from "../deps.ts";
import type { LeftToOthers } from "./left-to-others.ts";

/** A row of the index: the thread, and the sort key of the item in its partition. */
export interface DueRow {
  readonly ref: ThreadRef;
  readonly sk: string;
  /** Its place in the index, which is another one after every change that matters. */
  readonly sort: string;
  /** Of an entry of the effect journal, whose root then stands in the place of the thread. */
  readonly effect?: EffectRef;
}

export interface DueNow {
  /** In the order in which they are to be done within a tenant: by priority, then by the time at which they became ready. */
  readonly ready: readonly DueRow[];
  /** Future rows whose time has come. */
  readonly past: readonly DueRow[];
}

/** Rows that are read at once. Of a tenant with more that are ready, only the first are seen. */
const PAGE_ROWS = 128;
/** Rows worked on at once, besides the threads that are advanced. */
const ROWS_AT_ONCE = 16;

/**
 * What is ready or has become due, but for what is left to workers of a later version. Both stand in one range of the
 * index, so that an idle worker pays one request. From tenant to tenant, so that none with thousands of threads hides
 * another's.
 */
export async function dueNow(deps: Deps, left: LeftToOthers): Promise<DueNow> {
  const range = { to: futureUntil(deps.table.now()), left };
  const rows = (await Promise.all(shards(deps).map((pk) => dueIn(deps, pk, range)))).flat();
  return { ready: rows.filter(isReady), past: rows.filter((row) => !isReady(row)) };
}

async function dueIn(
  { table }: Deps,
  pk: string,
  { to, left }: { readonly to: string; readonly left: LeftToOthers },
): Promise<readonly DueRow[]> {
  const rows: DueRow[] = [];
  let from = READY_PREFIX;
  let after: string | undefined;
  for (;;) {
    const page = await table.queryIndex("due", pk, {
      from,
      to,
      limit: PAGE_ROWS,
      ...(after === undefined ? {} : { after }),
    });
    const some = page.items.flatMap(dueRow).filter(({ ref, sk }) => !left.has(ref, sk));
    rows.push(...some);
    const last = page.items.at(-1);
    if (!last || page.next === undefined) return rows;
    // Nor does a tenant's page of what cannot be read here hide what can.
    if (isReady(last) && some.length > 0) from = afterTenant(last.sort);
    else after = page.next;
  }
}

const isReady = (row: Pick<IndexRow, "sort">): boolean => row.sort.startsWith(READY_PREFIX);

/** Future rows that are due within `aheadMs` of now, by the table's time; all of them. */
export async function futureRows(deps: Deps, aheadMs: number): Promise<readonly DueRow[]> {
  const range = { prefix: FUTURE_PREFIX, to: futureUntil(deps.table.now() + aheadMs) };
  const rows: IndexRow[] = [];
  for (const pk of shards(deps)) {
    let after: string | undefined;
    do {
      const page = await deps.table.queryIndex("due", pk, { ...range, ...(after === undefined ? {} : { after }) });
      rows.push(...page.items);
      after = page.next;
    } while (after !== undefined);
  }
  return rows.flatMap(dueRow);
}

/** Threads that have expired: a page of each shard, the oldest first. */
export async function expiredRows(deps: Deps): Promise<readonly DueRow[]> {
  const range = { prefix: EXPIRY_PREFIX, to: expiryUntil(deps.table.now()), limit: PAGE_ROWS };
  const pages = await Promise.all(shards(deps).map((pk) => deps.table.queryIndex("due", pk, range)));
  return pages.flatMap(({ items }) => items).flatMap(dueRow);
}

/** Works on rows, some at a time. What cannot be done about one, whatever the reason, keeps nobody from the others. */
export async function eachRow(
  deps: Deps,
  rows: readonly DueRow[],
  work: (row: DueRow) => Promise<void>,
): Promise<void> {
  for (let start = 0; start < rows.length; start += ROWS_AT_ONCE) {
    const some = rows.slice(start, start + ROWS_AT_ONCE);
    await Promise.all(some.map((row) => work(row).catch((error: unknown) => report(deps, row, error))));
  }
}

function report({ log }: Deps, { ref, sk }: DueRow, error: unknown): void {
  log.warn({ thread: ref.threadId, item: sk, err: error }, "what is due could not be done; it stays due");
}

function shards({ settings }: Deps): readonly string[] {
  return Array.from({ length: settings.shards }, (_, shard) => dueShard(settings.pool, shard));
}

function dueRow({ key, sort }: IndexRow): readonly DueRow[] {
  const parsed = parseThreadPartition(key.pk);
  if (!parsed) return effectRow({ key, sort });
  return [{ ref: { tenant: tenantId(parsed.tenant), threadId: threadId(parsed.threadId) }, sk: key.sk, sort }];
}

function effectRow({ key, sort }: IndexRow): readonly DueRow[] {
  const parsed = parseEffectKey(key);
  if (!parsed) return [];
  const effect = { tenant: tenantId(parsed.tenant), root: runId(parsed.root), token: parsed.token };
  return [{ ref: { tenant: effect.tenant, threadId: threadId(effect.root) }, sk: key.sk, sort, effect }];
}
