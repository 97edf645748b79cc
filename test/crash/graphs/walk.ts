/** Takes as many supersteps as it is asked to, and at every fifth acts upon the world. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import type { NodeConfig } from "holdpoint/graph";
import { noteStep } from "../witness.ts";
import { act } from "./outside.ts";

const State = Annotation.Root({
  steps: Annotation<number>(),
  pauseMs: Annotation<number>(),
  /** Tells the runs of one thread apart. */
  name: Annotation<string>(),
  taken: Annotation<number>({ reducer: (_, b) => b, default: () => 0 }),
  log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});

export const graph = new StateGraph(State)
  .addNode("step", async (state, config: NodeConfig) => {
    const step = `${state.name} ${state.taken + 1}`;
    noteStep(config, step);
    await new Promise((resolve) => setTimeout(resolve, state.pauseMs));
    if ((state.taken + 1) % 5 === 0) await act(config, "toll", step);
    return { taken: state.taken + 1, log: [step] };
  })
  .addEdge(START, "step")
  .addConditionalEdges("step", (state) => (state.taken < state.steps ? "step" : END))
  .compile();
