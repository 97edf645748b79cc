/** Every fault of the fake, streamed and not: what the caller is told, how many requests were sent, and that nothing hangs. */
import { HumanMessage } from "@langchain/core/messages";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { reasonOf } from "../../src/models/failure.ts";
import { startFakeBedrock } from "../support/fake-bedrock.ts";
import type { BedrockFault, FakeBedrock } from "../support/fake-bedrock.ts";
import { eventually } from "../support/eventually.ts";
import { CLAUDE, NOVA, TWO, routed, target } from "../support/routed-models.ts";

const ASK = [new HumanMessage("Hello?")];
const refused = (status: number, type: string, message?: string): BedrockFault =>
  message === undefined ? { kind: "refuse", status, type } : { kind: "refuse", status, type, message };

let bedrock: FakeBedrock;
beforeAll(async () => {
  bedrock = await startFakeBedrock();
});
afterAll(() => bedrock[Symbol.asyncDispose]());
beforeEach(() => {
  bedrock.fault(() => undefined);
  bedrock.says(() => ({ text: ["Hel", "lo."] }));
});

/** Asks once; what was said, and why no more. */
async function ask(models: ReturnType<typeof routed>, name: string, streamed: boolean) {
  const before = bedrock.seen.length;
  let said = "";
  let reason: string | undefined;
  try {
    if (streamed) for await (const chunk of await models.chat(name).stream(ASK)) said += chunk.text;
    else said = (await models.chat(name).invoke(ASK)).text;
  } catch (error) {
    reason = reasonOf(error) ?? String(error);
  }
  return {
    said,
    reason,
    requests: bedrock.seen.slice(before).map(({ model }) => (model === CLAUDE ? "first" : "second")),
  };
}

/** Everything that only waits for its turn has happened. */
const settled = (): Promise<unknown> => new Promise((resolve) => setImmediate(resolve));

const three = ["first", "first", "first"];
const once = ["first"];

