/**
 * Bedrock Converse through LangChain's client, one attempt at a time. What is not left to that client: connections (its
 * own end silently on a reset), retries, time-outs, and whether an answer was whole.
 */
import { BedrockRuntimeClient } from "@aws-sdk/client-bedrock-runtime";
import type { Message } from "@aws-sdk/client-bedrock-runtime";
import { ChatBedrockConverse } from "@langchain/aws";
import type { ContentBlock, AIMessage, AIMessageChunk, BaseMessage, UsageMetadata } from "@langchain/core/messages";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { HoldpointError } from "../core/errors.ts";
import type { BedrockTarget } from "../models/catalogue.ts";
import type { ChatClient, ChatPiece, ChatRequest } from "../models/chat.ts";
import { clientOptions } from "./client-options.ts";
import type { AwsOptions } from "./client-options.ts";
import { alternating } from "./converse-turns.ts";
import { bedrockFailure, unwrittenFailure } from "./bedrock-failures.ts";
import { watched } from "./written-requests.ts";

export interface BedrockOptions extends Pick<AwsOptions, "endpoint" | "credentials"> {
  readonly region: string;
  /** Milliseconds until the head of an answer must have come. */
  readonly requestTimeoutMs: number;
}

const MOST_CONNECTIONS = 512;
const CONNECTION_TIMEOUT_MS = 2_000;

/** A client of one region, for any number of targets. */
export function createBedrockClient({ requestTimeoutMs, ...options }: BedrockOptions): BedrockRuntimeClient {
  const agent = { keepAlive: true, maxSockets: MOST_CONNECTIONS };
  const client = new BedrockRuntimeClient({
    ...clientOptions(options),
    maxAttempts: 1,
    requestHandler: new NodeHttpHandler({
      connectionTimeout: CONNECTION_TIMEOUT_MS,
      requestTimeout: requestTimeoutMs,
      throwOnRequestTimeout: true,
      httpAgent: agent,
      httpsAgent: agent,
    }),
  });
  client.middlewareStack.add((next) => (args) => next({ ...args, input: inTurns(args.input) }), {
    step: "initialize",
    name: "alternatingTurns",
  });
  return client;
}

/** Of every command; those of Converse have a conversation. */
const inTurns = <T extends object>(input: T): T =>
  "messages" in input && Array.isArray(input.messages)
    ? { ...input, messages: alternating(input.messages as readonly Message[]) } // as the SDK's type of both commands says
    : input;

/** The target as a chat client. */
export function createBedrockChat(target: BedrockTarget, client: BedrockRuntimeClient, region: string): ChatClient {
  const { model, maxOutputTokens, temperature, extra, guardrail } = target;
  const place = `${model} in ${region}`;
  const fields = {
    model,
    region,
    maxTokens: maxOutputTokens,
    // Silence is watched where the other time-outs are.
    streamIdleTimeout: 0,
    ...(temperature === undefined ? {} : { temperature }),
    ...(extra === undefined ? {} : { additionalModelRequestFields: extra as never }), // JSON, as the catalogue has it
  };
  /** For one call: what a caller has got wrong must not be taken for a fault of the model, which all callers share. */
  const begin = (signal: AbortSignal) => {
    const { client: own, isWritten } = watched(client);
    const failed = (error: unknown): HoldpointError => {
      signal.throwIfAborted();
      return isWritten() ? bedrockFailure(error, place) : unwrittenFailure(error, place);
    };
    return { converse: new ChatBedrockConverse({ ...fields, client: own }), failed };
  };
  const optionsOf = ({ tools, toolChoice, stop }: ChatRequest, signal: AbortSignal) => ({
    signal,
    ...(tools && tools.length > 0 ? { tools: [...tools] } : {}),
    ...(toolChoice === undefined ? {} : { tool_choice: toolChoice }),
    ...(stop === undefined ? {} : { stop: [...stop] }),
    // Of each call: one that the constructor was given would win over it.
    ...(guardrail && {
      guardrailConfig: {
        guardrailIdentifier: guardrail.id,
        guardrailVersion: guardrail.version,
        trace: guardrail.trace ? ("enabled" as const) : ("disabled" as const),
      },
    }),
  });
  return {
    // Not `stream` and `invoke`: their callbacks would tell of every token a second time, and of attempts that failed.
    async *stream(request, signal) {
      const { converse, failed } = begin(signal);
      try {
        for await (const { message } of converse._streamResponseChunks(messagesOf(request), optionsOf(request, signal)))
          yield* streamedPieces(message as AIMessageChunk); // as that class makes them
      } catch (error) {
        throw failed(error);
      }
    },
    async complete(request, signal) {
      const { converse, failed } = begin(signal);
      try {
        const { generations } = await converse._generate(messagesOf(request), optionsOf(request, signal));
        const message = generations[0]?.message as AIMessage | undefined; // as that class makes them
        return message ? [...completePieces(message)] : [];
      } catch (error) {
        throw failed(error);
      }
    },
  };
}

/** @throws HoldpointError `invalid` for a conversation that is none */
function messagesOf({ messages }: ChatRequest): BaseMessage[] {
  if (messages.length === 0) throw new HoldpointError("invalid", "there is no message to answer");
  return [...messages];
}

function* saidIn({ content }: AIMessage | AIMessageChunk): Generator<ChatPiece> {
  if (typeof content === "string") {
    if (content !== "") yield { type: "text", text: content };
    return;
  }
  for (const block of content as readonly ContentBlock[])
    yield block.type === "text" && typeof block["text"] === "string"
      ? { type: "text", text: block["text"] }
      : { type: "block", block };
}

function* streamedPieces(message: AIMessageChunk): Generator<ChatPiece> {
  yield* saidIn(message);
  for (const { index = 0, id, name, args } of message.tool_call_chunks ?? [])
    yield { type: "tool", index, id, name, args };
  const { messageStop, metadata } = message.response_metadata as {
    readonly messageStop?: { readonly stopReason?: string };
    readonly metadata?: { readonly trace?: unknown };
  }; // frames of ConverseStream
  if (messageStop?.stopReason !== undefined) yield { type: "stop", reason: messageStop.stopReason };
  yield* usageIn(message.usage_metadata, metadata?.trace);
}

function* completePieces(message: AIMessage): Generator<ChatPiece> {
  yield* saidIn(message);
  for (const [index, { id, name, args }] of (message.tool_calls ?? []).entries())
    yield { type: "tool", index, id, name, args: JSON.stringify(args) };
  const { stopReason, trace } = message.response_metadata as { readonly stopReason?: string; readonly trace?: unknown }; // of Converse
  if (stopReason !== undefined) yield { type: "stop", reason: stopReason };
  yield* usageIn(message.usage_metadata, trace);
}

function* usageIn(usage: UsageMetadata | undefined, trace: unknown): Generator<ChatPiece> {
  if (usage === undefined) return;
  const { cache_read: cacheRead = 0, cache_creation: cacheWrite = 0 } = usage.input_token_details ?? {};
  const tokens = {
    // LangChain's count of the input is that of all three.
    input: usage.input_tokens - cacheRead - cacheWrite,
    cacheRead,
    cacheWrite,
    output: usage.output_tokens,
  };
  yield { type: "usage", tokens, ...(trace === undefined ? {} : { trace }) };
}
