/** What is said to Bedrock and what comes of its answers, through the real SDK and LangChain's client. */
import { AIMessage, HumanMessage, SystemMessage, ToolMessage } from "@langchain/core/messages";
import type { AIMessageChunk } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { reasonOf } from "../../src/models/failure.ts";
import { startFakeBedrock } from "../support/fake-bedrock.ts";
import type { FakeBedrock } from "../support/fake-bedrock.ts";
import { CLAUDE, NOVA, TWO, routed, target } from "../support/routed-models.ts";

const pay = tool(async () => "paid", {
  name: "pay",
  description: "Pays.",
  schema: z.object({ amount: z.number() }),
});
const ASK = [new HumanMessage("Hello?")];

let bedrock: FakeBedrock;
beforeAll(async () => {
  bedrock = await startFakeBedrock({ models: (model) => model !== "not.here" });
});
afterAll(() => bedrock[Symbol.asyncDispose]());
beforeEach(() => {
  bedrock.fault(() => undefined);
  bedrock.says(() => ({ text: ["Hel", "lo."] }));
});

const wholeOf = async (chunks: AsyncIterable<AIMessageChunk>): Promise<AIMessageChunk> =>
  (await Array.fromAsync(chunks)).reduce((all, chunk) => all.concat(chunk));

type Ask = (
  messages: Parameters<ReturnType<ReturnType<typeof routed>["chat"]>["invoke"]>[0],
) => Promise<AIMessage | AIMessageChunk>;

