/** The port of conversational models: what one attempt at one turn is given, and the pieces in which its answer comes. */
import type { BindToolsInput } from "@langchain/core/language_models/chat_models";
import type { BaseMessage, ContentBlock } from "@langchain/core/messages";
import type { Citation, GroundingPassage } from "./model.ts";

export interface ChatRequest {
  readonly messages: readonly BaseMessage[];
  readonly tools?: readonly BindToolsInput[] | undefined;
  /** `auto`, `any`, or the name of the tool that must be called. */
  readonly toolChoice?: string | undefined;
  readonly stop?: readonly string[] | undefined;
  /** What an extractive model answers from; language models find it in the messages. */
  readonly passages?: readonly GroundingPassage[] | undefined;
}

/** In the served model's tokens. The four are disjoint, and each has a price of its own. */
export interface TokenCounts {
  readonly input: number;
  readonly cacheRead: number;
  readonly cacheWrite: number;
  readonly output: number;
}

export type ChatPiece =
  | { readonly type: "text"; readonly text: string }
  /** A part that is not text, such as reasoning; LangChain's own shape. */
  | { readonly type: "block"; readonly block: ContentBlock }
  /** A part of a tool call: pieces of one index belong together, and their `args` are pieces of one JSON text. */
  | {
      readonly type: "tool";
      readonly index: number;
      readonly id?: string | undefined;
      readonly name?: string | undefined;
      readonly args?: string | undefined;
    }
  /** The model says that its turn is over, and why, in the words of Bedrock's `stopReason`. */
  | { readonly type: "stop"; readonly reason: string }
  | { readonly type: "usage"; readonly tokens: TokenCounts; readonly trace?: unknown }
  /** What an extractive model's answer rests on. */
  | { readonly type: "citations"; readonly citations: readonly Citation[] };

/** One model at one place. An attempt is made once: whether another one is, is not for the client to say. */
export interface ChatClient {
  /** @throws HoldpointError as `modelFailure` makes them */
  stream(request: ChatRequest, signal: AbortSignal): AsyncIterable<ChatPiece>;
  /** The same pieces at once. @throws HoldpointError as `modelFailure` makes them */
  complete(request: ChatRequest, signal: AbortSignal): Promise<readonly ChatPiece[]>;
}
