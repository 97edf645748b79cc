/** A graph that remembers, asks, pays and may fail, and a story about a customer whose name is known to be in it. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { expect } from "vitest";
import { effect } from "../../src/graph/effect.ts";
import { review } from "../../src/graph/review.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import type { Service } from "./service.ts";

export const SECRET = "Alice-4711";

const State = Annotation.Root({
  text: Annotation<string>(),
  fails: Annotation<boolean>(),
  done: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});

/** Remembers, asks, pays, and fails if it is told to. */
const graph = new StateGraph(State)
  .addNode("remember", async ({ text }: typeof State.State, config: LangGraphRunnableConfig) => {
    await config.store?.put(["people"], "one", { text });
    return {};
  })
  .addNode("ask", async ({ text }: typeof State.State, config: LangGraphRunnableConfig) => {
    const answer = await review(config, {
      title: `Pay ${text}`,
      action: "pay",
      args: { to: text },
      description: text,
    });
    return { done: [JSON.stringify(answer)] };
  })
  .addNode("pay", async ({ text, fails }: typeof State.State, config: LangGraphRunnableConfig) => {
    const spec = { name: "pay", policy: "unsafe", args: { to: text } } as const;
    const receipt = await effect(config, spec, async () => ({ receipt: text }));
    if (fails) throw new Error(`cannot pay ${text}`);
    return { done: [receipt.receipt] };
  })
  .addEdge(START, "remember")
  .addEdge("remember", "ask")
  .addEdge("ask", "pay")
  .addEdge("pay", END)
  .compile();

export interface Story {
  readonly fails: boolean;
  /** Metadata of a thread that its header does not hold, and of a run that its item does not. */
  readonly long: boolean;
}

export interface Told {
  readonly thread: string;
  readonly run: string;
  readonly assistant: string;
}

/** A thread and an assistant with metadata, a run that asks, is answered, and ends or fails. */
export async function told(service: Service, { fails, long }: Story): Promise<Told> {
  const { app } = service;
  const acme = service.client("acme");
  const { assistant_id: assistant } = await acme.assistants.create({
    graphId: "shop",
    name: `of ${SECRET}`,
    description: SECRET,
    metadata: { customer: SECRET },
    config: { tags: [SECRET] },
    context: { customer: SECRET },
  });
  const metadata = { customer: SECRET, ...(long ? { long: SECRET.repeat(30) } : {}) };
  const { thread_id: thread } = await acme.threads.create({ metadata });
  await acme.runs.wait(thread, assistant, {
    input: { text: SECRET, fails },
    ...(long ? { metadata: { long: SECRET.repeat(500) } } : {}),
  });
  const open = (await (await app.call("GET", "/v1/reviews?state=open")).json()) as { items: Review[] };
  const asked = open.items.find((one) => one.thread_id === thread);
  expect(asked).toMatchObject({ title: `Pay ${SECRET}`, args: { to: SECRET } });
  const decided = await app.call("POST", `/v1/reviews/${asked?.id}/decisions`, {
    json: { type: "edit", args: { to: SECRET }, comment: SECRET, digest: asked?.digest },
  });
  expect(decided.status).toBe(200);
  const { decision } = (await decided.json()) as Review;
  const run = decision?.continuation_run_id ?? "";
  await acme.runs.join(thread, run).catch(() => undefined); // the one that fails
  return { thread, run, assistant };
}

export const shop = createRegistry([registeredGraph("shop", graph)]);

interface Review {
  readonly id: string;
  readonly thread_id: string;
  readonly digest: string;
  readonly decision: { readonly continuation_run_id: string } | null;
}
