/**
 * A node that executes the tool calls of the last message of a model, each as one functional task: what one has returned
 * is not executed again because another asks a person, fails, or dies with its worker.
 *
 * An error that the model can do something about becomes a message to it; every other one stays an error, so that retry
 * policies and operators see it.
 */
import { GraphInterrupt, getConfig, isCommand, isGraphBubbleUp, isGraphInterrupt, task } from "@langchain/langgraph";
import type { Command, Interrupt, RetryPolicy } from "@langchain/langgraph";
import { AIMessage, ToolMessage } from "@langchain/core/messages";
import type { BaseMessage } from "@langchain/core/messages";
import { ToolInputParsingException } from "@langchain/core/tools";
import type { StructuredToolInterface } from "@langchain/core/tools";
import { TOOL_CALLS } from "../core/effect.ts";
import { HoldpointError } from "../core/errors.ts";
import type { NodeConfig } from "./context.ts";
import { EffectRejected } from "./effect-call.ts";
import { assertKnown } from "./known.ts";
import type { Fields } from "./known.ts";
import { RunStopped } from "./stop.ts";
import { isPacked, packed, unpacked } from "./tool-command.ts";
import type { PackedCommand } from "./tool-command.ts";

type ToolCall = NonNullable<AIMessage["tool_calls"]>[number];

export interface ToolNodeOptions {
  /** Of each call for itself, in place of the policy of the node. `retryOn` is asked with a `ToolFailed`. */
  readonly retry?: RetryPolicy;
  /** Calls that execute at once; as many as tasks of a superstep do unless given. */
  readonly maxConcurrency?: number;
}

const FIELDS: Fields<ToolNodeOptions> = { retry: true, maxConcurrency: true };

/** What a tool node reads: the calls stand in the last message of a model. */
export interface ToolNodeState {
  readonly messages: readonly BaseMessage[];
}

/** What it answers: one message for each call, in the order of the calls. */
export interface ToolNodeUpdate {
  readonly messages: ToolMessage[];
}

/** What a tool came to: its message, or a Command that holds it. */
type Answer = ToolMessage | PackedCommand;

/** A tool threw something that is not for its model to mend. The cause is what it threw. */
export class ToolFailed extends Error {
  override readonly name = "ToolFailed";
  readonly toolName: string;
  readonly callId: string;
  /** The HTTP status that the cause tells, if any: a policy without a `retryOn` goes by it. */
  readonly status: unknown;

