/**
 * Group commit: the writes of one turn of the event loop share one transaction, and one fsync.
 *
 * Must stay true:
 * - A write is acknowledged only after COMMIT has returned, so it survives a power cut; if COMMIT fails, every writer of
 *   that transaction learns it.
 * - Writes are applied in the order in which they were asked for, so each one's condition sees those before it.
 * - A transaction begins and ends within one turn of the event loop: nobody in this process ever sees it open.
 * - Waiting for another process's lock happens between turns, and ends after `patienceMs` with `unavailable`.
 */
import type { DatabaseSync } from "node:sqlite";
import { errorInfo, HoldpointError } from "../core/errors.ts";
import type { Clock } from "../core/clock.ts";
import type { IdSource } from "../core/ids.ts";
import { pauseMs } from "../storage/backoff.ts";
import { isBusy, isFull } from "./sqlite-file.ts";

/** Bounds how long one transaction holds the event loop. */
const MAX_WRITES_PER_COMMIT = 500;
const LONGEST_PAUSE_MS = 25;

export interface BusyDeps {
  readonly clock: Clock;
  readonly ids: IdSource;
  /** How long another process's lock is waited for, in all. */
  readonly patienceMs: number;
}

export interface CommitsDeps extends BusyDeps {
  readonly db: DatabaseSync;
  readonly path: string;
  /** Runs inside each transaction, after its writes. */
  readonly housekeeping: () => void;
  readonly onCommit: ((writes: number) => void) | undefined;
}

export interface Commits {
  /** Runs `apply` in the next transaction; resolves with its result once that is on disk. */
  write<T>(apply: () => T): Promise<T>;
  /** Resolves when everything asked for so far has been settled. */
  settled(): Promise<void>;
}

interface Waiting {
  readonly deadline: number;
  apply(): void;
  acknowledge(): void;
  fail(error: unknown): void;
}

export function createCommits(deps: CommitsDeps): Commits {
  const { db, clock, ids, patienceMs } = deps;
  const begin = db.prepare("BEGIN IMMEDIATE");
  const commit = db.prepare("COMMIT");
  let queue: Waiting[] = [];
  let draining: Promise<void> | undefined;

  /** False when another process holds the lock; nothing has happened then. */
  const transact = (writes: readonly Waiting[]): boolean => {
    try {
      begin.run();
      for (const write of writes) write.apply();
      deps.housekeeping();
      commit.run();
    } catch (error) {
      if (db.isOpen && db.isTransaction) db.exec("ROLLBACK");
      if (isBusy(error)) return false;
      const failure = writeFailed(deps.path, error);
      for (const write of writes) write.fail(failure);
      return true;
    }
    for (const write of writes) write.acknowledge();
    deps.onCommit?.(writes.length);
    return true;
  };

  const giveUpLate = (): void => {
    const now = clock.monotonic();
    const late = queue.filter((write) => write.deadline <= now);
    if (late.length === 0) return;
    queue = queue.filter((write) => write.deadline > now);
    for (const write of late) write.fail(lockedTooLong(deps.path, patienceMs));
  };

  const drain = async (): Promise<void> => {
    let attempt = 0;
    do {
      await nextTurn();
      const writes = queue.slice(0, MAX_WRITES_PER_COMMIT);
      if (transact(writes)) {
        queue = queue.slice(writes.length);
        attempt = 0;
      } else {
        giveUpLate();
        if (queue.length > 0) await clock.sleep(pauseMs(attempt++, 1, LONGEST_PAUSE_MS, ids));
      }
    } while (queue.length > 0);
    // In the same turn as the last look at the queue: a later write must find no drain under way.
    draining = undefined;
  };

  return {
    write: (apply) =>
      new Promise((resolve, reject) => {
        let acknowledge = (): void => {};
        queue.push({
          deadline: clock.monotonic() + patienceMs,
          apply: () => {
            const result = apply();
            acknowledge = () => resolve(result);
          },
          acknowledge: () => acknowledge(),
          fail: reject,
        });
        draining ??= drain();
      }),
    settled: async () => draining,
  };
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const lockedTooLong = (path: string, ms: number): HoldpointError =>
  new HoldpointError("unavailable", `another process held the lock of ${path} for more than ${ms} ms`);

/** Nothing of the transaction has happened; with space on the disk again, its writers may repeat it. */
function writeFailed(path: string, cause: unknown): HoldpointError {
  const what = isFull(cause) ? `the disk that holds ${path} is full` : errorInfo(cause).message;
  return new HoldpointError("unavailable", `a write to ${path} failed: ${what}`, { cause });
}

const readFailed = (path: string, error: unknown): HoldpointError =>
  new HoldpointError("unavailable", `cannot read ${path}: ${errorInfo(error).message}`, { cause: error });

/** Repeats a call that another process's lock kept from happening, without blocking the event loop. */
export async function whenFree<T>(deps: BusyDeps & { readonly path: string }, call: () => T): Promise<T> {
  const deadline = deps.clock.monotonic() + deps.patienceMs;
  for (let attempt = 0; ; attempt++) {
    try {
      return call();
    } catch (error) {
      if (!isBusy(error)) throw error instanceof HoldpointError ? error : readFailed(deps.path, error);
      if (deps.clock.monotonic() >= deadline) throw lockedTooLong(deps.path, deps.patienceMs);
      await deps.clock.sleep(pauseMs(attempt, 1, LONGEST_PAUSE_MS, deps.ids));
    }
  }
}
