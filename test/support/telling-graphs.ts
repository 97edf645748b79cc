/** Graphs that do everything of which telemetry tells; what they say is in every place a word that is looked for. */
import { tool } from "@langchain/core/tools";
import { FakeListChatModel } from "@langchain/core/utils/testing";
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { z } from "zod";
import type { Services } from "../../src/graph/services.ts";
import type { NodeConfig } from "../../src/graph/context.ts";
import { review } from "../../src/graph/review.ts";
import { services } from "../../src/graph/services.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import type { Model } from "../../src/models/model.ts";

/** A word that content has, and names of code have not. */
export const SECRET = "Alice4711";
const said = (place: string): string => `${SECRET}${place}`;

const State = Annotation.Root({
  text: Annotation<string>(),
  fails: Annotation<boolean>(),
  tries: Annotation<number>(),
});
type Says = typeof State.State;

const chat = new FakeListChatModel({ responses: [said("answer")] });

const reply = {
  text: said("reply"),
  citations: [],
  outcome: "answered",
  usage: { inputTokens: 7, outputTokens: 3, costUsd: 0.25 },
  model: "served-1",
  provider: "aws.bedrock",
} as const;

const model: Model = {
  description: "a model of tests",
  complete: async () => reply,
  async *stream() {
    yield { type: "text", text: reply.text };
    yield { type: "reply", reply };
  },
};

export const tellingServices: Partial<Services> = { models: () => model };

const lookup = tool(
  async ({ what }, config: NodeConfig) => {
    const messages = [{ role: "user", content: `${what} ${said("prompt")}` }] as const;
    for await (const _ of services(config).models("small").stream({ messages })) void _;
    return (await services(config).models("small").complete({ messages })).text;
  },
  { name: "lookup", description: "looks something up", schema: z.object({ what: z.string() }) },
);

/** Fails twice for each text. */
const failures = new Map<string, number>();
function flaky({ text }: Says): object {
  const before = failures.get(text) ?? 0;
  failures.set(text, before + 1);
  if (before < 2) throw new Error(said("failure"));
  return {};
}

const plain = new StateGraph(State)
  .addNode("think", async ({ text }: Says) => ({ text: (await chat.invoke(`${text} ${said("question")}`)).text }))
  .addNode("look", async ({ text }: Says, config: NodeConfig) => ({
    text: await lookup.invoke({ what: text }, config),
  }))
  .addNode("flaky", flaky, { retryPolicy: { maxAttempts: 5, initialInterval: 1, jitter: false } })
  .addEdge(START, "think")
  .addEdge("think", "look")
  .addEdge("look", "flaky")
  .addEdge("flaky", END)
  .compile();

const asking = new StateGraph(State)
  .addNode("ask", async ({ text }: Says, config: NodeConfig) => {
    await review(config, { title: said("title"), action: "pay", args: { to: text } });
    return {};
  })
  .addNode("pay", ({ fails }: Says) => {
    if (fails) throw new Error(said("error"));
    return { text: said("paid") };
  })
  .addEdge(START, "ask")
  .addEdge("ask", "pay")
  .addEdge("pay", END)
  .compile();

/** A condition asks a model which way to go, and a node of a graph that is a node asks one too. */
const inner = new StateGraph(State)
  .addNode("ponder", async ({ text }: Says) => ({ text: (await chat.invoke(text)).text }))
  .addEdge(START, "ponder")
  .addEdge("ponder", END)
  .compile();
const routing = new StateGraph(State)
  .addNode("fork", () => ({}))
  .addNode("inner", inner)
  .addEdge(START, "fork")
  .addConditionalEdges("fork", async ({ text }: Says) => ((await chat.invoke(text)).text === "" ? END : "inner"))
  .addEdge("inner", END)
  .compile();

export const tellingGraphs = createRegistry([
  registeredGraph("plain", plain),
  registeredGraph("asking", asking),
  registeredGraph("routing", routing),
]);
