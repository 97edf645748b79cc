import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { raisedAgain } from "../../src/core/hold-desk.ts";
import type { Answer, Decision, ReviewRequest } from "../../src/core/hold.ts";
import {
  applied,
  assertNotLaterThan,
  cancelledHold,
  continuationId,
  decided,
  followedUp,
  givenBack,
  handedTo,
  keyedDecisionId,
  makeHoldId,
  namesHold,
  plainDigest,
  reopened,
  resumeValue,
  reviewDigest,
  superseded,
} from "../../src/core/hold.ts";
import { decisionId, holdId, isUuid, runId, tenantId, threadId } from "../../src/core/ids.ts";
import type { Run } from "../../src/core/run.ts";
import { holdOf } from "../support/hold.ts";

const NOW = 1_800_000_000_000;
const run = runId("00000000-0000-7000-8000-000000000001");
const request: ReviewRequest = { number: 1, title: "Refund", action: "refund", args: { amount: 100, to: "ann" } };
const hold = holdOf({
  runId: run,
  origin: "review",
  request,
  digest: reviewDigest(request),
  raisedAt: NOW,
});
const decision = (by: string, answer: Decision["answer"]): Decision => {
  const id = decisionId(`d-${by}`);
  return { id, by, at: NOW + 1, answer, continuation: continuationId(hold.holdId, id) };
};
const json = fc.jsonValue({ maxDepth: 2 });

describe("the digest of a review", () => {
  const requests: fc.Arbitrary<ReviewRequest> = fc.record(
    {
      number: fc.nat(3),
      title: fc.string(),
      description: fc.string(),
      action: fc.string(),
      args: fc.dictionary(fc.stringMatching(/^[a-z]{1,4}$/), fc.oneof(fc.string(), fc.nat(), fc.boolean())),
      risk: fc.constantFrom("low" as const, "high" as const),
    },
    { requiredKeys: ["number", "title", "action", "args"] },
  );

  it("is the same whatever the order of the arguments, and never depends on who may decide", () => {
    fc.assert(
      fc.property(requests, fc.array(fc.string()), (shown, groups) => {
        const turned = { ...shown, args: Object.fromEntries(Object.entries(shown.args).toReversed()), groups };
        expect(reviewDigest(turned)).toBe(reviewDigest(shown));
      }),
    );
  });

  it("differs when anything that was shown differs", () => {
    for (const other of [
      { number: 2 },
      { title: "x" },
      { description: "x" },
      { action: "x" },
      { args: { amount: 101, to: "ann" } },
      { risk: "high" as const },
    ]) {
      expect(reviewDigest({ ...request, ...other })).not.toBe(reviewDigest(request));
    }
  });

  it("of a plain interrupt covers its whole value", () => {
    expect(plainDigest({ a: 1, b: [1, 2] })).toBe(plainDigest({ b: [1, 2], a: 1 }));
    expect(plainDigest({ a: 1 })).not.toBe(plainDigest({ a: 2 }));
    expect(plainDigest(undefined)).toBe(plainDigest(null));
  });
});

describe("names around a hold", () => {
  it("are the same for every party that computes them, and differ with everything that they are made of", () => {
    const identity = { tenant: hold.tenant, threadId: hold.threadId, generation: 0, interruptId: "i", digest: "d" };
    const others = [
      { tenant: tenantId("b") },
      { threadId: threadId("b") },
      { generation: 1 },
      { interruptId: "j" },
      { digest: "e" },
    ];
    const all = [identity, ...others.map((other) => ({ ...identity, ...other }))].map(makeHoldId);
    expect(new Set(all).size).toBe(all.length);
    expect(makeHoldId({ ...identity })).toBe(all[0]);
  });

  it("give one continuation per decision, as a UUID that fits the queue", () => {
    const a = continuationId(hold.holdId, "d1");
    expect(isUuid(a)).toBe(true);
    expect(continuationId(hold.holdId, "d1")).toBe(a);
    expect(continuationId(hold.holdId, "d2")).not.toBe(a);
  });

  it("tell two people's decisions apart whatever their names and keys contain", () => {
    const text = fc.oneof(fc.string(), fc.constantFrom("a", "a|b", "b|c", "c", "auth0|7"));
    fc.assert(
      fc.property(text, text, text, text, (by, key, otherBy, otherKey) => {
        const same = keyedDecisionId(hold.holdId, by, key) === keyedDecisionId(hold.holdId, otherBy, otherKey);
        expect(same).toBe(by === otherBy && key === otherKey);
      }),
    );
    expect(keyedDecisionId(hold.holdId, "auth0", "7|k")).not.toBe(keyedDecisionId(hold.holdId, "auth0|7", "k"));
  });
});

