/** Tool calls side by side: first what LangGraph's own ToolNode does, then what ours does. Errors: tool-node-errors. */
import { readFile } from "node:fs/promises";
import { AIMessage, ToolMessage } from "@langchain/core/messages";
import type { StructuredToolInterface } from "@langchain/core/tools";
import { Command, MemorySaver, interrupt } from "@langchain/langgraph";
import { ToolNode } from "@langchain/langgraph/prebuilt";
import { describe, expect, it } from "vitest";
import { HoldpointError } from "../../src/core/errors.ts";
import type { Json } from "../../src/core/json.ts";
import type { NodeConfig } from "../../src/graph/context.ts";
import { effect } from "../../src/graph/effect.ts";
import { review } from "../../src/graph/review.ts";
import { toolNode } from "../../src/graph/tool-node.ts";
import type { Table } from "../../src/storage/table.ts";
import { DrivenThread, interruptsOf } from "../support/drive-kit.ts";
import { eventually } from "../support/eventually.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { CALLS, answersOf, decision, graphOf, refunds, tools } from "../support/tool-graphs.ts";
import type { ToolsNode } from "../support/tool-graphs.ts";
import { refundDesk } from "./graphs/tool-calls.ts";

/** A plain question, which bare LangGraph can ask. */
const asking = async (): Promise<string> => `refund: ${String(interrupt("refund?"))}`;

const reviewed = (amount: number, config: NodeConfig): Promise<string> =>
  review(config, { title: "Refund?", action: "refund", args: { amount } }).then((answer) =>
    answer.type === "edit" ? `refunded ${JSON.stringify(answer.args["amount"])}` : `refund: ${answer.type}`,
  );

/** The tools of the calls, executed by the node itself. */
const withoutTasks =
  (all: readonly StructuredToolInterface[]): ToolsNode =>
  async (_, config) => {
    const messages = CALLS.map(async (call) => {
      const tool = all.find(({ name }) => name === call.name);
      return (await tool?.invoke({ ...call, type: "tool_call" }, config)) as ToolMessage;
    });
    return { messages: await Promise.all(messages) };
  };

const stock = (all: readonly StructuredToolInterface[]): ToolsNode => {
  const node = new ToolNode([...all]);
  return (state, config) => node.invoke(state, config) as Promise<object>;
};

describe("LangGraph's own ToolNode", () => {
  it("executes the tools beside one that asks again when that is answered", async () => {
    const { done, all } = tools(asking);
    const graph = graphOf(stock(all)).compile({ checkpointer: new MemorySaver() });
    const config = { configurable: { thread_id: "t" } };
    await graph.invoke({ messages: [] }, config);
    await graph.invoke(new Command({ resume: "yes" }), config);
    expect(done).toEqual(["look price", "look price"]);
  });
});

