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

  it("says of one that has not begun what it waits for, also where no worker of its pool is there", async () => {
    const elsewhere = { ...registeredGraph("elsewhere", failing), pool: "gpu" };
    await using service = await startService({ graphs: createRegistry([elsewhere]) });
    const client = service.client("acme");
    const { thread_id: thread } = await client.threads.create();
    const { run_id: first } = await client.runs.create(thread, "elsewhere", { input: {} });
    const { run_id: second } = await client.runs.create(thread, "elsewhere", { input: {} });
    const { run_id: later } = await client.runs.create(thread, "elsewhere", { input: {}, afterSeconds: 3600 });
    const waits = async (run: string) =>
      ((await client.runs.get(thread, run)) as unknown as { readonly holdpoint: { readonly waits: unknown } }).holdpoint
        .waits;
    expect(await waits(first)).toEqual({
      reason: "no worker of pool gpu has taken it yet",
      since: expect.stringMatching(/Z$/) as string,
    });
    expect(await waits(second)).toMatchObject({ reason: `run ${first} is before it` });
    expect(await waits(later)).toMatchObject({ reason: "its time has not come" });
    await client.runs.cancel(thread, first);
    expect(await waits(first)).toBeNull();
  });
});
