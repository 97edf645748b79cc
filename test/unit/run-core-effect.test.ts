import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { argsDigest, effectToken, nextStep } from "../../src/core/effect.ts";
import type { EffectEntry, EffectIdentity, EffectOutcome } from "../../src/core/effect.ts";
import { runId, tenantId } from "../../src/core/ids.ts";

const root = runId("00000000-0000-7000-8000-000000000001");
const identity: EffectIdentity = { tenant: tenantId("acme"), root, path: [["pay", 1, null]], name: "refund", call: 0 };
const entry = (fields: Partial<EffectEntry> = {}): EffectEntry => ({
  tenant: identity.tenant,
  root,
  token: effectToken(identity),
  name: "refund",
  policy: "unsafe",
  path: identity.path,
  argsDigest: argsDigest({ amount: 1 }),
  fence: 3,
  runId: root,
  deadline: 0,
  createdAt: 0,
  updatedAt: 0,
  ...fields,
});
const outcome: EffectOutcome = { kind: "result", value: { receipt: 1 } };
const ask = (fields: { argsDigest?: string; fence?: number } = {}) => ({
  argsDigest: argsDigest({ amount: 1 }),
  fence: 3,
  ...fields,
});

describe("an effect's token", () => {
  it("is the same for the same call and another for every other", () => {
    const part = fc.tuple(fc.string(), fc.nat(3), fc.option(fc.nat(2)));
    const identities = fc.record({
      tenant: fc.string().map(tenantId),
      root: fc.constant(root),
      path: fc.array(part, { maxLength: 3 }),
      name: fc.string(),
      call: fc.nat(3),
    });
    fc.assert(
      fc.property(identities, identities, (a, b) => {
        expect(effectToken({ ...a })).toBe(effectToken(a));
        expect(effectToken(a) === effectToken(b)).toBe(JSON.stringify(a) === JSON.stringify(b));
      }),
    );
  });

  it("does not depend on the order of its arguments' keys", () => {
    expect(argsDigest({ a: 1, b: { c: 2, d: 3 } })).toBe(argsDigest({ b: { d: 3, c: 2 }, a: 1 }));
  });
});

describe("a re-execution", () => {
  it("writes an intent where there is none", () => {
    expect(nextStep(undefined, ask())).toEqual({ do: "intend" });
  });

  it("returns a known result, under whatever fence it was recorded", () => {
    for (const fence of [1, 3, 9])
      expect(nextStep(entry({ outcome, fence }), ask())).toEqual({ do: "return", outcome });
  });

  it("never guesses an intent without a result", () => {
    expect(nextStep(entry(), ask({ fence: 4 }))).toEqual({ do: "ambiguous" });
    expect(nextStep(entry({ policy: "idempotent" }), ask({ fence: 4 }))).toEqual({ do: "call_again" });
  });

  it("refuses other arguments, result or not", () => {
    const other = ask({ argsDigest: argsDigest({ amount: 2 }), fence: 4 });
    expect(nextStep(entry(), other)).toEqual({ do: "diverged" });
    expect(nextStep(entry({ outcome }), other)).toEqual({ do: "diverged" });
  });

  it("by an overtaken worker is lost and judges nothing of the newer holder's", () => {
    expect(nextStep(entry({ fence: 4 }), ask())).toEqual({ do: "lost" });
    expect(nextStep(entry({ fence: 4 }), ask({ argsDigest: argsDigest({ amount: 2 }) }))).toEqual({ do: "lost" });
  });
});