describe("the run that carries a decision on", () => {
  const [given, queued] = [
    runId("00000000-0000-7000-8000-00000000000a"),
    runId("00000000-0000-7000-8000-00000000000b"),
  ];
  const decision: Decision = {
    id: decisionId("d"),
    by: "eve",
    at: NOW,
    answer: { type: "approve" },
    continuation: queued,
  };
  const won = decided(hold, decision);

  it("is the one that was queued for it, until another one is given it", () => {
    expect(followedUp(won, queued).carriedBy).toBe(queued);
    expect(handedTo(followedUp(won, queued), 2, given)).toMatchObject({ handedTo: 2, carriedBy: given });
  });

  it("is the one that was given it, although a follow-up that comes late finds another one in the queue", () => {
    const handed = handedTo(won, 2, given);
    expect(handed && followedUp(handed, queued).carriedBy).toBe(given);
  });

  it("is forgotten when the decision comes back", () => {
    const handed = handedTo(won, 2, given);
    expect(handed && reopened(handed, "it failed", NOW)).not.toHaveProperty("carriedBy");
  });

  it("comes back so many times, also once it is raised again: under one key each is another decision", () => {
    const twice = reopened({ ...reopened(won, "it failed", NOW), state: "decided", decision }, "it failed", NOW);
    const again = raisedAgain({ ...hold, fence: 9 }, twice);
    const ids = [hold, reopened(won, "it failed", NOW), again].map(({ holdId, returned }) =>
      keyedDecisionId(holdId, "eve", "k", returned),
    );
    expect([again.returned, new Set(ids).size]).toEqual([2, 3]);
    expect(ids[0]).toBe(keyedDecisionId(hold.holdId, "eve", "k"));
  });

  it("is not of an earlier holder: neither the decision nor the hold that came back is anything for that one", () => {
    const handed = handedTo(won, 4, given);
    const back = handed && reopened(handed, "it failed", NOW);
    if (!back) throw new Error("it was handed over");
    const isLost = expect.objectContaining({ code: "lost" }) as Error;
    expect(() => handedTo(decided(back, decision), 3, queued)).toThrow(isLost);
    expect(() => assertNotLaterThan(3, back)).toThrow(isLost);
    expect(() => assertNotLaterThan(4, back)).not.toThrow();
    // Although it is the held run's again, under the fence of that one.
    const returned = givenBack({ ...back, fence: 4 }, { runId: given, fence: 2 }, { by: 4, now: NOW });
    expect(returned).toMatchObject({ runId: given, fence: 2 });
    expect(() => assertNotLaterThan(3, returned)).toThrow(isLost);
  });

  it("is not of an earlier holder either when the hold that came back had been given to nobody before", () => {
    const returned = givenBack({ ...hold, fence: 3 }, { runId: given, fence: 2 }, { by: 4, now: NOW });
    expect(returned).toMatchObject({ runId: given, fence: 2, handedTo: 4 });
    expect(() => assertNotLaterThan(3, returned)).toThrow(expect.objectContaining({ code: "lost" }));
    expect(() => assertNotLaterThan(4, returned)).not.toThrow();
  });
});

describe("a hold that nobody has decided", () => {
  const held = {
    status: "held",
    fence: hold.fence,
    end: { checkpointId: "c", holds: [hold.holdId], interrupts: [], waiting: { reviews: 1, plain: 0 } },
  } as unknown as Run; // all that is looked at

  it("is open while its run is held, and names it under its fence", () => {
    expect(namesHold(held, hold)).toBe(true);
    expect(namesHold({ ...held, status: "running" }, hold)).toBe(false);
    expect(namesHold(held, { ...hold, holdId: holdId("1".repeat(32)) })).toBe(false);
  });

  it("is not open under the fence of another delivery, although the run names it", () => {
    expect(namesHold(held, { ...hold, fence: hold.fence + 1 })).toBe(false);
    expect(namesHold({ ...held, fence: hold.fence + 1 }, hold)).toBe(false);
  });
});

describe("a hold", () => {
  it("stays findable from its decision until its follow-up is done", () => {
    const won = decided(hold, decision("ann", { type: "approve" }));
    expect(won).toMatchObject({ state: "decided", followUpDue: true });
    expect(followedUp(won)).toMatchObject({ state: "decided", followUpDue: false, decision: won.decision });
    expect(applied(won, NOW)).toMatchObject({ state: "applied", followUpDue: false, decision: won.decision });
  });

  it("that is superseded or cancelled says why; a cancelled one stays findable if it must", () => {
    expect(superseded(hold, "asked again", NOW)).toMatchObject({
      state: "superseded",
      followUpDue: false,
      reason: "asked again",
    });
    expect(cancelledHold(hold, "bob", "new input", { now: NOW, followUpDue: true })).toMatchObject({
      state: "cancelled",
      followUpDue: true,
      reason: "new input (bob)",
    });
  });

  it("hands LangGraph the decision with the number and digest of what was shown", () => {
    const answers: fc.Arbitrary<Answer> = fc.oneof(
      fc.constant({ type: "approve" as const }),
      fc.record({ type: fc.constant("reject" as const), message: fc.string() }),
      fc.record({
        type: fc.constant("edit" as const),
        args: fc.dictionary(fc.stringMatching(/^[a-z]{1,4}$/), fc.string()),
      }),
      fc.record({ type: fc.constant("response" as const), message: fc.string() }),
    );
    fc.assert(
      fc.property(answers, (answer) => {
        const value = resumeValue(decided(hold, decision("ann", answer)));
        expect(value).toMatchObject({
          holdpoint: "answer",
          number: 1,
          digest: hold.digest,
          decidedBy: "ann",
          ...answer,
        });
      }),
    );
  });

  it("hands a plain interrupt exactly the value that was answered", () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(resumeValue(decided(hold, decision("ann", { type: "value", value: value as never })))).toEqual(value);
      }),
    );
  });

  it("without a decision resumes nothing", () => {
    expect(() => resumeValue(hold)).toThrow(/no decision/);
  });
});
