import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ChatPiece } from "../../src/models/chat.ts";
import { reasonOf } from "../../src/models/failure.ts";
import { TurnReader } from "../../src/models/turn.ts";
import type { Turn } from "../../src/models/turn.ts";

function judge(...pieces: readonly ChatPiece[]): Turn | string {
  const reader = new TurnReader();
  for (const piece of pieces) reader.take(piece);
  try {
    return reader.judge();
  } catch (error) {
    return reasonOf(error) ?? String(error);
  }
}

const text = (words: string): ChatPiece => ({ type: "text", text: words });
const stop = (reason: string): ChatPiece => ({ type: "stop", reason });
const call = (args: string, index = 0, id = `t${index}`): ChatPiece => ({ type: "tool", index, id, name: "pay", args });

describe("a turn of a model", () => {
  it.each<[string, string, readonly ChatPiece[]]>([
    ["cut", "of which the end never came", [text("Hello")]],
    ["cut", "of which only calls came", [call("{}")]],
    ["max_tokens", "that the token limit cut in a call", [call('{"amount":10'), stop("max_tokens")]],
    [
      "max_tokens",
      "that the token limit cut behind a call that looks whole",
      [call('{"amount":10}'), stop("max_tokens")],
    ],
    ["max_tokens", "that the context cut in a call", [text("x"), call("{}"), stop("model_context_window_exceeded")]],
    ["max_tokens", "that the token limit cut before its first word", [stop("max_tokens")]],
    ["malformed", "with arguments that are not JSON", [call('{"amount":10'), stop("tool_use")]],
    ["malformed", "with arguments that are no object", [call("[1]"), stop("tool_use")]],
    ["malformed", "with one call that can be read and one that cannot", [call("{}"), call("{", 1), stop("tool_use")]],
    ["malformed", "that stops to call a tool and calls none", [text("x"), stop("tool_use")]],
    ["malformed", "that calls a tool and stops for another reason", [call("{}"), stop("end_turn")]],
    ["malformed", "with two calls of one id", [call("{}", 0, "a"), call("{}", 1, "a"), stop("tool_use")]],
    ["malformed", "with a call without an id", [call("{}", 0, ""), stop("tool_use")]],
    ["malformed", "that its service calls malformed", [text("x"), stop("malformed_tool_use")]],
    ["empty", "of nothing", [stop("end_turn")]],
    ["empty", "of blanks", [text(" \n"), stop("end_turn")]],
    ["filtered", "of which the filter left nothing", [stop("content_filtered")]],
  ])("does not count: %s, one %s", (reason, _what, pieces) => {
    expect(judge(...pieces)).toBe(reason);
  });

  it("counts when its text was cut at the limit, and says so", () => {
    expect(judge(text("So long"), stop("max_tokens"))).toMatchObject({ stopReason: "max_tokens", toolCalls: [] });
  });

  it("calls nothing when a guardrail has stepped in", () => {
    expect(judge(text("Sorry."), call("{}"), stop("guardrail_intervened"))).toMatchObject({ toolCalls: [] });
  });

  it("calls a tool without arguments with none", () => {
    expect(judge(call(""), stop("tool_use"))).toMatchObject({ toolCalls: [{ args: "{}" }] });
  });

  it("never shows a part of a call before all of it was judged", () => {
    const reader = new TurnReader();
    expect([call("{}"), stop("tool_use"), text("")].map((piece) => reader.take(piece))).toEqual([false, false, false]);
  });

  it("makes no call of any beginning of a turn, and the whole call of the whole turn, however it is cut", () => {
    const args = fc.dictionary(fc.string(), fc.jsonValue());
    fc.assert(
      fc.property(args, fc.array(fc.nat()), fc.nat(), (value, cuts, kept) => {
        const json = JSON.stringify(value);
        const at = [0, ...cuts.map((cut) => cut % (json.length + 1)).toSorted((a, b) => a - b), json.length];
        const parts = at.slice(1).map((end, part) => call(json.slice(at[part], end)));
        const whole = [text("x"), ...parts, stop("tool_use")];
        expect(judge(...whole)).toMatchObject({ toolCalls: [{ args: json }] });
        expect(judge(...whole.slice(0, kept % whole.length))).toBe("cut");
      }),
    );
  });
});
