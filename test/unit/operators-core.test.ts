/** What operators' lists and verbs stand on: roles, fingerprints, and how a run ends that was to be parked. */
import { describe, expect, it } from "vitest";
import { fingerprint, normalised } from "../../src/core/fingerprint.ts";
import { tenantId } from "../../src/core/ids.ts";
import { allows } from "../../src/core/principal.ts";
import type { Action, Role } from "../../src/core/principal.ts";
import { honouring, untouchedEnd } from "../../src/core/run.ts";

const may = (role: Role, action: Action): boolean =>
  allows({ tenant: tenantId("acme"), subject: "s", roles: [role], groups: [] }, action);

describe("roles", () => {
  it("let operators and admins stop and retry, and auditors and admins read the audit log", () => {
    const roles = ["viewer", "developer", "reviewer", "operator", "auditor", "admin"] as const;
    expect(roles.filter((role) => may(role, "runs:operate"))).toEqual(["operator", "admin"]);
    expect(roles.filter((role) => may(role, "audit:read"))).toEqual(["auditor", "admin"]);
    expect(roles.filter((role) => may(role, "runs:read"))).toEqual(roles);
  });
});

describe("a fingerprint", () => {
  const of = (message: string, node = "ship", name = "Error") => fingerprint({ name, message, node });

  it.each([
    ["order 17 is gone", "order 99 is gone"],
    ["run 0190c3a0-0000-7000-8000-000000000001 failed", "run 0190c3a0-0000-7000-8000-00000000000f failed"],
    ['no field "a" in it', 'no field "b c" in it'],
    ["at 2026-11-26T07:00:00Z: late", "at 2026-11-26 08:12:01.5+01:00: late"],
    ["GET https://a.example/x?y=1 failed", "GET http://b.example/ failed"],
    ["mail to ada@example.com bounced", "mail to bob.b@example.org bounced"],
    ["digest 5f2a90b1c3 differs", "digest 00ffab1234 differs"],
  ])("is the same for %j and %j", (one, two) => {
    expect(of(one)).toBe(of(two));
  });

  it("differs by class, by node and by what was said (negative control)", () => {
    const all = [of("no stock"), of("no money"), of("no stock", "pay"), of("no stock", "ship", "TypeError")];
    expect(new Set(all).size).toBe(4);
    expect(normalised("deadbeef is a word, decade too")).toBe("deadbeef is a word, decade too");
  });
});

describe("a run that was to be parked", () => {
  const end = untouchedEnd(0);
  const parks = { by: "ann", at: 0, reason: "wait", parks: true } as const;

  it("ends as parked when it was stopped, and as it did when it was not", () => {
    expect(honouring(parks, { status: "cancelled", end })).toMatchObject({
      status: "parked",
      error: { name: "parked", message: "parked by ann: wait" },
    });
    expect(honouring(parks, { status: "success", end }).status).toBe("success");
    expect(honouring(parks, { status: "cancelled", end, rolledBack: true }).status).toBe("cancelled");
  });

  it("is told from one that was to be cancelled (negative control)", () => {
    const { parks: _, ...cancels } = parks;
    expect(honouring(cancels, { status: "cancelled", end }).status).toBe("cancelled");
    expect(honouring(cancels, { status: "success", end }).status).toBe("cancelled");
  });
});
