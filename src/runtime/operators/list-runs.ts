/**
 * Runs of a tenant across its threads. What a page costs is bounded whatever the filter: so many rows of the index, and
 * as many items as are shown. A filter by class or fingerprint reads no other rows than its own.
 */
import { failureOf } from "../../core/fingerprint.ts";
import type { TenantId } from "../../core/ids.ts";
import type { Run } from "../../core/run.ts";
import type { TimeWindow } from "../../storage/newest-first.ts";
import { classOf, placeOf } from "../../storage/run-rows.ts";
import type { RunClass, RunRow, RunRowsOf } from "../../storage/run-rows.ts";
import type { Deps } from "../deps.ts";
import { classesOf, mergedRows, rowPasses } from "./run-rows.ts";
import type { RunCounts, RunFilter } from "./use-cases.ts";

/** Rows that one page looks at: where few of them pass, the page ends and its cursor goes on. */
const ROWS_PER_PAGE = 5000;
const ROWS_AT_ONCE = 500;
/** Rows that are counted of each class. */
const COUNTED_ROWS = 10_000;

export interface ListRuns extends RunFilter, TimeWindow {
  readonly limit: number;
}

export async function listRuns(
  deps: Pick<Deps, "runs">,
  tenant: TenantId,
  { limit, ...asked }: ListRuns,
): Promise<{ readonly items: readonly Run[]; readonly next?: string }> {
  const { since, until, before } = asked;
  const window = {
    ...(since !== undefined && { since }),
    ...(until !== undefined && { until }),
    ...(before && { before }),
  };
  const pageRows = isSelective(asked) ? ROWS_AT_ONCE : Math.min(ROWS_AT_ONCE, limit + 1);
  const items: Run[] = [];
  let waiting: RunRow[] = [];
  let read = 0;
  for await (const row of mergedRows(deps, { tenant, of: partitionsOf(asked), pageRows, ...window })) {
    read++;
    if (rowPasses(asked, row)) waiting.push(row);
    if (items.length + waiting.length < limit && read < ROWS_PER_PAGE) continue;
    items.push(...(await confirmed(deps, waiting, asked)));
    waiting = [];
    if (items.length === limit || read >= ROWS_PER_PAGE)
      return { items, next: placeOf({ createdAt: row.at, runId: row.runId }) };
  }
  items.push(...(await confirmed(deps, waiting, asked)));
  return { items };
}

/** Whether rows are passed over that the index could not. */
const isSelective = ({ graphId, graphVersion, errorClass, node }: RunFilter): boolean =>
  (graphId ?? graphVersion ?? errorClass ?? node) !== undefined;

function partitionsOf(filter: RunFilter): readonly RunRowsOf[] {
  const { fingerprint } = filter;
  if (fingerprint !== undefined) return [{ fingerprint }];
  return classesOf(filter).map((one) => ({ class: one }));
}

/** The runs as they are now, in the order of their rows: those that still are what they were looked for as. */
async function confirmed(
  deps: Pick<Deps, "runs">,
  rows: readonly RunRow[],
  filter: RunFilter,
): Promise<readonly Run[]> {
  const found = await deps.runs.getMany(rows.map(({ ref, runId }) => ({ ...ref, runId })));
  const byId = new Map(found.map(({ value }) => [value.runId, value]));
  return rows.flatMap(({ runId }) => byId.get(runId) ?? []).filter((run) => runPasses(filter, run));
}

function runPasses(filter: RunFilter, run: Run): boolean {
  const is = classOf(run);
  const failure = failureOf(run);
  const same = (wanted: string | undefined, found: string | undefined): boolean =>
    wanted === undefined || wanted === found;
  return (
    is !== undefined &&
    (filter.classes?.includes(is) ?? true) &&
    same(filter.graphId, run.graphId) &&
    same(filter.graphVersion, run.graphVersion) &&
    same(filter.errorClass, failure?.errorClass) &&
    same(filter.fingerprint, failure?.fingerprint) &&
    same(filter.node, failure?.node)
  );
}

/** By the rows of the index alone, and so as true as these are. */
export async function countRuns(
  deps: Pick<Deps, "runs">,
  tenant: TenantId,
  filter: RunFilter & TimeWindow,
): Promise<RunCounts> {
  const { since, until } = filter;
  const window = { ...(since !== undefined && { since }), ...(until !== undefined && { until }) };
  const counts = await Promise.all(
    classesOf(filter).map(async (one) => {
      let [count, read] = [0, 0];
      for await (const row of mergedRows(deps, { tenant, of: [{ class: one }], pageRows: 1000, ...window })) {
        if (++read > COUNTED_ROWS) break;
        if (rowPasses(filter, row)) count++;
      }
      return { class: one, count, isAll: read <= COUNTED_ROWS };
    }),
  );
  const byClass = Object.fromEntries(counts.map(({ class: one, count }) => [one, count])) as Record<RunClass, number>; // those asked for
  return { byClass, atLeast: counts.some(({ isAll }) => !isAll) };
}
