/** What LangGraph says about a task in the config that it executes it with. */
import { RESUME } from "@langchain/langgraph-checkpoint";
import type { LangGraphRunnableConfig, RetryPolicy, TimeoutPolicy } from "@langchain/langgraph";
import { CALL_NUMBERS } from "../core/effect.ts";

export interface TaskPlace {
  readonly taskId: string;
  /** Namespace of the task itself: `node:id`, under the namespaces above it. */
  readonly ns: string;
}

export function placeOf({ configurable }: LangGraphRunnableConfig): TaskPlace {
  const { __pregel_task_id: taskId, checkpoint_ns: ns }: Readonly<Record<string, unknown>> = configurable ?? {};
  return { taskId: String(taskId), ns: String(ns) };
}

/**
 * A name of the task that it has in every delivery: its id, where that is the same again. In a graph without a
 * checkpointer it is not; there tasks of one node share a name under the last task that has one.
 */
export function stableKey(
  { taskId, ns }: TaskPlace,
  isKept: (ns: string) => boolean,
  caller?: TaskPlace & { readonly key: string },
): string {
  const segments = ns.split("|");
  if (caller) return caller.key === caller.taskId ? taskId : `${caller.key}|${nameOf(segments.at(-1) ?? "")}`;
  const unkept = segments.findIndex(
    (segment, i) => i > 0 && segment.includes(":") && !isKept(segments.slice(0, i).join("|")),
  );
  if (unkept < 0) return taskId;
  return [...segments.slice(0, unkept), ...segments.slice(unkept).map(nameOf)].join("|");
}

const nameOf = (segment: string): string => segment.split(":")[0] ?? segment;

/** How a node calls a functional task. */
export type Call = (
  func: (...args: unknown[]) => unknown,
  name: string,
  input: readonly unknown[],
  options?: CallOptions,
) => Promise<unknown>;

export interface CallOptions {
  readonly retry?: RetryPolicy | undefined;
  readonly timeout?: TimeoutPolicy | undefined;
}

export type Write = readonly [channel: string, value: unknown];

/** How a task says what it writes. */
export type SendWrites = (writes: readonly Write[]) => void;

/** What a task writes of the answers that it was resumed with. */
export const isAnswer = ([channel]: Write): boolean => channel === RESUME;

const CALL = "__pregel_call";
const SEND = "__pregel_send";

// LangGraph put them there.
export const callOf = ({ configurable }: LangGraphRunnableConfig): Call | undefined =>
  configurable?.[CALL] as Call | undefined;
export const sendOf = ({ configurable }: LangGraphRunnableConfig): SendWrites | undefined =>
  configurable?.[SEND] as SendWrites | undefined;

/** The config of a functional task that knows which call of its caller's attempt it is. */
export function numbered(config: LangGraphRunnableConfig, call: number): LangGraphRunnableConfig {
  const outer: unknown = config.configurable?.[CALL_NUMBERS];
  const numbers = { ...(typeof outer === "object" ? outer : {}), [placeOf(config).ns]: call };
  return { ...config, configurable: { ...config.configurable, [CALL_NUMBERS]: numbers } };
}

/** The config with other ways to write and to call. */
export const withChannels = (
  config: LangGraphRunnableConfig,
  { send, call }: { readonly send: SendWrites; readonly call?: Call },
): LangGraphRunnableConfig => ({
  ...config,
  configurable: { ...config.configurable, [SEND]: send, ...(call ? { [CALL]: call } : {}) },
});
