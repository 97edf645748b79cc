/** Time, passed in everywhere so that tests and the simulation own it (I10). */
export interface Clock {
  /** Wall clock, milliseconds since the epoch. For display, and for the time of a table that has none of its own. */
  wall(): number;
  /** Milliseconds that only ever go forward. The only clock by which a lease is watched. */
  monotonic(): number;
  /** Resolves after `ms`, or as soon as `signal` aborts; it never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The machine's clock. */
export const systemClock: Clock = {
  wall: () => Date.now(),
  monotonic: () => performance.now(),
  sleep(ms, signal) {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal?.addEventListener("abort", done, { once: true });
    });
  },
};
