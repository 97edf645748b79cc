import { Annotation, START, StateGraph, interrupt } from "@langchain/langgraph";

const State = Annotation.Root({ answer: Annotation<unknown>() });

/** Asks once, and keeps what it was told. */
export const graph = new StateGraph(State)
  .addNode("ask", () => ({ answer: interrupt<unknown, unknown>({ question: "how much?" }) }))
  .addEdge(START, "ask")
  .compile();
