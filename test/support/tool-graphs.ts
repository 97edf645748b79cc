/** A model that asks for tools, the node that calls them, and what the tools have done. */
import { AIMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import type { StructuredToolInterface } from "@langchain/core/tools";
import { MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import type { RetryPolicy } from "@langchain/langgraph";
import { z } from "zod";
import type { Json } from "../../src/core/json.ts";
import { reviewRequestOf } from "../../src/core/review-value.ts";
import type { NodeConfig } from "../../src/graph/context.ts";
import { valuesOf } from "./drive-kit.ts";
import type { DrivenThread } from "./drive-kit.ts";

export interface Call {
  readonly name: string;
  readonly args: Record<string, unknown>;
  readonly id: string;
}

/** Asks for a price and for a refund. */
export const CALLS: readonly Call[] = [
  { name: "look", args: { what: "price" }, id: "c1" },
  { name: "refund", args: { amount: 7 }, id: "c2" },
];

export const refunds = (...amounts: readonly number[]): readonly Call[] =>
  amounts.map((amount) => ({ name: "refund", args: { amount }, id: `c${amount}` }));

/** The tools, and what the first of them has done. */
export function tools(refund: (amount: number, config: NodeConfig) => Promise<string>) {
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

export type ToolsNode = (state: typeof MessagesAnnotation.State, config: NodeConfig) => Promise<object>;

export interface GraphOptions {
  readonly calls?: readonly Call[];
  readonly retryPolicy?: RetryPolicy;
  /** Of the model's message, besides the calls. */
  readonly message?: object;
}

export const graphOf = (node: ToolsNode, { calls = CALLS, retryPolicy, message }: GraphOptions = {}) =>
  new StateGraph(MessagesAnnotation)
    .addNode("model", () => ({
      messages: [
        new AIMessage({ content: "", tool_calls: calls.map((call) => ({ ...call, type: "tool_call" })), ...message }),
      ],
    }))
    .addNode("tools", node, retryPolicy === undefined ? {} : { retryPolicy })
    .addEdge(START, "model")
    .addEdge("model", "tools");

interface Answer {
  readonly content: string;
  readonly status: string | undefined;
  readonly metadata: object | undefined;
}

/** What the tools have answered, in the order of the messages. */
export async function answersOf(thread: DrivenThread): Promise<readonly Answer[]> {
  const { messages } = (await valuesOf(thread)) as unknown as { messages: readonly (Answer & { type: string })[] };
  return messages
    .filter(({ type }) => type === "tool")
    .map(({ content, status, metadata }) => ({ content, status, metadata }));
}

/** What the runtime hands over for a decision about this. */
export function decision(value: Json | undefined, answer: { readonly [key: string]: Json }): Json {
  const request = reviewRequestOf(value);
  return { holdpoint: "answer", number: 0, digest: request?.digest ?? "", decidedBy: "eve", ...answer };
}

/** Fails so often, and then has refunded. */
export function failing(times: number, error: (nth: number) => unknown = () => new Error("the bank is away")) {
  let attempts = 0;
  return {
    attempts: () => attempts,
    refund: async (): Promise<string> => {
      if (++attempts <= times) throw error(attempts);
      return "refunded";
    },
  };
}
