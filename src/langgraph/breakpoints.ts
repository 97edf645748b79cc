import type { CheckpointTuple } from "@langchain/langgraph-checkpoint";
import type { FencedSaver } from "../checkpoint/saver.ts";
import { completedNodes } from "../checkpoint/visits.ts";
import type { Json } from "../core/json.ts";
import type { Run, RunPayload } from "../core/run.ts";
import { breakpointsOf } from "./drive-config.ts";
import type { WaitingInterrupt } from "./drive.ts";
import type { CompiledGraph, RegisteredGraph } from "./registry.ts";

/** A state as LangGraph shows it, with those of its subgraphs. */
interface Shown {
  readonly next: readonly string[];
  readonly config: { readonly configurable?: Readonly<Record<string, unknown>> };
  readonly tasks: readonly { readonly state?: unknown }[];
}

/** One stop, however many nodes would run next, in the graph or in subgraphs of it. */
export function breakpointAt(state: Shown): WaitingInterrupt {
  const inner = stopsWithin(state);
  const value = { ...placeOf(state), ...(inner.length === 0 ? {} : { subgraphs: inner }) };
  return { id: "", value, raisedBy: undefined, node: state.next.join(", ") };
}

function stopsWithin({ tasks }: Shown): readonly Json[] {
  const states = tasks.flatMap(({ state }) => (isShown(state) && state.next.length > 0 ? [state] : []));
  return states.flatMap((state): readonly Json[] => [
    { checkpoint_ns: textOf(state.config, "checkpoint_ns"), ...placeOf(state) },
    ...stopsWithin(state),
  ]);
}

const placeOf = ({ config, next }: Shown) => ({
  checkpoint_id: textOf(config, "checkpoint_id"),
  next,
});

function textOf({ configurable }: Shown["config"], key: string): string {
  const value = configurable?.[key];
  return typeof value === "string" ? value : "";
}

const isShown = (state: unknown): state is Shown =>
  typeof state === "object" && state !== null && "next" in state && "tasks" in state;

/** Whether a run may stop anywhere: what its subgraphs stop at leaves nothing behind either. */
export async function hasBreakpoints(payload: RunPayload, graph: CompiledGraph): Promise<boolean> {
  const { before, after } = breakpointsOf(payload, graph);
  if (before.length > 0 || after.length > 0) return true;
  for await (const [, subgraph] of graph.getSubgraphsAsync(undefined, true)) if (stops(subgraph)) return true;
  return false;
}

const stops = ({ interruptBefore, interruptAfter }: CompiledGraph): boolean =>
  [interruptBefore, interruptAfter].some((asked) => asked !== undefined && asked.length > 0);

export interface AtHead {
  readonly graph: RegisteredGraph;
  readonly saver: FencedSaver;
  readonly run: Run;
  readonly payload: RunPayload;
}

/**
 * The breakpoint at a head that this very run has written: it has stopped there, or died before it could. LangGraph, which
 * keeps nothing of a stop, would pass it if it were asked to go on.
 */
export async function breakpointAtHead({ graph, saver, run, payload }: AtHead): Promise<WaitingInterrupt | undefined> {
  if (saver.head()?.runId !== run.runId) return undefined;
  const compiled = await graph.compiled();
  const { before, after } = breakpointsOf(payload, compiled);
  if (before.length === 0 && after.length === 0) return undefined;
  compiled.checkpointer = saver;
  const config = { configurable: { thread_id: run.threadId } };
  const [state, tuple] = await Promise.all([compiled.getState(config, { subgraphs: true }), saver.getTuple(config)]);
  const { next } = state;
  const isStop = names(before, next) || (tuple !== undefined && names(after, await completedAt(saver, tuple)));
  return isStop && next.length > 0 ? breakpointAt(state) : undefined;
}

const names = (asked: "*" | readonly string[], nodes: readonly string[]): boolean =>
  asked === "*" ? nodes.length > 0 : nodes.some((node) => asked.includes(node));

/** Nodes whose superstep this checkpoint ended. */
async function completedAt(
  saver: FencedSaver,
  { checkpoint, parentConfig }: CheckpointTuple,
): Promise<readonly string[]> {
  const parent = parentConfig && (await saver.getTuple(parentConfig));
  return parent ? completedNodes(parent.checkpoint, checkpoint) : [];
}
