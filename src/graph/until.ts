/** A durable timer: underneath it is a LangGraph interrupt, which the table's time answers. */
import { interrupt } from "@langchain/langgraph";
import { HoldpointError } from "../core/errors.ts";
import { outcomeOf, timerValue } from "../core/wait-value.ts";
import { assertAnswerable } from "./answerable.ts";
import { contextOf } from "./context.ts";
import type { NodeConfig } from "./context.ts";

/**
 * Waits until a time, by the table's clock; no worker is kept busy meanwhile. The first time that was asked for stands,
 * also when its node is executed again and would ask for another. A time that has passed is waited for no longer than a
 * worker needs to find it.
 * @param dueAt a date, or milliseconds since 1970
 * @throws HoldpointError `invalid` for what is no time; `unsupported` in a subgraph compiled without a checkpointer
 */
export async function until(config: NodeConfig, dueAt: Date | number): Promise<void> {
  contextOf(config, "until()");
  assertAnswerable(config, "timer");
  // What is missing has no type here, and `null` would be the year 1970.
  const at = dueAt instanceof Date ? dueAt.getTime() : dueAt;
  if (!(typeof at === "number" && at >= 0 && at <= LATEST))
    throw new HoldpointError("invalid", "until(): `dueAt` is no time");
  // An answer that was meant for something else, because the code has changed meanwhile, is none.
  while (outcomeOf(interrupt(timerValue(at)))?.kind !== "fired");
}

/** What thirteen digits hold, as the keys of the table write times. */
const LATEST = 9_999_999_999_999;
