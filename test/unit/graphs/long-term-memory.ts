import type { BaseMessage } from "@langchain/core/messages";
import { MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { z } from "zod";

export type Answer = (messages: readonly BaseMessage[], known: readonly string[]) => Promise<BaseMessage>;

/** Answers with what it has learnt of the user, on whatever thread that was. */
export function rememberingAgent(answer: Answer) {
  const factsOf = (user = "nobody"): string[] => ["users", user, "facts"];
  return new StateGraph(MessagesAnnotation, z.object({ user: z.string() }))
    .addNode("learn", async ({ messages }, { store, context }) => {
      const [, fact] = /^remember: (.*)/s.exec(messages.at(-1)?.text ?? "") ?? [];
      if (fact) await store?.put(factsOf(context?.user), fact, { text: fact });
      return {};
    })
    .addNode("answer", async ({ messages }, { store, context }) => {
      const query = messages.at(-1)?.text ?? "";
      const facts = await store?.search(factsOf(context?.user), { query, limit: 5 });
      return { messages: [await answer(messages, facts?.map(({ value }) => String(value["text"])) ?? [])] };
    })
    .addEdge(START, "learn")
    .addEdge("learn", "answer");
}
