/** Tools that return Commands, and by what the effects of a tool are named. */
import { AIMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import type { StructuredToolInterface } from "@langchain/core/tools";
import { Annotation, Command, MessagesAnnotation, START, Send, StateGraph, interrupt } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import type { NodeConfig } from "../../src/graph/context.ts";
import { effect } from "../../src/graph/effect.ts";
import { toolNode } from "../../src/graph/tool-node.ts";
import { DrivenThread, interruptsOf, valuesOf } from "../support/drive-kit.ts";
import type { Call } from "../support/tool-graphs.ts";

const State = Annotation.Root({
  ...MessagesAnnotation.spec,
  topic: Annotation<string>(),
  seen: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
});

const asking = (calls: readonly Call[]) =>
  new AIMessage({ content: "", id: "ai1", tool_calls: calls.map((call) => ({ ...call, type: "tool_call" as const })) });

function graphOf(tools: readonly StructuredToolInterface[], ask: () => AIMessage) {
  return new StateGraph(State)
    .addNode("model", () => ({ messages: [ask()] }))
    .addNode("tools", toolNode(tools), { ends: ["after"] })
    .addNode("after", (state: unknown) => ({ seen: [JSON.stringify(state).includes("by hand") ? "sent" : "went"] }))
    .addEdge(START, "model")
    .addEdge("model", "tools");
}

const answered = (config: NodeConfig, content: string): ToolMessage =>
  new ToolMessage({ content, tool_call_id: String((config as { toolCall?: { id?: string } }).toolCall?.id) });

/** Hands the conversation over, by a Command. */
const hand = (goto: string | Send) =>
  tool(
    async (_: object, config: NodeConfig) =>
      new Command({ update: { topic: "bills", messages: [answered(config, "over to bills")] }, goto }),
    {
      name: "hand",
      schema: z.object({}),
    },
  );
const ask = tool(async () => `they said ${String(interrupt("sure?"))}`, { name: "ask", schema: z.object({}) });
const CALLS: readonly Call[] = [
  { name: "hand", args: {}, id: "c1" },
  { name: "ask", args: {}, id: "c2" },
];

interface Values {
  readonly messages: readonly { readonly type: string; readonly content: string }[];
  readonly topic?: string;
  readonly seen: readonly string[];
}
const valuesIn = async (thread: DrivenThread): Promise<Values> => (await valuesOf(thread)) as unknown as Values;

describe("a tool that returns a Command", () => {
  it.each([
    ["the name of a node", "after", "went"],
    ["a Send", new Send("after", { note: "by hand" }), "sent"],
  ])("has it carried out, to %s", async (_, goto, seen) => {
    const thread = new DrivenThread(graphOf([hand(goto)], () => asking(CALLS.slice(0, 1))));
    expect((await thread.invoke({ messages: [] })).outcome).toEqual({ kind: "done" });
    expect(await valuesIn(thread)).toMatchObject({ topic: "bills", seen: [seen] });
  });

  it("has it carried out also when it was stored because another tool asks, once, and in the order of the calls", async () => {
    const thread = new DrivenThread(graphOf([hand("after"), ask], () => asking(CALLS)));
    const [asked] = interruptsOf((await thread.invoke({ messages: [] })).outcome);
    expect((await thread.resume({ [asked?.id ?? ""]: "yes" })).outcome).toEqual({ kind: "done" });
    const { topic, seen, messages } = await valuesIn(thread);
    expect([topic, seen]).toEqual(["bills", ["went"]]);
    expect(messages.filter(({ type }) => type === "tool").map(({ content }) => content)).toEqual([
      "over to bills",
      "they said yes",
    ]);
  });

  it("is refused when it leaves its call without an answer", async () => {
    const mute = tool(async () => new Command({ update: { topic: "bills" } }), { name: "hand", schema: z.object({}) });
    const thread = new DrivenThread(graphOf([mute], () => asking(CALLS.slice(0, 1))));
    expect((await thread.invoke({ messages: [] })).outcome).toMatchObject({
      kind: "failed",
      error: { name: "invalid", message: expect.stringContaining("does not answer its call") as unknown },
    });
  });
});

/** Tools that pay, what they paid, and a price to look at. */
function shop() {
  const paid: { readonly token: string; readonly amount: number }[] = [];
  const pay = tool(
    async ({ amount }: { readonly amount: number }, config: NodeConfig) =>
      effect(config, { name: "pay", policy: "idempotent", args: { amount } }, async (token) => {
        if (!paid.some((one) => one.token === token)) paid.push({ token, amount });
        return `paid ${amount}`;
      }),
    { name: "pay", schema: z.object({ amount: z.number() }) },
  );
  const look = tool(async () => "7", { name: "look", schema: z.object({}) });
  return { paid, tools: [pay, look] };
}
const payment = (amount: number, id: string): Call => ({ name: "pay", args: { amount }, id });

describe("the effects of a tool", () => {
  /** The model is asked, everything is executed, and the process dies before the superstep is stored; then all again. */
  async function replayed(first: readonly Call[], second: readonly Call[]) {
    const { paid, tools } = shop();
    let calls = first;
    const thread = new DrivenThread(graphOf(tools, () => asking(calls)));
    const { run } = await thread.invoke({ messages: [] });
    const journal = (await thread.effects(run.root)).length;
    calls = second;
    const saver = thread.reader();
    const before: string[] = [];
    for await (const { metadata, config } of saver.list({ configurable: { thread_id: thread.threadId } }))
      if (metadata?.source === "input") before.push(String(config.configurable?.["checkpoint_id"]));
    const checkpoint = { checkpointId: before[0] ?? "" };
    const { outcome } = await thread.deliver({ payload: { input: null, checkpoint } });
    return { outcome, paid, journal };
  }

  it("are the same again when the model gives its calls other ids", async () => {
    const { outcome, paid, journal } = await replayed(
      [payment(1, "a"), payment(2, "b")],
      [payment(1, "x"), payment(2, "y")],
    );
    expect(outcome).toEqual({ kind: "done" });
    expect([paid.length, journal]).toEqual([2, 2]);
  });

  it("are the same again when the model calls another tool in between", async () => {
    const { outcome, paid } = await replayed(
      [payment(1, "a"), payment(2, "b")],
      [payment(1, "x"), { name: "look", args: {}, id: "z" }, payment(2, "y")],
    );
    expect([outcome, paid.length]).toEqual([{ kind: "done" }, 2]);
  });

  it("are those of others when the model asks for another amount: nothing is paid, and the run is parked", async () => {
    const { outcome, paid } = await replayed([payment(1, "a")], [payment(100, "x")]);
    expect(outcome).toMatchObject({ parks: true, error: { name: "effect_diverged" } });
    expect(paid).toHaveLength(1);
  });

  it("stand by the number of the call among those of its tool, wherever it is in the message", async () => {
    const { tools } = shop();
    const calls = [{ name: "look", args: {}, id: "l" }, payment(1, "a"), payment(2, "b")];
    const thread = new DrivenThread(graphOf(tools, () => asking(calls)));
    const { run } = await thread.invoke({ messages: [] });
    const paths = (await thread.effects(run.root)).map(({ path }) => JSON.stringify(path)).toSorted();
    expect(paths).toEqual(['[["tools",0,null],["pay","tool",0]]', '[["tools",0,null],["pay","tool",1]]']);
  });
});
