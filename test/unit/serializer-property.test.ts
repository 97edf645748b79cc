/** Any nested value: the same bytes as LangGraph's serializer, and the same value back, prototypes included. */
import {
  AIMessage,
  AIMessageChunk,
  ChatMessage,
  FunctionMessage,
  HumanMessage,
  HumanMessageChunk,
  RemoveMessage,
  SystemMessage,
  ToolMessage,
} from "@langchain/core/messages";
import { Command, Overwrite, Send } from "@langchain/langgraph";
import { DeltaSnapshot } from "@langchain/langgraph-checkpoint";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expectSame, expectSameLoaded, loaded, ours, ourText, stockLoaded } from "./serializer-kit.ts";

const RUNS = { numRuns: process.env["HOLDPOINT_NIGHTLY"] === "1" ? 20_000 : 600 };

const string = fc.oneof(
  fc.string({ unit: "binary", maxLength: 12 }),
  fc.string({ unit: "grapheme", maxLength: 8 }),
  fc.constantFrom("\ud800", "\udc00x", "\u2028", '"\\', "\n\t\u0000", "</script>"),
);
const number = fc.oneof(fc.double(), fc.integer(), fc.constantFrom(-0, NaN, Infinity, -Infinity));
// Not `__proto__`: there the two differ (see serializer-deviations.test.ts).
const key = fc
  .oneof(
    fc.string({ maxLength: 6 }),
    fc.constantFrom(
      "lc",
      "type",
      "id",
      "kwargs",
      "args",
      "method",
      "value",
      "constructor",
      "toString",
      "0",
      "12",
      "lg_name",
    ),
  )
  .filter((name) => name !== "__proto__");

/** What JSON can say, and LangChain's own escapes: these are the fields of messages here. */
const { json } = fc.letrec<{ json: unknown }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.oneof(string, fc.integer(), fc.boolean(), fc.constant(null)),
    fc.array(tie("json"), { maxLength: 3 }),
    fc.dictionary(key, tie("json"), { maxKeys: 3 }),
    fc.record({ __lc_escaped__: tie("json") }),
  ),
}));
const jsonObject = fc.dictionary(key, json, { maxKeys: 3 });

const common = {
  content: fc.oneof(string, fc.array(fc.record({ type: fc.constant("text"), text: string }), { maxLength: 2 })),
};
const extra = fc.record(
  { id: string, name: string, additional_kwargs: jsonObject, response_metadata: jsonObject },
  { requiredKeys: [] },
);
const toolCalls = fc.array(
  fc.record({ name: string, args: jsonObject, id: string, type: fc.constant("tool_call" as const) }),
  {
    maxLength: 2,
  },
);
const usage = fc.record({ input_tokens: fc.nat(), output_tokens: fc.nat(), total_tokens: fc.nat() });
const withExtra = <T extends object>(fields: fc.Arbitrary<T>) =>
  fc.tuple(fields, extra).map(([a, b]) => ({ ...b, ...a }));

const message = fc.oneof(
  withExtra(fc.record(common)).map((fields) => new HumanMessage(fields)),
  withExtra(fc.record(common)).map((fields) => new SystemMessage(fields)),
  withExtra(fc.record(common)).map((fields) => new HumanMessageChunk(fields)),
  withExtra(
    fc.record({ ...common, tool_calls: toolCalls, usage_metadata: usage }, { requiredKeys: ["content", "tool_calls"] }),
  ).map((fields) => new AIMessage(fields as never)),
  withExtra(fc.record({ ...common, usage_metadata: usage })).map((fields) => new AIMessageChunk(fields as never)),
  withExtra(
    fc.record(
      {
        ...common,
        tool_call_id: string,
        artifact: json,
        status: fc.constantFrom("success" as const, "error" as const),
      },
      { requiredKeys: ["content", "tool_call_id"] },
    ),
  ).map((fields) => new ToolMessage(fields as never)),
  withExtra(fc.record({ ...common, name: string })).map((fields) => new FunctionMessage(fields)),
  withExtra(fc.record({ ...common, role: string })).map((fields) => new ChatMessage(fields)),
  string.map((id) => new RemoveMessage({ id })),
);

