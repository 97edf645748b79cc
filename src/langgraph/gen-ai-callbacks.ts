/**
 * What LangChain tells of models and tools, as spans under the node that called them: a run id of LangChain's stands for
 * a span until that run has ended.
 */
import { BaseCallbackHandler } from "@langchain/core/callbacks/base";
import { CallbackManager } from "@langchain/core/callbacks/manager";
import type { Callbacks } from "@langchain/core/callbacks/manager";
import { AIMessage } from "@langchain/core/messages";
import type { BaseMessage } from "@langchain/core/messages";
import type { LLMResult } from "@langchain/core/outputs";
import type { RunnableConfig } from "@langchain/core/runnables";
import { AsyncLocalStorageProviderSingleton } from "@langchain/core/singletons";
import type { Context } from "@opentelemetry/api";
import { z } from "zod";
import type { Clock } from "../core/clock.ts";
import { beginChat, beginTool, isInChat } from "../telemetry/gen-ai-spans.ts";
import type { ChatReply, OpenCall } from "../telemetry/gen-ai-spans.ts";
import { isHeard } from "../telemetry/open-telemetry.ts";
import type { Telemetry } from "../telemetry/open-telemetry.ts";

/** A handler for one delivery; undefined where nobody listens, or where somebody else's instrumentation tells the same. */
export function genAiCallbacks(telemetry: Telemetry, clock: Clock): BaseCallbackHandler | undefined {
  return isHeard(telemetry) && !isInstrumented() ? new GenAiCallbacks(telemetry, clock) : undefined;
}

/** The callbacks of a node with the handler among them: the graph around it does without, which costs it nothing. */
export function withHandler(callbacks: Callbacks | undefined, handler: BaseCallbackHandler): Callbacks {
  if (callbacks === undefined || Array.isArray(callbacks)) return [...(callbacks ?? []), handler];
  return callbacks.handlers.includes(handler) ? callbacks : callbacks.copy([handler]);
}

/** Instrumentations of LangChain for OpenTelemetry wrap the one place where handlers are collected, and mark it so. */
function isInstrumented(): boolean {
  const collect: unknown = Object.getOwnPropertyDescriptor(CallbackManager, "_configureSync")?.value;
  return typeof collect === "function" && "__wrapped" in collect;
}

/** In which the tool is executed that called us; undefined outside of any. */
export function toolContext(): Context | undefined {
  const config = AsyncLocalStorageProviderSingleton.getRunnableConfig() as RunnableConfig | undefined; // LangChain's own
  const callbacks = config?.callbacks;
  if (!(callbacks instanceof CallbackManager)) return undefined;
  const own = callbacks.handlers.find((handler) => handler instanceof GenAiCallbacks);
  return own?.within(callbacks.getParentRunId());
}

type Fields = Readonly<Record<string, unknown>>;
type Started<M extends "handleChatModelStart" | "handleToolStart"> = Parameters<NonNullable<BaseCallbackHandler[M]>>;

class GenAiCallbacks extends BaseCallbackHandler {
  override readonly name = "holdpoint_gen_ai";
  // In the order of the calls, and within what called: only there is known what they are a part of.
  override readonly awaitHandlers = true;
  override readonly ignoreRetriever = true;
  override readonly ignoreCustomEvent = true;
  readonly #telemetry: Telemetry;
  readonly #clock: Clock;
  readonly #chats = new Map<string, OpenCall<ChatReply>>();
  readonly #tools = new Map<string, OpenCall<{ readonly output?: () => unknown }>>();
  /** By the run of a chain, the span that it is executed in, where that is not a node's. */
  readonly #within = new Map<string, Context>();

  constructor(telemetry: Telemetry, clock: Clock) {
    super();
    this.#telemetry = telemetry;
    this.#clock = clock;
  }

  override handleChatModelStart(...started: Started<"handleChatModelStart">): void {
    const [, messages, runId, parentRunId, extra = {}, , metadata = {}] = started;
    if (isInChat()) return;
    const { model, provider } = modelOf(extra, metadata);
    const input = (): unknown => messages.flat().map(messageOf);
    this.#chats.set(
      runId,
      beginChat(this.#telemetry, this.#clock, { model, provider, input, parent: this.within(parentRunId) }),
    );
  }

  override handleLLMEnd(output: LLMResult, runId: string): void {
    this.#chats.get(runId)?.end(replyOf(output));
    this.#chats.delete(runId);
  }

  override handleLLMError(error: unknown, runId: string): void {
    this.#chats.get(runId)?.fail(error);
    this.#chats.delete(runId);
  }

