/**
 * Tells readers when a thread may have something new: one poll per followed thread, however many readers it has, and
 * one look at a table that tells of changes for all threads of the process. A signal is only a reason to look; what a
 * reader sees comes from the table, and what several readers ask for at once is read once.
 */
import pLimit from "p-limit";
import { numbered } from "../../core/event.ts";
import type { NumberedFrame } from "../../core/event.ts";
import type { RunId } from "../../core/ids.ts";
import type { Run } from "../../core/run.ts";
import { endOf } from "../../storage/events.ts";
import type { EventsEnd } from "../../storage/events.ts";
import { threadKeys } from "../../storage/keys.ts";
import type { ThreadRef } from "../../storage/keys.ts";
import type { Item } from "../../storage/table.ts";
import { createChangeTicker } from "./change-ticker.ts";
import type { ChangeTicker } from "./change-ticker.ts";
import type { Deps } from "../deps.ts";

/** A page of a thread's frames. */
export interface FramePage {
  readonly frames: readonly NumberedFrame[];
  readonly more: boolean;
}

/** One reader's interest in a run of a thread. */
export interface Tail extends Disposable {
  /**
   * Resolves when something may have changed since it last resolved, or when `signal` aborts. Gives the run as this
   * process has just written it, when it did.
   */
  next(signal: AbortSignal): Promise<Run | undefined>;
  /** The run, as the look that woke this reader saw it, or read since: what changes after that wakes it again. */
  run(): Promise<Run | undefined>;
  /**
   * Frames from a number on. Readers that have come equally far share one reading; who has seen that the run has ended
   * shares only what was read after somebody had seen that, since those are all there are.
   */
  read(from: number, hasEnded: boolean): Promise<FramePage>;
}

/** What a reader waits for: the end of a run, or its frames as well. */
export type Interest = "end" | "frames";

export interface Tails {
  open(run: Run, interest: Interest): Tail;
}

/** Pace of the polls of a table that does not tell of changes: slower the longer nothing came. */
const POLL_MS = { busy: 50, idle: 3000 } as const;
const SLOWING = 20;
/** Pages that are shared at once: readers that have fallen behind further read for themselves. */
const SHARED_PAGES = 4;
/** How many of those read at the same time: what is under way is held by each, whoever holds the same. */
const OWN_READINGS = 8;

interface Reader {
  readonly runId: RunId;
  readonly interest: Interest;
  fresh: boolean;
  run: Run | undefined;
  wake: () => void;
}

interface Followed {
  readonly ref: ThreadRef;
  readonly generation: number;
  readonly readers: Set<Reader>;
  readonly stop: AbortController;
  /** What was read since the last change, by the number from which on, and the run that had ended by then. */
  readonly pages: Map<string, Promise<FramePage>>;
  readonly runs: Map<string, Promise<Run | undefined>>;
  /** Somebody has asked for frames: a run has been begun, so that the log goes on, or is about to. */
  isRead: boolean;
}

export function createTails(deps: Deps): Tails {
  const followed = new Map<string, Followed>();
  const ticker = createChangeTicker(deps);
  const own = pLimit(OWN_READINGS);
  return {
    open(run, interest) {
      const { generation, runId, tenant, threadId } = run;
      const name = `${tenant} ${threadId} ${generation}`;
      const reader: Reader = { runId, interest, fresh: false, run: undefined, wake: () => undefined };
      const entry = followed.get(name) ?? start(deps, ticker, { ref: { tenant, threadId }, generation });
      followed.set(name, entry);
      entry.readers.add(reader);
      return {
        async next(signal) {
          if (!reader.fresh && !signal.aborted) await woken(reader, signal);
          reader.fresh = false;
          const written = reader.run;
          reader.run = undefined;
          return written;
        },
        run: () => shared(entry.runs, runId, async () => (await deps.runs.get(entry.ref, runId))?.value),
        read(from, hasEnded) {
          entry.isRead = true;
          const page = (): Promise<FramePage> => deps.events.read(entry.ref, generation, from);
          const key = hasEnded ? `${from} ${runId}` : `${from}`;
          return entry.pages.size < SHARED_PAGES || entry.pages.has(key) ? shared(entry.pages, key, page) : own(page);
        },
        [Symbol.dispose]() {
          entry.readers.delete(reader);
          if (entry.readers.size > 0) return;
          entry.stop.abort();
          followed.delete(name);
        },
      };
    },
  };
}

function woken(reader: Reader, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      signal.removeEventListener("abort", done);
      resolve();
    };
    reader.wake = done;
    signal.addEventListener("abort", done, { once: true });
  });
}

function shared<T>(known: Map<string, Promise<T>>, key: string, ask: () => Promise<T>): Promise<T> {
  const before = known.get(key);
  if (before) return before;
  const answer = ask();
  known.set(key, answer);
  // A failure is its readers' to hear, and no answer for the next.
  answer.catch(() => known.delete(key));
  return answer;
}

