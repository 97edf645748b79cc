import type { ThreadRef } from "../storage/keys.ts";

/**
 * Wake-up hints within one process. Anything that is hinted is also in the table: a lost hint costs latency and
 * never correctness.
 */
export interface Hints {
  /** A thread may have become runnable. */
  ready(thread: ThreadRef): void;
  /** Events were appended to a thread, or one of its run items changed. */
  changed(thread: ThreadRef): void;
  /** A run may have been asked to stop. */
  cancelled(thread: ThreadRef): void;
  onReady(listen: (thread: ThreadRef) => void): Disposable;
  onCancelled(listen: (thread: ThreadRef) => void): Disposable;
  onChanged(thread: ThreadRef, listen: () => void): Disposable;
}

type Listener = (thread: ThreadRef) => void;

export function createHints(): Hints {
  const ready = new Set<Listener>();
  const cancelled = new Set<Listener>();
  const changed = new Map<string, Set<() => void>>();
  const subscribe = (listeners: Set<Listener>, listen: Listener): Disposable => {
    listeners.add(listen);
    return { [Symbol.dispose]: () => void listeners.delete(listen) };
  };
  return {
    ready: (thread) => ready.forEach((listen) => listen(thread)),
    cancelled: (thread) => cancelled.forEach((listen) => listen(thread)),
    changed: (thread) => changed.get(nameOf(thread))?.forEach((listen) => listen()),
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
