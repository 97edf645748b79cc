import { AIMessage } from "@langchain/core/messages";
import { END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { isHoldpointError, services } from "holdpoint/graph";
import type { NodeConfig } from "holdpoint/graph";

async function answer({ messages }: typeof MessagesAnnotation.State, config: NodeConfig) {
  try {
    return { messages: [await services(config).chat("support-chat").invoke(messages, config)] };
  } catch (error) {
    if (!isHoldpointError(error) || error.detail?.["reason"] !== "throttled") throw error;
    return { messages: [new AIMessage("There is a lot to do right now. Please ask again in a minute.")] };
  }
}

export const assistant = new StateGraph(MessagesAnnotation)
  .addNode("answer", answer)
  .addEdge(START, "answer")
  .addEdge("answer", END)
  .compile();
