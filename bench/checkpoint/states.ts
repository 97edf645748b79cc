/** States as agents have them, of a size that is given. The same arguments make the same state. */
import { AIMessage, HumanMessage, ToolMessage } from "@langchain/core/messages";
import type { BaseMessage } from "@langchain/core/messages";

const WORDS = ["the", "quick", "brown", "fox", 'said "no"', "to", "every", "lazy", "dog,\n", "which", "was", "asleep."];

/** Text of a length, in characters. */
export function proseOf(length: number, seed: number, ending = ""): string {
  let random = (seed * 2_654_435_761) >>> 0;
  const words: string[] = [];
  for (let size = 0; size < length; size += words.at(-1)?.length ?? 0) {
    random = (random * 1_664_525 + 1_013_904_223) >>> 0;
    words.push(`${WORDS[random % WORDS.length] ?? ""} `);
  }
  // As if it had been read from somewhere: a string that V8 has in one piece.
  return Buffer.from(words.join("").slice(0, length) + ending).toString();
}

/** About how many bytes of JSON a message takes besides its text. */
const AROUND_TEXT = 400;
const TEXT = 900;

/** Turns of a question, a call of a tool, its result and an answer. `ending` is the end of every text. */
export function chatOf(bytes: number, ending = ""): readonly BaseMessage[] {
  const count = Math.ceil(bytes / (TEXT + AROUND_TEXT));
  return Array.from({ length: count }, (_, n) => messageOf(n, ending));
}

function messageOf(n: number, ending: string): BaseMessage {
  const id = `01930000-0000-7000-8000-${String(n).padStart(12, "0")}`;
  const text = (length: number): string => proseOf(length, n, ending);
  const usage = { input_tokens: 900 + n, output_tokens: 120, total_tokens: 1020 + n };
  switch (n % 4) {
    case 0:
      return new HumanMessage({ content: text(TEXT), id });
    case 1:
      return answer({
        content: text(TEXT / 2),
        id,
        tool_calls: [{ name: "search", args: { query: text(40), limit: 10 }, id: `call_${n}`, type: "tool_call" }],
        response_metadata: { model_name: "m-1", finish_reason: "tool_calls" },
        usage_metadata: usage,
      });
    case 2:
      return new ToolMessage({
        content: text(TEXT * 1.5),
        id,
        tool_call_id: `call_${n - 1}`,
        name: "search",
        status: "success",
        artifact: { rows: [{ page: n, score: 0.5 }] },
      });
    default:
      return answer({
        content: text(TEXT),
        id,
        response_metadata: { model_name: "m-1", finish_reason: "stop" },
        usage_metadata: usage,
      });
  }
}

/** LangChain's types have no usage for messages that are not of a model's own; an object has. */
const answer = (fields: object): AIMessage => new AIMessage(fields);

const LINE = 42;
const LINES = 120;

/** A dictionary of files as coding agents keep it: each a list of lines, or one text. */
export function filesOf(bytes: number, form: "lines" | "texts"): Readonly<Record<string, unknown>> {
  const count = Math.ceil(bytes / (LINES * LINE));
  const linesOf = (n: number): readonly string[] =>
    Array.from({ length: LINES }, (_, line) => proseOf(LINE - 3, n * LINES + line).replaceAll("\n", " "));
  return Object.fromEntries(
    Array.from({ length: count }, (_, n) => {
      const lines = linesOf(n);
      const content = form === "lines" ? lines : Buffer.from(lines.join("\n")).toString();
      const at = "2026-01-01T00:00:00.000Z";
      return [`/src/module-${n}.ts`, { content, created_at: at, modified_at: at }];
    }),
  );
}