function start(
  deps: Deps,
  ticker: ChangeTicker,
  at: { readonly ref: ThreadRef; readonly generation: number },
): Followed {
  const entry: Followed = {
    ...at,
    readers: new Set(),
    stop: new AbortController(),
    pages: new Map(),
    runs: new Map(),
    isRead: false,
  };
  const wakeAll = (what?: Run | "frames" | Seen): void => {
    entry.pages.clear();
    entry.runs.clear();
    if (typeof what === "object" && "batch" in what) hand(deps, entry, what);
    for (const reader of entry.readers) {
      if (what === "frames" && reader.interest !== "frames") continue;
      reader.fresh = true;
      if (typeof what === "object" && "runId" in what && what.runId === reader.runId) reader.run = what;
      reader.wake();
    }
  };
  const hints = deps.hints.onChanged(at.ref, wakeAll);
  const { signal } = entry.stop;
  const looks = deps.table.changes ? ticker.onChange(signal) : paced(deps, signal);
  void poll(deps, entry, { looks, wakeAll }).finally(() => hints[Symbol.dispose]());
  return entry;
}

/**
 * Readers need not read again what a look has read. Who has seen that its run has ended reads for itself: this was read
 * at the same time as the run.
 */
function hand({ runs }: Deps, entry: Followed, seen: Seen): void {
  const { batch } = seen;
  if (batch) entry.pages.set(`${batch.from}`, Promise.resolve({ frames: batch.frames, more: false }));
  for (const item of seen.runs) {
    const run = Promise.try(() => runs.of(item));
    // An item that cannot be read here is its readers' to hear of.
    run.catch(() => undefined);
    entry.runs.set(item.sk.slice(threadKeys.runPrefix.length), run);
  }
}

/** When to look. `found`: the last look found something. */
type Looks = AsyncGenerator<void, void, boolean>;

/** Where the table does not tell of changes. */
async function* paced({ clock, ids }: Deps, signal: AbortSignal): Looks {
  let lastFound = clock.monotonic();
  while (!signal.aborted) {
    const quiet = clock.monotonic() - lastFound;
    const jitter = 0.875 + Number.parseInt(ids.token(1), 16) / 1024;
    await clock.sleep(Math.min(POLL_MS.idle, POLL_MS.busy + quiet / SLOWING) * jitter, signal);
    if (signal.aborted) return;
    if (yield) lastFound = clock.monotonic();
  }
}

async function poll(
  deps: Deps,
  entry: Followed,
  { looks, wakeAll }: { readonly looks: Looks; readonly wakeAll: (seen: Seen) => void },
): Promise<void> {
  const look = createLook(deps, entry);
  let found = false;
  for (;;) {
    const { done } = await looks.next(found);
    if (done) return;
    found = false;
    let seen: Seen | undefined;
    do {
      // A table that is away is looked at again; readers hear of it when they read themselves.
      seen = await look().catch(() => undefined);
      if (seen) wakeAll(seen);
      found ||= seen !== undefined;
      // Where one batch has come another may stand: who says much says it faster than it is asked for.
    } while (seen?.batch && !entry.stop.signal.aborted);
  }
}

/** What a look has found, and has in hand already. */
interface Seen {
  readonly batch: { readonly from: number; readonly frames: readonly NumberedFrame[] } | undefined;
  /** Items of the runs that are followed. */
  readonly runs: readonly Item[];
}

/**
 * One request: the items of the runs that are followed, and the batch that comes next, whose key is known. Undefined when
 * there is nothing new.
 */
function createLook({ table, events }: Deps, entry: Followed): () => Promise<Seen | undefined> {
  const { ref, generation, readers } = entry;
  let end: EventsEnd | undefined;
  let versions: ReadonlyMap<string, number> = new Map();
  return async () => {
    const before = end;
    const next = before?.runId === undefined ? undefined : events.batchKey(ref, generation, before.next);
    const followed = [...new Set([...readers].map(({ runId }) => runId))];
    const keys = followed.map((runId) => threadKeys.run(ref, runId));
    const items = await table.batchGet([...(next ? [next] : []), ...keys]);
    const item = next && items.find(({ sk }) => sk === next.sk);
    const batch = item && (await events.of(ref, item));
    const runs = items.filter((one) => one !== item);
    const hasChanged = runs.some(({ sk, version }) => versions.get(sk) !== version);
    // Where an empty log goes on is not known before it does, and a run that is delivered again may find it empty.
    const isUnknown = before === undefined || (before.runId === undefined && entry.isRead);
    if (batch) end = endOf(batch);
    else if (isUnknown || hasChanged) end = await events.end(ref, generation);
    // Only now: what could not be looked at to its end is news the next time.
    versions = new Map(items.map(({ sk, version }) => [sk, version]));
    if (!batch && !hasChanged && before?.next === end?.next) return undefined;
    return { batch: batch && { from: batch.first, frames: numbered(batch) }, runs };
  };
}
