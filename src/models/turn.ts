/**
 * One turn of a model, judged when it is over. A turn counts only if the model has said that it is over; its tool calls
 * count only if it stopped in order to make them and the arguments of every one are JSON. What is left of a turn that was
 * cut may look whole: `{"amount":10` of `{"amount":100000}`. So nobody gets a tool call before the whole turn was judged.
 */
import { modelFailure } from "./failure.ts";
import type { ChatPiece, TokenCounts } from "./chat.ts";
import type { Citation } from "./model.ts";

export interface JudgedCall {
  readonly id: string;
  readonly name: string;
  /** A JSON text of an object. */
  readonly args: string;
}

export interface Turn {
  readonly toolCalls: readonly JudgedCall[];
  readonly stopReason: string;
  /** Undefined when the stream ended between the model's last word and its counts. */
  readonly tokens: TokenCounts | undefined;
  readonly trace: unknown;
  readonly citations: readonly Citation[] | undefined;
}

interface HalfCall {
  readonly id: string;
  readonly name: string;
  readonly args: string;
}

/** Reads the pieces of one attempt. */
export class TurnReader {
  readonly #calls = new Map<number, HalfCall>();
  #says = false;
  #stopReason: string | undefined;
  #tokens: TokenCounts | undefined;
  #trace: unknown;
  #citations: readonly Citation[] | undefined;

  /** Takes a piece; true if it may be shown before the turn is over. */
  take(piece: ChatPiece): boolean {
    switch (piece.type) {
      case "text":
        this.#says ||= piece.text.trim() !== "";
        return piece.text !== "";
      case "block":
        return true;
      case "tool": {
        const { id, name, args } = this.#calls.get(piece.index) ?? { id: "", name: "", args: "" };
        this.#calls.set(piece.index, {
          id: piece.id ?? id,
          name: piece.name ?? name,
          args: args + (piece.args ?? ""),
        });
        return false;
      }
      case "stop":
        this.#stopReason = piece.reason;
        return false;
      case "usage":
        this.#tokens = piece.tokens;
        this.#trace = piece.trace;
        return false;
      case "citations":
        this.#citations = piece.citations;
        return false;
    }
  }

  /** What it used so far, whether or not it counts. */
  get tokens(): TokenCounts | undefined {
    return this.#tokens;
  }

  /** The turn, once no piece is left. @throws HoldpointError when it does not count, with the reason */
  judge(): Turn {
    const stopReason = this.#stopReason;
    if (stopReason === undefined) throw modelFailure("cut", "the model's answer was cut off");
    const toolCalls = callsOf([...this.#calls.values()], stopReason);
    if (toolCalls.length === 0 && !this.#says) {
      if (CUT.has(stopReason)) throw modelFailure("max_tokens", "the token limit was reached before any answer");
      if (WITHHELD.has(stopReason)) throw modelFailure("filtered", `the model's answer was withheld: ${stopReason}`);
      throw modelFailure("empty", "the model answered nothing");
    }
    return { toolCalls, stopReason, tokens: this.#tokens, trace: this.#trace, citations: this.#citations };
  }
}

const CUT: ReadonlySet<string> = new Set(["max_tokens", "model_context_window_exceeded"]);
const WITHHELD: ReadonlySet<string> = new Set(["guardrail_intervened", "content_filtered"]);

function callsOf(calls: readonly HalfCall[], stopReason: string): readonly JudgedCall[] {
  if (stopReason.startsWith("malformed_")) throw modelFailure("malformed", `the model stopped with ${stopReason}`);
  if (stopReason === "tool_use") {
    if (calls.length === 0) throw modelFailure("malformed", "the model stopped to call a tool, and called none");
    if (new Set(calls.map(({ id }) => id)).size < calls.length)
      throw modelFailure("malformed", "two tool calls of the model have the same id");
    return calls.map(judged);
  }
  // What a filter has stopped is said by the filter's own text, and calls nothing.
  if (calls.length === 0 || WITHHELD.has(stopReason)) return [];
  if (CUT.has(stopReason))
    throw modelFailure("max_tokens", `the token limit cut the model's tool calls off (${stopReason}); none was made`);
  throw modelFailure("malformed", `the model stopped with ${stopReason} although it calls tools`);
}

function judged({ id, name, args }: HalfCall): JudgedCall {
  if (id === "" || name === "") throw modelFailure("malformed", "a tool call of the model has no id or no name");
  // A tool without arguments is called with none at all.
  const text = args.trim() === "" ? "{}" : args;
  if (!isObject(text)) throw modelFailure("malformed", `the arguments of the model's call of ${name} are not JSON`);
  return { id, name, args: text };
}

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}
