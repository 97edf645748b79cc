/**
 * What must follow a decision: a continuation in the header's queue (I11). Done by the decider at once, or by any
 * worker that finds the hold due; however often it is done, no second continuation is queued.
 *
 * The hold is read first, then the header, then the run item, and the append is conditional on that header.
 *
 * A timer or a callback for which its run sleeps wakes that run instead.
 *
 * A hold that was cancelled is due for the same reason, until the header's summary of what waits is right: see
 * `cancel-holds.ts`.
 */
import { continuationId, followedUp, isWait, namesHold, unheard } from "../../core/hold.ts";
import type { Hold } from "../../core/hold.ts";
import type { HoldId, RunId } from "../../core/ids.ts";
import { LOOKED_AT_AFTER_MS, isEnded, pendingRun } from "../../core/run.ts";
import type { Run } from "../../core/run.ts";
import { appended, nothingWaits, woken } from "../../core/thread-changes.ts";
import { activeRunId } from "../../core/thread.ts";
import type { Thread } from "../../core/thread.ts";
import type { ThreadRef } from "../../storage/keys.ts";
import type { Stored } from "../../storage/records.ts";
import { auditHold } from "../audit/audit-hold.ts";
import type { Deps } from "../deps.ts";
import { tellOfDecision } from "../webhooks/announce.ts";

/** Completes the follow-up of a hold, if it is still due. Returns the hold as it is then. */
export async function followUp(deps: Deps, ref: ThreadRef, hold: HoldId): Promise<Hold | undefined> {
  let name: RunId | undefined;
  let made: Run | undefined;
  for (;;) {
    const stored = await deps.holds.get(ref, hold);
    if (!stored?.value.followUpDue) return stored?.value;
    // Before its continuation can be: who applies a decision clears what makes it findable.
    await tellOfDecision(deps, stored.value);
    // It stays due until both are done.
    const [step] = await Promise.all([stepOf(deps, ref, stored.value, name), auditHold(deps, stored.value)]);
    made = step.made ?? made;
    name = step.kind === "again" ? step.name : undefined;
    if (step.kind === "again") continue;
    if (step.kind === "later") return stored.value;
    if (step.kind === "over") {
      const over = unheard(stored.value, step.why, deps.table.now());
      const written = await deps.holds.put(over, { version: stored.version });
      if (written.won) return over;
      continue;
    }
    const { carriedBy } = step;
    if (made && carriedBy !== undefined && made.runId !== carriedBy) await leaveToSweep(deps, made);
    // Of the hold as it was read: it may have been given back meanwhile and decided anew, and that is due for itself.
    const written = await deps.holds.put(followedUp(stored.value, carriedBy), { version: stored.version });
    if (written.won) return written.stored.value;
  }
}

/** The follow-up is findable in the table, so failing here costs latency and never what it follows up. */
export async function followUpSoon(deps: Deps, { holdId, ...ref }: Hold): Promise<Hold | undefined> {
  try {
    return await followUp(deps, ref, holdId);
  } catch (error) {
    deps.log.warn({ thread: ref.threadId, hold: holdId, err: error }, "a follow-up of a hold is left to a worker");
    return undefined;
  }
}

type Step = { readonly made?: Run } & (
  | { readonly kind: "done"; readonly carriedBy?: RunId }
  | { readonly kind: "again"; readonly name: RunId | undefined }
  /** The run that asked has not stopped yet: the hold stays due. */
  | { readonly kind: "later" }
  /** Nobody will ever hear of the decision. */
  | { readonly kind: "over"; readonly why: string }
);

async function stepOf(deps: Deps, ref: ThreadRef, hold: Hold, name: RunId | undefined): Promise<Step> {
  const header = await deps.threads.get(ref);
  const isAlive = header && !header.value.deleted && header.value.generation === hold.generation;
  if (!isAlive) return { kind: "done" };
  if (hold.state !== "decided") return correct(deps, hold, header);
  const asked = isWait(hold) ? await deps.runs.get(hold, hold.runId) : undefined;
  return asked && asked.value.status !== "held"
    ? wakeAsked(deps, asked.value, header)
    : continueWith(deps, hold, header, name);
}

/** A timer or a callback is over: the very run that waits for it goes on. */
async function wakeAsked(deps: Deps, asked: Run, header: Stored<Thread>): Promise<Step> {
  if (isEnded(asked.status)) return { kind: "over", why: `the run that asked is ${asked.status}` };
  const { lease, wakeAt } = header.value;
  // Until its worker has left it, the sleep that this is to end may still be to come.
  if (asked.status !== "waiting" || lease || activeRunId(header.value) !== asked.runId) return { kind: "later" };
  if (wakeAt === undefined) return { kind: "done" };
  const written = await deps.threads.put(woken(header.value, deps.table.now()), { version: header.version });
  if (!written.won) return { kind: "again", name: undefined };
  deps.hints.ready(header.value, written.stored);
  return { kind: "done" };
}

