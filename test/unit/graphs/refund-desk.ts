import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { EffectRejected, addRetry, effect, review } from "holdpoint/graph";
import type { NodeConfig } from "holdpoint/graph";

const State = Annotation.Root({
  order: Annotation<string>(),
  amount: Annotation<number>(),
  receipt: Annotation<string>(),
});
type Desk = typeof State.State;

/** What docs/graphs.md shows piece by piece: a review, an effect, and a retry edge around what it is in. */
export function refundDesk(ledger: string) {
  const ask = async ({ order, amount }: Desk, config: NodeConfig) => {
    const answer = await review(config, {
      title: "Refund above the limit",
      action: "refund",
      args: { order, amount },
      description: "The customer returned a tent after 40 days.",
      risk: "high",
      argsSchema: {
        type: "object",
        properties: { order: { type: "string" }, amount: { type: "number", maximum: 500 } },
        required: ["order", "amount"],
      },
      groups: ["payments"],
    });
    return answer.type === "edit" ? { amount: answer.args.amount } : {};
  };
  const charge = async ({ order, amount }: Desk, config: NodeConfig) => {
    const args = { order, amount };
    const receipt = await effect(config, { name: "refund", policy: "idempotent", args }, async (token, signal) => {
      const headers = { "idempotency-key": token };
      const response = await fetch(ledger, { method: "POST", headers, body: JSON.stringify(args), signal });
      if (response.status === 422) throw new EffectRejected("the order is unknown");
      if (!response.ok) throw new Error(`the ledger answered ${response.status}`);
      return response.text();
    });
    return { receipt };
  };
  const builder = new StateGraph(State)
    .addNode("ask", ask)
    .addNode("charge", charge)
    .addEdge(START, "ask")
    .addEdge("ask", "charge")
    .addEdge("charge", END);
  addRetry(builder, "charge", { attempts: 4, backoffMs: 60_000, exhausted: "ask-a-person" });
  return builder;
}
