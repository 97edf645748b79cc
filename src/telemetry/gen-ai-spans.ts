/** Calls of models and tools as spans, and what is counted of them, whichever way they were made. */
import { SpanKind, context, createContextKey, trace } from "@opentelemetry/api";
import type { Attributes, Context, Span } from "@opentelemetry/api";
import type { Clock } from "../core/clock.ts";
import { isHoldpointError } from "../core/errors.ts";
import { GEN_AI, OPERATIONS } from "./gen-ai.ts";
import { errorType, markFailed } from "./spans.ts";
import type { Telemetry } from "./open-telemetry.ts";

export interface ChatRequest {
  /** As the caller names it. */
  readonly model: string;
  readonly provider?: string | undefined;
  /** What it is a part of; what is going on unless given. */
  readonly parent?: Context | undefined;
  /** Content: asked for only when it is captured. */
  readonly input?: () => unknown;
}

export interface ChatReply {
  /** What answered. */
  readonly model?: string | undefined;
  readonly provider?: string | undefined;
  readonly inputTokens?: number | undefined;
  readonly outputTokens?: number | undefined;
  readonly costUsd?: number | undefined;
  readonly finishReason?: string | undefined;
  /** Content: asked for only when it is captured. */
  readonly output?: () => unknown;
}

export interface ToolRequest {
  readonly name: string;
  readonly callId?: string | undefined;
  readonly parent?: Context | undefined;
  /** Content: asked for only when it is captured. */
  readonly input?: () => unknown;
}

/** A call that goes on. It ends once, by either way: what is said of its end after that is not heard. */
export interface OpenCall<Reply> {
  /** In which what it calls is to be executed. */
  readonly context: Context;
  end(reply: Reply): void;
  fail(error: unknown): void;
}

const IN_CHAT = createContextKey("holdpoint chat");

/** Whether a call of a model goes on that is told already: what its client tells of the same call is not told again. */
export const isInChat = (of: Context = context.active()): boolean => of.getValue(IN_CHAT) === true;

export function beginChat(telemetry: Telemetry, clock: Clock, request: ChatRequest): OpenCall<ChatReply> {
  const { model, provider, parent = context.active(), input } = request;
  const began = clock.monotonic();
  const attributes = {
    [GEN_AI.operation]: OPERATIONS.chat,
    [GEN_AI.requestModel]: model,
    ...(provider === undefined ? {} : { [GEN_AI.provider]: provider }),
  };
  const name = `${OPERATIONS.chat} ${model}`;
  const span = telemetry.tracer?.startSpan(name, { kind: SpanKind.CLIENT, attributes }, parent);
  capture(telemetry, span, GEN_AI.inputMessages, input);
  return endingOnce({
    context: (span ? trace.setSpan(parent, span) : parent).setValue(IN_CHAT, true),
    end(reply) {
      const { inputTokens, outputTokens, costUsd } = reply;
      // Who answered knows better than who was asked.
      const of = { model, provider: reply.provider ?? provider };
      telemetry.metrics.modelCalled({ ...of, inputTokens, outputTokens, costUsd, ms: clock.monotonic() - began });
      span?.setAttributes(replied(reply));
      capture(telemetry, span, GEN_AI.outputMessages, reply.output);
      span?.end();
    },
    fail(error) {
      const ms = clock.monotonic() - began;
      const type = reasonOf(error) ?? errorType(error);
      telemetry.metrics.modelCalled({ model, provider, error: type, ms, ...usedBefore(error) });
      if (span) markFailed(span, type);
      span?.end();
    },
  });
}

/** Why a model failed: of one code there are several reasons, of which each has a remedy of its own. */
function reasonOf(error: unknown): string | undefined {
  const reason: unknown = isHoldpointError(error) ? error.detail?.["reason"] : undefined;
  return typeof reason === "string" ? reason : undefined;
}

/** What a call that failed has used nevertheless, as its error tells. */
function usedBefore(error: unknown): Pick<ChatReply, "inputTokens" | "outputTokens" | "costUsd"> {
  const usage: unknown = isHoldpointError(error) ? error.detail?.["usage"] : undefined;
  if (typeof usage !== "object" || usage === null) return {};
  const numberOf = (name: string): number | undefined => {
    const value: unknown = name in usage ? usage[name as keyof typeof usage] : undefined;
    return typeof value === "number" ? value : undefined;
  };
  return {
    inputTokens: numberOf("inputTokens"),
    outputTokens: numberOf("outputTokens"),
    costUsd: numberOf("costUsd"),
  };
}

function endingOnce<Reply>(call: OpenCall<Reply>): OpenCall<Reply> {
  let hasEnded = false;
  const once = (how: () => void): void => {
    if (!hasEnded) how();
    hasEnded = true;
  };
  return {
    context: call.context,
    end: (reply) => once(() => call.end(reply)),
    fail: (error) => once(() => call.fail(error)),
  };
}

function replied({ model, provider, inputTokens, outputTokens, finishReason }: ChatReply): Attributes {
  return {
    ...(model === undefined ? {} : { [GEN_AI.responseModel]: model }),
    ...(provider === undefined ? {} : { [GEN_AI.provider]: provider }),
    ...(inputTokens === undefined ? {} : { [GEN_AI.inputTokens]: inputTokens }),
    ...(outputTokens === undefined ? {} : { [GEN_AI.outputTokens]: outputTokens }),
    ...(finishReason === undefined ? {} : { [GEN_AI.finishReasons]: [finishReason] }),
  };
}

export function beginTool(telemetry: Telemetry, request: ToolRequest): OpenCall<{ readonly output?: () => unknown }> {
  const { name, callId, parent = context.active(), input } = request;
  const attributes = {
    [GEN_AI.operation]: OPERATIONS.tool,
    [GEN_AI.toolName]: name,
    [GEN_AI.toolType]: "function",
    ...(callId === undefined ? {} : { [GEN_AI.toolCall]: callId }),
  };
  const span = telemetry.tracer?.startSpan(
    `${OPERATIONS.tool} ${name}`,
    { kind: SpanKind.INTERNAL, attributes },
    parent,
  );
  capture(telemetry, span, GEN_AI.toolArguments, input);
  return endingOnce({
    context: span ? trace.setSpan(parent, span) : parent,
    end({ output }) {
      capture(telemetry, span, GEN_AI.toolResult, output);
      span?.end();
    },
    fail(error) {
      if (span) markFailed(span, errorType(error));
      span?.end();
    },
  });
}

function capture(
  { capturesContent }: Telemetry,
  span: Span | undefined,
  name: string,
  content: (() => unknown) | undefined,
): void {
  if (!capturesContent || !span || !content) return;
  const value = content();
  span.setAttribute(name, typeof value === "string" ? value : (JSON.stringify(value) ?? ""));
}
