import { existsSync } from "node:fs";
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({
  /** How many supersteps to take, and how long each of them pauses. */
  steps: Annotation<number>,
  pauseMs: Annotation<number>,
  /** Path of a file: once it exists, the step that is being taken is the last. */
  stopFile: Annotation<string | undefined>,
  /** One entry for every superstep that was taken, with the process that took it. */
  taken: Annotation<number[]>({ reducer: (left, right) => [...left, ...right], default: () => [] }),
});

/** Takes as many supersteps as it is asked to, and remembers in which process. */
export const graph = new StateGraph(State)
  .addNode("step", async (state, config) => {
    config.writer?.({ step: state.taken.length + 1 });
    await new Promise((resolve) => setTimeout(resolve, state.pauseMs));
    return { taken: [process.pid] };
  })
  .addEdge(START, "step")
  .addConditionalEdges("step", (state) => {
    const stopped = state.stopFile !== undefined && existsSync(state.stopFile);
    return state.taken.length < state.steps && !stopped ? "step" : END;
  })
  .compile();
