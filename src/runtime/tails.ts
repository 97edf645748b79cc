/**
 * Tells readers when a thread may have something new: one poll per followed thread, however many readers it has.
 * A signal is only a reason to look; what a reader sees comes from the table.
 */
import type { RunId } from "../core/ids.ts";
import type { Run } from "../core/run.ts";
import type { ThreadRef } from "../storage/keys.ts";
import type { Deps } from "./deps.ts";

/** One reader's interest in a run of a thread. */
export interface Tail extends Disposable {
  /**
   * Resolves when something may have changed since it last resolved, or when `signal` aborts. Gives the run as this
   * process has just written it, when it did.
   */
  next(signal: AbortSignal): Promise<Run | undefined>;
}

/** What a reader waits for: the end of a run, or its frames as well. */
export type Interest = "end" | "frames";

export interface Tails {
  open(run: Run, interest: Interest): Tail;
}

const LOCAL_POLL_MS = 10;
const REMOTE_POLL_MS = { busy: 50, idle: 1000 } as const;
/** Even a table that tells of changes is looked at this often, since telling is only a hint. */
const FALLBACK_MS = 1000;

interface Reader {
  readonly runId: RunId;
  readonly interest: Interest;
  fresh: boolean;
  run: Run | undefined;
  wake: () => void;
}

interface Followed {
  readonly readers: Set<Reader>;
  readonly stop: AbortController;
}

export function createTails(deps: Deps): Tails {
  const followed = new Map<string, Followed>();
  return {
    open(run, interest) {
      const { generation, runId } = run;
      const ref = { tenant: run.tenant, threadId: run.threadId };
      const name = `${ref.tenant} ${ref.threadId} ${generation}`;
      const reader: Reader = { runId, interest, fresh: false, run: undefined, wake: () => undefined };
      const entry = followed.get(name) ?? start(deps, { ref, generation });
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

function start(deps: Deps, at: { readonly ref: ThreadRef; readonly generation: number }): Followed {
  const entry: Followed = { readers: new Set(), stop: new AbortController() };
  const wakeAll = (what?: Run | "frames"): void => {
    for (const reader of entry.readers) {
      if (what === "frames" && reader.interest !== "frames") continue;
      reader.fresh = true;
      if (typeof what === "object" && what.runId === reader.runId) reader.run = what;
      reader.wake();
    }
  };
  const hints = deps.hints.onChanged(at.ref, wakeAll);
  void poll(deps, at, entry, wakeAll).finally(() => hints[Symbol.dispose]());
  return entry;
}

async function poll(
  deps: Deps,
  { ref, generation }: { readonly ref: ThreadRef; readonly generation: number },
  entry: Followed,
  wakeAll: () => void,
): Promise<void> {
  let before = "";
  let lastChange = deps.clock.monotonic();
  let lastLook = lastChange;
  let seen = deps.table.changes?.();
  while (!entry.stop.signal.aborted) {
    const quiet = deps.clock.monotonic() - lastChange;
    const pause = seen !== undefined ? LOCAL_POLL_MS : Math.min(REMOTE_POLL_MS.idle, REMOTE_POLL_MS.busy + quiet / 20);
    await deps.clock.sleep(pause, entry.stop.signal);
    if (entry.stop.signal.aborted) return;
    const due = deps.clock.monotonic() - lastLook >= FALLBACK_MS;
    const changes = deps.table.changes?.();
    if (changes !== undefined && changes === seen && !due) continue;
    seen = changes;
    lastLook = deps.clock.monotonic();
    const now = await look(deps, { ref, generation }, entry).catch(() => before);
    if (now === before) continue;
    wakeAll();
    before = now;
    lastChange = deps.clock.monotonic();
  }
}

/** What a reader could see now, in short. */
async function look(
  deps: Deps,
  { ref, generation }: { readonly ref: ThreadRef; readonly generation: number },
  entry: Followed,
): Promise<string> {
  const runs = [...new Set([...entry.readers].map((reader) => reader.runId))];
  const [end, items] = await Promise.all([
    deps.events.end(ref, generation),
    deps.runs.getMany(runs.map((runId) => ({ ...ref, runId }))),
  ]);
  return JSON.stringify([end.next, items.map(({ value, version }) => [value.runId, version])]);
}
