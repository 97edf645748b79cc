/** Where our serializer differs from LangGraph's own: what that one does, then what ours does. */
import { AIMessage, ToolMessage } from "@langchain/core/messages";
import { RunnableLambda } from "@langchain/core/runnables";
import { describe, expect, it } from "vitest";
import { HoldpointError, isHoldpointError } from "../../src/core/errors.ts";
import { loaded, ours, ourText, stock, stockLoaded, stockText } from "./serializer-kit.ts";

const GAVE_UP = '"[unable to serialize, circular reference is too complex to analyze]"';

const withArtifact = (artifact: unknown): ToolMessage => new ToolMessage({ content: "x", tool_call_id: "c", artifact });

const artifactOf = (message: unknown): unknown => {
  if (!(message instanceof ToolMessage)) throw new Error("no tool message");
  return message.artifact as unknown;
};

function refusal(value: unknown): { readonly path: unknown; readonly message: string } {
  try {
    ours.dumpsSync(value);
  } catch (error) {
    if (!isHoldpointError(error, "invalid")) throw error;
    return { path: error.detail?.["path"], message: error.message };
  }
  throw new Error("it was written");
}

const nested = (levels: number): unknown => {
  let value: unknown = 1;
  for (let level = 0; level < levels; level += 1) value = { a: value };
  return value;
};

describe("what is refused", () => {
  it("a value that refers back to itself, with the path and what it refers to", async () => {
    const inner: Record<string, unknown> = { name: "inner" };
    const value = { ok: [1], list: [{ "a b": inner }] };
    inner["back"] = value.list;
    expect(await stockText(value)).toBe('{"ok":[1],"list":[{"a b":{"name":"inner","back":"[Circular]"}}]}');
    expect(refusal(value)).toStrictEqual({
      path: '$.list[0]["a b"].back',
      message: '$.list[0]["a b"].back cannot be serialized: it refers back to $.list',
    });
    await expect(ours.dumpsTyped(value)).rejects.toThrow(HoldpointError);
  });

  it("a value that refers back to itself at the top, or within a message", async () => {
    const top: unknown[] = [];
    top.push(top);
    expect(await stockText(top)).toBe('["[Circular]"]');
    expect(refusal(top).message).toBe("$[0] cannot be serialized: it refers back to $");
    const artifact: Record<string, unknown> = {};
    const message = withArtifact(artifact);
    artifact["self"] = message;
    expect(await stockText({ messages: [message] })).toContain("[Circular]");
    expect(refusal({ messages: [message] }).path).toBe("$.messages[0].artifact.self");
  });

  it("a set or a map that holds itself", async () => {
    const map = new Map<string, unknown>();
    map.set("k", { map });
    expect(await stockText({ map })).toBe(GAVE_UP);
    expect(refusal({ map }).message).toContain("it refers back to $.map");
  });

  it("the same object twice is no circle", () => {
    const shared = { a: 1 };
    expect(ourText([shared, [shared], new Set([shared])])).toContain('{"a":1}');
  });

  it("a bigint", async () => {
    expect(await stockText({ a: { n: [1n] }, b: 2 })).toBe(GAVE_UP);
    expect(refusal({ a: { n: [1n] }, b: 2 })).toStrictEqual({
      path: "$.a.n[0]",
      message: "$.a.n[0] cannot be serialized: JSON has no bigint",
    });
    expect(refusal({ a: [Object(1n)] }).path).toBe("$.a[0]");
  });

  it("a toJSON or an accessor that throws, with what it threw", async () => {
    const value = {
      list: [
        {
          toJSON: () => {
            throw new Error("not today");
          },
        },
      ],
    };
    expect(await stockText(value)).toBe(GAVE_UP);
    expect(refusal(value).message).toBe("$.list[0] cannot be serialized: not today");
    const accessor = {
      deep: {
        get a(): never {
          throw new Error("no access");
        },
      },
    };
    await expect(stock.dumpsTyped(accessor)).rejects.toThrow("no access");
    expect(refusal(accessor).message).toBe("$.deep cannot be serialized: no access");
  });

  it("more than 1,000 levels; those that are written can be read", async () => {
    expect(await stockText(nested(6000)).catch(String)).toMatch(/unable to serialize|Maximum call stack/);
    for (const levels of [1001, 6000, 100_000])
      expect(refusal(nested(levels)).message).toContain("it is nested more than 1000 levels deep");
    expect(refusal(nested(1001)).path).toMatch(/^\$(\.a){10}…(\.a){10}$/);
    expect(ourText(loaded(ourText(nested(1000))))).toBe(ourText(nested(1000)));
    const sets = (count: number): unknown => (count === 0 ? 1 : new Set([sets(count - 1)]));
    expect(refusal(sets(400)).message).toContain("levels deep");
    expect(loaded(ourText(sets(330)))).toStrictEqual(sets(330));
  });

  it("a function or a symbol alone", async () => {
    expect(await stockText(() => 1)).toBe("");
    expect(refusal(() => 1).message).toBe("$ cannot be serialized: a function has no JSON");
    expect(refusal(Symbol("s")).message).toBe("$ cannot be serialized: a symbol has no JSON");
  });
});

