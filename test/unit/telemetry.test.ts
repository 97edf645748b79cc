import { CallbackManager } from "@langchain/core/callbacks/manager";
import { SpanKind, diag } from "@opentelemetry/api";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { genAiCallbacks, withHandler } from "../../src/langgraph/gen-ai-callbacks.ts";
import { readWaiting } from "../../src/runtime/worker/waiting.ts";
import { inSpan, linkTo } from "../../src/telemetry/spans.ts";
import { isTraced, noTelemetry, registeredTelemetry } from "../../src/telemetry/open-telemetry.ts";
import { startTelemetry } from "../../src/telemetry.ts";
import { createMemoryLog } from "../support/http.ts";
import { otelEnv, startOtlpReceiver } from "../support/otlp-receiver.ts";
import { startTelling } from "../support/telling.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";

const told = { ...noTelemetry, metrics: { ...noTelemetry.metrics } };

describe("the handler of what models and tools do", () => {
  const collect = Object.getOwnPropertyDescriptor(CallbackManager, "_configureSync");
  afterEach(() => {
    if (collect) Object.defineProperty(CallbackManager, "_configureSync", collect);
  });

  it("is there where somebody listens, and only there", () => {
    expect(genAiCallbacks(told, systemClock)).toBeDefined();
    expect(genAiCallbacks(noTelemetry, systemClock)).toBeUndefined();
  });

  it("is left out where an instrumentation of LangChain tells the same", () => {
    const wrapped = Object.assign(() => undefined, { __wrapped: true });
    Object.defineProperty(CallbackManager, "_configureSync", { ...collect, value: wrapped });
    expect(genAiCallbacks(told, systemClock)).toBeUndefined();
  });

  it("is put among a node's callbacks once, whoever else is there", () => {
    const handler = genAiCallbacks(told, systemClock);
    if (!handler) throw new Error("there is no handler");
    expect(withHandler(undefined, handler)).toEqual([handler]);
    const once = withHandler(new CallbackManager(), handler);
    expect(withHandler(once, handler)).toBe(once);
    expect(once).toMatchObject({ handlers: [handler], inheritableHandlers: [handler] });
  });
});

describe("what waits", () => {
  it("is counted over all tenants, with the age of the oldest", async () => {
    const kit = createKit();
    expect(await readWaiting(kit.deps)).toEqual({ threads: 0, oldestMs: 0, reviewsPastDue: 0 });
    await kit.runtime.runs.accept(ALICE, inputFor(undefined));
    kit.clock.advance(5000);
    await kit.runtime.runs.accept(ALICE, inputFor(undefined));
    kit.clock.advance(1000);
    expect(await readWaiting(kit.deps)).toEqual({ threads: 2, oldestMs: 6000, reviewsPastDue: 0 });
  });
});

describe("telemetry", () => {
  const start = (env: Readonly<Record<string, string>>) =>
    startTelemetry({ clock: systemClock, log: createMemoryLog(), version: "0.0.0", env });

  it.each([
    {},
    { OTEL_SERVICE_NAME: "named" },
    { OTEL_EXPORTER_OTLP_ENDPOINT: " " },
    { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1", OTEL_SDK_DISABLED: "true" },
  ])("is off with %j", async (env) => {
    await using running = await start(env);
    expect(running.telemetry).toBe(noTelemetry);
    expect(isTraced()).toBe(false);
  });

  it.each(["localhost:4318", "nonsense"])("says which setting is not a URL: %s", async (endpoint) => {
    await using telling = await startTelling({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: endpoint });
    const message = "telemetry cannot be sent: not an http(s) URL";
    const fields = { setting: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" };
    expect(telling.lines).toContainEqual({ level: "warn", fields, message });
  });

  it("keeps what is said of its own troubles short", async () => {
    await using receiver = await startOtlpReceiver();
    await using telling = await startTelling({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url });
    diag.warn("x".repeat(1_000));
    expect(telling.lines.map(({ fields }) => fields["problem"])).toEqual(["x".repeat(300)]);
  });

  it("uses the SDK that somebody has registered before, and leaves it to them", async () => {
    await using receiver = await startOtlpReceiver();
    await using theirs = await startTelling({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url });
    expect(theirs.telemetry.tracer).toBeDefined();
    {
      await using ours = await start({});
      expect(ours.telemetry.tracer).toBeDefined();
    }
    // Still there.
    expect(registeredTelemetry().tracer?.startSpan("a span").isRecording()).toBe(true);
  });

  it("tells of a span that failed the class of its error, and nothing that it said", async () => {
    await using receiver = await startOtlpReceiver();
    const SAID = "Alice4711";
    {
      await using telling = await startTelling(otelEnv(receiver.url));
      const of = { name: "fails", kind: SpanKind.INTERNAL };
      const fails = inSpan(telling.telemetry.tracer, of, () => Promise.reject(new TypeError(SAID)));
      await expect(fails).rejects.toThrow(SAID);
    }
    expect(receiver.spans).toMatchObject([{ name: "fails", failed: true, attributes: { "error.type": "TypeError" } }]);
    expect(receiver.text).not.toContain(SAID);
  });

  it("passes over what is no traceparent", async () => {
    await using receiver = await startOtlpReceiver();
    await using telling = await startTelling({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url });
    const span = telling.telemetry.tracer?.startSpan("a span");
    expect(() => linkTo(span, [undefined, "", "00-0-0-0", `00-${"0".repeat(32)}-${"0".repeat(16)}-01`])).not.toThrow();
    expect(span).toMatchObject({ links: [] });
  });
});
