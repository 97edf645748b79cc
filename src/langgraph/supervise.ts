/**
 * A graph as one delivery executes it: the author's own, with every node that can be reached under the delivery's
 * attempts. Reached are the nodes of the graph, those of graphs that are nodes of it, at any depth, and functional
 * tasks. A graph that a node's function calls is not: it keeps LangGraph's own retries, and no time-out of its nodes.
 */
import { Runnable } from "@langchain/core/runnables";
import type { LangGraphRunnableConfig, PregelNode, RetryPolicy } from "@langchain/langgraph";
import type { Attempts } from "./attempts.ts";
import { copyOf } from "./copy.ts";
import { isCompiled } from "./registry.ts";
import type { CompiledGraph } from "./registry.ts";

/** Shares everything with the graph but its nodes, and a store it was compiled with; the graph itself is not touched. */
export function supervised(graph: CompiledGraph, attempts: Attempts): CompiledGraph {
  const copy = copyOf(graph);
  delete copy.store;
  const nodes = Object.entries(graph.nodes as Readonly<Record<string, PregelNode>>); // whatever its type parameters
  copy.nodes = Object.fromEntries(
    nodes.map(([name, node]) => [name, supervisedNode(node, graph.retryPolicy, attempts)]),
  );
  return copy;
}

function supervisedNode(node: PregelNode, ofGraph: RetryPolicy | undefined, attempts: Attempts): PregelNode {
  const copy = copyOf(node);
  const bound = supervisedGraphIn(node.bound, attempts);
  copy.bound = bound ?? heard(node.bound, attempts);
  copy.writers = node.writers.map((writer) => ("writes" in writer ? writer : heard(writer, attempts)));
  const policy = node.retryPolicy ?? ofGraph;
  copy.retryPolicy = attempts.policy(policy);
  // A graph takes as long as it takes: each of its nodes has a time-out.
  if (!bound) copy.timeout = node.timeout ?? attempts.timeout;
  copy.getNode = () => {
    const runnable = node.getNode.call(copy);
    return runnable && new Supervised(runnable, attempts, policy);
  };
  return copy;
}

/** The same runnable around a supervised graph; undefined when there is none in it. */
function supervisedGraphIn(runnable: Runnable, attempts: Attempts): Runnable | undefined {
  if (isCompiled(runnable)) return "nodes" in runnable ? supervised(runnable, attempts) : undefined;
  if (!("steps" in runnable) || !Array.isArray(runnable.steps)) return undefined;
  const steps: readonly Runnable[] = runnable.steps;
  const replaced = steps.map((step) => supervisedGraphIn(step, attempts) ?? step);
  if (replaced.every((step, i) => step === steps[i])) return undefined;
  const [first, ...rest] = replaced;
  return Object.assign(copyOf(runnable), { first, middle: rest.slice(0, -1), last: rest.at(-1) });
}

/**
 * What an author wrote, a node or a condition on its way out, with the handler in its config. Around it LangChain makes
 * managers of callbacks for whatever it executes as soon as there is one, and that costs a run a quarter of its time.
 */
function heard<R extends Runnable>(runnable: R, attempts: Attempts): R {
  if (!attempts.hears) return runnable;
  const invoke = (input: unknown, config: Partial<LangGraphRunnableConfig> = {}): Promise<unknown> =>
    runnable.invoke(input, attempts.heard(config));
  return Object.assign(copyOf(runnable), { invoke });
}

/** A node with its writers, so that a condition on its way out is supervised as well. */
class Supervised extends Runnable<unknown, unknown, LangGraphRunnableConfig> {
  lc_namespace = ["holdpoint"];
  readonly #node: Runnable;
  readonly #attempts: Attempts;
  readonly #policy: RetryPolicy | undefined;

  constructor(node: Runnable, attempts: Attempts, policy: RetryPolicy | undefined) {
    super();
    this.#node = node;
    this.#attempts = attempts;
    this.#policy = policy;
  }

  override invoke(input: unknown, config: Partial<LangGraphRunnableConfig> = {}): Promise<unknown> {
    return this.#attempts.run(config, (scoped) => this.#node.invoke(input, scoped), { policy: this.#policy });
  }
}
