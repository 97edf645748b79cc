/** A run's timeline, whole: nodes and their retries, tool calls, checkpoints, holds, effects and lineage. */
import { AIMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { expect, it } from "vitest";
import { z } from "zod";
import { effect } from "../../src/graph/effect.ts";
import { addRetry } from "../../src/graph/retry.ts";
import { review } from "../../src/graph/review.ts";
import { toolNode } from "../../src/graph/tool-node.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { eventually } from "../support/eventually.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

type Config = LangGraphRunnableConfig;

/** Calls a tool twice, once with arguments that it does not take; pays what a person has approved; and cannot ship. */
function shop() {
  const look = tool(async () => "found", { name: "look", schema: z.object({}) });
  const call = (id: string, args: object) => ({ id, name: "look", args, type: "tool_call" as const });
  let [priced, packed] = [0, 0];
  const policy = (maxAttempts: number) => ({ maxAttempts, initialInterval: 1, jitter: false, logWarning: false });
  const builder = new StateGraph(MessagesAnnotation)
    .addNode("model", () => ({
      messages: [new AIMessage({ content: "", tool_calls: [call("a", {}), call("b", [])] })],
    }))
    .addNode("tools", toolNode([look]))
    .addNode(
      "price",
      () => {
        if (++priced <= 2) throw new Error("no price yet");
        return {};
      },
      { retryPolicy: policy(3) },
    )
    .addNode("pack", () => {
      if (++packed === 1) throw new Error("no box");
      return {};
    })
    .addNode("pay", async (_: unknown, config: Config) => {
      await review(config, { title: "Pay?", action: "pay", args: { amount: 7 } });
      await effect(config, { name: "pay", policy: "unsafe" }, async () => "paid");
      return { messages: [{ role: "assistant", content: "paid" }] };
    })
    .addNode(
      "ship",
      () => {
        throw new TypeError("no stock");
      },
      { retryPolicy: { ...policy(2), retryOn: () => true } },
    );
  return addRetry(builder, "pack", { attempts: 2, backoffMs: 1 })
    .addEdge(START, "model")
    .addEdge("model", "tools")
    .addEdge("tools", "price")
    .addEdge("price", "pack")
    .addEdge("pack", "pay")
    .addEdge("pay", "ship")
    .compile();
}

interface Timeline {
  readonly status: string;
  readonly ended_at: string | null;
  readonly nodes: readonly { readonly node: string; readonly failed: boolean; readonly ms: number | null }[];
  readonly checkpoints: readonly { readonly changed: readonly string[]; readonly next: readonly string[] }[];
  readonly [field: string]: unknown;
}

const ended = ({ app }: Service, run: string): Promise<Timeline> =>
  eventually(async () => {
    const timeline = (await (await app.call("GET", `/v1/runs/${run}`)).json()) as Timeline;
    return timeline.ended_at === null ? undefined : timeline;
  });

it("of a run that asks, and of the one that goes on and fails, shows what each of them did", async () => {
  await using service = await startService({ graphs: createRegistry([registeredGraph("shop", shop())]) });
  const client = service.client("acme");
  const { thread_id: thread } = await client.threads.create();
  const { run_id: run } = await client.runs.create(thread, "shop", { input: { messages: [] } });
  const asked = await ended(service, run);
  const { run_id: next } = await client.runs.create(thread, "shop", { command: { resume: { type: "approve" } } });
  const failed = await ended(service, next);

  const nodesOf = ({ nodes }: Timeline) => nodes.map(({ node, ms }) => [node, typeof ms]);
  expect(nodesOf(asked)).toEqual([
    ...["model", "tools", "price", "pack", "pack~wait", "pack"].map((node) => [node, "number"]),
    ["pay", "object"], // null: it has not come to its end
  ]);
  expect(asked).toMatchObject({
    status: "held",
    retries: { price: 2 },
    tool_calls: [
      { id: "a", name: "look", status: "success" },
      { id: "b", name: "look", status: "error" },
    ],
    holds: expect.arrayContaining([
      expect.objectContaining({ node: "pay", origin: "review", title: "Pay?" }),
      expect.objectContaining({ node: "pack~wait", origin: "timer", state: "applied" }),
    ]) as unknown,
    effects: [],
  });
  expect(asked.nodes.filter(({ failed: isFailed }) => isFailed)).toEqual([]);
  expect(asked.checkpoints.map(({ changed, next: then }) => [changed.join(), then.join()])).toEqual([
    ["", ""],
    ["messages", "model"],
    ["messages", "tools"],
    ["messages", "price"],
    ["", "pack"],
    ["", "pack~wait"],
    ["", "pack"],
    ["", "pay"],
  ]);

  expect(failed).toMatchObject({
    status: "error",
    retries: { ship: 1 },
    checkpoints: [{ changed: ["messages"], next: ["ship"] }],
    nodes: [
      { node: "pay", failed: false },
      { node: "ship", ms: null, failed: true },
    ],
    tool_calls: [],
    effects: [{ name: "pay", run_id: next, reused: false, outcome: "result" }],
    lineage: [{ run_id: run }, { run_id: next }],
  });
});
