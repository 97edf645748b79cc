/** A name of the catalogue as LangChain's chat model, so that graphs, tools and streams treat it like any other one. */
import type { CallbackManagerForLLMRun } from "@langchain/core/callbacks/manager";
import { BaseChatModel } from "@langchain/core/language_models/chat_models";
import type { BaseChatModelCallOptions, BindToolsInput } from "@langchain/core/language_models/chat_models";
import { AIMessage, AIMessageChunk } from "@langchain/core/messages";
import type { BaseMessage, ContentBlock, StandardMessageStructure, UsageMetadata } from "@langchain/core/messages";
import { ChatGenerationChunk } from "@langchain/core/outputs";
import type { ChatResult } from "@langchain/core/outputs";
import type { ChatPiece, TokenCounts } from "./chat.ts";
import { routedStream } from "./routed-stream.ts";
import type { Asked, Router, Served } from "./router.ts";
import { toolChoiceOf } from "./tool-choice.ts";

/** A chat model that tools can be bound to. */
export type ChatModel = BaseChatModel & { readonly bindTools: NonNullable<BaseChatModel["bindTools"]> };

interface RoutedCallOptions extends BaseChatModelCallOptions {
  readonly tools?: BindToolsInput[];
}

export interface RoutedFields {
  readonly router: Router;
  readonly tenant: string;
  readonly name: string;
}

export class RoutedChatModel extends BaseChatModel<RoutedCallOptions> {
  readonly #fields: RoutedFields;

  constructor(fields: RoutedFields) {
    super({});
    this.#fields = fields;
  }

  override _llmType(): string {
    return "holdpoint";
  }

  override getLsParams(options: this["ParsedCallOptions"]) {
    return { ...super.getLsParams(options), ls_provider: "holdpoint", ls_model_name: this.#fields.name };
  }

  override bindTools(tools: BindToolsInput[], options: Partial<RoutedCallOptions> = {}) {
    return this.withConfig({ ...options, tools });
  }

  override async _generate(messages: BaseMessage[], options: this["ParsedCallOptions"]): Promise<ChatResult> {
    const served = await this.#fields.router.call(this.#asked(messages, options));
    const message = new AIMessage<StandardMessageStructure>({
      content: contentOf(served.said),
      tool_calls: served.turn.toolCalls.map(({ id, name, args }) => ({
        id,
        name,
        args: JSON.parse(args) as Record<string, unknown>, // judged to be an object
        type: "tool_call",
      })),
      response_metadata: metadataOf(served),
      ...usageOf(served.turn.tokens),
    });
    return { generations: [{ text: message.text, message }] };
  }

  override async *_streamResponseChunks(
    messages: BaseMessage[],
    options: this["ParsedCallOptions"],
    runManager?: CallbackManagerForLLMRun,
  ): AsyncGenerator<ChatGenerationChunk> {
    const telling = { piece: chunkOf, end: lastChunk };
    for await (const chunk of routedStream(this.#fields.router, this.#asked(messages, options), telling)) {
      yield chunk;
      await runManager?.handleLLMNewToken(chunk.text, undefined, undefined, undefined, undefined, { chunk });
    }
  }

  #asked(messages: BaseMessage[], { tools, tool_choice: choice, stop, signal }: this["ParsedCallOptions"]): Asked {
    const { tenant, name } = this.#fields;
    return { tenant, name, request: { messages, tools, toolChoice: toolChoiceOf(choice), stop }, signal };
  }
}

function chunkOf(piece: ChatPiece): ChatGenerationChunk {
  switch (piece.type) {
    case "text":
      return new ChatGenerationChunk({ text: piece.text, message: new AIMessageChunk({ content: piece.text }) });
    case "block":
      return new ChatGenerationChunk({ text: "", message: new AIMessageChunk({ content: [piece.block] }) });
    case "tool":
    case "stop":
    case "usage":
    case "citations":
      // The reader shows none of these.
      return new ChatGenerationChunk({ text: "", message: new AIMessageChunk({ content: "" }) });
  }
}

/** The tool calls of a turn come at its end, whole, once it is known that it counts. */
function lastChunk(served: Served): ChatGenerationChunk {
  const message = new AIMessageChunk<StandardMessageStructure>({
    content: "",
    tool_call_chunks: served.turn.toolCalls.map((call, index) => ({ ...call, index, type: "tool_call_chunk" })),
    response_metadata: metadataOf(served),
    ...usageOf(served.turn.tokens),
  });
  return new ChatGenerationChunk({ text: "", message });
}

/** Text alone is a string; with other parts beside it, all are blocks, in their order. */
function contentOf(said: readonly ChatPiece[]): string | ContentBlock[] {
  if (said.every(({ type }) => type === "text"))
    return said.map((piece) => (piece.type === "text" ? piece.text : "")).join("");
  return said.flatMap((piece): ContentBlock[] => {
    if (piece.type === "text") return [{ type: "text", text: piece.text }];
    return piece.type === "block" ? [piece.block] : [];
  });
}

/** Kept with the message in the state of its thread. */
function metadataOf({ turn, call }: Served): Record<string, unknown> {
  const { tenant: _, streamed: __, ...record } = call;
  return {
    model_provider: "holdpoint",
    stop_reason: turn.stopReason,
    model_call: record,
    ...(turn.trace === undefined ? {} : { guardrail_trace: turn.trace }),
  };
}

function usageOf(tokens: TokenCounts | undefined): { readonly usage_metadata?: UsageMetadata } {
  if (tokens === undefined) return {};
  const { input, cacheRead, cacheWrite, output } = tokens;
  const all = input + cacheRead + cacheWrite;
  return {
    usage_metadata: {
      input_tokens: all,
      output_tokens: output,
      total_tokens: all + output,
      input_token_details: { cache_read: cacheRead, cache_creation: cacheWrite },
    },
  };
}
