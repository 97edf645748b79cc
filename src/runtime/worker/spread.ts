/**
 * Workers that read the same rows begin with different ones: a claim shows in the index only after a while, and until then
 * each would try what another has just taken.
 */
import { sha256 } from "../../core/ids.ts";
import { readyTurn } from "../../storage/keys.ts";
import type { DueRow } from "./due-rows.ts";

/** Threads that became ready within one such stretch of time are taken in an order that is the worker's own. */
const STRETCH_MS = 10_000;

/** The rows in the order in which this worker is to try them: by priority, then by the stretch in which they became ready. */
export function spread(rows: readonly DueRow[], worker: string): readonly DueRow[] {
  const turnOf = ({ sort }: DueRow): string => {
    const { priority = 0, dueAt = 0 } = readyTurn(sort) ?? {};
    const stretch = Math.floor(dueAt / STRETCH_MS);
    return `${priority}#${String(stretch).padStart(12, "0")}#${sha256(`${worker} ${sort}`)}`;
  };
  return rows
    .map((row) => ({ row, turn: turnOf(row) }))
    .toSorted((a, b) => (a.turn < b.turn ? -1 : 1))
    .map(({ row }) => row);
}
