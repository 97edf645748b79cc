import type { AIMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { EffectRejected, effect, review, toolNode } from "holdpoint/graph";
import type { NodeConfig } from "holdpoint/graph";
import { z } from "zod";

const Refund = z.object({ order: z.string(), amount: z.number() });

interface Shop {
  readonly model: (state: typeof MessagesAnnotation.State) => Promise<AIMessage>;
  readonly priceOf: (order: string) => Promise<number>;
  readonly pay: (token: string, refund: z.infer<typeof Refund>) => Promise<string>;
}

export function refundDesk({ model, priceOf, pay }: Shop) {
  const price = tool(async ({ order }) => `${order} cost ${await priceOf(order)}`, {
    name: "price",
    schema: Refund.pick({ order: true }),
  });
  const refund = tool(
    async (asked, config: NodeConfig) => {
      const answer = await review(config, { title: "Refund?", action: "refund", args: asked });
      if (answer.type === "reject" || answer.type === "response")
        throw new EffectRejected(answer.message ?? "rejected");
      const args = answer.type === "edit" ? Refund.parse(answer.args) : asked;
      return effect(config, { name: "refund", policy: "idempotent", args }, (token) => pay(token, args));
    },
    { name: "refund", schema: Refund },
  );
  return new StateGraph(MessagesAnnotation)
    .addNode("model", async (state) => ({ messages: [await model(state)] }))
    .addNode("tools", toolNode([price, refund]), { retryPolicy: { maxAttempts: 3 } })
    .addEdge(START, "model")
    .addConditionalEdges("model", ({ messages }) => {
      const last = messages.at(-1) as AIMessage;
      return last.tool_calls?.length ? "tools" : "__end__";
    })
    .addEdge("tools", "model");
}
