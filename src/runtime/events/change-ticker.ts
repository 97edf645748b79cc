/** Tells every followed thread of a process when a table that counts its changes has changed: one look for all. */
import type { Deps } from "../deps.ts";

/** A look costs a few microseconds; a thread that is told then reads for itself. */
const POLL_MS = 10;
/** Telling is only a hint: without it, threads are looked at this often. */
const FALLBACK_MS = 2500;

export interface ChangeTicker {
  /** Yields whenever something may have changed, until the signal aborts. */
  onChange(signal: AbortSignal): AsyncGenerator<void, void, boolean>;
}

export function createChangeTicker({ clock, table }: Deps): ChangeTicker {
  const listeners = new Set<() => void>();
  let isTicking = false;

  async function tick(): Promise<void> {
    isTicking = true;
    let seen = table.changes?.();
    let toldAt = clock.monotonic();
    while (listeners.size > 0) {
      await clock.sleep(POLL_MS);
      const changes = table.changes?.();
      if (changes === seen && clock.monotonic() - toldAt < FALLBACK_MS) continue;
      seen = changes;
      toldAt = clock.monotonic();
      for (const tell of listeners) tell();
    }
    isTicking = false;
  }

  return {
    async *onChange(signal) {
      let fresh = Promise.withResolvers<void>();
      const tell = (): void => fresh.resolve();
      listeners.add(tell);
      signal.addEventListener("abort", tell, { once: true });
      if (!isTicking) void tick();
      try {
        for (;;) {
          await fresh.promise;
          fresh = Promise.withResolvers();
          if (signal.aborted) return;
          yield;
        }
      } finally {
        listeners.delete(tell);
        signal.removeEventListener("abort", tell);
      }
    },
  };
}
