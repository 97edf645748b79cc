/** Nodes that fail, and policies without jitter. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import type { LangGraphRunnableConfig, RetryPolicy } from "@langchain/langgraph";

export const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
  item: Annotation<string>(),
});
export type S = typeof State.State;
export type Config = LangGraphRunnableConfig;
export type Node = (state: S, config: Config) => Promise<Partial<S>> | Partial<S>;

export const fixed = (initialInterval: number, maxAttempts = 3): RetryPolicy => ({
  initialInterval,
  maxAttempts,
  jitter: false,
  logWarning: false,
});

export const single = (node: Node, retryPolicy: RetryPolicy) =>
  new StateGraph(State).addNode("x", node, { retryPolicy }).addEdge(START, "x").addEdge("x", END);

/** A node that fails so often, and notes each attempt by LangGraph's number of it. */
export function flaky(failures: number, then: () => Partial<S> = () => ({ log: ["done"] })) {
  const attempts: (number | undefined)[] = [];
  return {
    attempts,
    node: (_: S, config: Config): Partial<S> => {
      attempts.push(config.executionInfo?.nodeAttempt);
      if (attempts.length <= failures) throw new Error(`failure ${attempts.length}`);
      return then();
    },
  };
}