describe.each([true, false])("streamed: %s", (streamed) => {
  const asking = (models: ReturnType<typeof routed>, name = "agent"): Ask => {
    const chat = models.chat(name).bindTools([pay]);
    return async (messages) => (streamed ? wholeOf(await chat.stream(messages)) : chat.invoke(messages));
  };

  it("answers with what was said, what it used and what it cost", async () => {
    const prices = [{ from: "2026-01-01", perMillion: { input: 3, output: 15, cacheRead: 0.3, cacheWrite: 3.75 } }];
    using models = routed(bedrock, {
      catalogue: { ...TWO, targets: { ...TWO.targets, first: target(CLAUDE, { prices }) } },
    });
    const usage = { inputTokens: 100, outputTokens: 20, cacheReadInputTokens: 1000, cacheWriteInputTokens: 10 };
    bedrock.says(() => ({ text: ["Hel", "lo."], usage }));
    const message = await asking(models)(ASK);
    expect(message.content).toBe("Hello.");
    expect(message.usage_metadata).toMatchObject({
      input_tokens: 1110,
      output_tokens: 20,
      total_tokens: 1130,
      input_token_details: { cache_read: 1000, cache_creation: 10 },
    });
    const cost = {
      amount: expect.closeTo((100 * 3 + 1000 * 0.3 + 10 * 3.75 + 20 * 15) / 1e6, 10) as unknown,
      currency: "USD",
      priceFrom: "2026-01-01",
    };
    const tokens = { input: 100, cacheRead: 1000, cacheWrite: 10, output: 20 };
    expect(message.response_metadata).toMatchObject({
      stop_reason: "end_turn",
      model_call: { name: "agent", target: "first", model: CLAUDE, attempts: 1, fallbacks: [], tokens, cost },
    });
    expect(models.calls).toMatchObject([{ tenant: "acme", name: "agent", outcome: "served", tokens, cost }]);
    expect(models.calls[0]?.firstMs).toEqual(streamed ? expect.any(Number) : undefined);
  });

  it("calls tools with whole arguments, text and reasoning beside them, two hundred at once", async () => {
    using models = routed(bedrock);
    const tools = Array.from({ length: 200 }, (_, n) => ({ id: `t${n}`, name: "pay", input: { amount: n } }));
    bedrock.says(() => ({ text: "I pay.", tools, reasoning: { text: "Hm.", signature: "s1" } }));
    const message = await asking(models)(ASK);
    expect(message.tool_calls).toEqual(
      tools.map(({ id, name, input }) => ({ id, name, args: input, type: "tool_call" })),
    );
    expect([message.text, message.invalid_tool_calls]).toEqual(["I pay.", []]);
    expect(JSON.stringify(message.content)).toMatch(/Hm\..*s1/);
    // What it said can be said again: the reasoning that belongs to a call goes back with it.
    const results = tools.map(({ id }) => new ToolMessage({ tool_call_id: id, content: "ok" }));
    bedrock.says(() => ({ text: "Done." }));
    expect((await asking(models)([...ASK, message, ...results])).text).toBe("Done.");
    expect(JSON.stringify(bedrock.seen.at(-1)?.body.messages?.[1])).toMatch(/reasoningContent.*Hm\./);
  });

  it("takes nothing for an answer once more, and then not", async () => {
    using models = routed(bedrock);
    bedrock.says(() => ({}));
    const before = bedrock.seen.length;
    expect(await asking(models, "alone")(ASK).catch(reasonOf)).toBe("empty");
    expect(bedrock.seen.length - before).toBe(3);
  });

  it("leaves the tenant out of what is kept with the message", async () => {
    using models = routed(bedrock);
    const message = await asking(models)(ASK);
    expect(models.calls).toMatchObject([{ tenant: "acme" }]);
    expect(message.response_metadata["model_call"]).not.toHaveProperty("tenant");
  });

  it("shows a picture to a target that sees pictures, and to no other", async () => {
    const second = { ...TWO.targets.second, vision: true };
    using models = routed(bedrock, { catalogue: { ...TWO, targets: { ...TWO.targets, second } } });
    const picture = { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } };
    const before = bedrock.seen.length;
    const message = await asking(models)([new HumanMessage({ content: [picture] })]);
    expect(message.response_metadata).toMatchObject({
      model_call: { target: "second", fallbacks: [{ target: "first", reason: "it sees no pictures" }] },
    });
    expect(bedrock.seen.slice(before).map(({ model }) => model)).toEqual([NOVA]);
  });

  it("adds up what all attempts have used and cost, each at the price of its target", async () => {
    const priced = (model: string, output: number) =>
      target(model, { prices: [{ from: "2026-01-01", perMillion: { input: 0, output } }] });
    const targets = { first: priced(CLAUDE, 1_000_000), second: priced(NOVA, 3_000_000) };
    using models = routed(bedrock, { catalogue: { ...TWO, targets } });
    const usage = { inputTokens: 10, outputTokens: 5 };
    // The first target answers nothing three times, the second one at once.
    bedrock.says(({ model }) => (model === CLAUDE ? { usage } : { text: "Hello.", usage }));
    const message = await asking(models)(ASK);
    const record = {
      outcome: "served",
      attempts: 4,
      tokens: { input: 40, cacheRead: 0, cacheWrite: 0, output: 20 },
      cost: { amount: 3 * 5 + 15, currency: "USD" },
    };
    expect(models.calls).toMatchObject([record]);
    expect(message.response_metadata).toMatchObject({ model_call: record });
    // Of the message are its own, which say how long its conversation has become.
    expect(message.usage_metadata).toMatchObject({ input_tokens: 10, output_tokens: 5 });
  });

  it("records what a turn has used that does not count, and tells it with the failure", async () => {
    const prices = [{ from: "2026-01-01", perMillion: { input: 0, output: 1_000_000 } }];
    using models = routed(bedrock, {
      catalogue: { ...TWO, targets: { ...TWO.targets, first: target(CLAUDE, { prices }) } },
    });
    const call = { id: "t1", name: "pay", input: { amount: 1 } };
    bedrock.says(() => ({ tools: [call], stopReason: "max_tokens", usage: { inputTokens: 10, outputTokens: 5 } }));
    const error: unknown = await asking(models)(ASK).catch((thrown: unknown) => thrown);
    const usage = { inputTokens: 10, outputTokens: 5, costUsd: 5 };
    expect(error).toMatchObject({ code: "limit", detail: { reason: "max_tokens", usage } });
    expect(models.calls).toMatchObject([
      { outcome: "max_tokens", tokens: { input: 10, output: 5 }, cost: { amount: 5 } },
    ]);
  });

  it.each<[unknown, object]>([
    ["pay", { tool: { name: "pay" } }],
    [{ type: "function", function: { name: "pay" } }, { tool: { name: "pay" } }],
    [{ type: "tool", name: "pay" }, { tool: { name: "pay" } }],
    [{ tool: { name: "pay" } }, { tool: { name: "pay" } }],
    ["required", { any: {} }],
    [{ any: {} }, { any: {} }],
    [{ type: "auto" }, { auto: {} }],
  ])("passes the choice of a tool on: %j", async (choice, sent) => {
    using models = routed(bedrock);
    bedrock.says(() => ({ tools: [{ id: "t1", name: "pay", input: { amount: 1 } }] }));
    const chat = models.chat("alone").bindTools([pay], { tool_choice: choice as string });
    await (streamed ? wholeOf(await chat.stream(ASK)) : chat.invoke(ASK));
    expect(bedrock.seen.at(-1)?.body.toolConfig).toMatchObject({ toolChoice: sent });
  });

  it("refuses a choice in no known form", async () => {
    using models = routed(bedrock);
    const chat = models.chat("alone").bindTools([pay], { tool_choice: { none: {} } as unknown as string });
    await expect(streamed ? chat.stream(ASK).then(wholeOf) : chat.invoke(ASK)).rejects.toThrow(/tool_choice/);
  });

  it("asks again for a call that cannot be read", async () => {
    using models = routed(bedrock);
    const before = bedrock.seen.length;
    const call = { id: "t1", name: "pay" };
    const said = ({ index }: { readonly index: number }) =>
      index === before
        ? { tools: [{ ...call, input: '{"amount"' }], stopReason: "malformed_tool_use" }
        : { tools: [{ ...call, input: { amount: 1 } }] };
    bedrock.says(said);
    expect((await asking(models, "alone")(ASK)).tool_calls).toMatchObject([{ args: { amount: 1 } }]);
    expect(bedrock.seen.length - before).toBe(2);
  });

  it("passes a guardrail with each call, and tells that it stepped in", async () => {
    const guardrail = { id: "g1", version: "1", trace: true };
    using models = routed(bedrock, {
      catalogue: { ...TWO, targets: { ...TWO.targets, first: target(CLAUDE, { guardrail }) } },
    });
    bedrock.says(() => ({ text: "tents", guardrail: { message: "I cannot say that." } }));
    const message = await asking(models)(ASK);
    expect(bedrock.seen.at(-1)?.body.guardrailConfig).toEqual({
      guardrailIdentifier: "g1",
      guardrailVersion: "1",
      trace: "enabled",
    });
    expect(message.text).toBe("I cannot say that.");
    expect(message.response_metadata).toMatchObject({
      stop_reason: "guardrail_intervened",
      guardrail_trace: { guardrail: {} },
    });
  });

  it("says a conversation in turns that Converse takes: two questions in a row, words behind results, blank answers", async () => {
    using models = routed(bedrock);
    const asked = new AIMessage({
      content: "",
      tool_calls: [{ id: "t1", name: "pay", args: { amount: 1 }, type: "tool_call" }],
    });
    await asking(models)([
      new SystemMessage("You pay."),
      new HumanMessage("One."),
      new HumanMessage("Two."),
      asked,
      new ToolMessage({ tool_call_id: "t1", content: "paid" }),
      new HumanMessage("Three."),
      new AIMessage(""),
      new HumanMessage("Four."),
    ]);
    const said = bedrock.seen
      .at(-1)
      ?.body.messages?.map(({ role, content }) => [role, content.map((block) => block.text ?? Object.keys(block)[0])]);
    expect(said).toEqual([
      ["user", ["One.", "Two."]],
      ["assistant", ["toolUse"]],
      ["user", ["toolResult", "Three.", "Four."]],
    ]);
  });

  it("keeps what a guardrail found to itself unless it is asked for", async () => {
    const guardrail = { id: "g1", version: "1" };
    const targets = { ...TWO.targets, first: target(CLAUDE, { guardrail }) };
    using models = routed(bedrock, { catalogue: { ...TWO, targets } });
    bedrock.says(() => ({ guardrail: { message: "I cannot say that." } }));
    expect((await asking(models)(ASK)).response_metadata).not.toHaveProperty("guardrail_trace");
  });

  it("is refused a result without its call, by the service and once", async () => {
    using models = routed(bedrock);
    const before = bedrock.seen.length;
    const lost = [...ASK, new ToolMessage({ tool_call_id: "t9", content: "paid" })];
    await expect(asking(models)(lost)).rejects.toThrow(/exceeds the number of toolUse blocks/);
    expect(bedrock.seen.length - before).toBe(1);
  });

  it.each<
    [
      string,
      { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string },
      string,
      RegExp,
    ]
  >([
    ["expired", { accessKeyId: "A", secretAccessKey: "s", sessionToken: "expired" }, "us-east-1", /expired/],
    [
      "of nobody",
      { accessKeyId: "UNKNOWN", secretAccessKey: "s" },
      "us-east-1",
      /security token included in the request is invalid/,
    ],
    ["for another region", { accessKeyId: "A", secretAccessKey: "s" }, "eu-central-1", /scoped to a valid region/],
  ])("says at once that credentials are %s", async (_what, credentials, region, words) => {
    using models = routed(bedrock, { client: { credentials, region } });
    const error: unknown = await asking(models, "alone")(ASK).catch((thrown: unknown) => thrown);
    expect([reasonOf(error), String(error)]).toEqual(["credentials", expect.stringMatching(words)]);
    expect(models.calls).toMatchObject([{ outcome: "credentials", attempts: 1 }]);
    expect(String(error)).not.toContain(credentials.secretAccessKey + credentials.accessKeyId);
  });

  it("asks the next target when a model is not in this region", async () => {
    using models = routed(bedrock, { catalogue: { ...TWO, targets: { ...TWO.targets, first: target("not.here") } } });
    expect((await asking(models)(ASK)).text).toBe("Hello.");
    expect(models.calls).toMatchObject([
      { target: "second", fallbacks: [{ target: "first", reason: "unknown_model" }] },
    ]);
  });

  it("does not ask a target that calls no tools when there are tools", async () => {
    const first = target(CLAUDE, { tools: false });
    using models = routed(bedrock, { catalogue: { ...TWO, targets: { ...TWO.targets, first } } });
    await asking(models)(ASK);
    expect(models.calls).toMatchObject([
      { target: "second", fallbacks: [{ target: "first", reason: "it calls no tools" }] },
    ]);
    await expect(asking(models, "alone")(ASK)).rejects.toThrow(/no target of alone takes this request/);
  });
});

it("streams text as it comes, and calls once they are whole", async () => {
  using models = routed(bedrock);
  bedrock.says(() => ({ text: ["I ", "pay."], tools: [{ id: "t1", name: "pay", input: { amount: 100_000 } }] }));
  const chunks = await Array.fromAsync(await models.chat().bindTools([pay]).stream(ASK));
  expect(chunks.map(({ content }) => content)).toEqual(["I ", "pay.", ""]);
  expect(chunks.map((chunk) => chunk.tool_call_chunks?.length ?? 0)).toEqual([0, 0, 1]);
});
