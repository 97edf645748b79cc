import { describe, expect, it } from "vitest";
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { startService } from "../support/service.ts";

const State = Annotation.Root({ text: Annotation<string> });
const failing = new StateGraph(State)
  .addNode("fail", () => {
    throw new Error("no such account");
  })
  .addEdge(START, "fail")
  .addEdge("fail", END)
  .compile();

describe("a run object", () => {
  it("says under `holdpoint` what LangGraph's has no word for", async () => {
    await using service = await startService({ graphs: createRegistry([registeredGraph("failing", failing)]) });
    const client = service.client("acme");
    const { thread_id: thread } = await client.threads.create();
    const { run_id: run } = await client.runs.create(thread, "failing", { input: {} });
    await client.runs.join(thread, run);
    expect(await client.runs.get(thread, run)).toMatchObject({
      status: "error",
      holdpoint: { status: "error", deliveries: 1, sleep: null, error: { message: "no such account" } },
    });
  });
});
