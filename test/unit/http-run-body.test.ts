import { describe, expect, it } from "vitest";
import { parseRunBody } from "../../src/http/langgraph/run-body.ts";
import type { RunBodyContext } from "../../src/http/langgraph/run-body.ts";

const THREAD = "0190c3a0-0000-7000-8000-000000000001";
const context: RunBodyContext = { threadId: THREAD, defaultModes: ["values"], headers: {} };
const payload = (fields: object) => parseRunBody({ assistant_id: "a", ...fields }, context).payload;
const settings = (fields: object, at = context) => parseRunBody({ assistant_id: "a", ...fields }, at).settings;

describe("the input of a run", () => {
  it.each([
    [{}, undefined],
    [{ input: null }, undefined],
    [{ input: {} }, {}],
    [{ input: [] }, []],
    [{ input: 0 }, 0],
    [{ input: false }, false],
    [{ input: "" }, ""],
  ])("%j is %j: absent is never an empty one", (fields, input) => {
    expect(payload(fields).input).toEqual(input);
    expect(Object.hasOwn(payload(fields), "input")).toBe(input !== undefined);
  });

  it.each([{}, null, [], "", undefined])("%j beside a command gives way to it", (input) => {
    expect(payload({ input, command: { resume: null } })).toEqual({ command: { resume: null } });
  });

  it("stays when the command says nothing", () => {
    expect(payload({ input: { a: 1 }, command: {} })).toEqual({ input: { a: 1 } });
    expect(payload({ input: { a: 1 }, command: null })).toEqual({ input: { a: 1 } });
  });
});

describe("a command", () => {
  it.each([
    { resume: { i1: "yes" } },
    { goto: "__end__" },
    { goto: [{ node: "n", input: { a: 1 } }, "m"] },
    { update: { a: 1 } },
    { update: [["a", 1]], goto: "n" },
  ])("%j is handed on as it is", (command) => {
    expect(payload({ command })).toEqual({ command });
  });
});

describe("where a run starts", () => {
  it.each([
    [{ checkpoint_id: "c1" }, { checkpointId: "c1" }],
    [
      { checkpoint: { checkpoint_id: "c1", checkpoint_ns: "", checkpoint_map: {} } },
      { checkpointId: "c1", checkpointNs: "" },
    ],
    [{ checkpoint: { thread_id: THREAD, checkpoint_id: "c1" } }, { checkpointId: "c1" }],
    [{ config: { configurable: { checkpoint_id: "c1", thread_id: "other" } } }, { checkpointId: "c1" }],
    [{ checkpoint: null }, undefined],
    [{ checkpoint: {} }, undefined],
  ])("%j", (fields, checkpoint) => {
    expect(payload(fields).checkpoint).toEqual(checkpoint);
    expect(payload(fields).config).toBeUndefined();
  });
});

describe("the rest of the body", () => {
  it("is understood, unknown keys are ignored, and null is absent", () => {
    const parsed = parseRunBody(
      {
        assistant_id: "a",
        config: { tags: ["t"], recursion_limit: 7, configurable: { model: "m" }, metadata: { x: 1, y: 1 } },
        context: { user: "u" },
        metadata: { y: 2 },
        interrupt_before: "*",
        interrupt_after: ["n"],
        stream_mode: ["values", "messages-tuple", "values"],
        stream_subgraphs: true,
        stream_resumable: true,
        multitask_strategy: "reject",
        if_not_exists: "create",
        on_disconnect: "cancel",
        durability: "exit",
        checkpoint_during: true,
        strict_resume: true,
        webhook: null,
        after_seconds: null,
        feedback_keys: [],
        langsmith_tracer: { project_name: "p" },
        somethingElse: 1,
      },
      { ...context, headers: { "x-case": "7" } },
    );
    expect(parsed).toEqual({
      assistantId: "a",
      payload: {
        config: { tags: ["t"], recursionLimit: 7, configurable: { model: "m" } },
        context: { user: "u" },
        metadata: { x: 1, y: 2 },
        interruptBefore: "*",
        interruptAfter: ["n"],
        headers: { "x-case": "7" },
      },
      settings: {
        streamModes: ["values", "messages-tuple"],
        streamSubgraphs: true,
        streamResumable: true,
        multitaskStrategy: "reject",
      },
      ifNotExists: "create",
      onDisconnect: "cancel",
    });
  });

  it("has the defaults of the contract", () => {
    expect(parseRunBody({ assistant_id: "a" }, context)).toEqual({
      assistantId: "a",
      payload: {},
      settings: {
        streamModes: ["values"],
        streamSubgraphs: false,
        streamResumable: false,
        multitaskStrategy: "enqueue",
      },
      ifNotExists: "reject",
      onDisconnect: "continue",
    });
    expect(settings({}, { ...context, threadId: undefined }).onCompletion).toBe("delete");
    expect(settings({ on_completion: "keep" }, { ...context, threadId: undefined }).onCompletion).toBe("keep");
    expect(settings({ on_completion: "keep" }).onCompletion).toBeUndefined();
    expect(settings({ stream_mode: "custom" }).streamModes).toEqual(["custom"]);
  });
});

describe("how a run meets what its thread has already", () => {
  it.each(["enqueue", "reject", "interrupt", "rollback"])("is said by its strategy %s", (strategy) => {
    expect(settings({ multitask_strategy: strategy }).multitaskStrategy).toBe(strategy);
  });

  it("may include that reviews which wait are cancelled", () => {
    expect(parseRunBody({ assistant_id: "a", on_pending: "cancel" }, context).onPending).toBe("cancel");
  });
});

describe("a delayed start", () => {
  const afterMs = (seconds: unknown) => parseRunBody({ assistant_id: "a", after_seconds: seconds }, context).afterMs;

  it.each([
    [0, undefined],
    [0.0001, 1],
    [1.5, 1500],
    [2_592_000, 2_592_000_000],
  ])("of %j seconds is %j ms", (seconds, ms) => {
    expect(afterMs(seconds)).toBe(ms);
  });
});
