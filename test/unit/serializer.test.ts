/** Our serializer beside LangGraph's own: the same bytes for every type it knows, and the same values back. */
import { Document } from "@langchain/core/documents";
import {
  AIMessagePromptTemplate,
  ChatPromptTemplate,
  MessagesPlaceholder,
  PromptTemplate,
} from "@langchain/core/prompts";
import { ChatPromptValue, StringPromptValue } from "@langchain/core/prompt_values";
import {
  AIMessage,
  AIMessageChunk,
  ChatMessage,
  ChatMessageChunk,
  FunctionMessage,
  FunctionMessageChunk,
  HumanMessage,
  HumanMessageChunk,
  RemoveMessage,
  SystemMessage,
  SystemMessageChunk,
  ToolMessage,
  ToolMessageChunk,
} from "@langchain/core/messages";
import type { BaseMessage } from "@langchain/core/messages";
import { Command, Overwrite, Send } from "@langchain/langgraph";
import { DeltaSnapshot } from "@langchain/langgraph-checkpoint";
import { describe, expect, it, vi } from "vitest";
import { bytesOf, expectSame, expectSameLoaded, loaded, ourText, ours, stock, stockLoaded } from "./serializer-kit.ts";

// LangChain's types have no usage for messages that are not of a model's own.
const usage = {
  input_tokens: 3,
  output_tokens: 4,
  total_tokens: 7,
  input_token_details: { cache_read: 1 },
} as never;
const call = {
  name: "search",
  args: { query: 'a "quoted" one', deep: { list: [1, null] } },
  id: "c1",
  type: "tool_call" as const,
};

