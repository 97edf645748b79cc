import { Annotation, END, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({ text: Annotation<string> });

/** Never ends by itself, and does not listen to whoever wants it to. */
export const graph = new StateGraph(State)
  .addNode("wait", async (_state, config) => {
    config.writer?.("waiting");
    await new Promise((resolve) => setTimeout(resolve, 600_000));
    return {};
  })
  .addEdge(START, "wait")
  .addEdge("wait", END)
  .compile();
