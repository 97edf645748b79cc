/** What tasks have reported through `putWrites` that a later call needs: who raised an interrupt, which Sends were added. */
import { INTERRUPT, TASKS } from "@langchain/langgraph-checkpoint";
import type { CheckpointTuple, PendingWrite } from "@langchain/langgraph-checkpoint";
import { answersAmong, interruptsIn } from "./interrupts.ts";
import { sendNames } from "./visits.ts";
import type { InterruptOwner, WriteSet } from "./writes.ts";

/** The task in whose name LangGraph stores the writes of a Command. */
const NULL_TASK_ID = "00000000-0000-0000-0000-000000000000";

export interface TaskReport {
  readonly ns: string;
  readonly checkpointId: string;
  readonly taskId: string;
  readonly writes: readonly PendingWrite[];
}

export interface TaskReports {
  /** Takes note of writes that are about to be stored, and says who raised the interrupts among them. */
  wrote(report: TaskReport): readonly InterruptOwner[];
  /** Takes note of writes that were read. */
  read(sets: readonly WriteSet[]): void;
  readSends(ns: string, tuple: CheckpointTuple): void;
  ownerOf(id: string): InterruptOwner | undefined;
  /** Node names of the Sends that a Command added to a checkpoint after it was written. */
  addedSends(ns: string, checkpointId: string | undefined): readonly string[];
}

export function createTaskReports(): TaskReports {
  const owners = new Map<string, InterruptOwner>();
  const sends = new Map<string, readonly string[]>();
  const keyOf = (ns: string, checkpointId: string): string => `${ns}\u0000${checkpointId}`;

  const noteSends = (ns: string, checkpointId: string, values: readonly unknown[]): void => {
    if (values.length > 0)
      sends.set(
        keyOf(ns, checkpointId),
        values.flatMap((value) => sendNames([value])),
      );
  };

  return {
    wrote: ({ ns, checkpointId, taskId, writes }) => {
      if (taskId === NULL_TASK_ID) {
        noteSends(
          ns,
          checkpointId,
          writes.filter(([channel]) => channel === TASKS).map(([, value]) => value),
        );
      }
      const raised = writes.filter(([channel]) => channel === INTERRUPT).flatMap(([, value]) => interruptsIn(value));
      const ordinal = answersAmong(writes);
      return raised.map(({ id }) => {
        // The task that raised it reports first, its parents after it.
        const owner = owners.get(id) ?? { id, ns, checkpointId, taskId, ordinal };
        owners.set(id, owner);
        return owner;
      });
    },
    read: (sets) => {
      for (const owner of sets.flatMap((set) => set.owners)) if (!owners.has(owner.id)) owners.set(owner.id, owner);
    },
    readSends: (ns, { checkpoint, pendingWrites = [] }) => {
      noteSends(
        ns,
        checkpoint.id,
        pendingWrites
          .filter(([taskId, channel]) => taskId === NULL_TASK_ID && channel === TASKS)
          .map(([, , value]) => value),
      );
    },
    ownerOf: (id) => owners.get(id),
    addedSends: (ns, checkpointId) => (checkpointId === undefined ? [] : (sends.get(keyOf(ns, checkpointId)) ?? [])),
  };
}
