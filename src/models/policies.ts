/**
 * The one layer that tries again. Clients below it make each attempt once. A tenant's bulkhead is around a whole call with
 * its attempts; the breaker of a place is around each attempt, up to the end of its stream.
 */
import {
  CircuitState,
  CountBreaker,
  ExponentialBackoff,
  TaskCancelledError,
  bulkhead,
  circuitBreaker,
  handleWhen,
  isBrokenCircuitError,
  isBulkheadRejectedError,
  isTaskCancelledError,
  retry,
} from "cockatiel";
import type { BulkheadPolicy, CircuitBreakerPolicy } from "cockatiel";
import { errorInfo } from "../core/errors.ts";
import { modelFailure, ruleOf } from "./failure.ts";

export interface AttemptOptions {
  /** Attempts at one target, the first included. */
  readonly attempts: number;
  readonly backoffMs?: number;
  /** Milliseconds that an open breaker stays open before one call tries its target. */
  readonly openMs?: number;
  /** `reason`: the failure that opened it. */
  readonly onBreaker?: (place: string, state: "open" | "closed", reason?: string) => void;
}

export interface PolicyOptions extends AttemptOptions {
  readonly tenantConcurrency: number;
}

export interface Attempts {
  /**
   * Attempts at one place until one succeeds, fails for good, or `isFinal` says that no other one may follow.
   * @throws HoldpointError with reason `open` while the breaker of the place is open
   */
  attempt<T>(place: string, signal: AbortSignal, once: Attempt<T>): Promise<T>;
}

export interface Policies extends Attempts {
  /** A whole call of a tenant. @throws HoldpointError with reason `busy` */
  admit<T>(tenant: string, signal: AbortSignal, call: () => Promise<T>): Promise<T>;
}

export interface Attempt<T> {
  readonly isFinal: () => boolean;
  readonly run: () => Promise<T>;
}

/** The breaker opens when more than half of the last calls failed, and there were enough of them to tell. */
const WINDOW = { threshold: 0.5, size: 20, minimumNumberOfCalls: 6 } as const;
const BACKOFF_MS = 250;
const MOST_BACKOFF_MS = 5_000;
const OPEN_MS = 15_000;

export function createPolicies({ tenantConcurrency, ...options }: PolicyOptions): Policies {
  const bulkheads = new Map<string, BulkheadPolicy>();
  return {
    ...createAttempts(options),
    async admit(tenant, signal, call) {
      const own = bulkheads.get(tenant) ?? bulkhead(tenantConcurrency, tenantConcurrency);
      bulkheads.set(tenant, own);
      try {
        return await own.execute(call, signal);
      } catch (error) {
        throw translated(error, signal);
      }
    },
  };
}

/** Without bulkheads. */
export function createAttempts({
  attempts,
  backoffMs = BACKOFF_MS,
  openMs = OPEN_MS,
  onBreaker,
}: AttemptOptions): Attempts {
  const breakers = new Map<string, CircuitBreakerPolicy>();
  /** The last one of each place that spoke against it. */
  const failures = new Map<string, string>();
  const backoff = new ExponentialBackoff({
    initialDelay: backoffMs,
    maxDelay: Math.max(backoffMs, MOST_BACKOFF_MS),
  });
  const breakerOf = (place: string): CircuitBreakerPolicy => {
    const known = breakers.get(place);
    if (known) return known;
    const made = circuitBreaker(
      handleWhen((error) => ruleOf(error).blame === true || isTaskCancelledError(error)),
      { breaker: new CountBreaker(WINDOW), halfOpenAfter: openMs },
    );
    made.onBreak(() => onBreaker?.(place, "open", failures.get(place)));
    made.onReset(() => onBreaker?.(place, "closed"));
    breakers.set(place, made);
    return made;
  };
  return {
    async attempt(place, signal, { isFinal, run }) {
      const breaker = breakerOf(place);
      const once = async (): ReturnType<typeof run> => {
        const isProbe = breaker.state === CircuitState.HalfOpen;
        try {
          return await run();
        } catch (error) {
          if (ruleOf(error).blame === true) failures.set(place, errorInfo(error).message);
          // It tells nothing of the target, and an error that a breaker does not handle closes it.
          else if (isProbe && signal.aborted) throw new TaskCancelledError();
          throw error;
        }
      };
      const again = retry(
        handleWhen((error) => ruleOf(error).retry === true && !isFinal()),
        { maxAttempts: attempts - 1, backoff },
      );
      try {
        return await again.execute(() => {
          signal.throwIfAborted();
          return breaker.execute(once, signal);
        }, signal);
      } catch (error) {
        throw translated(error, signal, failures.get(place));
      }
    },
  };
}

function translated(error: unknown, signal: AbortSignal, last?: string): unknown {
  if (isBrokenCircuitError(error)) {
    const why = last === undefined ? "" : `; the last time: ${last}`;
    return modelFailure("open", `the target failed too often and is left alone${why}`, error);
  }
  if (isBulkheadRejectedError(error))
    return modelFailure("busy", "too many calls of models are under way for this tenant", error);
  return isTaskCancelledError(error) && signal.aborted ? signal.reason : error;
}
