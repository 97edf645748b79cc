/** What of a graph's state is shown: its own channels, never LangGraph's or the runtime's bookkeeping. */
import type { Json } from "../core/json.ts";
import { plainJson } from "../core/plain-json.ts";
import type { CompiledGraph } from "./registry.ts";

const ROOT_CHANNEL = "__root__";

/** True for channels that are nobody's state: LangGraph's own, and private ones of authors' kits (`name~use`). */
export function isHidden(channel: string): boolean {
  return (
    channel.startsWith("__") || channel.startsWith("branch:") || channel.startsWith("join:") || channel.includes("~")
  );
}

/**
 * The state as JSON, from the channels of a checkpoint. With the graph at hand it is exactly what the graph streams;
 * without it, every channel that is not hidden.
 */
export function visibleValues(channels: Readonly<Record<string, unknown>>, graph?: CompiledGraph): Json {
  const only = graph && streamed(graph);
  if (typeof only === "string") return plainJson(channels[only]);
  if (only === undefined && ROOT_CHANNEL in channels) return plainJson(channels[ROOT_CHANNEL]);
  const names = (only ?? Object.keys(channels)).filter((name) => name in channels);
  return plainJson(Object.fromEntries(names.filter((name) => !isHidden(name)).map((name) => [name, channels[name]])));
}

/** The channels that a graph streams; one name where its state is a single value. */
function streamed(graph: CompiledGraph): string | readonly string[] {
  const channels: unknown = graph.streamChannelsAsIs;
  return Array.isArray(channels) ? channels.map(String) : String(channels);
}

/** Values that LangGraph has read from the channels already. */
export function shownState(values: unknown): Json {
  if (typeof values !== "object" || values === null || Array.isArray(values)) return plainJson(values);
  return plainJson(Object.fromEntries(Object.entries(values).filter(([name]) => !isHidden(name))));
}

/** True if the graph keeps channels whose value is not in the checkpoint but has to be rebuilt from writes. */
export function hasDeltaChannels(graph: CompiledGraph): boolean {
  const channels: readonly unknown[] = Object.values(graph.channels as Readonly<Record<string, unknown>>);
  return channels.some(
    (channel) =>
      typeof channel === "object" &&
      channel !== null &&
      "lc_graph_name" in channel &&
      channel.lc_graph_name === "DeltaChannel",
  );
}
