import { GraphDrained } from "@langchain/langgraph";
import type { HoldpointError } from "../core/errors.ts";
import type { GraphContext } from "./context.ts";

/**
 * Ends the superstep without being an error of the node: LangGraph then keeps what other tasks have done, writes
 * nothing for this one, and asks neither a retry policy nor an error handler. Ambiguity must never reach those.
 */
export class RunStopped extends GraphDrained {
  override readonly cause: HoldpointError;

  constructor(cause: HoldpointError) {
    super(cause.message);
    this.message = cause.message;
    this.cause = cause;
  }
}

/** Stops the run, and says so where a node that swallows the error cannot hide it. */
export function stop(context: GraphContext, cause: HoldpointError): never {
  context.stopped ??= cause;
  throw new RunStopped(cause);
}
