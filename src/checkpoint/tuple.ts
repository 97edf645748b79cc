/** From stored bytes to what LangGraph reads, and the parts of a RunnableConfig that a saver looks at. */
import { TASKS, maxChannelVersion } from "@langchain/langgraph-checkpoint";
import type {
  BaseCheckpointSaver,
  Checkpoint,
  CheckpointMetadata,
  CheckpointPendingWrite,
  CheckpointTuple,
  SerializerProtocol,
} from "@langchain/langgraph-checkpoint";
import type { RunnableConfig } from "@langchain/core/runnables";
import { HoldpointError } from "../core/errors.ts";
import { threadKeys } from "../storage/keys.ts";
import type { Loaded } from "./view.ts";
import type { Branch } from "./branch.ts";
import { loadBytes } from "./cells.ts";
import type { Cell } from "./cells.ts";
import type { CellStore } from "./cell-store.ts";
import { withName } from "./named.ts";
import type { NamespaceRef } from "./segments.ts";
import type { StoredCheckpoint } from "./state.ts";
import { mergeWrites } from "./writes.ts";
import type { WriteSet } from "./writes.ts";

/** What a config addresses. */
export interface Address {
  readonly threadId: string | undefined;
  /** Undefined when the config does not say; the root is the empty string. */
  readonly ns: string | undefined;
  readonly checkpointId: string | undefined;
}

/** @throws HoldpointError `invalid` for a name that is no Unicode text: stored, it would be another's */
export function addressOf(config: RunnableConfig | undefined): Address {
  const configurable: Readonly<Record<string, unknown>> = config?.configurable ?? {};
  const text = (name: string): string | undefined => {
    const value = configurable[name];
    if (typeof value === "string" && !value.isWellFormed())
      throw new HoldpointError("invalid", `the "${name}" in "configurable" ends, or is cut, within a character`);
    return typeof value === "string" ? value : undefined;
  };
  const id = text("checkpoint_id");
  return { threadId: text("thread_id"), ns: text("checkpoint_ns"), checkpointId: id === "" ? undefined : id };
}

/** The run that some metadata names. */
export function runIdIn(metadata: object | undefined): string | undefined {
  const value: unknown = metadata && Object.getOwnPropertyDescriptor(metadata, "run_id")?.value;
  return typeof value === "string" ? value : undefined;
}

/** @throws HoldpointError `invalid` when the config names no thread */
export function requireThread(address: Address): string {
  if (address.threadId === undefined || address.threadId === "") {
    throw new HoldpointError(
      "invalid",
      'the config lacks a "thread_id" in "configurable", so there is no thread to write to',
    );
  }
  return address.threadId;
}

/** @throws HoldpointError `invalid` when the config names no thread or no checkpoint */
export function requireCheckpoint(address: Address) {
  const { ns = "", checkpointId } = address;
  const threadId = requireThread(address);
  if (checkpointId === undefined)
    throw new HoldpointError("invalid", 'the config lacks a "checkpoint_id" in "configurable"');
  return { threadId, ns, checkpointId };
}

export const configFor = (threadId: string, ns: string, checkpointId: string): RunnableConfig => ({
  configurable: { thread_id: threadId, checkpoint_ns: ns, checkpoint_id: checkpointId },
});

export interface TupleDeps {
  readonly cells: CellStore;
  readonly serde: SerializerProtocol;
  readonly at: NamespaceRef;
  /** Visible writes of another checkpoint: checkpoints of an old format keep their Sends in the parent's writes. */
  readonly writesOf: (checkpointId: string) => Promise<readonly WriteSet[]>;
  readonly firstVersion: () => number;
}

export const tuplesOf = (
  branch: Branch,
  cells: CellStore,
  saver: Pick<BaseCheckpointSaver, "serde" | "getNextVersion">,
): TupleDeps => ({
  cells,
  serde: saver.serde,
  at: branch.log.at,
  writesOf: async (checkpointId) => (await branch.load(checkpointId))?.sets ?? [],
  firstVersion: () => saver.getNextVersion(undefined),
});