describe("a question in a tool", () => {
  const questions = { "a plain interrupt": asking, "a review": reviewed };

  it.each(Object.entries(questions))("%s is answered, and no other tool is executed again", async (_, question) => {
    const { done, all } = tools(question);
    const thread = new DrivenThread(graphOf(toolNode(all)));
    const [asked] = interruptsOf((await thread.invoke({ messages: [] })).outcome);
    const yes = question === asking ? "approve" : decision(asked?.value, { type: "approve" });
    expect((await thread.resume({ [asked?.id ?? ""]: yes })).outcome).toEqual({ kind: "done" });
    expect(done).toEqual(["look price"]);
    expect((await answersOf(thread)).map(({ content }) => content)).toEqual(["price is 7", "refund: approve"]);
  });

  it.each(Object.entries(questions))("%s repeats the other tools where they are no tasks", async (_, question) => {
    const { done, all } = tools(question);
    const thread = new DrivenThread(graphOf(withoutTasks(all)));
    const [asked] = interruptsOf((await thread.invoke({ messages: [] })).outcome);
    const yes = question === asking ? "approve" : decision(asked?.value, { type: "approve" });
    expect((await thread.resume({ [asked?.id ?? ""]: yes })).outcome).toEqual({ kind: "done" });
    expect(done).toEqual(["look price", "look price"]);
  });

  it("gets what its reviewer has made of it", async () => {
    const { all } = tools(reviewed);
    const thread = new DrivenThread(graphOf(toolNode(all)));
    const [asked] = interruptsOf((await thread.invoke({ messages: [] })).outcome);
    expect(asked?.value).toMatchObject({ action_requests: [{ args: { amount: 7 } }] });
    const edit = decision(asked?.value, { type: "edit", args: { amount: 5 } });
    expect((await thread.resume({ [asked?.id ?? ""]: edit })).outcome).toEqual({ kind: "done" });
    expect((await answersOf(thread)).map(({ content }) => content)).toEqual(["price is 7", "refunded 5"]);
  });

  it("is asked together with those of the other calls, and each gets its own answer", async () => {
    const { all } = tools(reviewed);
    const thread = new DrivenThread(graphOf(toolNode(all), { calls: refunds(1, 2) }));
    const asked = interruptsOf((await thread.invoke({ messages: [] })).outcome);
    expect(asked).toHaveLength(2);
    const answers = ["approve", "reject"].map((type, n) => [asked[n]?.id ?? "", decision(asked[n]?.value, { type })]);
    expect((await thread.resume(Object.fromEntries(answers) as Record<string, Json>)).outcome.kind).toBe("done");
    expect((await answersOf(thread)).map(({ content }) => content)).toEqual(["refund: approve", "refund: reject"]);
  });

  it("stands beside those of the other calls in the state of the thread", async () => {
    const graph = graphOf(toolNode(tools(asking).all), { calls: refunds(1, 2) });
    const compiled = graph.compile({ checkpointer: new MemorySaver() });
    const config = { configurable: { thread_id: "t" } };
    await compiled.invoke({ messages: [] }, config);
    const { tasks } = await compiled.getState(config);
    expect(tasks.flatMap(({ interrupts }) => interrupts.map(({ value }) => value as unknown))).toEqual([
      "refund?",
      "refund?",
    ]);
  });

  it("may be answered alone: the other one still waits, and nothing is executed that has been", async () => {
    const { done, all } = tools(reviewed);
    const thread = new DrivenThread(graphOf(toolNode(all), { calls: [...CALLS, ...refunds(2)] }));
    const [first, second] = interruptsOf((await thread.invoke({ messages: [] })).outcome);
    const later = await thread.resume({ [second?.id ?? ""]: decision(second?.value, { type: "approve" }) });
    expect(interruptsOf(later.outcome).map(({ id }) => id)).toEqual([first?.id]);
    const last = await thread.resume({ [first?.id ?? ""]: decision(first?.value, { type: "reject" }) });
    expect(last.outcome).toEqual({ kind: "done" });
    expect((await answersOf(thread)).map(({ content }) => content)).toEqual([
      "price is 7",
      "refund: reject",
      "refund: approve",
    ]);
    expect(done).toEqual(["look price"]);
  });
});