const leaf = fc.oneof(
  string,
  number,
  fc.constantFrom(null, undefined, true, false),
  fc.date({ noInvalidDate: false }),
  fc.constantFrom(/a"b/g, /(?:)/u, /\//, new Error("plain"), new TypeError("typed"), () => 1, Symbol("s")),
  fc.uint8Array({ maxLength: 5 }),
  fc.uint8Array({ maxLength: 5 }).map((bytes) => Buffer.from(bytes)),
  message,
);

const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    leaf,
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(key, tie("value"), { maxKeys: 4 }),
    fc.dictionary(key, tie("value"), { maxKeys: 2, noNullPrototype: false }),
    fc.array(tie("value"), { maxLength: 3 }).map((items) => new Set(items)),
    fc.array(fc.tuple(tie("value"), tie("value")), { maxLength: 3 }).map((entries) => new Map(entries)),
    fc.tuple(string, tie("value")).map(([node, args]) => new Send(node, args)),
    tie("value").map((update) => new Command({ update: { update }, goto: ["next"] })),
    tie("value").map((kept) => new Overwrite(kept)),
    tie("value").map((kept) => new DeltaSnapshot(kept)),
    fc.sparseArray(tie("value"), { maxLength: 4 }),
    fc.record({ value: tie("value"), id: string }),
  ),
}));

/** Records as somebody might have made them up. */
const { madeUp } = fc.letrec<{ madeUp: unknown }>((tie) => ({
  madeUp: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.oneof(fc.integer({ min: -1, max: 256 }), fc.constantFrom(null, true, "", "g", "(", "from")),
    fc.array(tie("madeUp"), { maxLength: 3 }),
    fc.record(
      {
        lc: fc.constantFrom(1, 2, "2", 3, null),
        type: fc.constantFrom("constructor", "undefined", "delta_snapshot", "secret", "not_implemented", 1),
        id: fc.oneof(
          fc.constantFrom("Set", "Map", "RegExp", "Error", "Uint8Array", "Function", "Object").map((name) => [name]),
          fc.constantFrom(["langchain_core", "messages", "Nobody"], ["process"], [], "Set", ["langchain_core"]),
        ),
        method: fc.constantFrom(null, "from", "call"),
        args: fc.oneof(
          fc.array(tie("madeUp"), { maxLength: 2 }),
          fc.array(fc.array(tie("madeUp"), { maxLength: 3 }), { maxLength: 1 }),
        ),
        kwargs: fc.oneof(fc.constant({}), tie("madeUp")),
        value: tie("madeUp"),
      },
      { requiredKeys: [] },
    ),
  ),
}));

describe("any value", () => {
  it("is written with the same bytes, and comes back as the same value", async () => {
    await fc.assert(
      fc.asyncProperty(value, async (any) => {
        if (typeof any === "function" || typeof any === "symbol" || any instanceof Uint8Array) return;
        await expectSame(any);
      }),
      RUNS,
    );
  });

  it("that is made of messages is written as it was once it has been read", () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 4 }), (messages) => {
        expect(ourText(loaded(ourText(messages)))).toBe(ourText(messages));
      }),
      RUNS,
    );
  });

  it("that somebody made up is read alike, or refused alike", async () => {
    await fc.assert(
      fc.asyncProperty(madeUp, async (any) => {
        const text = JSON.stringify(any);
        const theirs = await stockLoaded(text).then(
          () => "read",
          () => "refused",
        );
        if (theirs === "read") await expectSameLoaded(text);
        else await expect(ours.loadsTyped("json", text)).rejects.toBeInstanceOf(Error);
      }),
      RUNS,
    );
  });
});
