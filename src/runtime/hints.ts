import type { Run } from "../core/run.ts";
import type { Thread } from "../core/thread.ts";
import type { Stored } from "../storage/records.ts";
import type { ThreadRef } from "../storage/keys.ts";

/**
 * Wake-up hints within one process. Anything that is hinted is also in the table: a lost hint costs latency and
 * never correctness.
 */
export interface Hints {
  /** A thread may have become runnable; `header` is what was just written, to save the worker a read. */
  ready(thread: ThreadRef, header?: Stored<Thread>): void;
  /** One of a thread's run items changed, to `run` if it is given; or frames were appended to its events. */
  changed(thread: ThreadRef, what?: Run | "frames"): void;
  /** Whether somebody in this process reads along. */
  isFollowed(thread: ThreadRef): boolean;
  /** A run may have been asked to stop. */
  cancelled(thread: ThreadRef): void;
  onReady(listen: (thread: ThreadRef, header?: Stored<Thread>) => void): Disposable;
  onCancelled(listen: (thread: ThreadRef) => void): Disposable;
  onChanged(thread: ThreadRef, listen: (what?: Run | "frames") => void): Disposable;
}

export function createHints(): Hints {
  const ready = new Set<Parameters<Hints["onReady"]>[0]>();
  const cancelled = new Set<Parameters<Hints["onCancelled"]>[0]>();
  const changed = new Map<string, Set<(what?: Run | "frames") => void>>();
  const subscribe = <Listener>(listeners: Set<Listener>, listen: Listener): Disposable => {
    listeners.add(listen);
    return { [Symbol.dispose]: () => void listeners.delete(listen) };
  };
  return {
    ready: (thread, header) => ready.forEach((listen) => listen(thread, header)),
    cancelled: (thread) => cancelled.forEach((listen) => listen(thread)),
    changed: (thread, what) => changed.get(nameOf(thread))?.forEach((listen) => listen(what)),
    isFollowed: (thread) => changed.has(nameOf(thread)),
    onReady: (listen) => subscribe(ready, listen),
    onCancelled: (listen) => subscribe(cancelled, listen),
    onChanged(thread, listen) {
      const name = nameOf(thread);
      const listeners = changed.get(name) ?? new Set();
      changed.set(name, listeners.add(listen));
      return {
        [Symbol.dispose]: () => {
          listeners.delete(listen);
          if (listeners.size === 0 && changed.get(name) === listeners) changed.delete(name);
        },
      };
    },
  };
}

const nameOf = (thread: ThreadRef): string => `${thread.tenant} ${thread.threadId}`;
