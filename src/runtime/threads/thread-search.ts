import { errorInfo } from "../../core/errors.ts";
import { threadId } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { isUnreadable, unlessUnreadable } from "../../core/unreadable.ts";
import type { Principal } from "../../core/principal.ts";
import { unlessNewer } from "../../core/newer-format.ts";
import { threadStatus } from "../../core/thread.ts";
import type { Thread } from "../../core/thread.ts";
import type { Deps } from "../deps.ts";
import type { ThreadSearch, ThreadUseCases, ThreadView } from "../runtime.ts";
import { contains, sorted } from "./search.ts";

/** A search looks at this many threads at most, the newest first; what is older is found by id. */
const SCANNED = 10_000;
const PAGE = 500;
/** Threads whose contents are read at once. */
const AT_ONCE = 16;

/** How a search reads what a header only refers to. */
export interface ThreadContents {
  view(thread: Thread): Promise<ThreadView>;
  values(thread: Thread): Promise<Json | null>;
}

type Found = Awaited<ReturnType<ThreadUseCases["search"]>>;

/** The page of matching threads, and how many match in all. */
export async function searchThreads(
  deps: Deps,
  principal: Principal,
  search: ThreadSearch,
  contents: ThreadContents,
): Promise<Found> {
  const matching: Thread[] = [];
  for await (const threads of search.ids ? byIds(deps, principal, search.ids) : newestFirst(deps, principal)) {
    const verdicts = await inBatches(threads, (thread) => unlessNewer(matches(deps, thread, search, contents)));
    matching.push(...threads.filter((_, i) => verdicts[i]));
  }
  const inOrder = sorted(matching, {
    by: SORT_BY[search.sortBy],
    id: (thread) => thread.threadId,
    order: search.sortOrder,
  });
  const page = inOrder.slice(search.offset, search.offset + search.limit);
  const views = await inBatches(page, (thread) => unlessNewer(shown(thread, contents)));
  return { items: views.filter((view) => view !== undefined), total: matching.length };
}

/** A list shows that a thread is there, also when nobody can read any more what it says. */
async function shown(thread: Thread, contents: ThreadContents): Promise<ThreadView> {
  try {
    return await contents.view(thread);
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    return { thread, metadata: {}, values: null, interrupts: {}, unreadable: errorInfo(error) };
  }
}

async function* newestFirst(deps: Deps, principal: Principal): AsyncIterable<readonly Thread[]> {
  let after: string | undefined;
  let scanned = 0;
  do {
    const range = { descending: true, limit: PAGE, ...(after === undefined ? {} : { after }) };
    const page = await deps.threads.list(principal.tenant, range);
    yield page.items;
    scanned += PAGE;
    after = page.next;
  } while (after !== undefined && scanned < SCANNED);
}

async function* byIds(deps: Deps, { tenant }: Principal, ids: readonly string[]): AsyncIterable<readonly Thread[]> {
  const found = await inBatches([...new Set(ids)], (id) =>
    unlessUnreadable(unlessNewer(deps.threads.get({ tenant, threadId: threadId(id) }))),
  );
  yield found.flatMap((stored) => (stored && !stored.value.deleted ? [stored.value] : []));
}

async function matches(deps: Deps, thread: Thread, search: ThreadSearch, contents: ThreadContents): Promise<boolean> {
  const { status, metadata, values } = search;
  if (status !== undefined && threadStatus(thread) !== status) return false;
  const has = async (wanted: JsonObject | undefined, read: () => Promise<Json | null>): Promise<boolean> =>
    wanted === undefined || contains((await unlessUnreadable(read())) ?? undefined, wanted);
  return (await has(metadata, () => deps.threads.metadata(thread))) && has(values, () => contents.values(thread));
}

async function inBatches<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let start = 0; start < items.length; start += AT_ONCE) {
    results.push(...(await Promise.all(items.slice(start, start + AT_ONCE).map(work))));
  }
  return results;
}

const SORT_BY: Readonly<Record<ThreadSearch["sortBy"], (thread: Thread) => string | number>> = {
  thread_id: (thread) => thread.threadId,
  status: threadStatus,
  created_at: (thread) => thread.createdAt,
  updated_at: (thread) => thread.updatedAt,
  state_updated_at: (thread) => thread.updatedAt,
};
