/** What the superstep after a checkpoint consists of, read from the checkpoint alone: names of nodes, known or not. */
import { TASKS, compareChannelVersions } from "@langchain/langgraph-checkpoint";
import type { Checkpoint } from "@langchain/langgraph-checkpoint";
import { sendNames } from "../checkpoint/visits.ts";

export const BRANCH = "branch:to:";

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
