/**
 * Rollback: the run is stopped and its checkpoints are hidden, as if it had never been. What it did outside cannot be
 * taken back, so a run with an effect that happened, or may have, keeps its steps unless somebody insists. The run item
 * and the effect journal stay.
 */
import type { FencedSaver } from "../../checkpoint/saver.ts";
import { HoldpointError } from "../../core/errors.ts";
import type { Run } from "../../core/run.ts";
import type { Thread } from "../../core/thread.ts";
import type { Deps } from "../deps.ts";

/** Names of the effects of a run that happened or may have happened. */
export async function effectsOf(deps: Deps, run: Run): Promise<readonly string[]> {
  const entries = await deps.effects.ofRoot(run.tenant, run.root);
  return entries
    .filter(
      (entry) => entry.runId === run.runId && entry.outcome?.kind !== "rejected" && !(entry.cleared && !entry.outcome),
    )
    .map(({ name }) => name);
}

/** @throws HoldpointError `conflict` for a run that cannot be undone */
export async function assertUndoable(deps: Deps, run: Run): Promise<void> {
  const effects = await effectsOf(deps, run);
  if (effects.length === 0) return;
  throw new HoldpointError(
    "conflict",
    `run ${run.runId} cannot be rolled back: ${effects.join(", ")} happened or may have happened; insist (Holdpoint-Force: true) to hide its steps all the same`,
    { detail: { effects } },
  );
}

/**
 * Hides what a stopped run wrote, if that was asked for. True if nothing of it is left to be seen.
 * @throws HoldpointError `lost`, `unavailable`
 */
export async function hideIfAsked(
  deps: Deps,
  { run, saver, thread }: { readonly run: Run; readonly saver: FencedSaver; readonly thread: Thread },
): Promise<boolean> {
  // The request came while the run was executed, and so after it was read; in the header, if who made it died then.
  const asked = (await deps.runs.get(run, run.runId))?.value.cancelAsked ?? run.cancelAsked;
  const stop = thread.active?.kind === "run" ? thread.active.entry.stop : undefined;
  if ((asked?.action ?? stop) !== "rollback") return false;
  const effects = asked?.force === true ? [] : await effectsOf(deps, run);
  if (effects.length > 0) {
    deps.log.warn({ thread: run.threadId, run: run.runId, effects }, "a run with effects keeps its steps");
    return false;
  }
  if (saver.head()?.runId !== run.runId) return true;
  await saver.rollback(await headBefore(saver, run));
  return true;
}

/** The newest checkpoint that was there before the run. */
async function headBefore(saver: FencedSaver, run: Run): Promise<string | undefined> {
  const config = { configurable: { thread_id: run.threadId, checkpoint_ns: "" } };
  for await (const { checkpoint, metadata } of saver.list(config)) {
    const by: unknown = metadata && "run_id" in metadata ? metadata.run_id : undefined;
    if (by !== run.runId) return checkpoint.id;
  }
  return undefined;
}
