import type { Clock } from "../../core/clock.ts";

/** Keys in memory: so many at most, for so long at most, and each fetched by one caller at a time. */
export interface KeyCache<T> {
  get(name: string): T | undefined;
  /** Fetches and keeps it; who asks meanwhile waits for the same answer. */
  fetch(name: string, from: () => Promise<T>): Promise<T>;
  forget(name: string): void;
}

export interface KeyCacheOptions {
  readonly clock: Clock;
  readonly keepMs: number;
  readonly keepCount: number;
}

interface Kept<T> {
  readonly value: T;
  /** Monotonic. */
  readonly until: number;
}

export function createKeyCache<T>({ clock, keepMs, keepCount }: KeyCacheOptions): KeyCache<T> {
  const kept = new Map<string, Kept<T>>();
  const fetching = new Map<string, Promise<T>>();
  const keep = (name: string, value: T): void => {
    kept.delete(name);
    kept.set(name, { value, until: clock.monotonic() + keepMs });
    for (const oldest of kept.keys()) {
      if (kept.size <= keepCount) break;
      kept.delete(oldest);
    }
  };
  return {
    get(name) {
      const found = kept.get(name);
      if (found === undefined) return undefined;
      if (found.until > clock.monotonic()) return found.value;
      kept.delete(name);
      return undefined;
    },
    fetch(name, from) {
      const under = fetching.get(name);
      if (under !== undefined) return under;
      const started = from();
      fetching.set(name, started);
      // Not what was forgotten in the meantime: it may be gone by now.
      const isOurs = (): boolean => fetching.get(name) === started;
      return started
        .then((value) => {
          if (isOurs()) keep(name, value);
          return value;
        })
        .finally(() => {
          if (isOurs()) fetching.delete(name);
        });
    },
    forget(name) {
      kept.delete(name);
      fetching.delete(name);
    },
  };
}
