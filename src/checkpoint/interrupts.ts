/**
 * Interrupts as the stored writes show them. Which ones still wait is decided by the writes of the task that raised
 * them; the writes of its parents lag behind.
 */
import { ERROR, INTERRUPT, RESUME } from "@langchain/langgraph-checkpoint";
import type { CheckpointPendingWrite, PendingWrite } from "@langchain/langgraph-checkpoint";
import type { InterruptOwner } from "./writes.ts";

/** An interrupt at the head of a thread. `owner` is missing only where no saver of ours stored it. */
export interface PendingInterrupt {
  readonly id: string;
  readonly value: unknown;
  /** The task at the root whose write shows it. */
  readonly taskId: string;
  readonly owner: InterruptOwner | undefined;
}

const NOT_OUTPUT = new Set([ERROR, "__error_source_node__", INTERRUPT, RESUME]);

/** Whether a write on this channel means that its task has finished. */
export const isOutput = (channel: string): boolean => !NOT_OUTPUT.has(channel);

/**
 * A task that failed has no output (I3). LangGraph stores what it had written by then as well, of one that was broken off
 * because another failed half of it, and would take the task for finished.
 */
export function outputOrError(writes: PendingWrite[]): PendingWrite[] {
  const hasFailed = writes.some(([channel]) => channel === ERROR);
  return hasFailed ? writes.filter(([channel]) => !isOutput(channel)) : writes;
}

interface Raised {
  readonly id: string;
  readonly value: unknown;
}

/** The interrupts in the value of an INTERRUPT write. */
export function interruptsIn(value: unknown): readonly Raised[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  return list.flatMap((entry) => {
    if (typeof entry !== "object" || entry === null || !("id" in entry) || typeof entry.id !== "string") return [];
    return [{ id: entry.id, value: "value" in entry ? entry.value : undefined }];
  });
}

const answersIn = (value: unknown): number => (Array.isArray(value) ? value.length : 1);

/** How many answers are among these writes of one task. */
export function answersAmong(writes: readonly PendingWrite[]): number {
  const last = writes.findLast(([channel]) => channel === RESUME);
  return last === undefined ? 0 : answersIn(last[1]);
}

/**
 * The interrupts that these writes show, of tasks that have not finished; each once, although both a functional task and
 * the node that called it show it.
 */
export function pendingAmong(
  writes: readonly CheckpointPendingWrite[],
  ownerOf: (id: string) => InterruptOwner | undefined,
): readonly PendingInterrupt[] {
  const finished = new Set(writes.filter(([, channel]) => isOutput(channel)).map(([taskId]) => taskId));
  const pending = writes
    .filter(([taskId, channel]) => channel === INTERRUPT && !finished.has(taskId))
    .flatMap(([taskId, , value]) =>
      interruptsIn(value).map((raised) => ({ ...raised, taskId, owner: ownerOf(raised.id) })),
    );
  return [...Map.groupBy(pending, ({ id }) => id).values()].flatMap(([first]) => first ?? []);
}

/** How one of a task's interrupts stands, by all that the task has written. */
export type Standing = (owner: InterruptOwner, own: readonly CheckpointPendingWrite[]) => boolean;

/** It was raised, and no answer to it was taken: its task waits for one, or has come to its end without. */
export const isUnanswered: Standing = (owner, own) => {
  const raised = own.some(
    ([, channel, value]) => channel === INTERRUPT && interruptsIn(value).some(({ id }) => id === owner.id),
  );
  return raised && answersAmong(own.map(([, channel, value]): PendingWrite => [channel, value])) <= owner.ordinal;
};

/** It is unanswered, and its task has not come to its end. */
export const stillWaits: Standing = (owner, own) =>
  isUnanswered(owner, own) && !own.some(([, channel]) => isOutput(channel));

/** Of these interrupts those that stand so. `writesAt`: the visible writes of the checkpoint at which one was raised. */
export async function standingSo(
  standing: Standing,
  owners: readonly InterruptOwner[],
  writesAt: (ns: string, checkpointId: string) => Promise<readonly CheckpointPendingWrite[] | undefined>,
): Promise<readonly InterruptOwner[]> {
  const places = Map.groupBy(owners, ({ ns, checkpointId }) => `${ns}\u0000${checkpointId}`);
  const found = await Promise.all(
    [...places.values()].map(async ([first, ...others]) => {
      const writes = first && (await writesAt(first.ns, first.checkpointId));
      const ownOf = ({ taskId }: InterruptOwner) => (writes ?? []).filter(([writer]) => writer === taskId);
      return writes ? [first, ...others].filter((owner) => standing(owner, ownOf(owner))) : [];
    }),
  );
  const ids = new Set(found.flat().map(({ id }) => id));
  return owners.filter(({ id }) => ids.has(id));
}
