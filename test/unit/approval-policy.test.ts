/** What a policy makes of a review, without anything around it. */
import { describe, expect, it } from "vitest";
import { approves, byPolicy } from "../../src/core/approval-policy.ts";
import type { ApprovalPolicy, PolicyRule } from "../../src/core/approval-policy.ts";
import { dueAt } from "../../src/core/hold-time.ts";
import { timesAgain } from "../../src/core/hold-times.ts";
import { decisionId } from "../../src/core/ids.ts";
import { holdOf } from "../support/hold.ts";

const NOW = 1_800_000_000_000;
const HOLD = holdOf({
  origin: "review",
  request: { number: 1, title: "Refund", action: "refund", args: { amount: 7 }, risk: "low" },
  times: { policyAt: NOW },
  raisedAt: NOW,
});
const RULE: PolicyRule = {
  enabled: true,
  description: "",
  action: "refund",
  args: {
    type: "object",
    properties: { amount: { type: "number", maximum: 10 } },
    required: ["amount"],
    additionalProperties: true,
  },
  maxRisk: "low",
  overrides: [],
};
const policy = (rule: Partial<PolicyRule> = {}, version = 1): ApprovalPolicy => ({
  tenant: HOLD.tenant,
  name: "small",
  version,
  rule: { ...RULE, ...rule },
  by: "sam",
  at: NOW,
});

describe("a review that policies may approve", () => {
  it("is due at once, is decided by the first policy that approves it, and is asked about no more", () => {
    expect(dueAt(HOLD)).toBe(NOW);
    const decided = byPolicy(HOLD, [policy({ action: "other" }), policy({}, 3)], NOW + 1);
    expect(decided).toMatchObject({
      state: "decided",
      followUpDue: true,
      decision: { by: "policy:small@3", cause: "policy", answer: { type: "approve" } },
    });
    expect(decided.times).toBeUndefined();
  });

  it("has the same decision, whoever comes to it", () => {
    const [one, two] = [byPolicy(HOLD, [policy()], NOW + 1), byPolicy(HOLD, [policy()], NOW + 2)];
    expect(one.decision?.id).toBe(two.decision?.id);
    expect(one.decision?.continuation).toBe(two.decision?.continuation);
  });

  it("is left to people where no policy approves it by then, with the times that it has", () => {
    const asked = byPolicy(
      { ...HOLD, times: { policyAt: NOW, settlesAt: NOW + 9 } },
      [policy({ enabled: false })],
      NOW,
    );
    expect(asked).toMatchObject({ state: "pending", times: { settlesAt: NOW + 9 } });
    expect(asked.times?.policyAt).toBeUndefined();
  });

  it("is left to people who have begun on it", () => {
    const vote = { id: decisionId("v"), by: "bob", at: NOW, answer: { type: "approve" } } as const;
    for (const begun of [{ claim: { by: "bob", until: NOW + 5 } }, { votes: [vote] }])
      expect(byPolicy({ ...HOLD, ...begun }, [policy()], NOW).state).toBe("pending");
    const over = byPolicy({ ...HOLD, claim: { by: "bob", until: NOW } }, [policy()], NOW);
    expect(over.state).toBe("decided");
  });

  it("is for people once its answer has come back", () => {
    expect(timesAgain({ policyAt: NOW, settlesAt: NOW }, NOW)).not.toHaveProperty("policyAt");
  });
});

describe("a policy", () => {
  it("is about reviews only", () => {
    expect(approves(RULE, HOLD)).toBe(true);
    for (const origin of ["interrupt", "middleware", "breakpoint", "timer", "callback"] as const)
      expect(approves(RULE, { ...HOLD, origin })).toBe(false);
  });
});
