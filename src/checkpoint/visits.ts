/**
 * How often each node has completed on a branch since its input: the `visit` in an effect's token. Computed from what
 * LangGraph hands to `put`, so that re-execution after a crash, a resume or a fork counts the same.
 */
import { TASKS } from "@langchain/langgraph-checkpoint";
import type { Checkpoint, ChannelVersions } from "@langchain/langgraph-checkpoint";

/** Entries of `versions_seen` that are LangGraph's own and stand for no node. */
const NOT_NODES = new Set(["__interrupt__", "__snapshot_bumps__", "__input__", "__start__"]);
const SNAPSHOT_BUMPS = "__snapshot_bumps__";

export type Visits = Readonly<Record<string, number>>;

/** What a checkpoint's record keeps of where its branch stands. */
export interface Progress {
  readonly visits: Visits;
  /** Node names of the pending Sends, in order: executed ones leave no trace in `versions_seen`. */
  readonly sends: readonly string[];
  readonly versionsSeen: Readonly<Record<string, ChannelVersions>>;
  readonly channelVersions: ChannelVersions;
}

export interface VisitsInput {
  readonly parent: Progress | undefined;
  readonly checkpoint: Checkpoint;
  readonly source: string;
  /** A new input: counting starts again. */
  readonly fresh: boolean;
  /** Sends that a Command added to the parent after it was written. */
  readonly addedSends: readonly string[];
}

/** The visits of a new checkpoint: its parent's, plus one for every node that completed in between. */
export function countVisits({ parent, checkpoint, source, fresh, addedSends }: VisitsInput): Visits {
  if (fresh || parent === undefined) return {};
  const bumps: ChannelVersions = checkpoint.versions_seen[SNAPSHOT_BUMPS] ?? {};
  const done = new Set<string>();
  for (const [node, seen] of Object.entries(checkpoint.versions_seen)) {
    if (NOT_NODES.has(node)) continue;
    const before: ChannelVersions = parent.versionsSeen[node] ?? {};
    const ran = Object.entries(seen).some(
      ([channel, version]) => version !== before[channel] && bumps[`${node}|${channel}`] !== version,
    );
    if (ran) done.add(node);
  }
  const consumed = checkpoint.channel_versions[TASKS] !== parent.channelVersions[TASKS];
  if (consumed && source !== "update") for (const node of [...parent.sends, ...addedSends]) done.add(node);
  const visits: Record<string, number> = { ...parent.visits };
  for (const node of done) visits[node] = (visits[node] ?? 0) + 1;
  return visits;
}

/** Nodes that ran between two checkpoints, as the later one tells; Sends leave their names in the earlier one. */
export function completedNodes(parent: Checkpoint, checkpoint: Checkpoint): readonly string[] {
  const ran = Object.entries(checkpoint.versions_seen).filter(
    ([node, seen]) =>
      !NOT_NODES.has(node) &&
      Object.entries(seen).some(([channel, version]) => version !== parent.versions_seen[node]?.[channel]),
  );
  return [...ran.map(([node]) => node), ...sendNames(parent.channel_values[TASKS])];
}

/** Node names in a list of Sends, whatever else it holds. */
export function sendNames(value: unknown): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [];
  return list.map((send) => (isSend(send) ? send.node : ""));
}

const isSend = (value: unknown): value is { readonly node: string } =>
  typeof value === "object" && value !== null && "node" in value && typeof value.node === "string";
