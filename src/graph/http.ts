/**
 * Requests of graph code to the world outside. Within an `effect()` each that changes something bears its token, so that
 * no author has to remember the header.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { HoldpointError } from "../core/errors.ts";

/** A request without an answer is given up after so long: below the time in which an intent has to be sent and settled. */
const TIMEOUT_MS = 30_000;

/** Methods that the far side may be asked for twice. */
const SAFE: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

export interface Http {
  /**
   * As `fetch`, with a time-out of 30 s, ended when the run is stopped, and without following redirects. In an `effect()`
   * what may change something gets `Idempotency-Key`: the token, for a second such request of the same call `<token>.1`.
   */
  fetch(url: string | URL, request?: RequestInit): Promise<Response>;
}

interface CallUnderWay {
  readonly token: string;
  readonly signal: AbortSignal;
  sent: number;
}

const underWay = new AsyncLocalStorage<CallUnderWay>();

/** Executes the call of an effect: requests in it bear its token. */
export function inCall<T>(token: string, signal: AbortSignal, call: () => Promise<T>): Promise<T> {
  return underWay.run({ token, signal, sent: 0 }, call);
}

/** @param signal of the run */
export function createHttp(signal: AbortSignal): Http {
  return {
    async fetch(url, { headers, method = "GET", signal: own, ...request } = {}) {
      const call = underWay.getStore();
      const all = new Headers(headers);
      if (call && !SAFE.has(method.toUpperCase())) {
        if (all.has("idempotency-key"))
          throw new HoldpointError("invalid", "in an effect() the Idempotency-Key is that of its token");
        const number = call.sent++;
        all.set("idempotency-key", number === 0 ? call.token : `${call.token}.${number}`);
      }
      const signals = [signal, call?.signal, own ?? undefined, AbortSignal.timeout(TIMEOUT_MS)];
      return fetch(url, {
        redirect: "error",
        ...request,
        method,
        headers: all,
        signal: AbortSignal.any(signals.filter((one) => one !== undefined)),
      });
    },
  };
}