async function continueWith(deps: Deps, hold: Hold, header: Stored<Thread>, name: RunId | undefined): Promise<Step> {
  if (hold.carriedBy !== undefined) return { kind: "done", carriedBy: hold.carriedBy };
  const queued = header.value.queue.find((entry) => entry.kind === "continuation");
  if (queued) return { kind: "done", carriedBy: queued.runId };
  const runId = name ?? hold.decision?.continuation;
  if (!runId) return { kind: "done" };
  const existing = await deps.runs.get(hold, runId);
  if (existing && existing.value.status !== "pending") {
    // Made for this decision, unless it is the run that answered: if nobody was ever given the hold, it will be.
    const isMadeForIt = runId !== hold.decision?.continuation || isNamedAfter(hold);
    if (isMadeForIt && hold.handedTo === undefined && !isEnded(existing.value.status))
      return { kind: "done", carriedBy: runId };
    // It may have read its decisions before this one was made: the next one in the chain of names carries it on.
    return { kind: "again", name: continuationId(hold.holdId, runId) };
  }
  if (existing && activeRunId(header.value) === runId) return { kind: "done", carriedBy: runId };
  const made = existing ? undefined : await make(deps, await continuationOf(deps, hold, runId));

  const entry = { runId, kind: "continuation", pool: hold.pool, graphId: hold.graphId } as const;
  const written = await deps.threads.put(appended(header.value, entry, deps.table.now()), { version: header.version });
  if (!written.won) return { kind: "again", name, ...made };
  deps.hints.ready(hold, written.stored);
  return { kind: "done", carriedBy: runId, ...made };
}

/** Whether the run that is to carry the decision on is made for it; else it is the one that came with the answer. */
const isNamedAfter = ({ holdId, decision }: Hold): boolean =>
  decision !== undefined && decision.continuation === continuationId(holdId, decision.id);

async function make(deps: Deps, run: Run): Promise<{ readonly made?: Run }> {
  const written = await deps.runs.create(run);
  return written.won ? { made: run } : {};
}

/** Whoever has read of a run before it turned out to be needless has made a header name it within this time, or never will. */
const NEEDLESS_AFTER_MS = 60_000;

/**
 * Another continuation carries the decision on. This one is left to the sweep, which removes what no header names: others
 * may be about to append it, and decisions that find it in the queue rely on it.
 */
async function leaveToSweep(deps: Deps, made: Run): Promise<void> {
  await deps.runs.update(made, made.runId, (run) =>
    run.status === "pending" ? { ...run, followUpAt: deps.table.now() + NEEDLESS_AFTER_MS } : undefined,
  );
}

/** The continuation inherits root, assistant, configuration and stream settings of the run that it carries on. */
async function continuationOf(deps: Deps, hold: Hold, runId: RunId): Promise<Run> {
  const held = await deps.runs.get(hold, hold.runId);
  const payload = held ? await deps.runs.payload(held.value) : {};
  const { input: _input, command: _command, checkpoint, ...rest } = payload;
  const stillThere = checkpoint && checkpoint.checkpointId === held?.value.end?.checkpointId;
  const inherited = stillThere ? { ...rest, checkpoint } : rest;
  return pendingRun({
    tenant: hold.tenant,
    threadId: hold.threadId,
    runId,
    kind: "continuation",
    generation: hold.generation,
    root: hold.root,
    parent: hold.runId,
    assistantId: hold.assistantId,
    graphId: hold.graphId,
    ...(held?.value.graphVersion === undefined ? {} : { graphVersion: held.value.graphVersion }),
    pool: hold.pool,
    priority: held?.value.priority ?? 5,
    startedBy: hold.startedBy,
    stateless: held?.value.stateless ?? false,
    settings: held?.value.settings ?? {
      streamModes: [],
      streamSubgraphs: false,
      streamResumable: false,
      multitaskStrategy: "enqueue",
    },
    payload: inherited,
    // One that no header names by then is of somebody who died, or turned out to be needless.
    followUpAt: deps.table.now() + LOOKED_AT_AFTER_MS,
    createdAt: deps.table.now(),
  });
}

/** A hold was cancelled on the record: once nothing that the thread waits for does any more, the header must say so. */
async function correct(deps: Deps, { holdId }: Hold, header: Stored<Thread>): Promise<Step> {
  const { waiting } = header.value;
  const asked = waiting && (await deps.runs.get(header.value, waiting.runId));
  // What a later run left waiting is not for this hold to say. (It need not be the hold's own: a continuation with nothing
  // to carry on names what waits already, under the same fence.)
  if (!asked?.value.end?.holds.includes(holdId)) return { kind: "done" };
  const holds = await deps.holds.ofThread(header.value, header.value.generation);
  const open = await Promise.all(holds.map(({ value }) => mayWait(deps, value)));
  if (open.includes(true)) return { kind: "done" };
  const written = await deps.threads.put(nothingWaits(header.value, deps.table.now()), { version: header.version });
  if (!written.won) return { kind: "again", name: undefined };
  deps.hints.ready(header.value);
  return { kind: "done" };
}

/** Decided and not applied; open; or about to be, since who raised it has not ended. */
async function mayWait(deps: Deps, hold: Hold): Promise<boolean> {
  if (hold.state !== "pending") return hold.state === "decided";
  const run = (await deps.runs.get(hold, hold.runId))?.value;
  return run !== undefined && (!isEnded(run.status) || namesHold(run, hold));
}
