/** Small checkpoints for tests that talk to a saver directly, without a graph. */
import { createHash } from "node:crypto";
import { uuid6 } from "@langchain/langgraph-checkpoint";
import type { Checkpoint, CheckpointMetadata } from "@langchain/langgraph-checkpoint";
import type { RunnableConfig } from "@langchain/core/runnables";

export interface CheckpointSpec {
  readonly id?: string;
  readonly values?: Readonly<Record<string, unknown>>;
  readonly versions?: Readonly<Record<string, number>>;
}

/** A checkpoint whose channels all have version 1 unless said otherwise. */
export function checkpointOf({ id = uuid6(0), values = {}, versions }: CheckpointSpec = {}): Checkpoint {
  const names = Object.keys(values);
  return {
    v: 4,
    id,
    ts: "2026-01-01T00:00:00.000Z",
    channel_values: { ...values },
    channel_versions: { ...(versions ?? Object.fromEntries(names.map((name) => [name, 1]))) },
    versions_seen: {},
  };
}

export const metadataOf = (step: number, source: CheckpointMetadata["source"] = "loop"): CheckpointMetadata => ({
  source,
  step,
  parents: {},
});

/** The config that addresses a thread, and one of its checkpoints if named. */
export const configOf = (threadId: string, checkpointId?: string, ns = ""): RunnableConfig => ({
  configurable: {
    thread_id: threadId,
    checkpoint_ns: ns,
    ...(checkpointId === undefined ? {} : { checkpoint_id: checkpointId }),
  },
});

/** Text that does not compress: what is stored is about as large as what is given. */
export const noise = (bytes: number): string =>
  createHash("shake256", { outputLength: bytes }).update(String(bytes)).digest("base64").slice(0, bytes);
