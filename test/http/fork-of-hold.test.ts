/** Going back to a checkpoint at which somebody was asked, and answers that a review does not take. */
import { Annotation, START, StateGraph, interrupt } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { review } from "../../src/graph/review.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

const State = Annotation.Root({
  amount: Annotation<number>(),
  log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});

async function pay({ amount }: typeof State.State, config: LangGraphRunnableConfig) {
  const answer = await review(config, { title: "Pay", action: "pay", args: { amount } });
  return { log: [answer.type] };
}

const graphs = createRegistry([
  registeredGraph(
    "plain",
    new StateGraph(State)
      .addNode("ask", () => ({ log: [String(interrupt("?"))] }))
      .addEdge(START, "ask")
      .compile(),
  ),
  registeredGraph("reviewed", new StateGraph(State).addNode("pay", pay).addEdge(START, "pay").compile()),
]);

let service: Service;
beforeAll(async () => {
  service = await startService({ graphs });
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
});

const isAsked = (values: unknown): boolean =>
  typeof values === "object" && values !== null && "__interrupt__" in values;

describe("a run from a checkpoint at which somebody was asked", () => {
  it.each([
    ["plain", "yes"],
    ["reviewed", { type: "approve" }],
  ])("asks again, and can be answered again: %s", async (graph, answer) => {
    const client = service.client("acme");
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, graph, { input: { amount: 5 } });
    const held = (await client.threads.getState(threadId)).checkpoint.checkpoint_id ?? "";
    await client.runs.wait(threadId, graph, { command: { resume: answer } });

    const again = await client.runs.wait(threadId, graph, { input: null, checkpointId: held });
    expect(isAsked(again)).toBe(true);
    expect((await client.threads.get(threadId)).status).toBe("interrupted");
    const after = await client.runs.wait(threadId, graph, { command: { resume: answer } });
    expect(after).toMatchObject({ log: [graph === "plain" ? "yes" : "approve"] });
    expect((await client.threads.get(threadId)).status).toBe("idle");
  });
});

describe("an answer that a review does not take", () => {
  it("is refused, leaves no run behind, and the review can still be decided", async () => {
    const client = service.client("acme");
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, "reviewed", { input: { amount: 5 } });
    const json = { assistant_id: "reviewed", command: { resume: "garbage" } };
    const refused = await service.app.call("POST", `/threads/${threadId}/runs`, { json, as: "acme" });
    expect(refused.status).toBe(422);
    expect((await client.runs.list(threadId)).map(({ status }) => status)).toEqual(["success"]);
    const foreign = await service.app.call("POST", `/threads/${threadId}/runs`, { json, as: "globex" });
    expect(foreign.status).toBe(404);
    const after = await client.runs.wait(threadId, "reviewed", { command: { resume: { type: "approve" } } });
    expect(after).toMatchObject({ log: ["approve"] });
  });
});