  override handleToolStart(...started: Started<"handleToolStart">): void {
    const [, input, runId, parentRunId, , , name = "tool", callId] = started;
    const call = beginTool(this.#telemetry, { name, callId, parent: this.within(parentRunId), input: () => input });
    this.#tools.set(runId, call);
    this.#within.set(runId, call.context);
  }

  override handleToolEnd(output: unknown, runId: string): void {
    this.#tools.get(runId)?.end({ output: () => output });
    this.#left(runId);
  }

  override handleToolError(error: unknown, runId: string): void {
    this.#tools.get(runId)?.fail(error);
    this.#left(runId);
  }

  /** What a tool executes is a part of it, however deep. */
  override handleChainStart(_chain: unknown, _inputs: unknown, runId: string, parentRunId?: string): void {
    const parent = this.within(parentRunId);
    if (parent) this.#within.set(runId, parent);
  }

  override handleChainEnd(_outputs: unknown, runId: string): void {
    this.#within.delete(runId);
  }

  override handleChainError(_error: unknown, runId: string): void {
    this.#within.delete(runId);
  }

  /** In which what this run of LangChain's calls is executed, unless that is a node's. */
  within(runId: string | undefined): Context | undefined {
    return runId === undefined ? undefined : this.#within.get(runId);
  }

  #left(runId: string): void {
    this.#tools.delete(runId);
    this.#within.delete(runId);
  }
}

function modelOf({ invocation_params: params }: Fields, { ls_model_name: named, ls_provider: provider }: Fields) {
  const { model } = typeof params === "object" && params !== null ? (params as Fields) : {};
  const name = [named, model].find((one) => typeof one === "string");
  return {
    model: typeof name === "string" ? name : "unknown",
    provider: typeof provider === "string" && provider !== ROUTED ? (PROVIDERS[provider] ?? provider) : undefined,
  };
}

/** A name of the catalogue: whose model serves it is known at its end. */
const ROUTED = "holdpoint";

/** LangChain's names of providers that the conventions name otherwise. */
const PROVIDERS: Readonly<Record<string, string>> = { amazon_bedrock: "aws.bedrock", azure: "azure.ai.openai" };

interface MessageFacts {
  readonly usage_metadata?: { readonly input_tokens: number; readonly output_tokens: number } | undefined;
  readonly response_metadata: Fields;
}

function replyOf({ generations }: LLMResult): ChatReply {
  const [generation] = generations[0] ?? [];
  const message = generation && "message" in generation ? generation.message : undefined;
  if (!AIMessage.isInstance(message)) return {};
  const { usage_metadata: usage, response_metadata: facts } = message as MessageFacts; // whatever its type parameters
  const text = (...names: readonly string[]): string | undefined => {
    const found = names.map((name) => facts[name]).find((one) => typeof one === "string");
    return typeof found === "string" ? found : undefined;
  };
  return {
    model: text("model_name", "model"),
    inputTokens: usage?.input_tokens,
    outputTokens: usage?.output_tokens,
    ...servedBy(facts["model_call"]),
    finishReason: text("finish_reason", "stop_reason", "stopReason"),
    output: () => [messageOf(message)],
  };
}

/** What served a name of the catalogue, and what all of its attempts used and cost, by the record that its message keeps. */
function servedBy(record: unknown): ChatReply {
  const { success, data } = CALL.safeParse(record);
  if (!success) return {};
  const { model, provider, tokens, cost } = data;
  return {
    model,
    provider,
    ...(tokens && {
      inputTokens: tokens.input + tokens.cacheRead + tokens.cacheWrite,
      outputTokens: tokens.output,
    }),
    costUsd: cost?.currency === "USD" ? cost.amount : undefined,
  };
}

/** Of the record, which is a message's and so may have come from anywhere. */
const CALL = z.object({
  model: z.string(),
  provider: z.string(),
  tokens: z.object({ input: z.number(), cacheRead: z.number(), cacheWrite: z.number(), output: z.number() }).optional(),
  cost: z.object({ amount: z.number().min(0), currency: z.string() }).optional(),
});

/** A message in the form of the conventions. */
function messageOf(message: BaseMessage): unknown {
  const role = { human: "user", ai: "assistant" }[message.type as string] ?? message.type;
  const calls = AIMessage.isInstance(message) ? (message.tool_calls ?? []) : [];
  return {
    role,
    parts: [
      ...(message.text === "" ? [] : [{ type: "text", content: message.text }]),
      ...calls.map(({ id, name, args }) => ({ type: "tool_call", id, name, arguments: args })),
    ],
  };
}
