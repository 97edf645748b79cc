import type { Clock } from "../core/clock.ts";
import { isHoldpointError } from "../core/errors.ts";
import { isNewerFormat } from "../core/newer-format.ts";
import type { Log } from "./deps.ts";

/** So many lines of one kind say what there is to say. */
const LINES = 3;
const WINDOW_MS = 30_000;

interface Window {
  readonly until: number;
  written: number;
  leftOut: number;
}

/**
 * The same log, but for what a table that is away would say of every call, and a later version's items of every look: of
 * the warnings and errors with one message that come from such, three are written in half a minute, and the next says
 * how many were left out.
 */
export function limitRepeats(log: Log, clock: Clock): Log {
  const windows = new Map<string, Window>();
  const limited = (level: "warn" | "error") => (fields: Readonly<Record<string, unknown>>, message: string) => {
    const { err } = fields;
    if (!isHoldpointError(err, "unavailable") && !isNewerFormat(err)) return log[level](fields, message);
    const now = clock.monotonic();
    const before = windows.get(message);
    const window = before && now < before.until ? before : { until: now + WINDOW_MS, written: 0, leftOut: 0 };
    windows.set(message, window);
    if (window.written >= LINES) {
      window.leftOut++;
      return;
    }
    window.written++;
    const leftOut = window === before ? 0 : (before?.leftOut ?? 0);
    log[level](leftOut > 0 ? { ...fields, left_out: leftOut } : fields, message);
  };
  return {
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.info(fields, message),
    warn: limited("warn"),
    error: limited("error"),
  };
}