describe.each([true, false])("streamed: %s", (streamed) => {
  const cases: readonly (readonly [string, BedrockFault, string, readonly string[]])[] = [
    ["throttling", { kind: "throttle" }, "throttled", three],
    ["a quota that is used up", refused(400, "ServiceQuotaExceededException"), "quota", once],
    ["an error of the service", refused(500, "InternalServerException"), "unavailable", three],
    ["a service that is away", refused(503, "ServiceUnavailableException"), "unavailable", three],
    ["a model that is not ready", refused(429, "ModelNotReadyException"), "unavailable", three],
    ["an error of the model", refused(424, "ModelErrorException"), "unavailable", three],
    ["a model that took too long", refused(408, "ModelTimeoutException"), "timeout", three],
    ["a request that breaks a rule", refused(400, "ValidationException"), "invalid_request", once],
    ["a model that is not there", refused(404, "ResourceNotFoundException"), "unknown_model", once],
    ["no access", refused(403, "AccessDeniedException"), "credentials", once],
    ["no answer at all", { kind: "hang" }, "timeout", three],
    ["a reset before any answer", { kind: "reset" }, "cut", three],
    ...(streamed
      ? ([
          [
            "an exception before any text",
            { kind: "exception", type: "throttlingException", after: 1 },
            "throttled",
            three,
          ],
          [
            "an exception in the text",
            { kind: "exception", type: "modelStreamErrorException", after: 2 },
            "unavailable",
            once,
          ],
          ["throttling in the text", { kind: "exception", type: "throttlingException", after: 2 }, "throttled", once],
          ["a wrong checksum", { kind: "badCrc", after: 1 }, "cut", three],
          ["a wrong checksum in the text", { kind: "badCrc", after: 2 }, "cut", once],
          ["silence before the text", { kind: "hangInStream", after: 1 }, "timeout", three],
          ["silence in the text", { kind: "hangInStream", after: 2 }, "timeout", once],
          ["a reset before the text", { kind: "resetInStream", after: 1 }, "cut", three],
          ["a reset in the text", { kind: "resetInStream", after: 2 }, "cut", once],
          ["an end without any text", { kind: "end", after: 1 }, "cut", three],
          ["an end without messageStop", { kind: "end", after: 4 }, "cut", once],
        ] as const)
      : ([["half of a body", { kind: "halfBody" }, "cut", three]] as const)),
  ];

  it.each(cases)(
    "%s is told as what it is, after as many requests as one layer sends",
    async (_what, fault, reason, requests) => {
      using models = routed(bedrock);
      bedrock.fault(() => fault);
      expect(await ask(models, "alone", streamed)).toMatchObject({ reason, requests });
      expect(models.calls).toMatchObject([{ outcome: reason, attempts: requests.length, fallbacks: [], streamed }]);
    },
  );

  it("what passes is not seen by who asks, but in the record", async () => {
    using models = routed(bedrock);
    const before = bedrock.seen.length;
    bedrock.fault(({ index }) => (index < before + 2 ? { kind: "throttle" } : undefined));
    expect(await ask(models, "agent", streamed)).toEqual({ said: "Hello.", reason: undefined, requests: three });
    expect(models.calls).toMatchObject([{ outcome: "served", target: "first", attempts: 3, fallbacks: [] }]);
  });

  it("the next target answers when the first one does not, and the record says so", async () => {
    using models = routed(bedrock);
    bedrock.fault(({ model }) => (model === CLAUDE ? { kind: "throttle" } : undefined));
    expect(await ask(models, "agent", streamed)).toEqual({
      said: "Hello.",
      reason: undefined,
      requests: [...three, "second"],
    });
    expect(models.calls).toMatchObject([
      {
        outcome: "served",
        target: "second",
        model: NOVA,
        attempts: 4,
        fallbacks: [{ target: "first", reason: "throttled" }],
      },
    ]);
  });

  it("no other target is asked what breaks a rule", async () => {
    using models = routed(bedrock);
    bedrock.fault(({ model }) => (model === CLAUDE ? refused(400, "ValidationException") : undefined));
    expect(await ask(models, "agent", streamed)).toMatchObject({ reason: "invalid_request", requests: once });
  });

  it("nor is one whose context cannot hold the prompt", async () => {
    const second = { ...TWO.targets.second, contextTokens: 1_001 };
    using models = routed(bedrock, { catalogue: { ...TWO, targets: { ...TWO.targets, second } } });
    bedrock.fault(() => ({ kind: "throttle" }));
    expect(await ask(models, "agent", streamed)).toMatchObject({ reason: "throttled", requests: three });
    expect(models.calls).toMatchObject([
      {
        target: "first",
        fallbacks: [{ target: "second", reason: expect.stringMatching(/context may not hold/) as unknown }],
      },
    ]);
  });

  it("the breaker opens on what fails, spares the target, and closes once it answers again", async () => {
    using models = routed(bedrock, { policies: { openMs: 150 } });
    bedrock.fault(({ model }) => (model === CLAUDE ? refused(503, "ServiceUnavailableException") : undefined));
    const requests: string[] = [];
    for (let call = 0; call < 4; call++) requests.push(...(await ask(models, "agent", streamed)).requests);
    // Two calls of three attempts open it; the third and the fourth go to the second target at once.
    expect(requests).toEqual([...three, "second", ...three, "second", "second", "second"]);
    expect(models.calls.at(-1)?.fallbacks).toEqual([{ target: "first", reason: "open" }]);
    expect(models.breaker).toEqual(["open"]);
    bedrock.fault(() => undefined);
    await eventually(
      async () => (await ask(models, "agent", streamed)).requests[0] === "first" || undefined,
      "the breaker to close",
    );
    expect(models.breaker).toEqual(["open", "closed"]);
  });

  it("what the request itself is refused for does not open it", async () => {
    using models = routed(bedrock);
    bedrock.fault(() => refused(400, "ValidationException"));
    for (let call = 0; call < 10; call++) await ask(models, "alone", streamed);
    bedrock.fault(() => undefined);
    expect(await ask(models, "alone", streamed)).toMatchObject({ said: "Hello.", requests: once });
    expect(models.breaker).toEqual([]);
  });

  it.each<[string, object]>([
    ["that LangChain's client does not know", { type: "input_audio", input_audio: { data: "AA==", format: "wav" } }],
    ["of which no request can be written", { type: "text", text: 5 }],
  ])("a block %s is refused at once, and takes the models from nobody", async (_what, block) => {
    const catalogue = { ...TWO, targets: { first: target(CLAUDE, { vision: true }), second: TWO.targets.second } };
    using models = routed(bedrock, { catalogue });
    const before = bedrock.seen.length;
    const messages = [new HumanMessage({ content: [block as { readonly type: string }] })];
    const tell = async (): Promise<unknown> =>
      streamed ? Array.fromAsync(await models.chat().stream(messages)) : models.chat().invoke(messages);
    for (let call = 0; call < 10; call++) expect(await tell().catch(reasonOf)).toBe("invalid_request");
    expect(models.calls.map(({ attempts, fallbacks }) => [attempts, fallbacks.length])).toEqual(
      Array.from({ length: 10 }, () => [1, 0]),
    );
    expect([bedrock.seen.length - before, models.breaker]).toEqual([0, []]);
    expect(await ask(models, "agent", streamed)).toMatchObject({ said: "Hello.", requests: once });
  });

  it("the client gives up by itself what has no head for too long", async () => {
    const limits = { ...TWO.limits, attempts: 1, silenceMs: 60_000, answerMs: 60_000, deadlineMs: 3_000 };
    using models = routed(bedrock, { catalogue: { ...TWO, limits }, client: { requestTimeoutMs: 100 } });
    bedrock.fault(() => ({ kind: "hang" }));
    expect(await ask(models, "alone", streamed)).toMatchObject({ reason: "timeout", requests: once });
  });

  it("a call is left at its deadline, whatever its attempts are at", async () => {
    using models = routed(bedrock, {
      catalogue: { ...TWO, limits: { ...TWO.limits, silenceMs: 60_000, answerMs: 60_000, deadlineMs: 200 } },
    });
    bedrock.fault(() => ({ kind: "hang" }));
    expect(await ask(models, "agent", streamed)).toMatchObject({ reason: "deadline", requests: once });
    await settled();
    expect(models.calls).toMatchObject([{ outcome: "deadline", target: "first", attempts: 1, fallbacks: [] }]);
  });

  it("a target that says nothing until the deadline is blamed for it, and one that talks is not", async () => {
    const limits = { ...TWO.limits, silenceMs: 60_000, answerMs: 60_000, deadlineMs: 150 };
    using models = routed(bedrock, { catalogue: { ...TWO, limits } });
    bedrock.says(() => ({ text: Array.from({ length: 100 }, () => "word "), betweenMs: 5 }));
    if (streamed) for (let call = 0; call < 8; call++) await ask(models, "alone", streamed);
    expect(models.breaker).toEqual([]);
    bedrock.fault(() => ({ kind: "hang" }));
    const reasons: (string | undefined)[] = [];
    while (models.breaker.length === 0 && reasons.length < 30)
      reasons.push((await ask(models, "alone", streamed)).reason);
    expect(new Set(reasons)).toEqual(new Set(["deadline"]));
    expect(models.breaker).toEqual(["open"]);
    expect((await ask(models, "alone", streamed)).reason).toBe("open");
  });

  it("a call is left when nobody waits for it any more, and its connection is closed", async () => {
    using models = routed(bedrock, {
      catalogue: { ...TWO, limits: { ...TWO.limits, silenceMs: 60_000, answerMs: 60_000 } },
    });
    bedrock.fault(() => (streamed ? { kind: "hangInStream", after: 2 } : { kind: "hang" }));
    const before = { abandoned: bedrock.abandoned(), seen: bedrock.seen.length };
    const stop = new AbortController();
    const asking = streamed
      ? Array.fromAsync(await models.chat().stream(ASK, { signal: stop.signal }))
      : models.chat().invoke(ASK, { signal: stop.signal });
    const outcome = asking.then(
      () => "answered",
      () => "stopped",
    );
    await eventually(async () => bedrock.seen.length > before.seen || undefined, "the request");
    stop.abort();
    expect(await outcome).toBe("stopped");
    await eventually(async () => bedrock.abandoned() > before.abandoned || undefined, "the connection to close");
    await eventually(async () => models.calls.length > 0 || undefined, "the record");
    expect(models.calls).toMatchObject([{ outcome: "stopped", attempts: 1 }]);
  });

  it("a tenant has so many calls at once and as many that wait; other tenants are not held up", async () => {
    const catalogue = { ...TWO, limits: { ...TWO.limits, tenantConcurrency: 2 } };
    using models = routed(bedrock, { catalogue });
    bedrock.says(() => ({ text: "Hello.", delayMs: 50 }));
    const asked = Array.from({ length: 5 }, () => ask(models, "alone", streamed));
    const reasons = (await Promise.all(asked)).map(({ reason }) => reason);
    expect(reasons).toEqual([undefined, undefined, undefined, undefined, "busy"]);
    const full = Array.from({ length: 5 }, () => ask(models, "alone", streamed));
    const request = { messages: ASK };
    const other = models.router.call({ tenant: "globex", name: "alone", request, signal: undefined });
    expect((await other).call.outcome).toBe("served");
    await Promise.all(full);
  });
});

