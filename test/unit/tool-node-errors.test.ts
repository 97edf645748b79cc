/** What tools throw, who is told, and who tries again: first by LangGraph's own ToolNode, then by ours. Bounds and stops. */
import type { BaseMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import type { StructuredToolInterface } from "@langchain/core/tools";
import { ToolNode } from "@langchain/langgraph/prebuilt";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { EffectRejected } from "../../src/graph/effect-call.ts";
import { ToolFailed, toolNode } from "../../src/graph/tool-node.ts";
import { DrivenThread, backoffOf } from "../support/drive-kit.ts";
import { fixed } from "../support/flaky-nodes.ts";
import { CALLS, answersOf, failing, graphOf, refunds, tools } from "../support/tool-graphs.ts";
import type { Call, GraphOptions } from "../support/tool-graphs.ts";

const failed = (message: string) => ({ kind: "failed", error: { name: "ToolFailed", message }, parks: false });

describe("LangGraph's own ToolNode", () => {
  it("makes a message of what a tool throws, so that no retry policy sees it", async () => {
    const bank = failing(1);
    const { all } = tools(bank.refund);
    const node = new ToolNode([...all]);
    const graph = graphOf((state, config) => node.invoke(state, config) as Promise<object>, {
      retryPolicy: fixed(1),
    }).compile();
    const { messages } = (await graph.invoke({ messages: [] })) as { messages: readonly BaseMessage[] };
    expect(messages.at(-1)?.text).toContain("the bank is away");
    expect(bank.attempts()).toBe(1);
  });
});

describe("the model is told", () => {
  const told = async (all: readonly StructuredToolInterface[], options: GraphOptions) => {
    const thread = new DrivenThread(graphOf(toolNode(all), options));
    expect((await thread.invoke({ messages: [] })).outcome).toEqual({ kind: "done" });
    return answersOf(thread);
  };

  it("what it can mend: an unknown tool, arguments that do not fit, a refusal", async () => {
    const { all, done } = tools(async () => {
      throw new EffectRejected("no such order");
    });
    const calls: readonly Call[] = [
      { name: "fly", args: {}, id: "c1" },
      { name: "look", args: { what: 7 }, id: "c2" },
      { name: "refund", args: { amount: 7 }, id: "c3" },
      { name: "look", args: { what: "price" }, id: "c4" },
    ];
    const answers = await told(all, { calls });
    expect(answers.map(({ status }) => status)).toEqual(["error", "error", "error", "success"]);
    const types = ["unknown_tool", "invalid_args", "rejected"].map((type) => ({ error: { type } }));
    expect(answers.slice(0, 3).map(({ metadata }) => metadata)).toEqual(types);
    expect(answers[0]?.content).toBe("There is no tool fly.");
    expect(answers[1]?.content).toContain("did not match expected schema");
    expect(answers[2]?.content).toBe("no such order");
    expect(done).toEqual(["look price"]);
  });

  it("that its arguments were not JSON", async () => {
    const message = { invalid_tool_calls: [{ name: "refund", args: '{"amo', id: "c9", error: "Unexpected end" }] };
    const answers = await told(tools(failing(0).refund).all, { calls: [], message });
    expect(answers).toMatchObject([{ content: "Unexpected end", metadata: { error: { type: "invalid_args" } } }]);
  });

  it.each([{ stop_reason: "max_tokens" }, { stopReason: "max_tokens" }, { finish_reason: "length" }])(
    "that its message was cut off, and no tool is called: %o",
    async (response_metadata) => {
      const { all, done } = tools(failing(0).refund);
      const answers = await told(all, { message: { response_metadata } });
      const truncated = { error: { type: "truncated" } };
      expect(answers.map(({ metadata }) => metadata)).toEqual([truncated, truncated]);
      expect(done).toEqual([]);
    },
  );

  it("nothing of the arguments with which a tool has called another one: that is the tool's mistake", async () => {
    const inner = tool(async () => "", { name: "inner", schema: z.object({ n: z.number() }) });
    const { all } = tools(async () => inner.invoke({ n: "seven" } as never));
    const { outcome } = await new DrivenThread(graphOf(toolNode(all))).invoke({ messages: [] });
    expect(outcome).toMatchObject({ kind: "failed", error: { name: "ToolFailed" } });
  });
});

describe("any other error of a tool", () => {
  it("is seen by the retry policy of the node with its type, and only its call is tried again", async () => {
    const bank = failing(1);
    const { done, all } = tools(bank.refund);
    const seen: unknown[] = [];
    const retryOn = (error: unknown): boolean => seen.push(error) > 0;
    const thread = new DrivenThread(graphOf(toolNode(all), { retryPolicy: { ...fixed(1), retryOn } }));
    expect((await thread.invoke({ messages: [] })).outcome).toEqual({ kind: "done" });
    expect(seen).toHaveLength(1);
    expect(seen[0]).toBeInstanceOf(ToolFailed);
    expect(seen[0]).toMatchObject({ toolName: "refund", callId: "c2", cause: { message: "the bank is away" } });
    expect(bank.attempts()).toBe(2);
    expect(done).toEqual(["look price"]);
  });

  it("is tried again in another delivery after a long back-off, and leaves the other calls as they are", async () => {
    const bank = failing(2);
    const { done, all } = tools(bank.refund);
    const thread = new DrivenThread(graphOf(toolNode(all), { retryPolicy: fixed(60_000) }));
    const first = await thread.invoke({ messages: [] });
    let left = backoffOf(first.outcome);
    expect(left.delayMs).toBe(60_000);
    expect(left.error.message).toBe("tool refund failed: the bank is away");
    const again = { payload: { input: { messages: [] } }, run: first.run };
    left = backoffOf((await thread.deliver({ ...again, retries: left.retries })).outcome);
    expect(left.delayMs).toBe(120_000);
    expect((await thread.deliver({ ...again, retries: left.retries })).outcome).toEqual({ kind: "done" });
    expect(bank.attempts()).toBe(3);
    expect(done).toEqual(["look price"]);
  });

  it("fails the run when the attempts are used up, or the policy does not want it tried again", async () => {
    const never = { ...fixed(1), retryOn: (error: unknown) => !(error instanceof ToolFailed) };
    for (const [policy, attempts] of [[fixed(1, 3), 3] as const, [never, 1] as const, [undefined, 1] as const]) {
      const bank = failing(Infinity);
      const { all } = tools(bank.refund);
      const graph = graphOf(toolNode(all), policy === undefined ? {} : { retryPolicy: policy });
      const { outcome } = await new DrivenThread(graph).invoke({ messages: [] });
      expect(outcome).toEqual(failed("tool refund failed: the bank is away"));
      expect(bank.attempts()).toBe(attempts);
    }
  });

  it("is tried again by the node's own policy for its tools, where that is another one", async () => {
    const bank = failing(2);
    const node = toolNode(tools(bank.refund).all, { retry: fixed(1, 3) });
    const { outcome } = await new DrivenThread(graphOf(node, { retryPolicy: fixed(1, 2) })).invoke({ messages: [] });
    expect(outcome).toEqual({ kind: "done" });
    expect(bank.attempts()).toBe(3);
  });

  it.each([{ status: 404 }, { response: { status: 404 } }])(
    "that another attempt does not change is not tried again by LangGraph's default: %o",
    async (answer) => {
      const refusing = failing(Infinity, () => Object.assign(new Error("no such order"), answer));
      const graph = graphOf(toolNode(tools(refusing.refund).all), { retryPolicy: { logWarning: false } });
      const { outcome } = await new DrivenThread(graph).invoke({ messages: [] });
      expect(outcome).toEqual(failed("tool refund failed: no such order"));
      expect(refusing.attempts()).toBe(1);
    },
  );

  it("begins no further call, and tells those that are under way", async () => {
    const begun: unknown[] = [];
    const told: boolean[] = [];
    const hears = Promise.withResolvers<void>();
    const { all } = tools(async (amount, { signal }) => {
      begun.push(amount);
      if (amount !== 1) {
        signal?.addEventListener("abort", () => told.push(true));
        hears.resolve();
        return new Promise<never>(() => {});
      }
      await hears.promise;
      throw new Error("the bank is away");
    });
    // One that takes a text does not look at its signal before it begins.
    const note = tool(async (text: string) => String(begun.push(text)), { name: "note" });
    const node = toolNode([...all, note as unknown as StructuredToolInterface], { maxConcurrency: 2 });
    const calls = [...refunds(1, 2), { name: "note", args: { input: "paid" }, id: "c9" }];
    const { outcome } = await new DrivenThread(graphOf(node, { calls })).invoke({ messages: [] });
    expect(outcome).toEqual(failed("tool refund failed: the bank is away"));
    expect(begun).toEqual([1, 2]);
    expect(told).toEqual([true]);
  });
});

describe("a tool that executes", () => {
  it("hears that its run is stopped", async () => {
    const stop = new AbortController();
    const heard = Promise.withResolvers<string>();
    const { all } = tools(async (_, { signal }) => {
      signal?.addEventListener("abort", () => heard.resolve("stopped"));
      stop.abort();
      return heard.promise;
    });
    const { outcome } = await new DrivenThread(graphOf(toolNode(all))).invoke(
      { messages: [] },
      { signal: stop.signal },
    );
    expect(outcome).toEqual({ kind: "aborted" });
    expect(await heard.promise).toBe("stopped");
  });

  const AMOUNTS = [1, 2, 3, 4, 5, 6];
  const bounds = {
    "as many as the node says": [{ maxConcurrency: 2 }, {}, 2],
    "as many as tasks of a superstep": [{}, { max_concurrency: 3 }, 3],
    "all of them, where neither says less": [{}, {}, AMOUNTS.length],
  } as const;

  it.each(Object.entries(bounds))("has at its side %s", async (_, [options, config, expected]) => {
    let executing = 0;
    let most = 0;
    const { all } = tools(async (amount) => {
      most = Math.max(most, ++executing);
      for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate); // time for others to begin
      executing--;
      return `refunded ${amount}`;
    });
    const thread = new DrivenThread(graphOf(toolNode(all, options), { calls: refunds(...AMOUNTS) }));
    const { outcome } = await thread.invoke({ messages: [] }, { assistant: { config, context: {} } });
    expect(outcome).toEqual({ kind: "done" });
    expect(most).toBe(expected);
    expect((await answersOf(thread)).map(({ content }) => content)).toEqual(AMOUNTS.map((n) => `refunded ${n}`));
  });

  it("is not executed again for a call that stands answered", async () => {
    const { done, all } = tools(failing(0).refund);
    const graph = graphOf(toolNode(all)).addNode("again", toolNode(all)).addEdge("tools", "again");
    const thread = new DrivenThread(graph);
    expect((await thread.invoke({ messages: [] })).outcome).toEqual({ kind: "done" });
    expect(done).toEqual(["look price"]);
    expect(await answersOf(thread)).toHaveLength(CALLS.length);
  });
});
