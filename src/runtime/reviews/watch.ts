/**
 * A list of what is open, kept up to date: an inbox is told what has come and what has gone. The index is read again at a
 * constant pace, and what has another place in it than before has changed; nothing of it is kept but those places.
 */
import type { Hold } from "../../core/hold.ts";
import type { Principal } from "../../core/principal.ts";
import { isMeant, marksMatch } from "../../core/review-filter.ts";
import type { ReviewFilter } from "../../core/review-filter.ts";
import type { HoldRow } from "../../storage/holds.ts";
import type { Deps } from "../deps.ts";
import type { ReviewChange } from "./use-cases.ts";

const POLL_MS = 1_000;
/** Reviews that one watcher is told about: the oldest that are meant. */
const MAX_WATCHED = 500;
const MAX_ROWS = 5_000;
const LOOK = 1_000;

type WatchDeps = Pick<Deps, "holds" | "table" | "clock">;

interface Watching {
  readonly filter: ReviewFilter;
  readonly signal: AbortSignal;
}

export async function* watchReviews(
  deps: WatchDeps,
  principal: Principal,
  { filter, signal }: Watching,
): AsyncGenerator<ReviewChange, void, undefined> {
  /** Review id → its place in the index. */
  let known = new Map<string, string>();
  for (let isFirst = true; !signal.aborted; isFirst = false) {
    const now = deps.table.now();
    const { rows, truncated } = await rowsOf(deps, principal, filter);
    const places = new Map(rows.map((row) => [idOf(row), row.sort]));
    const changed = rows.filter((row) => known.get(idOf(row)) !== row.sort);
    const holds = await deps.holds.ofRows(changed, true);
    for (const hold of holds.filter((each) => isMeant(filter, each, now))) yield { kind: "review", hold };
    for (const id of known.keys()) if (!places.has(id)) yield { kind: "gone", id };
    for (const row of changed) if (!isRead(row, holds)) places.delete(idOf(row));
    known = places;
    if (isFirst) yield { kind: "ready", truncated };
    if (!signal.aborted) await deps.clock.sleep(POLL_MS, signal);
  }
}

/** A row whose hold is done already says so once it has left the index, if it was ever shown. */
const isRead = (row: HoldRow, holds: readonly Hold[]): boolean =>
  holds.some((hold) => `${hold.threadId}.${hold.holdId}` === idOf(row));

function idOf({ sort }: HoldRow): string {
  const [, , thread = "", hold = ""] = sort.split("#");
  return `${thread}.${hold}`;
}

async function rowsOf(
  deps: WatchDeps,
  { tenant }: Principal,
  filter: ReviewFilter,
): Promise<{ readonly rows: readonly HoldRow[]; readonly truncated: boolean }> {
  const matches = marksMatch(filter, deps.table.now());
  const found: HoldRow[] = [];
  let after: string | undefined;
  for (let seen = 0; ;) {
    const rows = await deps.holds.rows(tenant, { open: true, limit: LOOK, ...(after === undefined ? {} : { after }) });
    found.push(...rows.filter(({ marks }) => matches(marks)));
    seen += rows.length;
    after = rows.at(-1)?.sort;
    const isEnd = rows.length < LOOK;
    if (!isEnd && found.length < MAX_WATCHED && seen < MAX_ROWS) continue;
    return { rows: found.slice(0, MAX_WATCHED), truncated: !isEnd || found.length > MAX_WATCHED };
  }
}
