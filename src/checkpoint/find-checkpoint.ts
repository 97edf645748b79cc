import type { Standing } from "./log.ts";
import type { CheckpointRecord, LogRecord } from "./record.ts";

/** The log in which a checkpoint is looked for. */
export interface Searched {
  /** The record where it was seen last, whatever stands there now. */
  remembered(): Promise<LogRecord | undefined>;
  /** Whether a record counts. */
  stands(record: LogRecord): Promise<boolean>;
  /** The lowest and the highest position, from the table. What is read there is remembered. */
  span(): Promise<readonly [low: number, high: number]>;
  /** The highest checkpoint between two positions, of which some may be empty. */
  lastCheckpoint(low: number, high: number): Promise<CheckpointRecord | undefined>;
  /** Whatever counts. */
  walk(): AsyncGenerator<Standing>;
}

/** A checkpoint that counts, by its id. */
export async function findCheckpoint(id: string, log: Searched): Promise<CheckpointRecord | undefined> {
  const remembered = async (): Promise<CheckpointRecord | undefined> => {
    const record = await log.remembered();
    const isIt = record?.kind === "checkpoint" && record.checkpointId === id && (await log.stands(record));
    return isIt ? record : undefined;
  };
  const known = await remembered();
  if (known !== undefined) return known;
  const span = await log.span();
  // Ids are ordered by time, and so nearly always by position; where a clock was wrong, every record is looked at.
  const found = (await remembered()) ?? (await bisect(id, log, span));
  if (found !== undefined && (await log.stands(found))) return found;
  for await (const { record } of log.walk()) {
    if (record.checkpointId === id) return record;
  }
  return undefined;
}

async function bisect(
  id: string,
  log: Searched,
  [first, top]: readonly [number, number],
): Promise<CheckpointRecord | undefined> {
  let [low, high] = [first, top];
  while (low <= high) {
    const middle = Math.floor((low + high) / 2);
    const probe = await log.lastCheckpoint(low, middle);
    if (probe === undefined) low = middle + 1;
    else if (probe.checkpointId === id) return probe;
    else if (probe.checkpointId < id) low = middle + 1;
    else high = probe.seq - 1;
  }
  return undefined;
}
