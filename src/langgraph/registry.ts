import type { Pregel } from "@langchain/langgraph";
import type { ErrorInfo } from "../core/errors.ts";

/** Any compiled graph; what its channels hold is its own business. */
// oxlint-disable-next-line typescript/no-explicit-any -- LangGraph's own way to say "whatever its type parameters"
export type CompiledGraph = Pregel<any, any>;

/** What a graph that is exported as a function is called with. */
export interface GraphConfig {
  readonly configurable: Readonly<Record<string, unknown>>;
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** A graph that this process can execute. */
export interface RegisteredGraph {
  readonly graphId: string;
  /** Digest of what was loaded: a run records the version that executed it (I9). */
  readonly version: string;
  readonly description?: string;
  readonly pool: string;
  readonly priority: number;
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
