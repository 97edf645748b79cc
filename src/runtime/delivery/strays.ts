/**
 * Errors that no promise carries: thrown in a timer or an event of somebody's graph. The asynchronous context says whose
 * they are, so that they end that run and not the process with everybody else's.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { RunId } from "../../core/ids.ts";

interface Delivering {
  readonly runId: RunId;
  readonly fail: (error: unknown) => void;
}

const delivering = new AsyncLocalStorage<Delivering>();

/** Does the work of a delivery. `fail` is called with what its code throws outside of any promise. */
export function withStrays<T>(owner: Delivering, work: () => Promise<T>): Promise<T> {
  return delivering.run(owner, work);
}

/** Hands an uncaught error to the run whose code threw it, also after that run's end. Undefined: it is nobody's. */
export function blame(error: unknown): RunId | undefined {
  const owner = delivering.getStore();
  owner?.fail(error);
  return owner?.runId;
}
