/** The stream mode `events`, which agent-inbox asks for: through the unchanged SDK. */
import { AIMessage } from "@langchain/core/messages";
import { FakeListChatModel } from "@langchain/core/utils/testing";
import { tool } from "@langchain/core/tools";
import { END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

const price = tool(({ order }) => `${order} cost 12`, { name: "price", schema: z.object({ order: z.string() }) });
const model = new FakeListChatModel({ responses: ["yes"] });

let goOn: (() => void) | undefined;
const graph = new StateGraph(MessagesAnnotation)
  .addNode("speak", async ({ messages }, config) => {
    await price.invoke({ order: "A-1" }, config);
    return { messages: [await model.invoke(messages, config)] };
  })
  .addNode("close", () => ({ messages: [new AIMessage("bye")] }))
  .addEdge(START, "speak")
  .addEdge("speak", "close")
  .addEdge("close", END)
  .compile();
const endless = new StateGraph(MessagesAnnotation)
  .addNode("hang", async (_state, config) => {
    await new Promise<void>((resolve) => {
      goOn = resolve;
    });
    await price.invoke({ order: "late" }, { ...config, signal: undefined } as never);
    return {};
  })
  .addEdge(START, "hang")
  .addEdge("hang", END)
  .compile();

let service: Service;
beforeAll(async () => {
  const graphs = createRegistry([registeredGraph("speaks", graph), registeredGraph("endless", endless)]);
  service = await startService({ graphs });
});
afterAll(() => service[Symbol.asyncDispose]());

interface Said {
  readonly event: string;
  readonly name: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly data: Readonly<Record<string, unknown>>;
}

const input = { messages: [{ role: "user", content: "a secret of the state" }] };

describe("events", () => {
  it("say which node is at work, what tools return and what a model streams, and not the state", async () => {
    const said: Said[] = [];
    const stream = service.client("acme").runs.stream(null, "speaks", { input, streamMode: "events" });
    for await (const { event, data } of stream) if (event === "events") said.push(data as unknown as Said);
    const nodes = said.flatMap(({ event, name, metadata }) =>
      event === "on_chain_start" && name === metadata["langgraph_node"] ? [name] : [],
    );
    expect(nodes).toEqual(["speak", "close"]);
    const of = (event: string) => said.filter((one) => one.event === event);
    expect(of("on_tool_start")).toMatchObject([{ name: "price", data: { input: '{"order":"A-1"}' } }]);
    expect(JSON.stringify(of("on_tool_end"))).toContain("A-1 cost 12");
    const chunks = of("on_chat_model_stream").map(({ data }) => JSON.stringify(data["chunk"]));
    expect(chunks).toHaveLength(3);
    expect(JSON.stringify(of("on_chat_model_end"))).toContain("yes");
    expect(of("on_chain_start").length).toBe(of("on_chain_end").length);
    expect(JSON.stringify(said)).not.toMatch(/a secret of the state|langsmith:hidden/);
  });

  it("are asked for, or nothing is said of them", async () => {
    const events = new Set<string>();
    for await (const { event } of service.client("acme").runs.stream(null, "speaks", { input, streamMode: "updates" }))
      events.add(event);
    expect([...events]).toEqual(["metadata", "updates"]);
  });

  it("end with their run, though what was aborted goes on", async () => {
    const client = service.client("acme");
    const { thread_id: thread } = await client.threads.create();
    const asked = { input, streamMode: "events", streamResumable: true } as const;
    const { run_id: run } = await client.runs.create(thread, "endless", asked);
    await expect.poll(() => goOn !== undefined).toBe(true);
    await client.runs.cancel(thread, run, true);
    goOn?.();
    // Whoever reads later finds no more than was said by then.
    await new Promise((resolve) => setTimeout(resolve, 300));
    const texts: string[] = [];
    for await (const frame of client.runs.joinStream(thread, run, { lastEventId: "-1" }))
      texts.push(JSON.stringify(frame));
    expect(texts.join()).toContain("hang");
    expect(texts.join()).not.toContain("late");
  });
});
