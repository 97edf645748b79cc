/** Asks a person once, and acts on the answer. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { review } from "holdpoint/graph";
import type { NodeConfig } from "holdpoint/graph";
import { act } from "./outside.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});

export const graph = new StateGraph(State)
  .addNode("ask", async (_state, config: NodeConfig) => {
    const answer = await review(config, { title: "Refund", action: "refund", args: { amount: 1 } });
    const amount = answer.type === "edit" ? Number(answer.args["amount"]) : 1;
    return { log: [`${answer.type} ${amount} ${answer.comment ?? ""}`] };
  })
  .addNode("act", async ({ log }, config: NodeConfig) => {
    const line = log.at(-1) ?? "";
    await act(config, "act", line);
    return { log: [`acted on ${line}`] };
  })
  .addEdge(START, "ask")
  .addEdge("ask", "act")
  .addEdge("act", END)
  .compile();
