import type { Clock } from "./core/clock.ts";
import type { Log } from "./runtime/deps.ts";

/** A signal repeated within this time is the same wish: npm and the terminal both pass Ctrl-C on. */
const SAME_WISH_MS = 500;

/**
 * A drain aborts what still runs after 75 s, and who gave the signal ends the process after 100 or more. Whatever hangs in
 * between must not decide how it ends: what was not given up runs out, as after a crash.
 */
const LATEST_MS = 95_000;

/** Aborts at the first SIGTERM or SIGINT. A second one ends the process at once, and so does time that runs out. */
export function stopSignal(clock: Clock, log: Log): AbortSignal {
  const stop = new AbortController();
  let askedAt = 0;
  const asked = (signal: NodeJS.Signals): void => {
    const now = clock.monotonic();
    if (!stop.signal.aborted) {
      askedAt = now;
      log.info({ signal }, "stopping; once more ends at once");
      stop.abort();
      void clock.sleep(LATEST_MS).then(() => {
        log.error({ afterMs: LATEST_MS }, "not stopped in time; ends now, and its leases run out");
        process.exit(1);
      });
    } else if (now - askedAt > SAME_WISH_MS) process.exit(1);
  };
  process.on("SIGTERM", asked);
  process.on("SIGINT", asked);
  return stop.signal;
}