const MESSAGES: Readonly<Record<string, BaseMessage>> = {
  "human, from a string": new HumanMessage("hello"),
  "human, with blocks": new HumanMessage({
    content: [
      { type: "text", text: "what is this?" },
      { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
    ],
    id: "h1",
    name: "ann",
  }),
  "human, with keys of its own": new HumanMessage({
    content: "x",
    userId: "u",
    "a b": 1,
    HTTPStatus: 2,
    x__y: 3,
  } as never),
  ai: new AIMessage("hi"),
  "ai, with tool calls and usage": new AIMessage({
    content: "",
    id: "a1",
    tool_calls: [call],
    invalid_tool_calls: [{ name: "broken", args: "{", id: "c2", error: "Malformed args.", type: "invalid_tool_call" }],
    usage_metadata: usage,
    response_metadata: { model_name: "m", finish_reason: "tool_calls", nested: { list: [{}] } },
    additional_kwargs: { reasoning: "…" },
  }),
  "ai, with content blocks of version 1": new AIMessage({
    contentBlocks: [
      { type: "text", text: "a" },
      { type: "tool_call", id: "c1", name: "search", args: {} },
    ],
  }),
  "ai, with version 1 in its metadata": new AIMessage({
    content: [{ type: "text", text: "a" }],
    response_metadata: { output_version: "v1" },
  }),
  "ai, with raw tool calls": new AIMessage({
    content: "",
    // As providers say it.
    additional_kwargs: Object.fromEntries([["tool_calls", [{ id: "r", function: { name: "f", arguments: "{}" } }]]]),
    tool_calls: [{ name: "f", args: {}, id: "r" }],
  }),
  system: new SystemMessage({ content: "be kind", id: "s" }),
  "tool, with artifact and status": new ToolMessage({
    content: "3 rows",
    tool_call_id: "c1",
    name: "search",
    status: "error",
    artifact: { rows: [{ a: 1, "b c": "x" }], none: null, deep: [[["x"]]] },
    metadata: { took: 3 },
  }),
  "tool, from a string": new ToolMessage("ok", "c1", "search"),
  function: new FunctionMessage({ content: "f", name: "fn" }),
  chat: new ChatMessage({ content: "c", role: "critic" }),
  remove: new RemoveMessage({ id: "gone" }),
  "a chunk, human": new HumanMessageChunk("h"),
  "a chunk, ai": new AIMessageChunk({ content: "a", id: "r" }),
  "a chunk, ai, with calls": new AIMessageChunk({
    content: "",
    tool_call_chunks: [
      { name: "search", args: '{"query":', id: "c", index: 0, type: "tool_call_chunk" },
      { args: '"x"}', index: 0, type: "tool_call_chunk" },
    ],
    usage_metadata: usage,
  }),
  "a chunk, system": new SystemMessageChunk("s"),
  "a chunk, tool": new ToolMessageChunk({ content: "t", tool_call_id: "c", status: "success", artifact: [1] }),
  "a chunk, function": new FunctionMessageChunk({ content: "f", name: "fn" }),
  "a chunk, chat": new ChatMessageChunk({ content: "c", role: "critic" }),
  "with strings that are hard to write": new HumanMessage({
    content: '\ud800 \u2028 "\\\b\u0000\u007f é 漢 😀\n',
    id: "</script>",
  }),
  "with what looks like LangChain's own": new ToolMessage({
    content: "x",
    tool_call_id: "c",
    artifact: {
      escaped: { lc: 3, type: "constructor", note: "mine" },
      alone: { __lc_escaped__: { a: 1 } },
      list: [{ lc: null }],
    },
  }),
};

class Point {
  readonly x = 1;
  readonly #y = 2;
  get sum(): number {
    return this.x + this.#y;
  }
}

class Money {
  readonly #cents: number;
  constructor(cents: number) {
    this.#cents = cents;
  }
  toJSON(key: string): unknown {
    return { key, cents: this.#cents, since: new Date(0), of: new Set([1]) };
  }
}

class Tags extends Set<string> {}

const sparse: unknown[] = [1];
sparse[3] = "x";

const VALUES: Readonly<Record<string, unknown>> = {
  null: null,
  undefined,
  true: true,
  "an empty string": "",
  "a string": 'é 漢 😀 "\\\n\u0000 \ud800',
  numbers: [
    0,
    -0,
    1.5,
    -1e21,
    1e-7,
    Number.MAX_SAFE_INTEGER,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
  ],
  "minus zero": -0,
  "not a number": Number.NaN,
  "bytes, alone": new Uint8Array([1, 2, 255]),
  "bytes, within": { b: new Uint8Array([1, 2, 255]), none: new Uint8Array() },
  "a buffer, within": { b: Buffer.from("ab") },
  "other arrays of numbers": { f: new Float64Array([0.5, -1]), u: new Uint8ClampedArray([1]) },
  "undefined in arrays and objects": { a: undefined, b: [undefined, 1, undefined], c: { d: undefined } },
  "what is missing from an array": sparse,
  "functions and symbols": { f: () => 1, s: Symbol("s"), list: [() => 1, Symbol("s")], [Symbol("key")]: 1 },
  "sets and maps": {
    set: new Set<unknown>([1, "a", { b: new Set([null]) }, undefined]),
    map: new Map<unknown, unknown>([
      ["k", new Map([[{ deep: 1 }, [undefined]]])],
      [2, "two"],
    ]),
    empty: [new Set(), new Map()],
  },
  "a set of one's own": new Tags(["a"]),
  dates: { at: new Date(1_700_000_000_000), never: new Date(Number.NaN) },
  "regular expressions": [/a"b\/c/giu, /(?:)/],
  errors: {
    plain: new Error("no"),
    typed: new TypeError("type"),
    caused: new Error("with", { cause: new Error("x") }),
  },
  "an error alone": new Error("alone"),
  "boxed values": [Object("s"), Object(1), Object(false)],
  "instances of classes": { point: new Point(), money: [new Money(5), { inner: new Money(6) }] },
  "an object without prototype": Object.assign(Object.create(null) as object, { a: 1, b: [2] }),
  "keys in any order": { b: 1, "10": 2, a: 3, "9": 4, "": 5, '"': 6, "\n": 7 },
  accessors: {
    get a() {
      return [1];
    },
  },
  send: new Send("node", { a: 1, list: [new HumanMessage("x")] }),
  "send, with a time-out": new Send("node", { a: undefined }, { timeout: 50 }),
  "what looks like a send": { lg_name: "Send", node: "n", args: [1], more: 2 },
  command: new Command({ update: { a: 1 }, resume: "yes", goto: ["x", new Send("y", { b: 2 })] }),
  "command, empty": new Command({}),
  interrupt: {
    value: { question: "ok?" },
    id: "0123456789abcdef0123456789abcdef",
    when: "during",
    resumable: true,
    ns: ["a:b"],
  },
  overwrite: { messages: new Overwrite([1, new Set([2])]) },
  "a snapshot of a delta channel": {
    s: new DeltaSnapshot([new HumanMessage("x"), undefined]),
    none: new DeltaSnapshot(undefined),
  },
  "keys that mean something elsewhere": {
    lc: 7,
    type: "constructor",
    constructor: 1,
    toString: "s",
    hasOwnProperty: null,
    length: 2,
    kwargs: {},
    id: ["Set"],
  },
  "what reads as a record of a set": { lc: 2, type: "constructor", id: ["Set"], method: null, args: [[1]], kwargs: {} },
  "what reads as a message": {
    lc: 1,
    type: "constructor",
    id: ["langchain_core", "messages", "HumanMessage"],
    kwargs: { content: "x" },
  },
  "what reads as a stub": [
    { lc: 1, type: "not_implemented", id: ["a"] },
    { lc: 1, type: "secret", id: ["KEY"] },
  ],
  "an object with toJSON of its own": { a: 1, toJSON: () => ({ b: [undefined] }) },
  "toJSON that answers nothing": [
    { toJSON: () => undefined },
    { toJSON: () => () => 1 },
    { a: { toJSON: () => Symbol("s") } },
  ],
  "the same object twice": (() => {
    const shared = { a: [1] };
    return { one: shared, two: [shared, shared] };
  })(),
  documents: [new Document({ pageContent: "text", metadata: { source: "s", page: 1 }, id: "d" })],
  prompts: [
    new PromptTemplate({ template: "Hello {name}", inputVariables: ["name"] }),
    ChatPromptTemplate.fromMessages([
      ["system", "You are {role}"],
      new MessagesPlaceholder("history"),
      AIMessagePromptTemplate.fromTemplate("{answer}"),
      new HumanMessage("fixed"),
    ]),
  ],
  "values of prompts": [new StringPromptValue("s"), new ChatPromptValue([new HumanMessage("x"), new AIMessage("y")])],
  "a chat among other things": { messages: Object.values(MESSAGES), files: { "/a.ts": "const a = 1;\n" }, step: 3 },
  "a message within a message": new ToolMessage({
    content: "x",
    tool_call_id: "c",
    artifact: { messages: [new HumanMessage("inner"), new AIMessage({ content: "", tool_calls: [call] })] },
  }),
};

describe("beside LangGraph's serializer", () => {
  it.each(Object.entries(MESSAGES))("a message: %s", async (_, message) => {
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    await expectSame(message);
    await expectSame({ list: [message, [message]] });
    const again = loaded(ourText(message));
    expect(Object.getPrototypeOf(again)).toBe(Object.getPrototypeOf(message));
    expect(ourText(again)).toBe(ourText(message));
  });

  it.each(Object.entries(VALUES))("%s", async (_, value) => {
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    if (value instanceof Uint8Array) return expect(ours.dumpsSync(value)).toStrictEqual(await stock.dumpsTyped(value));
    await expectSame(value);
    return expectSame([{ value }]);
  });

  it("a message that was changed after it was made is written as it is now", async () => {
    const message = new AIMessage({ content: "before", tool_calls: [call] });
    message.content = "after";
    message.id = "late";
    message.lc_kwargs["id"] = "late";
    message.tool_calls?.push({ name: "more", args: {} });
    await expectSame(message);
  });

  it("fields of a message that are called like members of every object are left out by both", async () => {
    const fields = JSON.parse('{"content":"x","constructor":1,"toString":2,"__proto__":{"isAdmin":true}}') as never;
    expect(ourText(new HumanMessage(fields))).not.toMatch(/isAdmin|toString/);
    await expectSame(new HumanMessage(fields));
  });

  it("a message whose class is somebody's own is asked for its JSON, as theirs does", async () => {
    class Mine extends HumanMessage {}
    const json = ourText(new Mine("x"));
    expect(json).toBe(ourText(JSON.parse(JSON.stringify(new Mine("x")))));
    await expect(stockLoaded(json)).rejects.toThrow("Invalid identifer");
    await expect(ours.loadsTyped("json", json)).rejects.toThrow("Invalid identifer");
  });

  it("a bigint is written when the program has taught bigints to become JSON", async () => {
    const prototype = BigInt.prototype as { toJSON?: (this: bigint) => string };
    prototype.toJSON = function toJSON() {
      return `${this}n`;
    };
    try {
      await expectSame({ a: 1n, b: [2n] });
    } finally {
      delete prototype.toJSON;
    }
  });
});

describe("what other writers have written", () => {
  it.each([
    ["a record without method and kwargs", '{"lc":2,"type":"constructor","id":["Set"],"args":[[1]]}'],
    [
      "bytes without a method",
      '{"lc":2,"type":"constructor","id":["Uint8Array"],"method":null,"args":[[1,2]],"kwargs":{}}',
    ],
    ["an entry of a map that is none", '{"lc":2,"type":"constructor","id":["Map"],"args":[[["a"]]]}'],
    ["a number that is no byte", '{"lc":2,"type":"constructor","id":["Uint8Array"],"method":"from","args":[[256]]}'],
    ["a regular expression that is none", '{"lc":2,"type":"constructor","id":["RegExp"],"args":["(",""]}'],
    ["an error without a text", '{"lc":2,"type":"constructor","id":["Error"],"args":[1]}'],
    ["a class that is not in the set", '{"lc":2,"type":"constructor","id":["Function"],"args":["return process"]}'],
    ["a method of a class in the set", '{"lc":2,"type":"constructor","id":["Map"],"method":"groupBy","args":[[]]}'],
    [
      "a message as Python spells it",
      '{"lc":1,"type":"constructor","id":["langchain_core","messages","ai","AIMessage"],"kwargs":{"content":"x","tool_calls":[],"response_metadata":{"a_b":1}}}',
    ],
    [
      "a tool message under its own module",
      '{"lc":1,"type":"constructor","id":["langchain_core","messages","tool","ToolMessage"],"kwargs":{"content":"x","tool_call_id":"c"}}',
    ],
    [
      "a document as Python spells it",
      '{"lc":1,"type":"constructor","id":["langchain_core","documents","base","Document"],"kwargs":{"page_content":"x","metadata":{"a":1}}}',
    ],
    ["an object without kwargs", '{"lc":1,"type":"constructor","id":["langchain_core","messages","HumanMessage"]}'],
    ["space around keys", '{ "lc" : 2 , "type" : "undefined" }'],
    ["an escape outside of LangChain's objects", '{"__lc_escaped__":{"lc":2,"type":"undefined"}}'],
    [
      "two names of one field",
      '{"lc":1,"type":"constructor","id":["langchain_core","messages","HumanMessage"],"kwargs":{"content":"x","user_id":1,"userId":2}}',
    ],
  ])("%s", async (_, json) => {
    await expectSameLoaded(json);
    await expectSameLoaded(`{"a":[${json}]}`);
  });

  it.each([
    [
      "a function of LangChain's as a class",
      '{"lc":1,"type":"constructor","id":["langchain_core","output_parsers","StringOutputParser"],"kwargs":{}}',
    ],
    [
      "kwargs that are a record",
      '{"lc":1,"type":"constructor","id":["langchain_core","messages","HumanMessage"],"kwargs":{"lc":2,"type":"undefined"}}',
    ],
  ])("%s is left to their loader", async (_, json) => {
    const state = `{"before":{"lc":2,"type":"constructor","id":["Set"],"args":[[1]]},"it":[${json}],"twice":${json}}`;
    expect(ours.loadsSync("json", state)).toBeUndefined();
    expect(await ours.loadsTyped("json", bytesOf(state))).toStrictEqual(await stockLoaded(state));
  });

  it("bytes that were written as text come back as bytes", async () => {
    expect(await ours.loadsTyped("bytes", "é")).toStrictEqual(await stock.loadsTyped("bytes", "é"));
  });
});
