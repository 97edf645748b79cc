import { Annotation, END, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({ from: Annotation<string> });

/** Throws where no promise carries it, and then waits for nothing. */
export const graph = new StateGraph(State)
  .addNode("throw", async ({ from }) => {
    const thrower = (): void => {
      throw new Error(`thrown in a ${from}`);
    };
    if (from === "timer") setTimeout(thrower, 20);
    else process.nextTick(thrower);
    await new Promise((resolve) => setTimeout(resolve, 600_000));
    return {};
  })
  .addEdge(START, "throw")
  .addEdge("throw", END)
  .compile();