/** Deserializes a checkpoint and its writes; every call makes new objects, because a graph changes what it is given. */
export async function toTuple(deps: TupleDeps, { stored, sets }: Loaded): Promise<CheckpointTuple> {
  const { record } = stored;
  const { threadId } = deps.at.thread;
  const [checkpoint, metadata, pendingWrites] = await Promise.all([
    toCheckpoint(deps, stored),
    toMetadata(deps, stored),
    toPendingWrites(deps, sets, record.checkpointId),
  ]);
  if (checkpoint.v < 4 && record.parentId !== undefined) await migrateSends(deps, checkpoint, record.parentId);
  return {
    config: configFor(threadId, deps.at.ns, record.checkpointId),
    checkpoint,
    metadata,
    pendingWrites,
    ...(record.parentId === undefined ? {} : { parentConfig: configFor(threadId, deps.at.ns, record.parentId) }),
  };
}

/** Has the bytes of a checkpoint read while its task writes are; what fails is told to who asks for them. */
export function readAhead({ cells, at }: TupleDeps, stored: StoredCheckpoint | undefined): void {
  for (const cell of stored?.channels.values() ?? []) void cells.bytesOf(at, cell).catch(() => undefined);
}

/** @throws HoldpointError `corrupt` when the bytes are not those that were written */
async function loaded({ cells, serde, at }: TupleDeps, cell: Cell): Promise<unknown> {
  return loadBytes(serde, cell.type, await cells.bytesOf(at, cell));
}

export async function toCheckpoint(deps: TupleDeps, stored: StoredCheckpoint): Promise<Checkpoint> {
  const names = [...stored.channels.keys()];
  const values = await valuesOf(deps, stored);
  return {
    v: stored.v,
    id: stored.record.checkpointId,
    ts: stored.ts,
    channel_values: Object.fromEntries(names.map((name, n) => [name, values[n]])),
    channel_versions: { ...stored.channelVersions },
    versions_seen: Object.fromEntries(Object.entries(stored.versionsSeen).map(([node, seen]) => [node, { ...seen }])),
  };
}

async function valuesOf(deps: TupleDeps, stored: StoredCheckpoint): Promise<readonly unknown[]> {
  try {
    return await Promise.all([...stored.channels.values()].map((cell) => loaded(deps, cell)));
  } catch (error) {
    throw withName(recordsOf(deps.at, stored), error);
  }
}

/** Those whose bytes the values of a checkpoint are made of, besides segments. */
function recordsOf({ thread, generation, ns }: NamespaceRef, { record }: StoredCheckpoint): string {
  const [from, to] = [record.baseSeq, record.seq].map((seq) => threadKeys.log(thread, generation, ns, seq).sk);
  return `checkpoint ${record.checkpointId}, records ${from} to ${to}`;
}

export async function toMetadata(deps: TupleDeps, stored: StoredCheckpoint): Promise<CheckpointMetadata> {
  const value = await loaded(deps, stored.metadata);
  if (!isMetadata(value))
    throw new HoldpointError("corrupt", `checkpoint ${stored.record.checkpointId} has no readable metadata`);
  return value;
}

// What `put` was given as metadata is returned as it was; LangGraph reads its own fields with defaults.
const isMetadata = (value: unknown): value is CheckpointMetadata => typeof value === "object" && value !== null;

/** Visible writes of a checkpoint, deserialized. @throws HoldpointError `corrupt`, naming the item */
export async function toPendingWrites(
  deps: TupleDeps,
  sets: readonly WriteSet[],
  checkpointId: string,
): Promise<CheckpointPendingWrite[]> {
  const { thread, generation, ns } = deps.at;
  return Promise.all(
    mergeWrites(sets).map(async ({ taskId, fence, idx, channel, cell }): Promise<CheckpointPendingWrite> => {
      try {
        return [taskId, channel, await loaded(deps, cell)];
      } catch (error) {
        const place = { generation, ns, checkpointId, taskId, fence, ...(idx < 0 ? { special: idx } : {}) };
        throw withName(`task writes ${threadKeys.taskWrites(thread, place).sk}`, error);
      }
    }),
  );
}

async function migrateSends(deps: TupleDeps, checkpoint: Checkpoint, parentId: string): Promise<void> {
  const writes = await toPendingWrites(deps, await deps.writesOf(parentId), parentId);
  checkpoint.channel_values[TASKS] = writes.filter(([, channel]) => channel === TASKS).map(([, , value]) => value);
  const versions = Object.values(checkpoint.channel_versions);
  checkpoint.channel_versions[TASKS] = versions.length > 0 ? maxChannelVersion(...versions) : deps.firstVersion();
}
