/** The one graph that both servers of the benchmark serve: three nodes in a row, a small array in the state. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({
  question: Annotation<string>,
  steps: Annotation<string[]>({ reducer: (left, right) => [...left, ...right], default: () => [] }),
  answer: Annotation<string>,
});

/** Reads, thinks, answers; no model and no tool, so that what is measured is the server. */
export const graph = new StateGraph(State)
  .addNode("read", (state) => ({ steps: [`read ${state.question}`] }))
  .addNode("think", () => ({ steps: ["thought about it"] }))
  .addNode("reply", (state) => ({ steps: ["replied"], answer: `${state.steps.length} steps before this one` }))
  .addEdge(START, "read")
  .addEdge("read", "think")
  .addEdge("think", "reply")
  .addEdge("reply", END)
  .compile();