describe("a tool call whose process dies", () => {
  const paying = (paid: [string, number][]) => (amount: number, config: NodeConfig) =>
    effect(config, { name: "refund", policy: "idempotent", args: { amount } }, async (token) => {
      paid.push([token, amount]);
      return `refunded ${amount}`;
    });

  it("is executed again by the next delivery, and those that had returned are not", async () => {
    const paid: [string, number][] = [];
    const memory = createMemoryTable({ now: () => 0 });
    let isDead = false;
    let attempts = 0;
    const { done, all } = tools(async (amount, config) => {
      if (amount === 2 && ++attempts === 1) {
        await eventually(async () => (await tasksStored(thread)) === 2);
        isDead = true;
      }
      return paying(paid)(amount, config);
    });
    const gone = async (): Promise<never> => {
      throw new HoldpointError("unavailable", "the process died");
    };
    const table = new Proxy(memory, {
      get: (target, name: keyof Table) => (isDead && name !== "now" ? gone : target[name]),
    });
    const thread = new DrivenThread(graphOf(toolNode(all), { calls: [...CALLS, ...refunds(2)] }), table);
    const first = await thread.invoke({ messages: [] }, { dieAt: Infinity });
    expect(first.outcome.kind).toBe("aborted");
    isDead = false;
    const last = await thread.deliver({ payload: { input: { messages: [] } }, run: first.run });
    expect(last.outcome).toEqual({ kind: "done" });
    expect(attempts).toBe(2);
    expect(done).toEqual(["look price"]);
    expect(paid.map(([, amount]) => amount)).toEqual([7, 2]);
    expect(new Set(paid.map(([token]) => token)).size).toBe(2);
  });

  it.each([Infinity, 1])(
    "pays under the same tokens, whatever call of the table it dies at (%s at once)",
    async (n) => {
      const tokens = new Map<number, string>();
      for (let dieAt = 1; ; dieAt++) {
        const paid: [string, number][] = [];
        const { all } = tools(paying(paid));
        const node = toolNode(all, { maxConcurrency: n });
        const thread = new DrivenThread(graphOf(node, { calls: refunds(1, 2, 3) }));
        const first = await thread.invoke({ messages: [] }, { dieAt });
        const isWhole = first.outcome.kind === "done";
        if (!isWhole) await thread.deliver({ payload: { input: { messages: [] } }, run: first.run });
        expect(new Set(paid.map(([, amount]) => amount))).toEqual(new Set([1, 2, 3]));
        for (const [token, amount] of paid) {
          expect(tokens.get(amount) ?? token).toBe(token);
          tokens.set(amount, token);
        }
        expect(new Set(tokens.values()).size).toBe(3);
        if (isWhole) return expect(dieAt).toBeGreaterThan(10);
      }
    },
  );

  /** Functional tasks at the head of a thread whose results are stored. */
  async function tasksStored(thread: DrivenThread): Promise<number> {
    const saver = thread.reader();
    await saver.preload();
    const tuple = await saver.getTuple({ configurable: { thread_id: thread.threadId } });
    return (tuple?.pendingWrites ?? []).filter(([, channel]) => channel === "__return__").length;
  }
});

describe("the example of docs/graphs.md", () => {
  it("is the file that is executed here", async () => {
    const [docs, file] = await Promise.all(
      ["../../docs/graphs.md", "./graphs/tool-calls.ts"].map((path) =>
        readFile(new URL(path, import.meta.url), "utf8"),
      ),
    );
    expect(docs).toContain(`\`\`\`ts\n${file}\`\`\`\n`);
  });

  it("looks up once, pays once what was approved, and tells the model what was refused", async () => {
    const lookedUp: string[] = [];
    const paid = new Map<string, number>();
    const asks = new AIMessage({
      content: "",
      tool_calls: [
        { name: "price", args: { order: "A-1" }, id: "c1", type: "tool_call" },
        { name: "refund", args: { order: "A-1", amount: 250 }, id: "c2", type: "tool_call" },
        { name: "refund", args: { order: "A-2", amount: 900 }, id: "c3", type: "tool_call" },
      ],
    });
    const graph = refundDesk({
      model: async ({ messages }) =>
        messages.some((message) => ToolMessage.isInstance(message)) ? new AIMessage("Refunded.") : asks,
      priceOf: async (order) => lookedUp.push(order) * 250,
      pay: async (token, { amount }) => {
        paid.set(token, amount);
        return `receipt for ${amount}`;
      },
    });
    const thread = new DrivenThread(graph);
    const [small, large] = interruptsOf((await thread.invoke({ messages: [] })).outcome);
    const { outcome } = await thread.resume({
      [small?.id ?? ""]: decision(small?.value, { type: "edit", args: { order: "A-1", amount: 200 } }),
      [large?.id ?? ""]: decision(large?.value, { type: "reject", message: "too much" }),
    });
    expect(outcome).toEqual({ kind: "done" });
    expect(lookedUp).toEqual(["A-1"]);
    expect([...paid.values()]).toEqual([200]);
    expect((await answersOf(thread)).map(({ content }) => content)).toEqual([
      "A-1 cost 250",
      "receipt for 200",
      "too much",
    ]);
  });
});
