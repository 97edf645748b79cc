/** Tool calls side by side: first what LangGraph's own ToolNode does, then what ours does. */
import { AIMessage } from "@langchain/core/messages";
import type { BaseMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import type { StructuredToolInterface } from "@langchain/core/tools";
import { Command, MemorySaver, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { ToolNode } from "@langchain/langgraph/prebuilt";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import type { Json } from "../../src/core/json.ts";
import { reviewRequestOf } from "../../src/core/review-value.ts";
import type { NodeConfig } from "../../src/graph/context.ts";
import { EffectRejected, effect } from "../../src/graph/effect.ts";
import { review } from "../../src/graph/review.ts";
import { ToolFailed, toolNode } from "../../src/graph/tool-node.ts";
import { DrivenThread, backoffOf, interruptsOf, valuesOf } from "../support/drive-kit.ts";
import { fixed } from "../support/flaky-nodes.ts";

const CALLS = [
  { name: "look", args: { what: "price" }, id: "c1", type: "tool_call" as const },
  { name: "refund", args: { amount: 7 }, id: "c2", type: "tool_call" as const },
];

/** The tools, and what they have done. */
function tools(refund: (amount: number, config: NodeConfig) => Promise<string>) {
  const done: string[] = [];
  const look = tool(
    async ({ what }: { readonly what: string }) => {
      done.push(`look ${what}`);
      return `${what} is 7`;
    },
    { name: "look", schema: z.object({ what: z.string() }) },
  );
  const pay = tool(async ({ amount }: { readonly amount: number }, config: NodeConfig) => refund(amount, config), {
    name: "refund",
    schema: z.object({ amount: z.number() }),
  });
  return { done, all: [look, pay] as readonly StructuredToolInterface[] };
}

type Node = (state: typeof MessagesAnnotation.State) => unknown;

/** A model that asks for its tools, and the node that calls them. */
const graphOf = (node: Node, calls: object[] = CALLS, retryPolicy?: ReturnType<typeof fixed>) =>
  new StateGraph(MessagesAnnotation)
    .addNode("model", () => ({ messages: [new AIMessage({ content: "", tool_calls: calls as typeof CALLS })] }))
    .addNode("tools", node as () => Promise<object>, retryPolicy === undefined ? {} : { retryPolicy })
    .addEdge(START, "model")
    .addEdge("model", "tools");

interface Answer {
  readonly content: string;
  readonly status: string | undefined;
}

async function answersOf(thread: DrivenThread): Promise<readonly Answer[]> {
  const { messages } = (await valuesOf(thread)) as unknown as { messages: readonly (Answer & { type: string })[] };
  return messages.filter(({ type }) => type === "tool").map(({ content, status }) => ({ content, status }));
}

const asking = (amount: number, config: NodeConfig): Promise<string> =>
  review(config, { title: "Refund?", action: "refund", args: { amount } }).then((answer) =>
    answer.type === "edit" ? `refunded ${JSON.stringify(answer.args["amount"])}` : `refund: ${answer.type}`,
  );
const FAILS_ONCE = () => {
  let attempts = 0;
  return async (): Promise<string> => {
    if (++attempts === 1) throw new Error("the bank is away");
    return "refunded";
  };
};
const config = { configurable: { thread_id: "t" } };
const stock = (all: readonly StructuredToolInterface[]): Node => new ToolNode([...all]) as unknown as Node; // a runnable

describe("LangGraph's own ToolNode", () => {
  it("executes the tools beside one that asks again when that is answered", async () => {
    const { done, all } = tools(asIs);
    const graph = graphOf(stock(all)).compile({ checkpointer: new MemorySaver() });
    await graph.invoke({ messages: [] }, config);
    await graph.invoke(new Command({ resume: "yes" }), config);
    expect(done).toEqual(["look price", "look price"]);
  });

  it("makes a message of what a tool throws, so that no retry policy sees it", async () => {
    const { all } = tools(FAILS_ONCE());
    const graph = graphOf(stock(all), CALLS, fixed(1)).compile();
    const { messages } = (await graph.invoke({ messages: [] })) as { messages: readonly BaseMessage[] };
    expect(messages.at(-1)?.text).toContain("the bank is away");
  });
});

/** A plain question, which bare LangGraph can ask. */
async function asIs(): Promise<string> {
  const { interrupt } = await import("@langchain/langgraph");
  return `refund: ${String(interrupt("refund?"))}`;
}

describe("toolNode", () => {
  /** What the runtime hands over for a decision about this. */
  const decision = (value: Json | undefined, answer: { readonly [key: string]: Json }): Json => {
    const request = reviewRequestOf(value);
    return { holdpoint: "answer", number: 0, digest: request?.digest ?? "", decidedBy: "eve", ...answer };
  };

  it("executes every tool once, and answers in the order of the calls, although one asks a person", async () => {
    const { done, all } = tools(asking);
    const thread = new DrivenThread(graphOf(toolNode(all)));
    const [asked] = interruptsOf((await thread.invoke({ messages: [] })).outcome);
    expect(asked?.value).toMatchObject({ action_requests: [{ args: { amount: 7 } }] });
    const edit = decision(asked?.value, { type: "edit", args: { amount: 5 } });
    expect((await thread.resume({ [asked?.id ?? ""]: edit })).outcome).toEqual({ kind: "done" });
    expect(done).toEqual(["look price"]);
    expect(await answersOf(thread)).toEqual([
      { content: "price is 7", status: "success" },
      { content: "refunded 5", status: "success" },
    ]);
  });

  it("asks about every call that asks at once, and each gets its own answer", async () => {
    const { all } = tools(asking);
    const calls = [1, 2].map((amount) => ({ ...CALLS[1], args: { amount }, id: `c${amount}` }));
    const thread = new DrivenThread(graphOf(toolNode(all), calls));
    const asked = interruptsOf((await thread.invoke({ messages: [] })).outcome);
    expect(asked).toHaveLength(2);
    const answers = ["approve", "reject"].map((type, n) => [asked[n]?.id ?? "", decision(asked[n]?.value, { type })]);
    expect((await thread.resume(Object.fromEntries(answers) as Record<string, Json>)).outcome.kind).toBe("done");
    expect((await answersOf(thread)).map(({ content }) => content)).toEqual(["refund: approve", "refund: reject"]);
  });

  it("shows the model what it can mend: an unknown tool, arguments that do not fit, a refusal", async () => {
    const { all } = tools(async () => {
      throw new EffectRejected("no such order");
    });
    const calls = [
      { name: "fly", args: {}, id: "c1", type: "tool_call" },
      { name: "look", args: { what: 7 }, id: "c2", type: "tool_call" },
      { name: "refund", args: { amount: 7 }, id: "c3", type: "tool_call" },
    ];
    const thread = new DrivenThread(graphOf(toolNode(all), calls));
    expect((await thread.invoke({ messages: [] })).outcome).toEqual({ kind: "done" });
    const answers = await answersOf(thread);
    expect(answers.map(({ status }) => status)).toEqual(["error", "error", "error"]);
    expect(answers[0]?.content).toBe("There is no tool fly.");
    expect(answers[2]?.content).toBe("no such order");
  });

  it("lets any other error through with its type, so that a retry policy sees it", async () => {
    const { done, all } = tools(FAILS_ONCE());
    const seen: unknown[] = [];
    const policy = { ...fixed(1), retryOn: (error: unknown) => seen.push(error) > 0 };
    const thread = new DrivenThread(graphOf(toolNode(all, { retry: policy })));
    expect((await thread.invoke({ messages: [] })).outcome).toEqual({ kind: "done" });
    const [error] = seen;
    expect(error).toBeInstanceOf(ToolFailed);
    expect(error).toMatchObject({ toolName: "refund", callId: "c2", cause: { message: "the bank is away" } });
    expect(done).toEqual(["look price"]);
  });

  it("tries a call again in another delivery, and leaves the others as they are", async () => {
    const { done, all } = tools(FAILS_ONCE());
    const thread = new DrivenThread(graphOf(toolNode(all, { retry: fixed(60_000) })));
    const first = await thread.invoke({ messages: [] });
    const { retries, error } = backoffOf(first.outcome);
    expect(error.message).toBe("tool refund failed: the bank is away");
    const last = await thread.deliver({ payload: { input: { messages: [] } }, run: first.run, retries });
    expect(last.outcome).toEqual({ kind: "done" });
    expect(done).toEqual(["look price"]);
  });

  it("pays once for each call, whatever call of the table its process dies at", async () => {
    const calls = [1, 2].map((amount) => ({ ...CALLS[1], args: { amount }, id: `c${amount}` }));
    for (let dieAt = 1; ; dieAt++) {
      const paid = new Map<string, number>();
      const { all } = tools((amount, own) =>
        effect(own, { name: "refund", policy: "idempotent", args: { amount } }, async (token) => {
          paid.set(token, amount);
          return `refunded ${amount}`;
        }),
      );
      const thread = new DrivenThread(graphOf(toolNode(all), calls));
      const first = await thread.invoke({ messages: [] }, { dieAt });
      const isWhole = first.outcome.kind === "done";
      if (!isWhole) await thread.deliver({ payload: { input: { messages: [] } }, run: first.run });
      expect([...paid.values()].toSorted((a, b) => a - b)).toEqual([1, 2]);
      if (isWhole) return expect(dieAt).toBeGreaterThan(10);
    }
  });
});