  constructor(call: ToolCall, cause: unknown) {
    super(`tool ${call.name} failed: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.toolName = call.name;
    this.callId = call.id ?? "";
    const { response, status } = fields(cause);
    this.status = fields(response)["status"] ?? status;
  }
}

/** Why a call is answered with an error for the model to see; in the message's `metadata.error`. */
export type ToolRefusal = "unknown_tool" | "invalid_args" | "truncated" | "rejected";

/**
 * An ordinary node. In an `effect()` or a `review()` of a tool, use the config that the tool was given.
 * @throws ToolFailed for what a tool throws, but for errors that are the model's to mend (arguments that do not fit the
 *   tool's schema, and an `EffectRejected`), and for a HoldpointError, which says by itself what it is
 */
export function toolNode(
  tools: readonly StructuredToolInterface[],
  options: ToolNodeOptions = {},
): (state: ToolNodeState, config: NodeConfig) => Promise<ToolNodeUpdate | (ToolNodeUpdate | Command)[]> {
  assertKnown("toolNode()", options, FIELDS);
  const { retry, maxConcurrency } = options;
  const byName = new Map(tools.map((tool) => [tool.name, tool]));
  const node = async ({ messages }: ToolNodeState, config: NodeConfig) => {
    const { calls, unreadable, isCutOff, numberOf } = openCallsOf(messages);
    const answer = async (call: ToolCall): Promise<Answer> => {
      if (isCutOff)
        return refused(call, "truncated", "The message was cut off at the token limit. No tool was called.");
      const tool = byName.get(call.name);
      if (tool === undefined) return refused(call, "unknown_tool", `There is no tool ${call.name}.`);
      const named = { name: tool.name, ...(retry === undefined ? {} : { retry }) };
      return task(named, () => execute(tool, { call, number: numberOf(call) }, config.signal))();
    };
    const answers = await answersTo(calls, answer, maxConcurrency ?? config.maxConcurrency ?? Infinity);
    const refusals = unreadable.map(({ name = "", id = "", error = "The arguments are not JSON." }) =>
      refused({ name, id, args: {} }, isCutOff ? "truncated" : "invalid_args", error),
    );
    const all: readonly Answer[] = [...answers, ...refusals];
    const plain = all.flatMap((one) => (isPacked(one) ? [] : [one]));
    if (plain.length === all.length) return { messages: plain };
    return all.map((one) => (isPacked(one) ? unpacked(one) : { messages: [one] }));
  };
  toolNodes.add(node);
  return node;
}

const toolNodes = new WeakSet<object>();

/** Whether a node is one of these, by its function. */
export const isToolNode = (func: unknown): boolean => typeof func === "function" && toolNodes.has(func);

/** What the last message of a model asks for and nobody has answered yet. */
function openCallsOf(messages: readonly BaseMessage[]) {
  const at = messages.findLastIndex((message) => AIMessage.isInstance(message));
  const asking = messages[at];
  if (asking === undefined || !AIMessage.isInstance(asking))
    throw new HoldpointError("invalid", "a tool node needs the message of a model");
  const answered = new Set(messages.slice(at + 1).flatMap((m) => (ToolMessage.isInstance(m) ? [m.tool_call_id] : [])));
  const { stop_reason, stopReason, finish_reason, finishReason } = fields(asking.response_metadata);
  const ends: readonly unknown[] = [stop_reason, stopReason, finish_reason, finishReason];
  const all = asking.tool_calls ?? [];
  return {
    /** Among all calls of the same tool in the message, answered or not: the effects of a call are named by it. */
    numberOf: (call: ToolCall): number => all.filter(({ name }) => name === call.name).indexOf(call),
    calls: all.filter(({ id }) => !answered.has(id ?? "")),
    unreadable: (asking.invalid_tool_calls ?? []).filter(({ id }) => id !== undefined && !answered.has(id)),
    // What is left of its calls may look whole: 250 of 2500.
    isCutOff: ends.some((reason) => /^(length|max_tokens)$/i.test(String(reason))),
  };
}

async function execute(
  tool: StructuredToolInterface,
  { call, number }: { readonly call: ToolCall; readonly number: number },
  ofNode: AbortSignal | undefined,
): Promise<Answer> {
  if (ofNode?.aborted) throw unawaited(); // also once another call has failed for good
  const own = numbered(getConfig(), number);
  // LangGraph tells a functional task when its time is up, but not when its run is stopped.
  const signal = AbortSignal.any([own.signal, ofNode].filter((one) => one !== undefined));
  try {
    const result: unknown = await tool.invoke({ ...call, type: "tool_call" }, { ...own, signal });
    return answerOf(call, result);
  } catch (error) {
    if (error instanceof EffectRejected) return refused(call, "rejected", error.message);
    if (isAboutArgsOf(call, error)) return refused(call, "invalid_args", error.message);
    // Interrupts, drains, and whatever else stops the run or parks it, is no failure of the tool.
    if (isGraphBubbleUp(error) || error instanceof HoldpointError) throw error;
    // Nor is being broken off, because another call has failed or the run was stopped.
    if (ofNode?.aborted) throw unawaited();
    throw new ToolFailed(call, error);
  }
}

const unawaited = (): RunStopped =>
  new RunStopped(new HoldpointError("unavailable", "nobody waits for this call any more"));

/** And not about those with which the tool itself called another one. */
const isAboutArgsOf = ({ args }: ToolCall, error: unknown): error is ToolInputParsingException =>
  error instanceof ToolInputParsingException && error.output === JSON.stringify(args);

/** The config of a tool's task that knows which call of that tool it is. */
function numbered(config: NodeConfig, number: number): NodeConfig {
  const { configurable } = config;
  const outer: unknown = configurable?.[TOOL_CALLS];
  const calls = { ...fields(outer), [String(configurable?.["checkpoint_ns"])]: number };
  return { ...config, configurable: { ...configurable, [TOOL_CALLS]: calls } };
}

function answerOf(call: ToolCall, result: unknown): Answer {
  if (isCommand(result)) return packed(call.name, call.id ?? "", result);
  if (ToolMessage.isInstance(result)) return result;
  const content = typeof result === "string" ? result : JSON.stringify(result);
  return new ToolMessage({ tool_call_id: call.id ?? "", name: call.name, content });
}

function refused({ name, id = "" }: ToolCall, type: ToolRefusal, content: string): ToolMessage {
  return new ToolMessage({ tool_call_id: id, name, content, status: "error", metadata: { error: { type } } });
}

/**
 * What every call came to, in their order. They also begin in that order, however many at once: the number of a call is
 * in the tokens of its effects. Of interrupts all are raised together: one by itself would hide the others.
 */
async function answersTo(
  calls: readonly ToolCall[],
  answer: (call: ToolCall) => Promise<Answer>,
  atOnce: number,
): Promise<readonly Answer[]> {
  const answers: Answer[] = [];
  const interrupts: Interrupt[][] = [];
  const reasons: unknown[] = [];
  const waiting = calls.entries();
  const lane = async (): Promise<void> => {
    for (const [at, call] of waiting) {
      try {
        answers[at] = await answer(call);
      } catch (reason) {
        if (isGraphInterrupt(reason)) interrupts[at] = reason.interrupts;
        else reasons.push(reason);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Math.min(atOnce, calls.length)) }, lane));
  if (reasons.length > 0) throw reasons[0];
  if (interrupts.length > 0) throw new GraphInterrupt(interrupts.flat());
  return answers;
}

const fields = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {}; // any may be missing
