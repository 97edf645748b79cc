/**
 * The answers that a resumed task consumes are stored while it is executed, and LangGraph does not wait for that before
 * it stores the checkpoint that comes of them. Whether a decision was taken is read from the answers: a checkpoint
 * without them would look as if the thread had moved on past it.
 */
import { RESUME } from "@langchain/langgraph-checkpoint";
import type { PendingWrite } from "@langchain/langgraph-checkpoint";

export interface Answers {
  /** Task writes that are on their way. */
  storing(writes: readonly PendingWrite[], stored: Promise<void>): void;
  /** Resolves once every answer so far is stored. @throws whatever kept one from being stored */
  landed(): Promise<void>;
}

export function createAnswers(): Answers {
  /** On their way, or failed for good. */
  const unstored = new Set<Promise<void>>();
  return {
    storing(writes, stored) {
      if (!writes.some(([channel]) => channel === RESUME)) return;
      unstored.add(stored);
      stored.then(
        () => unstored.delete(stored),
        () => undefined,
      );
    },
    async landed() {
      if (unstored.size > 0) await Promise.all(unstored);
    },
  };
}
