/**
 * Why a token is made of what it is made of. Each test drives the same graph with the journal as it is, and with one whose
 * tokens are made otherwise, and sees the harm.
 */
import { AIMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { Annotation, END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { effectToken } from "../../src/core/effect.ts";
import { sha256 } from "../../src/core/ids.ts";
import type { EffectAsk, Journal, NodeConfig } from "../../src/graph/context.ts";
import { effect } from "../../src/graph/effect.ts";
import { toolNode } from "../../src/graph/tool-node.ts";
import { DrivenThread } from "../support/drive-kit.ts";

/** The real journal under tokens of another making; of each delivery a new one, as in life. */
const tokensOf =
  (other?: (ask: EffectAsk) => string) =>
  (thread: DrivenThread, fence: number): Journal => {
    const real = thread.journal(fence);
    const named = (ask: EffectAsk): EffectAsk => ({ ...ask, token: other?.(ask) ?? ask.token });
    return {
      begin: (ask, unhappened) => real.begin(named(ask), unhappened),
      settle: (intent, outcome) => real.settle(intent, outcome),
      park: (ask, why) => real.park(named(ask), why),
    };
  };

/** A ledger whose keys are decisive. */
function ledger() {
  const paid = new Map<string, number>();
  const pay = async (config: NodeConfig, name: string, amount: number): Promise<string> =>
    effect(config, { name, policy: "idempotent", args: { amount } }, async (token) => {
      if (!paid.has(token)) paid.set(token, amount);
      return `paid ${amount}`;
    });
  return { pay, amounts: () => [...paid.values()] };
}

const State = Annotation.Root({
  amount: Annotation<number>(),
  round: Annotation<number>({ reducer: (_, b) => b, default: () => 0 }),
});

/** A model that answers 100 first and 101 afterwards, and a process that dies once it has paid. */
async function wavering(tokens: ReturnType<typeof tokensOf>) {
  const { pay, amounts } = ledger();
  let asked = 0;
  const graph = new StateGraph(State)
    .addNode("pay", async (_, config) => {
      await pay(config, "pay", 100 + asked++);
      if (asked === 1) throw new Error("dies after the payment");
      return {};
    })
    .addEdge(START, "pay");
  const thread = new DrivenThread(graph);
  await thread.invoke({}, { journal: tokens(thread, 1) });
  const { outcome } = await thread.deliver({ payload: { input: null }, journal: tokens(thread, 2) });
  return { outcome, amounts: amounts() };
}

/** Three rounds, each of which pays. */
async function looping(tokens: ReturnType<typeof tokensOf>) {
  const { pay, amounts } = ledger();
  const graph = new StateGraph(State)
    .addNode("pay", async ({ round }, config) => {
      await pay(config, "pay", 7);
      return { round: round + 1 };
    })
    .addEdge(START, "pay")
    .addConditionalEdges("pay", ({ round }) => (round < 3 ? "pay" : END));
  const thread = new DrivenThread(graph);
  const { outcome } = await thread.invoke({}, { journal: tokens(thread, 1) });
  return { outcome, amounts: amounts() };
}

/** A replay from before the model, which asks for the same and gives its call another id. */
async function replaying(naming: (callId: string) => string) {
  const { pay, amounts } = ledger();
  let asked = 0;
  const refund = tool(
    async (
      { amount }: { readonly amount: number },
      config: NodeConfig & { readonly toolCall?: { readonly id?: string } },
    ) => pay(config, naming(config.toolCall?.id ?? ""), amount),
    { name: "refund", schema: z.object({ amount: z.number() }) },
  );
  const graph = new StateGraph(MessagesAnnotation)
    .addNode("model", () => {
      const call = { name: "refund", args: { amount: 7 }, id: `call-${++asked}`, type: "tool_call" as const };
      return { messages: [new AIMessage({ content: "", tool_calls: [call] })] };
    })
    .addNode("tools", toolNode([refund]))
    .addEdge(START, "model")
    .addEdge("model", "tools");
  const thread = new DrivenThread(graph);
  await thread.invoke({ messages: [] });
  let first: string | undefined;
  for await (const { metadata, config } of thread.reader().list({ configurable: { thread_id: thread.threadId } }))
    if (metadata?.source === "input") first = String(config.configurable?.["checkpoint_id"]);
  const checkpoint = { checkpointId: first ?? "" };
  const { outcome } = await thread.deliver({ payload: { input: null, checkpoint } });
  return { outcome, amounts: amounts() };
}

describe("a token", () => {
  it("holds no arguments: a model that wavers parks the run, and pays no second time", async () => {
    expect(await wavering(tokensOf())).toMatchObject({
      outcome: { parks: true, error: { name: "effect_diverged" } },
      amounts: [100],
    });
    const withArguments = tokensOf(({ token, argsDigest }) => sha256(token + argsDigest));
    expect(await wavering(withArguments)).toEqual({ outcome: { kind: "done" }, amounts: [100, 101] });
  });

  it("holds the visit: a loop that comes again pays again", async () => {
    expect(await looping(tokensOf())).toEqual({ outcome: { kind: "done" }, amounts: [7, 7, 7] });
    const withoutVisit = tokensOf(({ tenant, root, name, path }) =>
      effectToken({ tenant, root, name, path: path.map(([node = null, , send = null]) => [node, send]), call: 0 }),
    );
    expect((await looping(withoutVisit)).amounts).toEqual([7]);
  });

  it("holds no id that the model gave its call: a replay from before the model pays no second time", async () => {
    expect(await replaying(() => "refund")).toEqual({ outcome: { kind: "done" }, amounts: [7] });
    expect(await replaying((id) => `refund ${id}`)).toEqual({ outcome: { kind: "done" }, amounts: [7, 7] });
  });
});
