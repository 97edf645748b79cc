import type { SaverHead } from "../checkpoint/options.ts";
import { FencedSaver } from "../checkpoint/saver.ts";
import { saverParts } from "./saver-parts.ts";
import { HoldpointError } from "../core/errors.ts";
import type { Json } from "../core/json.ts";
import { runId } from "../core/ids.ts";
import type { RunId } from "../core/ids.ts";
import { isEnded } from "../core/run.ts";
import type { CheckpointSelector, Run } from "../core/run.ts";
import { valuesAt } from "../langgraph/views.ts";
import { hasDeltaChannels, visibleValues } from "../langgraph/visible.ts";
import type { ThreadRef } from "../storage/keys.ts";
import type { Deps } from "./deps.ts";
import type { ValuesAt } from "./value-cache.ts";

/** Reads the values of a thread at one of its checkpoints, as clients see them. `{}` when it is not there any more. */
export interface StateReader {
  valuesAt(run: Run, at: ValuesAt): Promise<Json>;
}

export function createStateReader(deps: Deps): StateReader {
  return {
    async valuesAt(run, at) {
      const known = deps.values.get(run, at);
      if (known !== undefined) return known;
      const checkpoint = { checkpointId: at.checkpointId, checkpointNs: at.ns };
      const graph = deps.graphs.get(run.graphId);
      const values = await valuesAt({ graph, saver: readingSaver(deps, run), threadId: run.threadId, checkpoint });
      deps.values.set(run, at, values);
      return values;
    },
  };
}

/** The thread, and the generation of it, in which a checkpoint is looked for. */
export interface InThread extends ThreadRef {
  readonly generation: number;
}

/** A saver without a lease, for one generation of a thread. */
export function readingSaver(deps: Deps, { tenant, threadId, generation }: InThread): FencedSaver {
  return new FencedSaver({ ...saverParts(deps, tenant), threadId, generation });
}

/** The newest checkpoint of a thread as anybody sees it; a later holder may be writing the next one. */
export async function readHead(deps: Deps, thread: InThread): Promise<SaverHead | undefined> {
  return readingSaver(deps, thread).preload();
}

/** Keeps what is shown of a delivery's last checkpoint for those in this process who wait for it. */
export async function rememberHead(deps: Deps, saver: FencedSaver, run: Run): Promise<void> {
  const head = saver.head();
  const graph = await deps.graphs.get(run.graphId)?.compiled();
  if (!head || !graph || hasDeltaChannels(graph)) return;
  const channels = await saver.headValues();
  if (channels) deps.values.set(run, { ns: "", checkpointId: head.checkpointId }, visibleValues(channels, graph));
}

/**
 * Refuses a checkpoint that is not there, before anything starts from it: LangGraph would start from nothing.
 * @throws HoldpointError `not_found`
 */
export async function assertCheckpoint(
  deps: Deps,
  thread: InThread,
  selector: CheckpointSelector | undefined,
): Promise<void> {
  const { checkpointId, checkpointNs = "" } = selector ?? {};
  if (checkpointId === undefined) return;
  const found = await readingSaver(deps, thread).getTuple({
    configurable: { thread_id: thread.threadId, checkpoint_ns: checkpointNs, checkpoint_id: checkpointId },
  });
  if (!found) throw new HoldpointError("not_found", `Checkpoint ${checkpointId} not found`);
}

/**
 * The roots of a run: its own, and that of the input which it goes on from, under which its effects stand. The log knows
 * that one and the run does not, where somebody has resumed it, or sent no input.
 */
export async function rootsOf(deps: Deps, run: Run): Promise<ReadonlySet<RunId>> {
  const saver = readingSaver(deps, run);
  const at = run.end?.checkpointId;
  const configurable = { thread_id: run.threadId, checkpoint_ns: "", ...(at && { checkpoint_id: at }) };
  const tuple = isEnded(run.status) && at === undefined ? undefined : await saver.getTuple({ configurable });
  const root = saver.whereabouts.root();
  if (!tuple || root === undefined) return new Set([run.root]);
  const isOwn = (tuple.metadata as { readonly run_id?: unknown } | undefined)?.run_id === run.runId;
  // One with new input that never came to a checkpoint has nothing of what was there before.
  const goesOn = isOwn || ((await deps.runs.payload(run)).input ?? null) === null;
  return new Set(goesOn ? [run.root, runId(root)] : [run.root]);
}
