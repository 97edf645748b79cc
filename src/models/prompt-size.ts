import type { BaseMessage } from "@langchain/core/messages";
import type { Target } from "./catalogue.ts";
import type { ChatRequest } from "./chat.ts";

/** What a request asks of a target. */
export interface Needs {
  readonly tools: boolean;
  readonly vision: boolean;
  /** A rough count, rather too high than too low. */
  readonly tokens: number;
}

/** Of European languages; what has more tokens to a character also has more bytes. */
const BYTES_PER_TOKEN = 3;

export function needsOf({ messages, tools = [] }: ChatRequest): Needs {
  const bytes = messages.reduce((sum, message) => sum + bytesOf(message), 0);
  return {
    tools: tools.length > 0,
    vision: messages.some(hasPicture),
    tokens: Math.ceil(bytes / BYTES_PER_TOKEN),
  };
}

/**
 * What a target lacks for a request, in words; undefined when it may be asked. The first target is not refused for the
 * length of a prompt: its service counts exactly, and says so itself.
 */
export function holds(target: Target, { tools, vision, tokens }: Needs, isFallback: boolean): string | undefined {
  if (target.provider === "offline") return tools ? "it calls no tools" : undefined;
  if (tools && !target.tools) return "it calls no tools";
  if (vision && !target.vision) return "it sees no pictures";
  const room = target.contextTokens - target.maxOutputTokens;
  return isFallback && tokens > room ? `its context may not hold the prompt (${tokens} of ${room} tokens)` : undefined;
}

function bytesOf(message: BaseMessage): number {
  const calls: unknown = "tool_calls" in message ? message.tool_calls : undefined;
  const texts = Array.isArray(message.content)
    ? message.content.map((block) => (typeof block["text"] === "string" ? block["text"] : ""))
    : [message.content];
  return Buffer.byteLength([...texts, calls === undefined ? "" : JSON.stringify(calls)].join(""));
}

const PICTURES: ReadonlySet<string> = new Set(["image", "image_url", "video"]);

const hasPicture = ({ content }: BaseMessage): boolean =>
  Array.isArray(content) && content.some(({ type }) => PICTURES.has(type));
