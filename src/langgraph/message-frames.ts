/** The legacy `messages` mode: each message announced once, then whole as far as it has come, then final. */
import type { BaseMessageChunk } from "@langchain/core/messages";

type NamedData = readonly [event: string, data: unknown];

export interface MessageFrames {
  /** A streamed piece of a message. */
  partial(chunk: BaseMessageChunk, metadata: unknown): readonly NamedData[];
  /** The messages of a state that are final and have not been said yet. */
  completed(values: unknown): readonly NamedData[];
}

/** `inputMessages`: how many messages at the end of the first state are new; those before them are history. */
export function createMessageFrames(inputMessages: number): MessageFrames {
  const pieces = new Map<string, BaseMessageChunk>();
  const said = new Set<string>();
  let isFirst = true;
  return {
    partial(chunk, metadata) {
      const { id } = chunk;
      if (id === undefined) return [];
      const before = pieces.get(id);
      const whole = before === undefined ? chunk : before.concat(chunk);
      pieces.set(id, whole);
      const announced: readonly NamedData[] =
        before === undefined ? [["messages/metadata", { [id]: { metadata } }]] : [];
      return [...announced, ["messages/partial", [whole]]];
    },
    completed(values) {
      const messages = messagesIn(values);
      if (isFirst) for (const { id } of messages.slice(0, messages.length - inputMessages)) said.add(id);
      isFirst = false;
      const fresh = messages.filter(({ id }) => !said.has(id));
      for (const { id } of fresh) {
        said.add(id);
        pieces.delete(id);
      }
      return fresh.length === 0 ? [] : [["messages/complete", fresh]];
    },
  };
}

function messagesIn(values: unknown): readonly { readonly id: string }[] {
  if (typeof values !== "object" || values === null || !("messages" in values) || !Array.isArray(values.messages))
    return [];
  const messages: readonly unknown[] = values.messages;
  return messages.filter(
    (message): message is { readonly id: string } =>
      typeof message === "object" && message !== null && "id" in message && typeof message.id === "string",
  );
}
