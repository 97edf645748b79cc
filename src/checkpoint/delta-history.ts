/**
 * What LangGraph rebuilds a delta channel from: the writes of the ancestors back to the nearest one that holds a value. A
 * parent's records are read a chain at a time, and the task writes of several side by side.
 */
import type { CheckpointPendingWrite, DeltaChannelHistory } from "@langchain/langgraph-checkpoint";
import type { RunnableConfig } from "@langchain/core/runnables";
import type { Branch } from "./branch.ts";
import type { Loaded } from "./view.ts";
import type { CheckpointRecord } from "./record.ts";
import { toCheckpoint, toPendingWrites } from "./tuple.ts";
import type { TupleDeps } from "./tuple.ts";

/** Ancestors whose writes are read at once. */
const AT_ONCE = 16;

export interface DeltaRequest {
  readonly config: RunnableConfig;
  readonly channels: readonly string[];
}

/** By channel. */
export type DeltaHistories = Record<string, DeltaChannelHistory>;

/** `of`: the checkpoint whose own writes do not count; without it there are none. */
export async function deltaHistory(
  branch: Branch,
  tuples: TupleDeps,
  { of, channels }: { readonly of: CheckpointRecord | undefined; readonly channels: readonly string[] },
): Promise<DeltaHistories> {
  const found = new Map(channels.map((channel) => [channel, { newest: new Array<CheckpointPendingWrite>() }]));
  const seeds = new Map<string, unknown>();
  const missing = new Set(channels);
  if (channels.length === 0) return {};
  for await (const loaded of ancestors(branch, of)) {
    const writes = await toPendingWrites(tuples, loaded.sets, loaded.stored.record.checkpointId);
    for (const write of writes.toReversed()) {
      const [, channel] = write;
      if (missing.has(channel)) found.get(channel)?.newest.push(write);
    }
    const present = [...missing].filter((channel) => loaded.stored.channels.has(channel));
    if (present.length > 0) {
      const values = new Map(Object.entries((await toCheckpoint(tuples, loaded.stored)).channel_values));
      for (const channel of present) seeds.set(channel, values.get(channel));
    }
    for (const channel of present) missing.delete(channel);
    if (missing.size === 0) break;
  }
  return Object.fromEntries(
    [...found].map(([channel, { newest }]) => [
      channel,
      { writes: newest.toReversed(), ...(seeds.has(channel) ? { seed: seeds.get(channel) } : {}) },
    ]),
  );
}

/** Newest first; forks included only as far as they are on the way. */
export async function* ancestors(branch: Branch, of: CheckpointRecord | undefined): AsyncGenerator<Loaded> {
  for (let parent = of && (await parentOf(branch, of)); parent !== undefined;) {
    const chain: readonly CheckpointRecord[] = await branch.log.chain(parent);
    for (let end = chain.length; end > 0; end -= AT_ONCE) {
      const from = Math.max(0, end - AT_ONCE);
      const some = chain.slice(from, end).map((record, n) => branch.loadRecord(record, chain.slice(0, from + n + 1)));
      yield* (await Promise.all(some)).toReversed();
    }
    const [base] = chain;
    parent = base && (await parentOf(branch, base));
  }
}

const parentOf = async (branch: Branch, { parentId }: CheckpointRecord): Promise<CheckpointRecord | undefined> =>
  parentId === undefined ? undefined : branch.log.find(parentId);
