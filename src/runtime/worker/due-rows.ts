/**
 * What stands in the `due` index for this worker's pool. Rows are hints: what may be done about one is decided on the
 * item that it speaks of.
 */
import { runId, threadId, tenantId } from "../../core/ids.ts";
import {
  EXPIRY_PREFIX,
  FUTURE_PREFIX,
  LEASE_PREFIX,
  READY_PREFIX,
  afterTenant,
  dueShard,
  expiryUntil,
  futureTime,
  futureUntil,
  leaseUntil,
  parseAuditKey,
  parseEffectKey,
  parseThreadPartition,
} from "../../storage/keys.ts";
import type { EffectRef } from "../../storage/effects.ts";
import type { ThreadRef } from "../../storage/keys.ts";
import type { IndexRow } from "../../storage/table.ts";
import type { Deps } from "../deps.ts";

/** A row of the index: the thread, and the sort key of the item in its partition. */
export interface DueRow {
  readonly ref: ThreadRef;
  readonly sk: string;
  /** Its place in the index, which is another one after every change that matters. */
  readonly sort: string;
  /** Id of an entry of the audit log, which then stands in the place of the thread. */
  readonly audit?: string;
  /** Of an entry of the effect journal, whose root then stands in the place of the thread. */
  readonly effect?: EffectRef;
}

export interface DueNow {
  /** In the order in which they are to be done within a tenant: by priority, then by the time at which they became ready. */
  readonly ready: readonly DueRow[];
  /** Future rows whose time has come, the earliest first: as many as a worker does before it looks again. */
  readonly past: readonly DueRow[];
  /** Table time of the next one that is about to come. */
  readonly nextAt: number | undefined;
}

/** Rows that are read at once. Of a tenant with more that are ready, only the first are seen. */
const PAGE_ROWS = 128;
/** Of future rows whose time has come, so many that there is something to be done about are read at once. */
const MOST_PAST = 1024;
/** A row that is due within this time is seen before, so that a worker that looks seldom is there when it is. */
const AHEAD_MS = 2_500;
/** Rows worked on at once, besides the threads that are advanced. */
const ROWS_AT_ONCE = 16;

/**
 * What is ready or has become due, but for what `skips` says that nothing is to be done about here. Both stand in one
 * range of the index, so that an idle worker pays one request, whatever is still to come. From tenant to tenant, so that
 * none with thousands of threads hides another's.
 */
export async function dueNow(deps: Deps, skips: (row: DueRow) => boolean): Promise<DueNow> {
  const now = deps.table.now();
  const range = { now, to: futureUntil(now + AHEAD_MS), skips };
  const rows = (await Promise.all(shards(deps).map((pk) => dueIn(deps, pk, range)))).flat();
  const timed = rows.flatMap((row) => ({ row, at: futureTime(row.sort) ?? 0 })).filter(({ row }) => !isReady(row));
  const past = timed.filter(({ at }) => at <= now).toSorted((a, b) => a.at - b.at);
  const next = timed.reduce((least, { at }) => (at > now ? Math.min(least, at) : least), Infinity);
  return {
    ready: rows.filter(isReady),
    past: past.map(({ row }) => row),
    nextAt: next === Infinity ? undefined : next,
  };
}

interface DueRange {
  readonly now: number;
  readonly to: string;
  readonly skips: (row: DueRow) => boolean;
}

async function dueIn({ table }: Deps, pk: string, { now, to, skips }: DueRange): Promise<readonly DueRow[]> {
  const rows: DueRow[] = [];
  let from = READY_PREFIX;
  let after: string | undefined;
  let past = 0;
  for (;;) {
    const page = await table.queryIndex("due", pk, {
      from,
      to,
      limit: PAGE_ROWS,
      ...(after === undefined ? {} : { after }),
    });
    const some = page.items.flatMap(dueRow).filter((row) => !skips(row));
    rows.push(...some);
    const last = page.items.at(-1);
    if (!last || page.next === undefined) return rows;
    past += some.filter((row) => !isReady(row)).length;
    // What comes after is later still.
    if (past >= MOST_PAST || (futureTime(last.sort) ?? 0) > now) return rows;
    // Nor does a tenant's page of what cannot be read here hide what can.
    if (isReady(last) && some.length > 0) from = afterTenant(last.sort);
    else after = page.next;
  }
}

const isReady = (row: Pick<IndexRow, "sort">): boolean => row.sort.startsWith(READY_PREFIX);

/**
 * Leases that end within `aheadMs` of now, by the table's time; all of them. They stand apart, so that whoever watches
 * them reads nothing of what waits for its time.
 */
export async function leaseRows(deps: Deps, aheadMs: number): Promise<readonly DueRow[]> {
  const now = deps.table.now();
  const range = { prefix: LEASE_PREFIX, to: leaseUntil(now + aheadMs) };
  // The version before this one puts leases among the future rows: one of its own is seen once it should have ended.
  const older = { prefix: FUTURE_PREFIX, to: futureUntil(now), limit: PAGE_ROWS };
  const rows: IndexRow[] = [];
  for (const pk of shards(deps)) {
    rows.push(...(await deps.table.queryIndex("due", pk, older)).items);
    let after: string | undefined;
    do {
      const page = await deps.table.queryIndex("due", pk, { ...range, ...(after === undefined ? {} : { after }) });
      rows.push(...page.items);
      after = page.next;
    } while (after !== undefined);
  }
  return rows.flatMap(dueRow).filter(({ sk }) => sk === "H");
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
  if (!parsed) return [...effectRow({ key, sort }), ...auditRow({ key, sort })];
  return [{ ref: { tenant: tenantId(parsed.tenant), threadId: threadId(parsed.threadId) }, sk: key.sk, sort }];
}

function effectRow({ key, sort }: IndexRow): readonly DueRow[] {
  const parsed = parseEffectKey(key);
  if (!parsed) return [];
  const effect = { tenant: tenantId(parsed.tenant), root: runId(parsed.root), token: parsed.token };
  return [{ ref: { tenant: effect.tenant, threadId: threadId(effect.root) }, sk: key.sk, sort, effect }];
}

function auditRow({ key, sort }: IndexRow): readonly DueRow[] {
  const parsed = parseAuditKey(key);
  if (!parsed) return [];
  const { tenant, id } = parsed;
  return [{ ref: { tenant: tenantId(tenant), threadId: threadId(id) }, sk: key.sk, sort, audit: id }];
}
