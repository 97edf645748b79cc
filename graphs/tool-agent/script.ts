/**
 * The agent's model where there is no other one, played from a script: offline, and the same every time. It speaks the
 * messages of a real one, so that everything around it is what it would be with one.
 */
import { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { AIMessage, HumanMessage, ToolMessage } from "@langchain/core/messages";
import type { BaseMessage } from "@langchain/core/messages";
import type { ChatResult } from "@langchain/core/outputs";

/** A chat model that says what `nextMessage` does. It knows the tools of this graph, whichever are bound to it. */
export class ScriptedModel extends BaseChatModel {
  constructor() {
    super({});
  }

  override _llmType(): string {
    return "scripted";
  }

  override bindTools(): this {
    return this;
  }

  override async _generate(messages: BaseMessage[]): Promise<ChatResult> {
    const message = nextMessage(messages);
    return { generations: [{ text: message.text, message }] };
  }
}

const ORDER = /\b([A-Z]-\d{4,10})\b/i;
const AMOUNT = /(\d+(?:\.\d{1,2})?)\s*(?:EUR|euros?|€)/i;

interface Wanted {
  readonly name: string;
  readonly args: Record<string, unknown>;
}

/** What the model says next, given the conversation. */
export function nextMessage(messages: readonly BaseMessage[]): AIMessage {
  const at = messages.findLastIndex((message) => HumanMessage.isInstance(message));
  const asked = (messages[at]?.text ?? "").trim();
  const answers = messages.slice(at + 1).filter((message) => ToolMessage.isInstance(message));
  const order = ORDER.exec(asked)?.[1]?.toUpperCase();
  const amount = Number(AMOUNT.exec(asked)?.[1]);
  const wantsRefund = /\brefund\b/i.test(asked) && order !== undefined && amount > 0;
  if (answers.length === 0) {
    const looks: readonly Wanted[] = [{ name: "retrieve", args: { query: asked, k: 3 } }];
    return calling(wantsRefund ? [{ name: "list-refunds", args: { order } }, ...looks] : looks, messages.length);
  }
  const paid = answers.find(({ name }) => name === "issue-refund");
  if (paid) return new AIMessage(toldOf(paid));
  if (!wantsRefund) return new AIMessage(quoted(answers));
  return calling([{ name: "issue-refund", args: { order, amount, currency: "EUR" } }], messages.length);
}

function calling(wanted: readonly Wanted[], at: number): AIMessage {
  const calls = wanted.map((call, n) => ({ ...call, id: `call-${at}-${n}`, type: "tool_call" as const }));
  return new AIMessage({ content: "", tool_calls: calls });
}

function toldOf({ status, text }: ToolMessage): string {
  if (status === "error") return `The refund was not made: ${text}`;
  const { reference, order, amount } = parsed(text) as { reference?: string; order?: string; amount?: number };
  return reference === undefined
    ? text
    : `EUR ${amount} was refunded on order ${order}. The reference is ${reference}.`;
}

function quoted(answers: readonly ToolMessage[]): string {
  const found = parsed(answers.find(({ name }) => name === "retrieve")?.text ?? "[]");
  const [best] = Array.isArray(found) ? (found as readonly { readonly title?: string; readonly text?: string }[]) : [];
  return best?.text === undefined ? "I found nothing about that." : `${best.title ?? "A document"} says: ${best.text}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
