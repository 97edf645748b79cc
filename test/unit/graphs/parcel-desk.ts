import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { callback, effect, review, until } from "holdpoint/graph";
import type { NodeConfig } from "holdpoint/graph";
import { z } from "zod";

const Parcel = z.object({ parcel: z.string(), grams: z.number() });

const State = Annotation.Root({
  order: Annotation<string>(),
  notBefore: Annotation<number>(),
  parcel: Annotation<string>(),
});

interface Carrier {
  readonly book: (order: string, token: string) => Promise<string>;
}

export function parcelDesk({ book }: Carrier) {
  return new StateGraph(State)
    .addNode("allow", async ({ order }, config: NodeConfig) => {
      const answer = await review(config, {
        title: "Send it?",
        action: "send",
        args: { order },
        groups: ["desk"],
        dueInMs: 3_600_000,
        onExpiry: "approve",
        escalateAfterMs: 900_000,
        escalateTo: ["leads"],
        remindEveryMs: 300_000,
      });
      if (answer.type !== "approve") throw new Error("nobody wants it to be sent");
      return {};
    })
    .addNode("pause", async ({ notBefore }, config: NodeConfig) => {
      await until(config, notBefore);
      return {};
    })
    .addNode("send", async ({ order }, config: NodeConfig) => {
      const came = await callback(config, {
        timeoutMs: 24 * 3_600_000,
        schema: Parcel,
        send: (token) =>
          effect(config, { name: "book", policy: "idempotent", args: { order } }, () => book(order, token)),
      });
      if (came.kind === "arrived") return { parcel: came.result.parcel };
      return { parcel: came.kind === "failed" ? `refused: ${came.error}` : "no answer within a day" };
    })
    .addEdge(START, "allow")
    .addEdge("allow", "pause")
    .addEdge("pause", "send")
    .addEdge("send", END);
}
