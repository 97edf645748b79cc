/** The shipped agent on a model of Bedrock, its graph untouched: its tokens are streamed, its calls released by a person. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { graph } from "../../graphs/tool-agent/graph.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { eventually } from "../support/eventually.ts";
import { startFakeBedrock } from "../support/fake-bedrock.ts";
import type { BedrockRequest, FakeBedrock } from "../support/fake-bedrock.ts";
import type { FakeTurn } from "../support/fake-bedrock-turns.ts";
import { TWO, routed } from "../support/routed-models.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

const INPUT = { messages: [{ role: "user", content: "Refund order A-1001, 45 EUR" }] };
const refund = { id: "call-1", name: "issue-refund", input: { order: "A-1001", amount: 45, currency: "EUR" } };
const CATALOGUE = { ...TWO, models: { "tool-agent": { targets: ["first", "second"] } } };

let bedrock: FakeBedrock;
let models: ReturnType<typeof routed>;
let service: Service;
beforeEach(async () => {
  bedrock = await startFakeBedrock();
  models = routed(bedrock, { catalogue: CATALOGUE });
  const passage = {
    id: "1",
    documentId: "r.md",
    title: "Refunds",
    section: "",
    score: 1,
    parts: {},
    labels: {},
    offsets: { start: 0, end: 1 },
  };
  service = await startService({
    graphs: createRegistry([registeredGraph("tool-agent", graph)]),
    services: {
      chat: (name) => models.chat(name),
      retriever: () => ({ search: async (text) => [{ ...passage, text }] }),
    },
  });
});
afterEach(async () => {
  await service[Symbol.asyncDispose]();
  models[Symbol.dispose]();
  await bedrock[Symbol.asyncDispose]();
});

/** What the model says, by how often it has been answered. */
const says = (...turns: readonly FakeTurn[]) =>
  bedrock.says(
    ({ body }: BedrockRequest) => turns[body.messages?.filter(({ role }) => role === "assistant").length ?? 0] ?? {},
  );

interface Message {
  readonly type: string;
  readonly content: string;
  readonly name?: string;
  readonly response_metadata?: Record<string, unknown>;
}

async function run() {
  const client = service.client("acme");
  const { thread_id: thread } = await client.threads.create();
  const tokens: string[] = [];
  let error: unknown;
  for await (const { event, data } of client.runs.stream(thread, "tool-agent", {
    input: INPUT,
    streamMode: ["messages-tuple"],
  })) {
    if (event === "messages" && Array.isArray(data)) {
      const [message] = data as unknown as readonly [Message];
      if (/ai/i.test(message.type) && message.content !== "") tokens.push(message.content);
    }
    if (event === "error") error = data;
  }
  const { values } = await client.threads.getState(thread);
  return { thread, tokens, error, messages: (values as { readonly messages: readonly Message[] }).messages };
}

describe("the tool agent on Bedrock", () => {
  it("streams the model's tokens, executes the tools that are free, and answers", async () => {
    says(
      { text: ["Let me ", "look."], tools: [{ id: "call-0", name: "retrieve", input: { query: "refunds" } }] },
      { text: ["Three ", "days."] },
    );
    const { tokens, messages } = await run();
    expect(tokens).toEqual(["Let me ", "look.", "Three ", "days."]);
    expect(messages.map(({ type, name }) => name ?? type)).toEqual(["human", "ai", "retrieve", "ai"]);
    expect(messages.at(-1)?.response_metadata).toMatchObject({ model_call: { target: "first", outcome: "served" } });
    expect(bedrock.seen.every(({ operation }) => operation === "ConverseStream")).toBe(true);
  });

  it("stops for a person at the tool that has to be released", async () => {
    says({ tools: [refund] });
    const { thread } = await run();
    const { items } = (await (await service.app.call("GET", "/v1/reviews")).json()) as {
      readonly items: readonly object[];
    };
    expect(items).toMatchObject([{ thread_id: thread, action: "issue-refund", args: { amount: 45 } }]);
  });

  it.each<[string, FakeTurn, RegExp]>([
    [
      "cut at the token limit",
      { tools: [{ ...refund, input: '{"order":"A-1001","amount":4' }], stopReason: "max_tokens" },
      /token limit/,
    ],
    ["malformed", { tools: [{ ...refund, input: '{"order":"A-1001","amount":4' }] }, /not JSON/],
  ])("fails with the reason, and asks nobody, when the call is %s", async (_what, turn, words) => {
    says(turn);
    const { error, messages } = await run();
    expect(JSON.stringify(error)).toMatch(words);
    expect(messages.map(({ type }) => type)).toEqual(["human"]);
    expect(await (await service.app.call("GET", "/v1/reviews")).json()).toMatchObject({ items: [] });
  });

  it("asks nobody about a call that breaks its tool's schema, and tells the model, which may mend it", async () => {
    says(
      { tools: [{ ...refund, input: { order: "A-1001", amount: "all of it", currency: "EUR" } }] },
      { text: "I stop." },
    );
    const { messages } = await run();
    expect(messages.map(({ type, name }) => name ?? type)).toEqual(["human", "ai", "issue-refund", "ai"]);
    expect(messages[2]).toMatchObject({ status: "error", metadata: { error: { type: "invalid_args" } } });
    expect(await (await service.app.call("GET", "/v1/reviews")).json()).toMatchObject({ items: [] });
  });

  it("ends when the model hangs", async () => {
    bedrock.fault(() => ({ kind: "hangInStream", after: 1 }));
    expect(JSON.stringify((await run()).error)).toMatch(/nothing came from the model for 500 ms/);
  });

  it("lets go of the model when its run is cancelled", async () => {
    bedrock.says(() => ({ text: Array.from({ length: 1000 }, () => "word "), betweenMs: 20 }));
    const client = service.client("acme");
    const { thread_id: thread } = await client.threads.create();
    const { run_id: id } = await client.runs.create(thread, "tool-agent", {
      input: INPUT,
      streamMode: ["messages-tuple"],
    });
    await eventually(async () => bedrock.seen.length > 0 || undefined, "the request");
    await client.runs.cancel(thread, id, true);
    await eventually(async () => bedrock.abandoned() > 0 || undefined, "the connection to close");
    expect(models.calls).toMatchObject([{ outcome: "stopped" }]);
  });

  it("executes two hundred calls of one message", async () => {
    const tools = Array.from({ length: 200 }, (_, n) => ({
      id: `call-${n}`,
      name: "retrieve",
      input: { query: `q${n}` },
    }));
    says({ tools }, { text: "Done." });
    const { messages } = await run();
    expect(messages.filter(({ name }) => name === "retrieve").length).toBe(200);
    expect(messages.at(-1)?.content).toBe("Done.");
  });
});
