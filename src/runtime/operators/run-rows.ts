/** Rows of runs from several partitions of the index in one order. */
import type { TenantId } from "../../core/ids.ts";
import { part, unpart } from "../../storage/keys.ts";
import { newestFirst } from "../../storage/newest-first.ts";
import type { TimeWindow } from "../../storage/newest-first.ts";
import { FAILED_CLASSES, RUN_CLASSES, classDigestOf } from "../../storage/run-rows.ts";
import type { RunClass, RunRow, RunRowsOf } from "../../storage/run-rows.ts";
import type { Deps } from "../deps.ts";
import type { RunFilter } from "./use-cases.ts";

export interface RowsAsked extends TimeWindow {
  readonly tenant: TenantId;
  readonly of: readonly RunRowsOf[];
  readonly pageRows: number;
}

/** Newest first, over all of them; no more is held than a page of each. */
export async function* mergedRows({ runs }: Pick<Deps, "runs">, asked: RowsAsked): AsyncIterable<RunRow> {
  const { tenant, of, pageRows, ...window } = asked;
  const sources = of.map((one) => {
    const pages = newestFirst((range) => runs.rows(tenant, one, range), window, pageRows);
    return { pages: pages[Symbol.asyncIterator](), rows: [] as RunRow[], at: 0 };
  });
  const fill = async (source: (typeof sources)[number]): Promise<void> => {
    while (source.at === source.rows.length) {
      const page = await source.pages.next();
      if (page.done) return void sources.splice(sources.indexOf(source), 1);
      source.rows = [...page.value];
      source.at = 0;
    }
  };
  await Promise.all(sources.map(fill));
  while (sources.length > 0) {
    const [first, ...others] = sources;
    if (!first) return;
    const newest = others.reduce((a, b) => (sortAt(b) > sortAt(a) ? b : a), first);
    const row = newest.rows[newest.at++];
    if (row) yield row;
    await fill(newest);
  }
}

const sortAt = ({ rows, at }: { readonly rows: readonly RunRow[]; readonly at: number }): string =>
  rows[at]?.sort ?? "";

const isFailed = (one: RunClass): boolean => FAILED_CLASSES.some((failed) => failed === one);

/** The classes in which runs may pass a filter. */
export function classesOf({ classes = RUN_CLASSES, errorClass, fingerprint, node }: RunFilter): readonly RunClass[] {
  const failedOnly = (errorClass ?? fingerprint ?? node) !== undefined;
  return failedOnly ? classes.filter(isFailed) : classes;
}

/** Whether a run may pass, as far as its row says. */
export function rowPasses(filter: RunFilter, { about }: RunRow): boolean {
  if (!about) return true;
  const { graphId, graphVersion, failure } = about;
  const { errorClass } = filter;
  const is = (wanted: string | undefined, said: string | undefined): boolean =>
    wanted === undefined || said === unpart(part(wanted));
  return (
    is(filter.graphId, graphId) &&
    is(filter.graphVersion, graphVersion) &&
    is(errorClass === undefined ? undefined : classDigestOf(errorClass), failure?.classDigest) &&
    is(filter.fingerprint, failure?.fingerprint) &&
    is(filter.node, failure?.node)
  );
}