it("no other target is asked once a piece of an answer was shown", async () => {
  using models = routed(bedrock);
  bedrock.fault(({ model }) => (model === CLAUDE ? { kind: "resetInStream", after: 2 } : undefined));
  expect(await ask(models, "agent", true)).toEqual({ said: "Hel", reason: "cut", requests: once });
  // The control: what breaks off before it is answered by the other one.
  bedrock.fault(({ model }) => (model === CLAUDE ? { kind: "resetInStream", after: 1 } : undefined));
  expect(await ask(models, "agent", true)).toEqual({
    said: "Hello.",
    reason: undefined,
    requests: [...three, "second"],
  });
});

it("an answer that drips is left at the deadline as well", async () => {
  using models = routed(bedrock, { catalogue: { ...TWO, limits: { ...TWO.limits, deadlineMs: 400 } } });
  bedrock.says(() => ({ text: Array.from({ length: 1000 }, () => "word "), betweenMs: 20 }));
  const { said, reason, requests } = await ask(models, "agent", true);
  expect([said.startsWith("word "), reason, requests]).toEqual([true, "deadline", once]);
});

it("who stops reading a stream leaves its call", async () => {
  using models = routed(bedrock);
  bedrock.says(() => ({ text: Array.from({ length: 100 }, () => "word "), betweenMs: 5 }));
  const before = bedrock.abandoned();
  for await (const chunk of await models.chat().stream(ASK)) if (chunk.text !== "") break;
  await eventually(async () => bedrock.abandoned() > before || undefined, "the connection to close");
  expect(bedrock.abandoned() - before).toBe(1);
});
