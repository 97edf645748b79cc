import type { IdSource } from "../core/ids.ts";

/** Milliseconds to wait before repetition `attempt` (from 0): at least 1, doubling up to `capMs`, with full jitter. */
export function pauseMs(attempt: number, baseMs: number, capMs: number, ids: IdSource): number {
  const fraction = Number.parseInt(ids.token(2), 16) / 0xffff;
  return 1 + fraction * Math.min(capMs, baseMs * 2 ** attempt);
}
