/**
 * An agent: a model that calls tools, a node that executes them, and for each tool the policy by which a person releases
 * its calls. What one tool has done stands while another one waits for a person.
 */
import { AIMessage } from "@langchain/core/messages";
import { END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { services, toolNode } from "holdpoint/graph";
import type { NodeConfig } from "holdpoint/graph";
import { issueRefund } from "../../tools/issue-refund.ts";
import { listRefunds } from "../../tools/list-refunds.ts";
import { retrieve } from "../../tools/retrieve.ts";
import { withPolicy } from "./reviewed.ts";
import { ScriptedModel } from "./script.ts";

/** Looking is free; paying is for a person to release. */
const TOOLS = [
  withPolicy(retrieve, "free"),
  withPolicy(listRefunds, "free"),
  withPolicy(issueRefund, {
    title: ({ order, amount }) => `Refund EUR ${String(amount)} on order ${String(order)}`,
    risk: "high",
  }),
];

type Conversation = typeof MessagesAnnotation.State;

const scripted = new ScriptedModel();

/** What the catalogue has under the agent's name; without one, the script. */
async function model({ messages }: Conversation, config: NodeConfig) {
  const agent = services(config).chat("tool-agent", scripted).bindTools(TOOLS);
  return { messages: [await agent.invoke(messages, config)] };
}

function afterModel({ messages }: Conversation): "tools" | typeof END {
  const last = messages.at(-1);
  return AIMessage.isInstance(last) && (last.tool_calls ?? []).length > 0 ? "tools" : END;
}

/** The graph that `langgraph.json` names. */
export const graph = new StateGraph(MessagesAnnotation)
  .addNode("model", model)
  .addNode("tools", toolNode(TOOLS))
  .addEdge(START, "model")
  .addConditionalEdges("model", afterModel, ["tools", END])
  .addEdge("tools", "model")
  .compile();
graph.name = "tool-agent";
