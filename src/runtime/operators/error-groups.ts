/** Failures by what they have in common, read from the rows of the index: one item is read a group, as its sample. */
import type { TenantId } from "../../core/ids.ts";
import type { TimeWindow } from "../../storage/newest-first.ts";
import { FAILED_CLASSES, placeOf } from "../../storage/run-rows.ts";
import type { RunRow } from "../../storage/run-rows.ts";
import type { Deps } from "../deps.ts";
import { mergedRows } from "./run-rows.ts";
import type { ErrorGroup } from "./use-cases.ts";

/** Failures that one page looks at. */
const ROWS_PER_PAGE = 10_000;

interface Tally {
  readonly newest: RunRow;
  count: number;
  firstSeen: number;
  readonly graphs: Set<string>;
  readonly versions: Set<string>;
}

export async function errorGroups(
  deps: Pick<Deps, "runs">,
  tenant: TenantId,
  { limit, ...window }: TimeWindow & { readonly limit: number },
): Promise<{ readonly groups: readonly ErrorGroup[]; readonly next?: string }> {
  const tallies = new Map<string, Tally>();
  const of = FAILED_CLASSES.map((one) => ({ class: one }));
  let read = 0;
  let last: RunRow | undefined;
  let next: string | undefined;
  for await (const row of mergedRows(deps, { tenant, of, pageRows: 1000, ...window })) {
    const print = row.about?.failure?.fingerprint;
    const isNew = print !== undefined && !tallies.has(print);
    if (last && (read >= ROWS_PER_PAGE || (isNew && tallies.size === limit))) {
      next = placeOf({ createdAt: last.at, runId: last.runId });
      break;
    }
    read++;
    last = row;
    if (print !== undefined) tally(tallies, print, row);
  }
  const groups = await withSamples(deps, [...tallies]);
  return { groups, ...(next === undefined ? {} : { next }) };
}

function tally(tallies: Map<string, Tally>, print: string, row: RunRow): void {
  const known = tallies.get(print) ?? {
    newest: row,
    count: 0,
    firstSeen: row.at,
    graphs: new Set(),
    versions: new Set(),
  };
  tallies.set(print, known);
  known.count++;
  known.firstSeen = row.at;
  if (row.about) known.graphs.add(row.about.graphId);
  if (row.about?.graphVersion) known.versions.add(row.about.graphVersion);
}

async function withSamples(
  { runs }: Pick<Deps, "runs">,
  tallies: readonly (readonly [string, Tally])[],
): Promise<readonly ErrorGroup[]> {
  const found = await runs.getMany(tallies.map(([, { newest }]) => ({ ...newest.ref, runId: newest.runId })));
  const samples = new Map(found.map(({ value }) => [value.runId, value]));
  return tallies.map(([print, { newest, count, firstSeen, graphs, versions }]) => {
    const run = samples.get(newest.runId);
    return {
      fingerprint: print,
      errorClass: run?.error?.name ?? "",
      node: newest.about?.failure?.node ?? "",
      count,
      firstSeen,
      lastSeen: newest.at,
      graphs: [...graphs],
      versions: [...versions],
      sample: run?.error && { run, error: run.error },
    };
  });
}
