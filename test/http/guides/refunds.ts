import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { effect, review } from "holdpoint/graph";
import type { NodeConfig } from "holdpoint/graph";
import { z } from "zod";

const Refund = z.object({ order: z.string(), amount: z.number().positive().max(500) });

const State = Annotation.Root({ asked: Annotation<z.infer<typeof Refund>>(), receipt: Annotation<string>() });

export function refunds(pay: (token: string, refund: z.infer<typeof Refund>) => Promise<string>) {
  const node = async ({ asked }: typeof State.State, config: NodeConfig) => {
    const answer = await review(config, {
      title: `Refund order ${asked.order}`,
      description: "The customer sent the tent back after **40 days**.",
      action: "refund",
      args: asked,
      argsSchema: Refund,
      risk: "high",
      groups: ["payments"],
      quorum: 2,
      fourEyes: true,
      tags: ["tents"],
    });
    if (answer.type === "reject" || answer.type === "response") return { receipt: `not paid: ${answer.message ?? ""}` };
    const args = answer.type === "edit" ? answer.args : asked;
    const receipt = await effect(config, { name: "refund", policy: "idempotent", args }, (token) => pay(token, args));
    return { receipt };
  };
  return new StateGraph(State).addNode("refund", node).addEdge(START, "refund").addEdge("refund", END).compile();
}
