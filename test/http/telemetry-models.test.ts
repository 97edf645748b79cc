/** What a model of the catalogue used and cost, from the wire of Bedrock to the numbers that a receiver of OTLP is told. */
import { HumanMessage } from "@langchain/core/messages";
import { FakeListChatModel } from "@langchain/core/utils/testing";
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { NodeConfig } from "../../src/graph/context.ts";
import type { Services } from "../../src/graph/services.ts";
import { services } from "../../src/graph/services.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import type { Model } from "../../src/models/model.ts";
import { startFakeBedrock } from "../support/fake-bedrock.ts";
import type { FakeBedrock } from "../support/fake-bedrock.ts";
import { otelEnv, startOtlpReceiver } from "../support/otlp-receiver.ts";
import type { ToldMetric, ToldSpan } from "../support/otlp.ts";
import { CLAUDE, routed, target } from "../support/routed-models.ts";
import { startService } from "../support/service.ts";
import { startTelling } from "../support/telling.ts";

const PRICE = { from: "2026-01-01", perMillion: { input: 100_000, output: 200_000 } };
const catalogueOf = (prices: readonly object[]): object => ({
  targets: { first: target(CLAUDE, { prices }) },
  models: { desk: { targets: ["first"] } },
});
const QUESTION = "Hello?";
const messages = [{ role: "user", content: QUESTION }] as const;

/** Each way in which a graph calls a model. */
const ways = {
  "chat().invoke()": async (config: NodeConfig) => {
    await services(config)
      .chat("desk")
      .invoke([new HumanMessage(QUESTION)], config);
  },
  "chat().stream()": async (config: NodeConfig) => {
    for await (const _ of await services(config)
      .chat("desk")
      .stream([new HumanMessage(QUESTION)], config))
      void _;
  },
  "models().complete()": async (config: NodeConfig) => {
    await services(config).models("desk").complete({ messages });
  },
  "models().stream()": async (config: NodeConfig) => {
    for await (const _ of services(config).models("desk").stream({ messages })) void _;
  },
} as const;

interface Told {
  readonly metrics: ReadonlyMap<string, ToldMetric>;
  readonly chats: readonly ToldSpan[];
}

/** What is told of one run that calls its model in this way. */
async function toldOf(way: (config: NodeConfig) => Promise<void>, given: Partial<Services>): Promise<Told> {
  await using receiver = await startOtlpReceiver();
  {
    await using telling = await startTelling(otelEnv(receiver.url));
    const State = Annotation.Root({ text: Annotation<string>() });
    const asks = new StateGraph(State)
      .addNode("ask", async (_state, config: NodeConfig) => {
        await way(config).catch((error: unknown) => error);
        return { text: "asked" };
      })
      .addEdge(START, "ask")
      .addEdge("ask", END)
      .compile();
    await using service = await startService({
      graphs: createRegistry([registeredGraph("asks", asks)]),
      services: given,
      telemetry: telling.telemetry,
    });
    await service.client("acme").runs.wait(null, "asks", { input: { text: "a" } });
  }
  return {
    metrics: new Map(receiver.metrics.map((metric) => [metric.name, metric])),
    chats: receiver.spans.filter(({ name }) => name.startsWith("chat ")),
  };
}

/** The same, of a model of the catalogue with these prices. */
async function toldAt(prices: readonly object[], way: (config: NodeConfig) => Promise<void>): Promise<Told> {
  using models = routed(bedrock, { catalogue: catalogueOf(prices) });
  return await toldOf(way, { chat: models.chat, models: models.model });
}

let bedrock: FakeBedrock;
beforeAll(async () => {
  bedrock = await startFakeBedrock();
});
afterAll(() => bedrock[Symbol.asyncDispose]());
beforeEach(() => {
  bedrock.fault(() => undefined);
  bedrock.says(() => ({ text: ["Hel", "lo."], usage: { inputTokens: 10, outputTokens: 5 } }));
});

it("is not told a second time by what serves it, when that is LangChain's too", async () => {
  const inner = new FakeListChatModel({ responses: ["Hello."] });
  const model: Model = {
    description: "a model that asks another one",
    async complete() {
      const { text } = await inner.invoke(QUESTION);
      const usage = { inputTokens: 1, outputTokens: 1 };
      return { text, citations: [], outcome: "answered", usage, model: "inner" };
    },
    async *stream(request) {
      yield { type: "reply", reply: await this.complete(request) };
    },
  };
  for (const way of [ways["models().complete()"], ways["models().stream()"]]) {
    const { metrics, chats } = await toldOf(way, { models: () => model });
    expect(chats.map(({ name }) => name)).toEqual(["chat desk"]);
    expect(metrics.get("gen_ai.client.operation.duration")?.points).toMatchObject([{ count: 1 }]);
  }
  // The control: asked by the node itself, it is told.
  const { chats } = await toldOf(async () => void (await inner.invoke(QUESTION)), {});
  expect(chats.map(({ name }) => name)).toEqual(["chat unknown"]);
});

const OF = { "gen_ai.provider.name": "aws.bedrock", "gen_ai.request.model": "desk" };
const CALL = { ...OF, "gen_ai.operation.name": "chat" };

describe.each(Object.entries(ways))("a call by %s", (_name, way) => {
  it("is told once, with its tokens, its cost, and what served it", async () => {
    const { metrics, chats } = await toldAt([PRICE], way);
    expect(metrics.get("holdpoint.model.cost")?.points).toEqual([{ attributes: OF, value: 2, count: 1 }]);
    expect(metrics.get("gen_ai.client.operation.duration")?.points).toMatchObject([{ attributes: CALL, count: 1 }]);
    expect(metrics.get("gen_ai.client.token.usage")?.points).toEqual([
      { attributes: { ...CALL, "gen_ai.token.type": "input" }, value: 10, count: 1 },
      { attributes: { ...CALL, "gen_ai.token.type": "output" }, value: 5, count: 1 },
    ]);
    expect(chats).toMatchObject([
      {
        name: "chat desk",
        failed: false,
        attributes: { "gen_ai.provider.name": "aws.bedrock", "gen_ai.response.model": CLAUDE },
      },
    ]);
  });

  it("that fails is told once, as that", async () => {
    bedrock.fault(() => ({ kind: "refuse", status: 400, type: "ValidationException" }));
    const { metrics, chats } = await toldAt([PRICE], way);
    expect(metrics.get("gen_ai.client.operation.duration")?.points).toMatchObject([
      { attributes: { "gen_ai.request.model": "desk", "error.type": "invalid_request" }, count: 1 },
    ]);
    expect(metrics.has("gen_ai.client.token.usage")).toBe(false);
    expect(chats).toMatchObject([{ failed: true, attributes: { "error.type": "invalid_request" } }]);
  });

  it("that fails is told with what it has used nevertheless", async () => {
    bedrock.says(() => ({ stopReason: "max_tokens", usage: { inputTokens: 10, outputTokens: 5 } }));
    const { metrics } = await toldAt([PRICE], way);
    expect(metrics.get("holdpoint.model.cost")?.points).toMatchObject([{ value: 2 }]);
    expect(metrics.get("gen_ai.client.token.usage")?.points).toMatchObject([{ value: 10 }, { value: 5 }]);
  });

  it("has no cost in dollars where its price is in another currency", async () => {
    const { metrics } = await toldAt([{ ...PRICE, currency: "EUR" }], way);
    expect(metrics.has("gen_ai.client.token.usage")).toBe(true);
    expect(metrics.has("holdpoint.model.cost")).toBe(false);
  });
});
