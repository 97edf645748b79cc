import type { ChatClient, ChatPiece, ChatRequest } from "../models/chat.ts";
import type { Model, ModelMessage, ModelReply, ModelRequest } from "../models/model.ts";

/** The offline model as a target of the catalogue. It calls no tools. */
export function createOfflineChat(model: Model): ChatClient {
  return {
    async *stream(request, signal) {
      for await (const delta of model.stream(requestOf(request, signal))) {
        if (delta.type === "text") yield delta;
        else yield* endOf(delta.reply);
      }
    },
    async complete(request, signal) {
      const reply = await model.complete(requestOf(request, signal));
      return [{ type: "text", text: reply.text }, ...endOf(reply)];
    },
  };
}

function requestOf({ messages, passages = [] }: ChatRequest, signal: AbortSignal): ModelRequest {
  const turns = messages.flatMap((message): ModelMessage[] => {
    // The numbered passages of a system message are here as passages.
    if (message.type === "human") return [{ role: "user", content: message.text }];
    return message.type === "ai" ? [{ role: "assistant", content: message.text }] : [];
  });
  return { messages: turns, passages, signal };
}

function* endOf({ citations, usage }: ModelReply): Generator<ChatPiece> {
  yield { type: "citations", citations };
  yield { type: "stop", reason: "end_turn" };
  yield {
    type: "usage",
    tokens: { input: usage.inputTokens, cacheRead: 0, cacheWrite: 0, output: usage.outputTokens },
  };
}