describe("what is written within a message", () => {
  const artifact = {
    set: new Set<unknown>(["a", { lc: 3 }]),
    map: new Map([["k", new Date(0)]]),
    at: new Date(0),
    url: new URL("https://example.com/"),
    pattern: /a/g,
    error: new TypeError("no"),
    bytes: new Uint8Array([1, 2]),
  };

  it("sets, maps, dates, regular expressions, errors and bytes", async () => {
    expect(artifactOf(await stockLoaded(await stockText(withArtifact(artifact))))).toStrictEqual({
      set: {},
      map: {},
      at: {},
      url: {},
      pattern: {},
      error: {},
      bytes: { 0: 1, 1: 2 },
    });
    expect(artifactOf(loaded(ourText(withArtifact(artifact))))).toStrictEqual({
      set: new Set<unknown>(["a", { lc: 3 }]),
      map: new Map([["k", "1970-01-01T00:00:00.000Z"]]),
      at: "1970-01-01T00:00:00.000Z",
      url: "https://example.com/",
      pattern: /a/g,
      error: new Error("no"),
      bytes: new Uint8Array([1, 2]),
    });
  });

  it("the other serializer reads it, and loses no more than it would have", async () => {
    const read = artifactOf(await stockLoaded(ourText(withArtifact(artifact))));
    expect(read).toMatchObject({ set: {}, map: {}, at: "1970-01-01T00:00:00.000Z", pattern: {} });
  });
});

describe("what is read otherwise", () => {
  const HOSTILE = '{"a":{"__proto__":{"isAdmin":true}},"__proto__":{"lc":2,"type":"undefined"}}';

  it("a key `__proto__` is a key, and reaches no prototype", async () => {
    const theirs = (await stockLoaded(HOSTILE)) as { a: { isAdmin?: unknown } } | undefined;
    expect(theirs === undefined || theirs.a.isAdmin === true).toBe(true);
    const mine = loaded(HOSTILE) as { a: Record<string, unknown> };
    expect(mine.a["isAdmin"]).toBeUndefined();
    expect(Object.getPrototypeOf(mine.a)).toBe(Object.prototype);
    expect(Object.getPrototypeOf(mine)).toBe(Object.prototype);
    expect(Object.keys(mine)).toStrictEqual(["a", "__proto__"]);
    expect(({} as Record<string, unknown>)["isAdmin"]).toBeUndefined();
  });

  it("a key `__proto__` is written as it was read, in a message too, where the other drops it", async () => {
    const state = JSON.parse('{"__proto__":{"deep":[{"__proto__":1}]},"z":1}') as unknown;
    expect(ourText(loaded(ourText(state)))).toBe(ourText(state));
    expect(ourText(state)).toBe(await stockText(state));
    const message = withArtifact(JSON.parse('{"__proto__":{"x":1},"u":1}'));
    expect(await stockText(message)).not.toContain("__proto__");
    expect(JSON.stringify(artifactOf(loaded(ourText(message))))).toBe('{"__proto__":{"x":1},"u":1}');
  });

  it("a copy that replaces a value under `__proto__` has it as a key", () => {
    const list: unknown[] = [{ x: 1 }, undefined];
    const state = Object.fromEntries([["__proto__", list]]);
    expect(ourText(state)).toBe('{"__proto__":[{"x":1},{"lc":2,"type":"undefined"}]}');
  });

  it("undefined within a message stays, so that a message that was read is written with the same bytes", async () => {
    const message = new AIMessage({
      content: "x",
      name: undefined,
      additional_kwargs: { a: undefined, b: [undefined] },
    } as never);
    const json = ourText(message);
    expect(json).toBe(await stockText(message));
    const theirs = (await stockLoaded(json)) as AIMessage;
    expect(theirs.additional_kwargs).toStrictEqual({ b: [null] });
    expect(ourText(theirs)).not.toBe(json);
    expect((loaded(json) as AIMessage).additional_kwargs).toStrictEqual({ a: undefined, b: [undefined] });
    expect(ourText(loaded(json))).toBe(json);
  });

  it("what LangChain has escaped within a message names no class", async () => {
    const mine = {
      lc: 1,
      type: "constructor",
      id: ["langchain_core", "messages", "HumanMessage"],
      kwargs: { content: "x" },
    };
    const message = withArtifact({ mine });
    const json = ourText(message);
    expect(json).toBe(await stockText(message));
    expect(artifactOf(await stockLoaded(json))).not.toStrictEqual({ mine });
    expect(artifactOf(loaded(json))).toStrictEqual({ mine });
    const unknown = ourText(withArtifact({ lc: 1, type: "constructor", id: ["mine"], kwargs: {} }));
    await expect(stockLoaded(unknown)).rejects.toThrow("Invalid namespace");
    expect(artifactOf(loaded(unknown))).toStrictEqual({ lc: 1, type: "constructor", id: ["mine"], kwargs: {} });
    const odd = withArtifact([{ lc: 2, type: "undefined" }, { lc: [new Set([1])] }, { __lc_escaped__: null }]);
    expect(artifactOf(loaded(ourText(odd)))).toStrictEqual(odd.artifact);
  });

  it("the stub of what cannot be serialized stays a stub within a message, as it does outside of one", async () => {
    const lambda = RunnableLambda.from(() => 1);
    const json = ourText({ lambda, message: withArtifact({ lambda }) });
    expect(json).toBe(await stockText({ lambda, message: withArtifact({ lambda }) }));
    await expect(stockLoaded(json)).rejects.toThrow("doesn't implement serialization");
    const { message } = loaded(json) as { readonly message: unknown };
    expect(artifactOf(message)).toMatchObject({ lambda: { lc: 1, type: "not_implemented" } });
  });

  it("more than 50 levels within a message", async () => {
    const json = ourText(withArtifact(nested(60)));
    expect(json).toBe(await stockText(withArtifact(nested(60))));
    await expect(stockLoaded(json)).rejects.toThrow("Maximum recursion depth");
    expect(artifactOf(loaded(json))).toStrictEqual(nested(60));
  });

  it("bytes are shared with nobody", async () => {
    const bytes = Buffer.from("ab");
    expect((await stock.dumpsTyped(bytes))[1]).toBe(bytes);
    const [, dumped] = ours.dumpsSync(bytes);
    bytes[0] = 0;
    expect(dumped).toStrictEqual(new Uint8Array([97, 98]));
    expect(await stock.loadsTyped("bytes", dumped)).toBe(dumped);
    const read = ours.loadsSync("bytes", dumped)?.value;
    dumped[0] = 0;
    expect(read).toStrictEqual(new Uint8Array([97, 98]));
  });
});

