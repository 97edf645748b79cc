/** What waits in a worker's pool, for whoever watches it: a few pages of the `due` index, read when metrics are. */
import { holdId, tenantId, threadId } from "../../core/ids.ts";
import { isWait } from "../../core/hold.ts";
import {
  FUTURE_PREFIX,
  READY_PREFIX,
  dueShard,
  futureUntil,
  parseThreadPartition,
  readyTurn,
  threadKeys,
} from "../../storage/keys.ts";
import type { IndexRow, Range } from "../../storage/table.ts";
import type { Waiting } from "../../telemetry/metrics.ts";
import type { Deps } from "../deps.ts";

/** As far as is counted: more is too many in any case. */
const MOST = { threads: 10_000, reviews: 100 } as const;
const PAGE_ROWS = 1000;
const HEADER = "H";

/** Threads that wait, of all tenants; how long the longest has; and open reviews whose time is over. */
export async function readWaiting(deps: Deps): Promise<Waiting> {
  const now = deps.table.now();
  const ready = await rowsOf(deps, { prefix: READY_PREFIX }, MOST.threads);
  const since = ready.flatMap(({ key, sort }) => (key.sk === HEADER ? (readyTurn(sort)?.dueAt ?? []) : []));
  const past = await rowsOf(deps, { from: FUTURE_PREFIX, to: futureUntil(now) }, MOST.reviews);
  const overdue = await Promise.all(past.map((row) => isOverdueReview(deps, row, now)));
  return {
    threads: since.length,
    oldestMs: since.reduce((most, at) => Math.max(most, now - at), 0),
    reviewsPastDue: overdue.filter(Boolean).length,
  };
}

async function rowsOf({ table, settings }: Deps, range: Range, most: number): Promise<readonly IndexRow[]> {
  const rows: IndexRow[] = [];
  for (let shard = 0; shard < settings.shards && rows.length < most; shard++) {
    let after: string | undefined;
    do {
      const limit = Math.min(PAGE_ROWS, most - rows.length);
      const page = await table.queryIndex("due", dueShard(settings.pool, shard), {
        ...range,
        limit,
        ...(after === undefined ? {} : { after }),
      });
      rows.push(...page.items);
      after = page.next;
    } while (after !== undefined && rows.length < most);
  }
  return rows;
}

/** A row is a hint, and stands for reminders and escalations as well. */
async function isOverdueReview({ holds }: Deps, { key }: IndexRow, now: number): Promise<boolean> {
  const at = parseThreadPartition(key.pk);
  if (!at || !key.sk.startsWith(threadKeys.holdPrefix)) return false;
  const ref = { tenant: tenantId(at.tenant), threadId: threadId(at.threadId) };
  const hold = (await holds.get(ref, holdId(key.sk.slice(threadKeys.holdPrefix.length))))?.value;
  return hold !== undefined && !isWait(hold) && hold.state === "pending" && (hold.times?.settlesAt ?? Infinity) <= now;
}
