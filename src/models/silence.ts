import type { Clock } from "../core/clock.ts";
import { modelFailure } from "./failure.ts";

/** Work that is left, whatever it waits for, as soon as the signal aborts. @throws the signal's reason */
export async function unlessAborted<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([work(), aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

export interface SilenceOptions {
  readonly clock: Clock;
  readonly silenceMs: number;
  readonly signal: AbortSignal;
}

/**
 * Work that is left as well when nothing was `heard` for `silenceMs`. Its own signal aborts in either case; what it does
 * after that is nobody's concern.
 * @throws HoldpointError with reason `timeout`; the signal's reason
 */
export async function withinSilence<T>(
  { clock, silenceMs, signal }: SilenceOptions,
  work: (signal: AbortSignal, heard: () => void) => Promise<T>,
): Promise<T> {
  const silent = new AbortController();
  const over = new AbortController();
  let heardAt = clock.monotonic();
  const watch = async (): Promise<void> => {
    while (!over.signal.aborted) {
      const leftMs = heardAt + silenceMs - clock.monotonic();
      if (leftMs <= 0) return silent.abort(modelFailure("timeout", `nothing came from the model for ${silenceMs} ms`));
      await clock.sleep(leftMs, over.signal);
    }
  };
  void watch(); // it never rejects, and ends with the work
  const own = AbortSignal.any([signal, silent.signal]);
  const heard = (): void => {
    heardAt = clock.monotonic();
  };
  try {
    return await unlessAborted(own, () => work(own, heard));
  } finally {
    over.abort();
  }
}
