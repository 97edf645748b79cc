/** Graphs that exercise what a saver has to get right: parallel nodes, a subgraph, Sends, a loop, and interrupts. */
import { Annotation, END, START, Send, StateGraph, interrupt } from "@langchain/langgraph";
import type { BaseCheckpointSaver } from "@langchain/langgraph";

export const ReferenceState = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
  rounds: Annotation<number>({ reducer: (_, b) => b, default: () => 0 }),
  item: Annotation<string>(),
});

const inner = new StateGraph(ReferenceState)
  .addNode("one", () => ({ log: ["one"] }))
  .addNode("two", () => ({ log: ["two"] }))
  .addEdge(START, "one")
  .addEdge("one", "two")
  .addEdge("two", END)
  .compile();

/** Three rounds of: plan, then two nodes and a subgraph side by side, then two Sends, then join. */
export const loopingGraph = (checkpointer: BaseCheckpointSaver) =>
  new StateGraph(ReferenceState)
    .addNode("plan", (s) => ({ log: ["plan"], rounds: s.rounds + 1 }))
    .addNode("left", () => ({ log: ["left"] }))
    .addNode("right", () => ({ log: ["right"] }))
    .addNode("sub", async (_, config) => {
      const result = await inner.invoke({ log: [] }, config);
      return { log: result.log };
    })
    .addNode("leaf", (s) => ({ log: [`leaf ${s.item}`] }))
    .addNode("join", () => ({ log: ["join"] }))
    .addEdge(START, "plan")
    .addEdge("plan", "left")
    .addEdge("plan", "right")
    .addEdge("plan", "sub")
    .addConditionalEdges("left", () => [new Send("leaf", { item: "a" }), new Send("leaf", { item: "b" })])
    .addEdge(["right", "sub", "leaf"], "join")
    .addConditionalEdges("join", (s) => (s.rounds < 3 ? "plan" : END))
    .compile({ checkpointer });

/** An interrupt inside a subgraph and another beside it. */
export const askingGraph = (checkpointer: BaseCheckpointSaver) => {
  const sub = new StateGraph(ReferenceState)
    .addNode("prepare", () => ({ log: ["prepared"] }))
    .addNode("ask", () => ({ log: [`answer ${String(interrupt({ question: "go?" }))}`] }))
    .addEdge(START, "prepare")
    .addEdge("prepare", "ask")
    .compile();
  return new StateGraph(ReferenceState)
    .addNode("before", () => ({ log: ["before"] }))
    .addNode("sub", sub)
    .addNode("beside", () => ({ log: [`beside ${String(interrupt({ question: "beside?" }))}`] }))
    .addNode("after", () => ({ log: ["after"] }))
    .addEdge(START, "before")
    .addEdge("before", "sub")
    .addEdge("before", "beside")
    .addEdge(["sub", "beside"], "after")
    .compile({ checkpointer });
};
