/**
 * Cuts: how a log forgets. `prune` and `deleteForRuns` append the checkpoint that is to stay the latest once more, as a
 * base that says what of the records below it no longer counts; where none stays they append a reset. That one append is
 * the commit (I3), and every other writer collides with it as with any append (I2). What it hides is removed afterwards.
 */
import type { CutRecord, LogRecord } from "./record.ts";

/** Whether a record below a cut no longer counts because of it. The checkpoint that the cut repeats is one such. */
export function isHidden(by: CutRecord, record: LogRecord): boolean {
  const { cut } = by;
  if (record.seq >= by.seq || record.kind === "removed") return false;
  if (record.seq < cut.floor) return true;
  if (record.kind !== "checkpoint") return false;
  const isRepeated = by.kind === "checkpoint" && by.checkpointId === record.checkpointId;
  return isRepeated || (record.runId !== undefined && cut.runs.includes(record.runId));
}
