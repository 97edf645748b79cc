/**
 * Whether a graph can go on with what is in flight on a thread (I9). LangGraph itself passes over work for a node that
 * is not there any more, and ends the run as a success.
 */
import type { RunnableConfig } from "@langchain/core/runnables";
import type { StateSnapshot } from "@langchain/langgraph";
import type { BaseCheckpointSaver, CheckpointTuple } from "@langchain/langgraph-checkpoint";
import type { ThreadId } from "../core/ids.ts";
import { neededNodes } from "./pending-work.ts";
import type { CompiledGraph, RegisteredGraph } from "./registry.ts";

export interface InFlight {
  readonly graph: RegisteredGraph;
  readonly saver: BaseCheckpointSaver;
  readonly threadId: ThreadId;
  /** Absent: the head. */
  readonly checkpointId?: string;
}

/**
 * Names of the nodes that pending work needs and the graph does not have, as paths from the root (`"pay"`,
 * `"desk|pay"`). Empty: it can go on. Of graphs inside, only those that are nodes and have a checkpointer are seen.
 */
export async function missingNodes({ graph, saver, threadId, checkpointId }: InFlight): Promise<readonly string[]> {
  const config = { configurable: { thread_id: threadId, ...(checkpointId && { checkpoint_id: checkpointId }) } };
  const [root, tuple] = await Promise.all([graph.compiled(), saver.getTuple(config)]);
  if (tuple === undefined) return [];
  const missing = lackingIn(root, tuple);
  const inner = new Map(await Array.fromAsync(root.getSubgraphsAsync(undefined, true)));
  if (inner.size === 0) return missing;
  root.checkpointer = saver;
  const nested = nestedIn(await root.getState(config, { subgraphs: true }));
  const inNested = nested.map(async (at) => {
    const names = namesOf(at);
    const [within, found] = [inner.get(names), await saver.getTuple(at)];
    return within && found ? lackingIn(within, found).map((node) => `${names}|${node}`) : [];
  });
  return [...missing, ...(await Promise.all(inNested)).flat()];
}

const lackingIn = (graph: CompiledGraph, tuple: CheckpointTuple): readonly string[] =>
  neededNodes(tuple).filter((node) => !Object.hasOwn(graph.nodes as object, node));

/** Where the graphs stand that unfinished tasks execute, at any depth. */
function nestedIn({ tasks }: StateSnapshot): readonly RunnableConfig[] {
  return tasks.flatMap(({ state }) => (state && "tasks" in state ? [state.config, ...nestedIn(state)] : []));
}

/** The names of the nodes in a namespace, without the ids of their tasks. */
function namesOf({ configurable }: RunnableConfig): string {
  const ns: unknown = configurable?.["checkpoint_ns"];
  const segments = typeof ns === "string" ? ns.split("|") : [];
  return segments.map((segment) => segment.split(":")[0]).join("|");
}
