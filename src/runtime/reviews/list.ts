/**
 * Lists of reviews. A page reads so many rows of the index and no more: among very many that are not meant it ends early,
 * and the next one goes on from there, so that no request reads a whole queue.
 */
import type { Hold } from "../../core/hold.ts";
import type { Principal } from "../../core/principal.ts";
import { isMeant, marksMatch } from "../../core/review-filter.ts";
import type { ReviewFilter } from "../../core/review-filter.ts";
import type { HoldRow, RowRange } from "../../storage/holds.ts";
import type { Deps } from "../deps.ts";
import type { ReviewCounts, ReviewPage } from "./use-cases.ts";

/** Rows that one page may pass over. */
const MAX_ROWS = 1_500;
/** Rows of one look: what is filtered out costs little, so looks grow while nothing is found. */
const FIRST_LOOK = 100;
const LONGEST_LOOK = 1_000;
/** Rows that counting may pass over. */
const MAX_COUNTED = 20_000;

export async function listReviews(
  deps: Pick<Deps, "holds" | "table">,
  { tenant }: Principal,
  { state, filter = {}, limit, after }: ReviewPage,
): Promise<{ readonly items: readonly Hold[]; readonly next?: string }> {
  const now = deps.table.now();
  const isOpen = state === "open";
  const meant = filterOf(state, filter);
  const matches = marksMatch(meant, now);
  const items: Hold[] = [];
  let at = after;
  let seen = 0;
  for (let look = Math.max(limit, FIRST_LOOK); items.length < limit; look = Math.min(look * 4, LONGEST_LOOK)) {
    const rows = await deps.holds.rows(tenant, {
      ...rangeOf(meant),
      open: isOpen,
      descending: !isOpen,
      limit: look,
      ...(at === undefined ? {} : { after: at }),
    });
    const [shown, last] = await shownOf(deps, rows, {
      isOpen,
      matches: ({ marks }) => matches(marks),
      room: limit - items.length,
      isMeant: (hold) => isMeant(meant, hold, now),
    });
    items.push(...shown);
    if (last === undefined) return { items };
    at = last.sort;
    seen += rows.length;
    if (last === rows.at(-1) && rows.length < look) return { items };
    if (seen >= MAX_ROWS) break;
  }
  return { items, ...(at === undefined ? {} : { next: at }) };
}

/** Of what is done nothing is snoozed any more, nor claimed. */
function filterOf(state: ReviewPage["state"], filter: ReviewFilter): ReviewFilter {
  return state === "done" ? { ...filter, snoozed: "with" } : filter;
}

const rangeOf = ({ raisedAfter, raisedBefore }: ReviewFilter): Pick<RowRange, "since" | "before"> => ({
  ...(raisedAfter === undefined ? {} : { since: raisedAfter }),
  ...(raisedBefore === undefined ? {} : { before: raisedBefore }),
});

interface Showing {
  readonly isOpen: boolean;
  readonly matches: (row: HoldRow) => boolean;
  readonly isMeant: (hold: Hold) => boolean;
  readonly room: number;
}

/** The holds of some rows for which there is room, and the last row that was looked at for them. */
async function shownOf(
  { holds }: Pick<Deps, "holds">,
  rows: readonly HoldRow[],
  { isOpen, matches, isMeant: isShown, room }: Showing,
): Promise<readonly [holds: readonly Hold[], last: HoldRow | undefined]> {
  const matching = rows.filter(matches);
  const some = matching.slice(0, room);
  const shown = (await holds.ofRows(some, isOpen)).filter(isShown);
  return [shown, some.length < matching.length ? some.at(-1) : rows.at(-1)];
}

/** Counts what the index says, without reading a hold. */
export async function countReviews(
  deps: Pick<Deps, "holds" | "table">,
  { tenant, subject }: Principal,
  filter: ReviewFilter,
): Promise<ReviewCounts> {
  const now = deps.table.now();
  const all = marksMatch({ ...filter, snoozed: "with" }, now);
  const asked = {
    shown: marksMatch({ snoozed: "without" }, now),
    mine: marksMatch({ assignee: subject }, now),
    free: marksMatch({ unassigned: true }, now),
  };
  const counts = { open: 0, assignedToMe: 0, unassigned: 0, snoozed: 0 };
  const byRisk = { low: 0, medium: 0, high: 0, none: 0 };
  let after: string | undefined;
  let seen = 0;
  for (;;) {
    const rows = await deps.holds.rows(tenant, {
      ...rangeOf(filter),
      open: true,
      limit: LONGEST_LOOK,
      ...(after === undefined ? {} : { after }),
    });
    for (const { marks = "" } of rows) {
      if (!all(marks)) continue;
      if (!asked.shown(marks)) {
        counts.snoozed++;
        continue;
      }
      counts.open++;
      if (asked.mine(marks)) counts.assignedToMe++;
      if (asked.free(marks)) counts.unassigned++;
      byRisk[riskOf(marks)]++;
    }
    after = rows.at(-1)?.sort;
    seen += rows.length;
    const isEnd = rows.length < LONGEST_LOOK;
    if (isEnd || seen >= MAX_COUNTED) return { ...counts, byRisk, atLeast: !isEnd };
  }
}

function riskOf(marks: string): keyof ReviewCounts["byRisk"] {
  const said = marks
    .split(".")
    .find((each) => each.startsWith("r"))
    ?.slice(1);
  return said === "low" || said === "medium" || said === "high" ? said : "none";
}
