import { isEnded } from "../../core/run.ts";
import { movedOn } from "../../core/thread-changes.ts";
import { activeRunId } from "../../core/thread.ts";
import type { Thread } from "../../core/thread.ts";
import type { ThreadRef } from "../../storage/keys.ts";
import type { Stored } from "../../storage/records.ts";
import type { Deps } from "../deps.ts";

/**
 * Moves the header past an active run that has ended while its worker has not said so yet. The lease is left alone.
 * Returns the header as it is now if it had to be (or was) changed; undefined when there is nothing to repair.
 */
export async function repairHeader(deps: Deps, header: Stored<Thread>): Promise<Stored<Thread> | undefined> {
  const active = activeRunId(header.value);
  if (!active) return undefined;
  const run = await deps.runs.get(header.value, active);
  if (!run || !isEnded(run.value.status)) return undefined;
  const written = await deps.threads.put(movedOn(header.value, run.value, deps.table.now()), {
    version: header.version,
  });
  return written.won ? written.stored : written.current;
}

/** The header once it knows of the end of every run that it has named first: one may have ended a moment ago. */
export async function upToDate(deps: Deps, ref: ThreadRef): Promise<Stored<Thread> | undefined> {
  let header = await deps.threads.get(ref);
  for (let stale = header; stale;) {
    header = stale;
    stale = await repairHeader(deps, stale);
  }
  return header;
}
