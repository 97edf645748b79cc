/** Threads, checkpoints and reads from which the cases are made. */
import { randomUUID } from "node:crypto";
import { uuid6 } from "@langchain/langgraph-checkpoint";
import type {
  BaseCheckpointSaver,
  CheckpointListOptions,
  CheckpointMetadata,
  CheckpointTuple,
} from "@langchain/langgraph-checkpoint";
import type { RunnableConfig } from "@langchain/core/runnables";
import { checkpointOf, configOf, metadataOf } from "../checkpoints.ts";

/** A thread that nobody else uses. */
export const newThread = (what = "hard"): string => `${what}-${randomUUID()}`;

export interface Step {
  readonly id?: string;
  /** All channels, with their values. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Version of each channel; 1 where it is missing. */
  readonly versions?: Readonly<Record<string, number>>;
  /** Channels that changed; all unless given. */
  readonly changed?: readonly string[];
  readonly step?: number;
  readonly metadata?: Readonly<Record<string, unknown>>;
}

/** Puts a checkpoint as LangGraph does: all values, and the versions of those channels that changed. */
export async function putStep(saver: BaseCheckpointSaver, parent: RunnableConfig, made: Step): Promise<RunnableConfig> {
  const { values, changed = Object.keys(values), step = 0 } = made;
  const versions = Object.fromEntries(Object.keys(values).map((name) => [name, made.versions?.[name] ?? 1]));
  const id = made.id ?? uuid6(step);
  // Metadata of one's own is what a run's configuration adds to LangGraph's.
  const metadata = { ...metadataOf(step), ...made.metadata } as CheckpointMetadata;
  const newVersions = Object.fromEntries(changed.map((name) => [name, versions[name] ?? 1]));
  return saver.put(parent, checkpointOf({ id, values, versions }), metadata, newVersions);
}

/** Puts so many checkpoints, each the child of the one before, whose channel `n` counts from 1. */
export async function putChain(saver: BaseCheckpointSaver, thread: string, length: number): Promise<RunnableConfig[]> {
  const configs: RunnableConfig[] = [];
  for (let n = 1; n <= length; n += 1) {
    const parent = configs.at(-1) ?? configOf(thread);
    configs.push(await putStep(saver, parent, { values: { n }, versions: { n }, step: n }));
  }
  return configs;
}

/** The values of a checkpoint, or of the latest; undefined when there is none. */
export const valuesAt = async (saver: BaseCheckpointSaver, config: RunnableConfig): Promise<unknown> =>
  (await saver.getTuple(config))?.checkpoint.channel_values;

/** The pending writes of a checkpoint as `[task, channel, value]`; none where there is no checkpoint. */
export const writesAt = async (saver: BaseCheckpointSaver, config: RunnableConfig): Promise<readonly unknown[]> =>
  (await saver.getTuple(config))?.pendingWrites ?? [];

export async function listed(
  saver: BaseCheckpointSaver,
  config: RunnableConfig,
  options: CheckpointListOptions = {},
): Promise<readonly CheckpointTuple[]> {
  const found: CheckpointTuple[] = [];
  for await (const tuple of saver.list(config, options)) found.push(tuple);
  return found;
}

export const idOf = (config: RunnableConfig | undefined): string => {
  const id: unknown = config?.configurable?.["checkpoint_id"];
  return typeof id === "string" ? id : "";
};

export const idsOf = (tuples: readonly CheckpointTuple[]): readonly string[] =>
  tuples.map(({ config }) => idOf(config));

/** A task id of the form that LangGraph gives. */
export const taskId = (n: number): string => `00000000-0000-5000-8000-${String(n).padStart(12, "0")}`;
