/**
 * Runs that are not to begin before a time. Until then no header names them: the run item itself, which stands in the
 * `due` index at that time, is the promise (I1, I11). Whoever finds it due gives it its place in the queue.
 */
import { LOOKED_AT_AFTER_MS } from "../../core/run.ts";
import type { Run } from "../../core/run.ts";
import { entryOf, reasonNoRoom } from "../../core/queue-room.ts";
import { appended } from "../../core/thread-changes.ts";
import { names } from "../../core/thread.ts";
import type { Stored } from "../../storage/records.ts";
import type { Deps } from "../deps.ts";
import { makingRoom, tellStopped } from "./multitask.ts";
import { makeRoom } from "./room.ts";

/** A thread that cannot take the run yet is looked at again after this long. */
const AGAIN_MS = 1000;
/** By then who accepted the run has made its thread, or died. */
const ACCEPTED_MS = 600_000;

/**
 * Gives a run its place, now that its time has come. The header is read before the run item is looked at again, and the
 * append is conditional on that header: a run that was executed in between is not begun twice.
 */
export async function begin(deps: Deps, stored: Stored<Run>): Promise<void> {
  const run = stored.value;
  const header = await deps.threads.get(run);
  if ((await deps.runs.get(run, run.runId))?.version !== stored.version) return;
  if ((header?.value.generation ?? 0) !== run.generation) return void (await deps.runs.remove(stored));
  if (!header || header.value.deleted) return waitForThread(deps, stored);
  if (names(header.value, run.runId)) return later(deps, stored, LOOKED_AT_AFTER_MS);
  const entry = entryOf(run);
  if (reasonNoRoom(header.value, entry, deps.settings.limits.queuePerThread))
    return (await makeRoom(deps, header)) ? begin(deps, stored) : later(deps, stored, AGAIN_MS);
  const next = appended(makingRoom(header.value, run), entry, deps.table.now());
  const written = await deps.threads.put(next, { version: header.version });
  if (!written.won) return; // It stays due.
  deps.hints.ready(run, written.stored);
  await tellStopped(deps, written.stored.value, { run, force: run.force === true });
  // From here on it is looked after like every other.
  await later(deps, stored, LOOKED_AT_AFTER_MS);
}

/** Its accept is about to make sure that the thread is there, or has died before it could. */
async function waitForThread(deps: Deps, stored: Stored<Run>): Promise<void> {
  if (deps.table.now() - stored.value.createdAt < ACCEPTED_MS) await later(deps, stored, AGAIN_MS);
  else await deps.runs.remove(stored);
}

async function later(deps: Deps, run: Stored<Run>, ms: number): Promise<void> {
  await deps.runs.put({ ...run.value, followUpAt: deps.table.now() + ms }, run.version);
}
