/** Waits for everything but a person: a timer, a review that expires, a callback that is given up, and one that is answered. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { callback, review, until } from "holdpoint/graph";
import type { NodeConfig } from "holdpoint/graph";
import { z } from "zod";
import { act } from "./outside.ts";

/** How long each of the three waits that time ends. */
const WAIT_MS = 300;
const ANSWERED_WITHIN_MS = 600_000;

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});

export const graph = new StateGraph(State)
  .addNode("pause", async (_state, config: NodeConfig) => {
    // Another time whenever the node is executed again: the first one stands.
    await until(config, Date.now() + WAIT_MS);
    return { log: ["woke"] };
  })
  .addNode("expire", async (_state, config: NodeConfig) => {
    const times = { dueInMs: WAIT_MS, onExpiry: "approve" } as const;
    const answer = await review(config, { title: "Wait", action: "wait", args: {}, ...times });
    return { log: [`expired as ${answer.type}`] };
  })
  .addNode("lapse", async (_state, config: NodeConfig) => {
    const came = await callback(config, { timeoutMs: WAIT_MS });
    return { log: [`lapsed as ${came.kind}`] };
  })
  .addNode("ask", async (_state, config: NodeConfig) => {
    const send = (token: string) => act(config, "hand out", `token ${token}`);
    const came = await callback(config, { timeoutMs: ANSWERED_WITHIN_MS, schema: z.string(), send });
    return { log: [`came ${came.kind === "arrived" ? came.result : came.kind}`] };
  })
  .addNode("act", async ({ log }, config: NodeConfig) => {
    const line = `acted after ${log.at(-1)}`;
    await act(config, "act", line);
    return { log: [line] };
  })
  .addEdge(START, "pause")
  .addEdge("pause", "expire")
  .addEdge("expire", "lapse")
  .addEdge("lapse", "ask")
  .addEdge("ask", "act")
  .addEdge("act", END)
  .compile();
