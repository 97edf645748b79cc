import type { Pregel } from "@langchain/langgraph";
import { HoldpointError } from "../core/errors.ts";
import type { ErrorInfo } from "../core/errors.ts";
import type { RunLimits } from "../core/limits.ts";
import { copyOf } from "./copy.ts";

/** Any compiled graph; what its channels hold is its own business. */
// oxlint-disable-next-line typescript/no-explicit-any -- LangGraph's own way to say "whatever its type parameters"
export type CompiledGraph = Pregel<any, any>;

/** What a graph that is exported as a function is called with. */
export interface GraphConfig {
  readonly configurable: Readonly<Record<string, unknown>>;
  readonly metadata: Readonly<Record<string, unknown>>;
}

/**
 * What becomes of interrupts that are no `review()`. `lenient`, the default: new input passes them, on the record.
 * `strict`: it is refused, as it is for reviews. `refused`: a run that raises a plain `interrupt()` fails, since what was
 * approved cannot be compared with what is done; breakpoints and the middleware's are strict then.
 */
export const PLAIN_INTERRUPTS = ["lenient", "strict", "refused"] as const;
export type PlainInterrupts = (typeof PLAIN_INTERRUPTS)[number];

/** A graph that this process can execute. */
export interface RegisteredGraph {
  readonly graphId: string;
  /** Digest of what was loaded: a run records the version that executed it (I9). */
  readonly version: string;
  readonly description?: string;
  readonly pool: string;
  readonly priority: number;
  /** A run executes in the version it was accepted with, or not at all (I9). */
  readonly pinned: boolean;
  /** Runs of it that one worker executes at once. */
  readonly concurrency?: number;
  /** Its own bounds, in place of the settings'. */
  readonly limits: Partial<RunLimits>;
  readonly plainInterrupts?: PlainInterrupts;
  /**
   * A fresh instance for one delivery, since the checkpointer is set on it. A graph that is exported as a function is
   * made anew with the delivery's configuration.
   */
  compiled(config?: GraphConfig): Promise<CompiledGraph>;
}

/** A graph that is named in the configuration and could not be loaded. */
export interface FailedGraph {
  readonly graphId: string;
  readonly file: string;
  readonly error: ErrorInfo;
}

export interface GraphRegistry {
  get(graphId: string): RegisteredGraph | undefined;
  failure(graphId: string): FailedGraph | undefined;
  list(): readonly RegisteredGraph[];
  failures(): readonly FailedGraph[];
}

export function createRegistry(
  graphs: readonly RegisteredGraph[],
  failures: readonly FailedGraph[] = [],
): GraphRegistry {
  const byId = new Map(graphs.map((graph) => [graph.graphId, graph]));
  const failed = new Map(failures.map((failure) => [failure.graphId, failure]));
  return {
    get: (graphId) => byId.get(graphId),
    failure: (graphId) => failed.get(graphId),
    list: () => graphs,
    failures: () => failures,
  };
}

/** A graph made in this process, for embedding and for tests. `graph` is whatever a graph file may export. */
export function registeredGraph(graphId: string, graph: unknown, version = "in-process"): RegisteredGraph {
  const compiled = instances(graph, graphId);
  return { graphId, version, pool: "default", priority: 5, pinned: false, limits: {}, compiled };
}

/**
 * Where the instances of a graph come from. Concurrent deliveries of one graph have different savers, so each gets a
 * shallow copy; subgraphs take the saver from the task that they run in.
 * @throws HoldpointError `invalid` when the export is no graph. `name` says which in messages.
 */
export function instances(exported: unknown, name: string): RegisteredGraph["compiled"] {
  if (isFunction(exported)) {
    return async (config = { configurable: {}, metadata: {} }) =>
      copyOf(compiledOf(await exported(config), `what ${name} returned`));
  }
  const graph = compiledOf(exported, name);
  return async () => copyOf(graph);
}

function compiledOf(graph: unknown, name: string): CompiledGraph {
  if (isCompiled(graph)) return graph;
  if (typeof graph === "object" && graph !== null && "compile" in graph && isFunction(graph.compile)) {
    const compiled = graph.compile();
    if (isCompiled(compiled)) return compiled;
  }
  throw new HoldpointError(
    "invalid",
    `${name} is no graph: neither compiled, nor a builder, nor a function that returns one`,
  );
}

const isFunction = (value: unknown): value is (...args: unknown[]) => unknown => typeof value === "function";

/** By its mark and not by its class: the file may have loaded a LangGraph of its own. */
export const isCompiled = (graph: unknown): graph is CompiledGraph =>
  typeof graph === "object" && graph !== null && "lg_is_pregel" in graph && graph.lg_is_pregel === true;