describe("what no stored text can do", () => {
  const named = (...id: readonly string[]): string => JSON.stringify({ lc: 1, type: "constructor", id, kwargs: {} });

  it("call what every object has", async () => {
    for (const name of ["constructor", "toString", "__proto__", "hasOwnProperty", "__defineGetter__"]) {
      for (const json of [
        named("langchain_core", "messages", name),
        named("langchain", "__proto__", name),
        named(name),
      ]) {
        expect(() => loaded(json)).toThrow("names no class");
        await expect(ours.loadsTyped("json", json)).rejects.toThrow(HoldpointError);
      }
    }
    expect(Object.name).toBe("Object");
  });

  it("make a class that the other loader would not make", async () => {
    for (const id of [
      ["process"],
      ["langchain", "schema", "HumanMessage"],
      ["langchain_core", "messages"],
      ["node:fs", "ReadStream"],
    ]) {
      const json = named(...id);
      expect(ours.loadsSync("json", json)).toBeUndefined();
      await expect(stockLoaded(json)).rejects.toThrow(/Invalid/);
      await expect(ours.loadsTyped("json", json)).rejects.toThrow(/Invalid/);
    }
  });

  it("call a function of the module that has the messages", () => {
    for (const name of ["coerceMessageLikeToMessage", "isAIMessage", "mergeContent", "getBufferString"])
      expect(ours.loadsSync("json", named("langchain_core", "messages", name))).toBeUndefined();
  });

  it("be read when it is no JSON, of an unknown type, or too deep for the stack", () => {
    const codeOf = (read: () => unknown): unknown => {
      try {
        return read();
      } catch (error) {
        return isHoldpointError(error) ? error.code : error;
      }
    };
    expect(codeOf(() => loaded('{"a":'))).toBe("corrupt");
    expect(codeOf(() => ours.loadsSync("pickle", "x"))).toBe("corrupt");
    expect(codeOf(() => loaded("[".repeat(200_000) + "]".repeat(200_000)))).toBe("corrupt");
  });
});
