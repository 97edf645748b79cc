/** Reading an index from its newest row on. A place in it is the sort key of a row, which is good on any engine. */
import { timePart } from "./keys.ts";
import type { Page, Range } from "./table.ts";

export interface SortedRow {
  readonly sort: string;
}

/** Which rows, of an index whose sort keys begin with a time. */
export interface TimeWindow {
  /** Table times, both included. */
  readonly since?: number;
  readonly until?: number;
  /** Sort key of the row that was seen last: it and what is newer is passed over. */
  readonly before?: string;
}

/** Pages of rows, newest first. */
export async function* newestFirst<R extends SortedRow>(
  read: (range: Range) => Promise<Page<R>>,
  { since, until, before }: TimeWindow,
  pageRows: number,
): AsyncIterable<readonly R[]> {
  const end = before ?? (until === undefined ? undefined : `${timePart(until)}$`);
  let after: string | undefined;
  do {
    const page = await read({
      ...(since === undefined ? {} : { from: timePart(since) }),
      ...(end === undefined ? {} : { to: end }),
      descending: true,
      limit: pageRows,
      ...(after === undefined ? {} : { after }),
    });
    yield page.items.filter(({ sort }) => sort !== before);
    after = page.next;
  } while (after !== undefined);
}
