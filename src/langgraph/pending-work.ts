/** What the superstep after a checkpoint consists of, read from the checkpoint alone: names of nodes, known or not. */
import { TASKS, compareChannelVersions } from "@langchain/langgraph-checkpoint";
import type { Checkpoint, CheckpointTuple } from "@langchain/langgraph-checkpoint";
import { sendNames } from "../checkpoint/visits.ts";

const BRANCH = "branch:to:";

/** Nodes whose trigger was written since they last ran. */
export function triggeredNodes({
  channel_values: values,
  channel_versions: versions,
  versions_seen: seen,
}: Checkpoint): readonly string[] {
  return Object.entries(versions).flatMap(([channel, version]) => {
    if (!channel.startsWith(BRANCH) || !(channel in values)) return [];
    const node = channel.slice(BRANCH.length);
    const before = seen[node]?.[channel];
    return before === undefined || compareChannelVersions(version, before) > 0 ? [node] : [];
  });
}

/** Nodes of the Sends that wait, in their order. */
export const sentNodes = ({ channel_values: values }: Checkpoint): readonly string[] => sendNames(values[TASKS]);

const JOIN = /^join:.*:([^:]+)$/;

/**
 * Nodes that a checkpoint and its task writes need if they are to be gone on with: those that are triggered or sent to,
 * those that finished tasks and commands have named, and those that wait for some of several others.
 */
export function neededNodes({ checkpoint, pendingWrites = [] }: CheckpointTuple): readonly string[] {
  const joined = Object.entries(checkpoint.channel_values).flatMap(([channel, arrived]) =>
    Array.isArray(arrived) && arrived.length > 0 ? targetOf(channel) : [],
  );
  const written = pendingWrites.flatMap(([, channel, value]) =>
    channel === TASKS ? sendNames([value]) : targetOf(channel),
  );
  return [...new Set([...triggeredNodes(checkpoint), ...sentNodes(checkpoint), ...joined, ...written])];
}

/** The node that a channel of LangGraph's own leads to. */
function targetOf(channel: string): readonly string[] {
  if (channel.startsWith(BRANCH)) return [channel.slice(BRANCH.length)];
  return JOIN.exec(channel)?.slice(1) ?? [];
}
