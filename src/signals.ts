import type { Clock } from "./core/clock.ts";
import type { Log } from "./runtime/deps.ts";

/** A signal repeated within this time is the same wish: npm and the terminal both pass Ctrl-C on. */
const SAME_WISH_MS = 500;

/** Aborts at the first SIGTERM or SIGINT; a second one ends the process at once. */
export function stopSignal(clock: Clock, log: Log): AbortSignal {
  const stop = new AbortController();
  let askedAt = 0;
  const asked = (signal: NodeJS.Signals): void => {
    const now = clock.monotonic();
    if (!stop.signal.aborted) {
      askedAt = now;
      log.info({ signal }, "stopping; once more ends at once");
      stop.abort();
    } else if (now - askedAt > SAME_WISH_MS) process.exit(1);
  };
  process.on("SIGTERM", asked);
  process.on("SIGINT", asked);
  return stop.signal;
}
