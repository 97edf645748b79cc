/** A graph that does nothing but wait, and notes when and in which process each of its steps began. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";

/** One superstep that was taken. */
interface Taken {
  readonly pid: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

const State = Annotation.Root({
  /** How many supersteps to take, and how long each of them waits. */
  steps: Annotation<number>,
  pauseMs: Annotation<number>,
  taken: Annotation<Taken[]>({ reducer: (left, right) => [...left, ...right], default: () => [] }),
});

/** Takes as many supersteps as it is asked to. */
export const graph = new StateGraph(State)
  .addNode("wait", async ({ pauseMs }) => {
    const at = Date.now();
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    return { taken: [{ pid: process.pid, at }] };
  })
  .addEdge(START, "wait")
  .addConditionalEdges("wait", ({ taken, steps }) => (taken.length < steps ? "wait" : END))
  .compile();
