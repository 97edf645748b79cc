/** A parked run goes on as a new run of its root, unless its thread has moved past where it stopped (I6). */
import { namedUuid, runId as asRunId } from "../../core/ids.ts";
import type { RunId, ThreadId } from "../../core/ids.ts";
import { LOOKED_AT_AFTER_MS, pendingRun, refused } from "../../core/run.ts";
import type { Run } from "../../core/run.ts";
import { appended } from "../../core/thread-changes.ts";
import { isBusy, names } from "../../core/thread.ts";
import type { Thread } from "../../core/thread.ts";
import type { ThreadRef } from "../../storage/keys.ts";
import type { Stored } from "../../storage/records.ts";
import type { Deps } from "../deps.ts";
import { readHead } from "../state-reader.ts";
import { repairHeader } from "../threads/repair.ts";

/** Which run carries a parked one on, or why none does. */
export type WentOn = { readonly runId: RunId } | { readonly reason: string };

export interface GoOn {
  readonly ref: ThreadRef;
  readonly parked: RunId;
  /** Of the run that goes on: asked for the same again, nothing more happens. */
  readonly name: RunId;
}

/** The name of the run that goes on because of what has this id. */
export const goingOn = (id: string, threadId: ThreadId): RunId => asRunId(namedUuid(`${threadId} ${id}`, GOING_ON));
const GOING_ON = "5d9b1a42-7f0e-5f43-8f3a-3f6f4e1f6b7c";

/** @throws HoldpointError `unavailable` */
export async function goOn(deps: Deps, what: GoOn): Promise<WentOn> {
  for (;;) {
    const read = await deps.threads.get(what.ref);
    const header = (read && (await repairHeader(deps, read))) ?? read;
    if (!header || header.value.deleted) return { reason: "its thread was deleted" };
    const went = await queued(deps, what, header);
    if (went) return went;
  }
}

/** Undefined when the header is another by now. */
async function queued(deps: Deps, { ref, parked, name }: GoOn, header: Stored<Thread>): Promise<WentOn | undefined> {
  if (names(header.value, name)) return { runId: name };
  const existing = await deps.runs.get(ref, name);
  if (existing && existing.value.status !== "pending") return { runId: name };
  const run = (await deps.runs.get(ref, parked))?.value;
  if (!run || run.generation !== header.value.generation) return { reason: "its thread was deleted" };
  if (run.status !== "parked") return { reason: `its run is ${run.status}` };
  const other = header.value.queue.find((entry) => entry.kind === "continuation");
  const moved = other ? undefined : await whyMoved(deps, run, isBusy(header.value));
  if (other || moved !== undefined) {
    if (existing) await discard(deps, existing.value);
    return other ? { runId: other.runId } : { reason: moved ?? "" };
  }
  if (!existing) await deps.runs.create(await continuationOf(deps, run, name));
  const entry = { runId: name, kind: "continuation", pool: run.pool, graphId: run.graphId } as const;
  const next = appended(header.value, entry, deps.table.now());
  const written = await deps.threads.put(next, { version: header.version });
  if (!written.won) return undefined;
  deps.hints.ready(ref, written.stored);
  return { runId: name };
}

/** The header is read before the head of the log, and the append is on that header: who moves it on has changed both. */
async function whyMoved(deps: Deps, run: Run, isInUse: boolean): Promise<string | undefined> {
  if (isInUse) return "other runs are on its thread";
  const head = await readHead(deps, run);
  return head?.checkpointId === run.end?.checkpointId ? undefined : "its thread has moved on";
}

async function discard(deps: Deps, made: Run): Promise<void> {
  const why = { name: "superseded", message: "it was not needed to go on" };
  await deps.runs.update(made, made.runId, (run) =>
    run.status === "pending" ? refused(run, why, deps.table.now()) : undefined,
  );
}

/** What it inherits is all but the input, which the parked run has taken. */
async function continuationOf(deps: Deps, run: Run, name: RunId): Promise<Run> {
  const { input: _input, command: _command, checkpoint, ...rest } = await deps.runs.payload(run);
  const isStillThere = checkpoint !== undefined && checkpoint.checkpointId === run.end?.checkpointId;
  const { tenant, threadId, generation, root, assistantId, graphId, graphVersion, pool, priority, startedBy } = run;
  return pendingRun({
    tenant,
    threadId,
    generation,
    root,
    assistantId,
    graphId,
    pool,
    priority,
    startedBy,
    ...(graphVersion === undefined ? {} : { graphVersion }),
    runId: name,
    kind: "continuation",
    parent: run.runId,
    stateless: run.stateless,
    settings: run.settings,
    payload: isStillThere ? { ...rest, checkpoint } : rest,
    followUpAt: deps.table.now() + LOOKED_AT_AFTER_MS,
    createdAt: deps.table.now(),
  });
}
