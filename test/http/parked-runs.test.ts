/** What docs/operations.md tells operators to do about a parked run, done over HTTP with the official SDK. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import type { EffectPolicy } from "../../src/core/effect.ts";
import { effect } from "../../src/graph/effect.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { startService } from "../support/service.ts";

const State = Annotation.Root({ done: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }) });

/** Books, pays, ships; paying gets no answer as long as the far side is mute. */
function shop(policy: EffectPolicy) {
  const farSide = { isMute: true, tokens: new Array<string>() };
  const pay = async (_: typeof State.State, config: LangGraphRunnableConfig) => {
    const receipt = await effect(config, { name: "pay", policy }, async (token) => {
      farSide.tokens.push(token);
      if (farSide.isMute) throw new Error("no answer");
      return "paid";
    });
    return { done: [receipt] };
  };
  const graph = new StateGraph(State)
    .addNode("book", () => ({ done: ["booked"] }))
    .addNode("pay", pay)
    .addNode("ship", () => ({ done: ["shipped"] }))
    .addEdge(START, "book")
    .addEdge("book", "pay")
    .addEdge("pay", "ship")
    .addEdge("ship", END)
    .compile();
  return { farSide, graphs: createRegistry([registeredGraph("shop", graph)]) };
}

const ENDED = { done: ["booked", "paid", "shipped"] };
const parked = { __error__: { error: "effect_ambiguous" } };

async function started(policy: EffectPolicy) {
  const { farSide, graphs } = shop(policy);
  const service = await startService({ graphs });
  const client = service.client("acme");
  const { thread_id: thread } = await client.threads.create();
  const run = (input: Record<string, unknown> | null) => client.runs.wait(thread, "shop", { input, raiseError: false });
  expect(await run({})).toMatchObject(parked);
  expect((await client.threads.get(thread)).status).toBe("error");
  expect((await client.runs.list(thread)).map(({ status }) => status)).toEqual(["error"]);
  return { farSide, client, thread, run, [Symbol.asyncDispose]: () => service[Symbol.asyncDispose]() };
}

describe("a parked run", () => {
  it("goes on with a run without input, which asks again under the same token where that is safe", async () => {
    await using shopping = await started("idempotent");
    shopping.farSide.isMute = false;
    expect(await shopping.run(null)).toEqual(ENDED);
    expect(new Set(shopping.farSide.tokens).size).toBe(1);
  });

  it("parks again where nobody may guess, and goes on behind a result that an operator has looked up", async () => {
    await using shopping = await started("unsafe");
    const { farSide, client, thread, run } = shopping;
    farSide.isMute = false;
    expect(await run(null)).toMatchObject(parked);
    await client.threads.updateState(thread, { values: { done: ["paid"] }, asNode: "pay" });
    expect(await run(null)).toEqual(ENDED);
    expect(farSide.tokens).toHaveLength(1);
  });

  it("does not keep new input away, which begins a lineage of its own and so pays under a token of its own", async () => {
    await using shopping = await started("unsafe");
    shopping.farSide.isMute = false;
    expect(await shopping.run({})).toEqual({ done: ["booked", "booked", "paid", "shipped"] });
    expect(new Set(shopping.farSide.tokens).size).toBe(2);
  });
});
