import type { FencedSaver } from "../checkpoint/saver.ts";
import { isOutput, stillWaits } from "../checkpoint/interrupts.ts";
import type { ThreadId } from "../core/ids.ts";
import type { RegisteredGraph } from "./registry.ts";

/**
 * True if going on from the head would do something: a task of it is unfinished and does not wait for an answer, or
 * all of them have finished and their superstep was never completed (I6).
 */
export async function hasWorkLeft(graph: RegisteredGraph, saver: FencedSaver, threadId: ThreadId): Promise<boolean> {
  const compiled = await graph.compiled();
  compiled.checkpointer = saver;
  const config = { configurable: { thread_id: threadId } };
  const [{ tasks }, tuple, pending] = await Promise.all([
    compiled.getState(config),
    saver.getTuple(config),
    saver.pendingInterrupts(),
  ]);
  const finished = new Set(
    (tuple?.pendingWrites ?? []).filter(([, channel]) => isOutput(channel)).map(([taskId]) => taskId),
  );
  const unfinished = tasks.filter((task) => !finished.has(task.id));
  if (unfinished.length === 0) return tasks.length > 0;
  // The parents' writes lag behind: whether an interrupt still waits is said by the task that raised it.
  const owners = pending.flatMap(({ owner }) => owner ?? []);
  const still = new Set((await saver.interruptsThat(stillWaits, owners)).map(({ id }) => id));
  const waiting = new Set(
    pending.filter(({ id, owner }) => owner === undefined || still.has(id)).map(({ taskId }) => taskId),
  );
  return unfinished.some((task) => !waiting.has(task.id));
}
