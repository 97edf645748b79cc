/**
 * A node that executes the tool calls of the last message of a model, each as one functional task: what one has returned
 * is not executed again because another asks a person, fails, or dies with its worker.
 *
 * An error that the model can do something about becomes a message to it; every other one stays an error, so that retry
 * policies and operators see it.
 */
import { GraphInterrupt, Command, getConfig, isGraphBubbleUp, isGraphInterrupt, task } from "@langchain/langgraph";
import type { Interrupt, RetryPolicy } from "@langchain/langgraph";
import { AIMessage, ToolMessage } from "@langchain/core/messages";
import type { BaseMessage } from "@langchain/core/messages";
import { ToolInputParsingException } from "@langchain/core/tools";
import type { StructuredToolInterface } from "@langchain/core/tools";
import { HoldpointError } from "../core/errors.ts";
import { EffectRejected } from "./effect.ts";
import { RunStopped } from "./stop.ts";

type ToolCall = NonNullable<AIMessage["tool_calls"]>[number];

export interface ToolNodeOptions {
  /** Of each call for itself. `retryOn` is asked with a `ToolFailed`. */
  readonly retry?: RetryPolicy;
}

/** What a tool node reads: the calls stand in the last message of a model. */
export interface ToolNodeState {
  readonly messages: readonly BaseMessage[];
}

/** What it answers: one message for each call, in the order of the calls. */
export interface ToolNodeUpdate {
  readonly messages: ToolMessage[];
}

/** A tool threw something that is not for its model to mend. The cause is what it threw. */
export class ToolFailed extends Error {
  override readonly name = "ToolFailed";
  readonly toolName: string;
  readonly callId: string;

  constructor(call: ToolCall, cause: unknown) {
    super(`tool ${call.name} failed: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.toolName = call.name;
    this.callId = call.id ?? "";
  }
}

/** Why a call is answered with an error for the model to see; in the message's `metadata.error`. */
export type ToolRefusal = "unknown_tool" | "invalid_args" | "rejected";

/**
 * An ordinary node. In an `effect()` or a `review()` of a tool, use the config that the tool was given.
 * @throws ToolFailed for what a tool throws, but for errors that are the model's to mend: arguments that do not fit the
 *   tool's schema, and an `EffectRejected`
 */
export function toolNode(
  tools: readonly StructuredToolInterface[],
  { retry }: ToolNodeOptions = {},
): (state: ToolNodeState) => Promise<ToolNodeUpdate> {
  const byName = new Map(tools.map((tool) => [tool.name, taskOf(tool, retry)]));
  const answer = async (call: ToolCall): Promise<ToolMessage> => {
    const execute = byName.get(call.name);
    return execute ? execute(call) : refused(call, "unknown_tool", `There is no tool ${call.name}.`);
  };
  return async ({ messages }) => {
    const at = messages.findLastIndex((message) => AIMessage.isInstance(message));
    const asking = messages[at];
    if (asking === undefined || !AIMessage.isInstance(asking))
      throw new HoldpointError("invalid", "a tool node needs the message of a model");
    const answered = new Set(
      messages.slice(at + 1).flatMap((m) => (ToolMessage.isInstance(m) ? [m.tool_call_id] : [])),
    );
    const calls = (asking.tool_calls ?? []).filter(({ id }) => !answered.has(id ?? ""));
    const settled = await Promise.allSettled(calls.map(answer));
    const unreadable = (asking.invalid_tool_calls ?? []).filter(({ id }) => id !== undefined && !answered.has(id));
    const refusals = unreadable.map(({ name = "", id = "", error = "The arguments are not JSON." }) =>
      refused({ name, id, args: {} }, "invalid_args", error),
    );
    return { messages: [...allOf(settled), ...refusals] };
  };
}

function taskOf(
  tool: StructuredToolInterface,
  retry: RetryPolicy | undefined,
): (call: ToolCall) => Promise<ToolMessage> {
  const execute = async (call: ToolCall): Promise<ToolMessage> => {
    try {
      const result: unknown = await tool.invoke({ ...call, type: "tool_call" }, getConfig());
      return messageOf(call, result);
    } catch (error) {
      if (error instanceof EffectRejected) return refused(call, "rejected", error.message);
      if (error instanceof ToolInputParsingException) return refused(call, "invalid_args", error.message);
      // Interrupts, drains, and whatever else stops the run or parks it, is no failure of the tool.
      if (isGraphBubbleUp(error) || error instanceof RunStopped || error instanceof HoldpointError) throw error;
      throw new ToolFailed(call, error);
    }
  };
  const options = { name: tool.name, ...(retry === undefined ? {} : { retry }) };
  const executed = task(options, execute);
  return async (call) => executed(call);
}

function messageOf(call: ToolCall, result: unknown): ToolMessage {
  if (result instanceof Command)
    throw new HoldpointError(
      "unsupported",
      `tool ${call.name} returned a Command, which a tool node does not carry out`,
    );
  if (result instanceof ToolMessage) return result;
  const content = typeof result === "string" ? result : JSON.stringify(result);
  return new ToolMessage({ tool_call_id: call.id ?? "", name: call.name, content });
}

function refused({ name, id = "" }: ToolCall, type: ToolRefusal, content: string): ToolMessage {
  return new ToolMessage({ tool_call_id: id, name, content, status: "error", metadata: { error: { type } } });
}

/** What every call came to. Of interrupts all are raised together: one by itself would hide the others. */
function allOf(settled: readonly PromiseSettledResult<ToolMessage>[]): readonly ToolMessage[] {
  const interrupts: Interrupt[] = [];
  for (const one of settled) {
    if (one.status === "fulfilled") continue;
    const reason: unknown = one.reason;
    if (!isGraphInterrupt(reason)) throw reason;
    interrupts.push(...reason.interrupts);
  }
  if (interrupts.length > 0) throw new GraphInterrupt(interrupts);
  return settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
}
