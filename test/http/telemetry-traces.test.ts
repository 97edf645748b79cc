/** Traces of the whole service, as a receiver of OTLP has them. */
import { describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { otelEnv, startOtlpReceiver } from "../support/otlp-receiver.ts";
import type { ToldSpan } from "../support/otlp.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";
import { SECRET, tellingGraphs, tellingServices } from "../support/telling-graphs.ts";
import { startTelling } from "../support/telling.ts";

interface Told {
  readonly spans: readonly ToldSpan[];
  /** Everything that was told, as text. */
  readonly text: string;
}

/** What is told of what happens, once all of it has been. */
async function toldOf(
  happens: (service: Service) => Promise<void>,
  env: Readonly<Record<string, string>> = {},
): Promise<Told> {
  await using receiver = await startOtlpReceiver();
  {
    await using telling = await startTelling({ ...otelEnv(receiver.url), ...env });
    const { telemetry } = telling;
    await using service = await startService({ graphs: tellingGraphs, services: tellingServices, telemetry });
    await happens(service);
    for (const { fields } of service.app.log.lines) expect(JSON.stringify(fields)).not.toContain(SECRET);
  }
  return { spans: receiver.spans, text: receiver.text };
}

const input = (text: string) => ({ input: { text: `${SECRET} ${text}`, fails: false } });

async function waitFor(service: Service, assistant: string, body: object, headers = {}): Promise<string> {
  const { thread_id: thread } = await service.client("acme").threads.create();
  const json = { assistant_id: assistant, ...body };
  const answer = await service.app.call("POST", `/threads/${thread}/runs/wait`, { json, headers });
  expect(answer.status).toBe(200);
  await answer.text();
  return thread;
}

interface Review {
  readonly id: string;
  readonly digest: string;
  readonly decision: { readonly continuation_run_id: string };
}

async function approve(service: Service, thread: string): Promise<string> {
  const { app } = service;
  const open = (await (await app.call("GET", "/v1/reviews?state=open")).json()) as { items: readonly Review[] };
  const [asked] = open.items;
  const answer = await app.call("POST", `/v1/reviews/${asked?.id}/decisions`, {
    json: { type: "approve", comment: SECRET, digest: asked?.digest },
  });
  const { decision } = (await answer.json()) as Review;
  await (await app.call("GET", `/threads/${thread}/runs/${decision.continuation_run_id}/join`)).text();
  return decision.continuation_run_id;
}

const named = (spans: readonly ToldSpan[], name: string): readonly ToldSpan[] =>
  spans.filter((span) => span.name === name);

function only(spans: readonly ToldSpan[], name: string): ToldSpan {
  const [span, ...others] = named(spans, name);
  expect(others).toEqual([]);
  if (!span) throw new Error(`there is no span ${name}, only ${spans.map((one) => one.name).join(", ")}`);
  return span;
}

const childrenOf = (spans: readonly ToldSpan[], { spanId }: ToldSpan): readonly string[] =>
  spans.filter(({ parentId }) => parentId === spanId).map(({ name }) => name);

const CALLER = { trace: "0af7651916cd43dd8448eb211c80319c", span: "b7ad6b7169203331" };

describe("a run", () => {
  it("is told as the caller's request that accepted it, and as a trace of its own with nodes, models and tools", async () => {
    let header: string | null = "";
    const { spans } = await toldOf(async (service) => {
      const traceparent = `00-${CALLER.trace}-${CALLER.span}-01`;
      await waitFor(service, "plain", input("plain"), { traceparent });
      header = (await service.app.call("GET", "/ok", { headers: { traceparent } })).headers.get("x-trace-id");
    });
    expect(header).toBe(CALLER.trace);
    const request = only(spans, "POST /threads/:thread_id/runs/wait");
    expect(request).toMatchObject({ kind: "server", traceId: CALLER.trace, parentId: CALLER.span });
    const accepted = only(spans, "accept plain");
    expect(accepted).toMatchObject({ kind: "producer", traceId: CALLER.trace, parentId: request.spanId });
    const delivery = only(spans, "invoke_workflow plain");
    expect(delivery).toMatchObject({ kind: "consumer", parentId: undefined, links: [accepted.spanId], failed: false });
    expect(delivery.traceId).not.toBe(CALLER.trace);
    expect(delivery.attributes).toMatchObject({
      "gen_ai.operation.name": "invoke_workflow",
      "gen_ai.workflow.name": "plain",
      "holdpoint.outcome": "success",
    });
    expect(delivery.attributes["gen_ai.conversation.id"]).toBe(accepted.attributes["gen_ai.conversation.id"]);
    expect(childrenOf(spans, delivery)).toEqual(["node think", "node look", "node flaky", "node flaky", "node flaky"]);
    expect(childrenOf(spans, only(spans, "node think"))).toEqual(["chat unknown"]);
    expect(childrenOf(spans, only(spans, "node look"))).toEqual(["execute_tool lookup"]);
    const tool = only(spans, "execute_tool lookup");
    const ofTool = named(spans, "chat small");
    expect(ofTool.map(({ kind }) => kind)).toEqual(["client", "client"]);
    for (const call of ofTool) {
      expect(call.attributes).toMatchObject({
        "gen_ai.provider.name": "aws.bedrock",
        "gen_ai.response.model": "served-1",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
      });
    }
    expect(childrenOf(spans, tool)).toEqual(["chat small", "chat small"]);
    const tries = named(spans, "node flaky");
    expect(tries.map(({ failed, attributes }) => [failed, attributes["holdpoint.attempt"]])).toEqual([
      [true, 1],
      [true, 2],
      [false, 3],
    ]);
  });

  it("that is held ends its trace; its continuation is another, linked to the delivery and to the decision", async () => {
    const { spans } = await toldOf(async (service) => {
      await approve(service, await waitFor(service, "asking", input("held")));
    });
    const [held, continued, ...more] = named(spans, "invoke_workflow asking");
    expect(more).toEqual([]);
    expect(held?.attributes["holdpoint.outcome"]).toBe("held");
    expect(continued?.attributes["holdpoint.outcome"]).toBe("success");
    expect(continued?.traceId).not.toBe(held?.traceId);
    const decision = only(spans, "POST /v1/reviews/:review_id/decisions");
    expect(held?.links).toEqual([only(spans, "accept asking").spanId]);
    expect(continued?.links).toHaveLength(2);
    expect(continued?.links).toEqual(expect.arrayContaining([held?.spanId, decision.spanId]));
    const asks = named(spans, "node ask");
    expect(asks.map(({ attributes }) => attributes["holdpoint.outcome"])).toEqual(["interrupted", "success"]);
    expect(asks.map(({ failed }) => failed)).toEqual([false, false]);
    expect(asks.map(({ parentId }) => parentId)).toEqual([held?.spanId, continued?.spanId]);
  });

  it("that failed and is tried again is linked to the delivery that failed", async () => {
    const { spans } = await toldOf(async (service) => {
      const thread = await waitFor(service, "asking", { input: { text: SECRET, fails: true } });
      const failed = await approve(service, thread);
      const json = { reason: "again" };
      const answer = await service.app.call("POST", `/v1/runs/${failed}/retry`, { json });
      const { run_id: retry } = (await answer.json()) as { readonly run_id: string };
      await (await service.app.call("GET", `/threads/${thread}/runs/${retry}/join`)).text();
    });
    const [, failed, retried] = named(spans, "invoke_workflow asking");
    expect(failed?.attributes["holdpoint.outcome"]).toBe("error");
    expect(retried?.links).toContain(failed?.spanId);
  });

  it("that is resumed over the SDK is linked to the request that resumed it", async () => {
    const { spans } = await toldOf(async (service) => {
      const thread = await waitFor(service, "asking", input("resumed"));
      await service.client("acme").runs.wait(thread, "asking", { command: { resume: { type: "approve" } } });
    });
    const [held, continued] = named(spans, "invoke_workflow asking");
    const [, resumed] = named(spans, "accept asking");
    expect(continued?.links).toContain(held?.spanId);
    expect(continued?.links).toContain(resumed?.spanId);
  });
});

describe("a request", () => {
  it("is told with what a condition asks of a model, and what nodes of a graph within it ask", async () => {
    const { spans } = await toldOf(async (service) => void (await waitFor(service, "routing", input("routed"))));
    expect(childrenOf(spans, only(spans, "node fork"))).toEqual(["chat unknown"]);
    expect(childrenOf(spans, only(spans, "node ponder"))).toEqual(["chat unknown"]);
    expect(named(spans, "chat unknown")).toHaveLength(2);
  });

  it("that streams has ended its span while it does, and one for health has none", async () => {
    await using receiver = await startOtlpReceiver();
    await using telling = await startTelling(otelEnv(receiver.url));
    await using service = await startService({ graphs: tellingGraphs, telemetry: telling.telemetry });
    const left = new AbortController();
    await service.app.call("GET", "/ok");
    const stream = await service.app.call("GET", "/v1/reviews/stream", { signal: left.signal });
    await eventually(() => receiver.spans.length > 0, "its span");
    expect(receiver.spans.map(({ name }) => name)).toEqual(["GET /v1/reviews/stream"]);
    expect(stream.bodyUsed).toBe(false);
    left.abort();
  });
});

describe("what people and models say", () => {
  const everything = async (service: Service): Promise<void> => {
    await waitFor(service, "plain", input("content"));
    await approve(service, await waitFor(service, "asking", { input: { text: SECRET, fails: true } }));
  };

  it("is in no span and no metric", async () => {
    const { spans, text } = await toldOf(everything);
    expect(named(spans, "node pay").map(({ failed, attributes }) => [failed, attributes["error.type"]])).toEqual([
      [true, "Error"],
    ]);
    expect(text).toContain("holdpoint.run.duration");
    expect(text).not.toContain(SECRET);
  });

  it("is there when it is asked for (negative control)", async () => {
    const { spans } = await toldOf(everything, { OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT: "true" });
    const [think] = named(spans, "chat unknown");
    expect(think?.attributes["gen_ai.input.messages"]).toContain(`${SECRET}question`);
    expect(think?.attributes["gen_ai.output.messages"]).toContain(`${SECRET}answer`);
    const tool = only(spans, "execute_tool lookup");
    expect(tool.attributes["gen_ai.tool.call.arguments"]).toContain(SECRET);
    expect(tool.attributes["gen_ai.tool.call.result"]).toContain(`${SECRET}reply`);
    expect(named(spans, "chat small")[0]?.attributes["gen_ai.input.messages"]).toContain(`${SECRET}prompt`);
  });
});
