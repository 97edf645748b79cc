/** LangGraph alone, in this process and in memory: the same graph with its own `MemorySaver`, and nothing around it. */
import { MemorySaver } from "@langchain/langgraph";
import { systemIds } from "../../src/core/ids.ts";
import { graph } from "./graph.ts";

/** Milliseconds of one run on a thread of its own. */
export type BareRun = () => Promise<number>;

/** A checkpointer of its own for each caller: what it keeps is never given back. */
export function createBare(): BareRun {
  const saver = new MemorySaver();
  return async () => {
    graph.checkpointer = saver;
    const began = performance.now();
    const values = await graph.invoke({ question: "how fast?" }, { configurable: { thread_id: systemIds.uuid() } });
    const took = performance.now() - began;
    if (values.steps.length !== 3) throw new Error("not the graph's answer");
    return took;
  };
}
