/** Auto-approval policies: kept in versions, refused whole, tried on what people decided, and never where they do not say so. */
import { describe, expect, it } from "vitest";
import { tenantId, threadId } from "../../src/core/ids.ts";
import type { ReviewSpec } from "../../src/graph/review.ts";
import { serviceEngines } from "../support/engines.ts";
import { eventually } from "../support/eventually.ts";
import { bodyOf, sharedDesk } from "../support/review-desk.ts";
import type { Person, Review } from "../support/review-desk.ts";

describe.each(serviceEngines())("on $name", (engine) => {
  const desk = sharedDesk({ engine });

  const APPROVE = { type: "approve" };
  const upTo = (maximum: number): object => ({
    type: "object",
    properties: { amount: { type: "number", minimum: 0, maximum } },
    required: ["amount"],
    additionalProperties: false,
  });
  const small = (action: string, more: object = {}): object => ({ action, args: upTo(100), max_risk: "low", ...more });

  interface Shown {
    readonly version: number;
    readonly [field: string]: unknown;
  }

  const put = (name: string, json: object, as: Person = "sam", headers: Readonly<Record<string, string>> = {}) =>
    desk.call(as, "PUT", `/v1/policies/${name}`, { json, headers });
  const read = async <T = Shown>(path: string, as: Person = "sam"): Promise<T> =>
    bodyOf<T>(await desk.call(as, "GET", `/v1/policies/${path}`));
  const dryRun = async (policy: object, last = 100) =>
    bodyOf<Readonly<Record<string, unknown>>>(
      await desk.call("ann", "POST", "/v1/policies/dry-run", { json: { policy, last } }),
    );

  /** What becomes of a review: it is raised, and looked at once policies have been asked. */
  async function become(spec: Partial<ReviewSpec>): Promise<Review> {
    const { thread_id: thread } = await desk.client().threads.create();
    await desk.client().runs.wait(thread, "asks", { input: { spec } });
    return eventually(async () => {
      const holds = await desk.service.deps.holds.ofThread({ tenant: tenantId("acme"), threadId: threadId(thread) }, 0);
      const asked = holds.map(({ value }) => value).find(({ times }) => times?.policyAt === undefined);
      return asked && desk.get(`${thread}.${asked.holdId}`);
    });
  }

  describe("a policy", () => {
    it("approves what it is about, by its name and version, and the run goes on", async () => {
      await put("small-a", small("a"));
      const review = await become({ action: "a", args: { amount: 100 }, risk: "low" });
      expect(review.decision).toMatchObject({ type: "approve", by: "policy:small-a@1", cause: "policy" });
      expect(await desk.logOf(review)).toEqual([JSON.stringify({ type: "approve", decidedBy: "policy:small-a@1" })]);
      const late = await desk.decide("ann", review, { type: "reject", comment: "no" });
      expect([late.status, await late.json()]).toMatchObject([409, { decided_by: "policy:small-a@1" }]);
      const { items } = await bodyOf<{ readonly items: readonly object[] }>(
        await desk.call("sam", "GET", `/v1/audit?review_id=${review.id}`),
      );
      expect(items).toMatchObject([
        { kind: "decision", action: "approve", actor: "policy:small-a@1", policy: "small-a@1" },
      ]);
      const { reviewers } = await bodyOf<{ readonly reviewers: readonly { readonly reviewer: string }[] }>(
        await desk.call("sam", "GET", "/v1/reviews/statistics"),
      );
      expect(reviewers.map(({ reviewer }) => reviewer)).not.toContain("policy:small-a@1");
    });

    it.each([
      ["another action", { action: "other", args: { amount: 1 }, risk: "low" }],
      ["arguments that do not fit", { action: "b", args: { amount: 101 }, risk: "low" }],
      ["an argument that it does not know", { action: "b", args: { amount: 1, to: "me" }, risk: "low" }],
      ["an argument that is missing", { action: "b", args: {}, risk: "low" }],
      ["a text for a number", { action: "b", args: { amount: "1" }, risk: "low" }],
      ["a higher risk", { action: "b", args: { amount: 1 }, risk: "medium" }],
      ["no risk at all", { action: "b", args: { amount: 1 } }],
      ["four eyes", { action: "b", args: { amount: 1 }, risk: "low", fourEyes: true }],
      ["a quorum", { action: "b", args: { amount: 1 }, risk: "low", quorum: 2 }],
      ["groups", { action: "b", args: { amount: 1 }, risk: "low", groups: ["payments"] }],
    ] as const)("leaves %s to people", async (_, spec) => {
      await put("small-b", small("b"));
      const review = await become(spec);
      expect(review).toMatchObject({ state: "pending", decision: null });
      expect((await desk.decide("ann", review, { type: "reject", comment: "no" })).status).toBe(200);
    });

    it("is of one graph, where it names one", async () => {
      await put("small-c", small("c", { graph: "plain" }));
      expect((await become({ action: "c", args: { amount: 1 }, risk: "low" })).state).toBe("pending");
      await put("small-c", small("c", { graph: "asks" }));
      expect((await become({ action: "c", args: { amount: 1 }, risk: "low" })).decision?.by).toBe("policy:small-c@2");
    });

    it("about a graph that is not there says so when it is made and when it is tried, and is taken", async () => {
      const lost = small("w", { graph: "aks" });
      const warned = { warnings: [expect.stringMatching(/^\/graph: there is no graph aks here.*asks/) as string] };
      expect(await bodyOf<unknown>(await put("small-w", lost))).toMatchObject({ ...warned, version: 1 });
      expect(await dryRun(lost)).toMatchObject(warned);
      expect(await bodyOf<unknown>(await put("small-w", small("w", { graph: "asks" })))).toMatchObject({
        warnings: [],
      });
    });

    it("passes over groups, quorum and four eyes only where it says so", async () => {
      const guarded = { action: "d", args: { amount: 1 }, risk: "low", quorum: 2, fourEyes: true } as const;
      await put("small-d", small("d", { overrides: ["quorum"] }));
      expect((await become(guarded)).state).toBe("pending");
      await put("small-d", small("d", { overrides: ["quorum", "four_eyes"] }));
      expect((await become(guarded)).decision?.by).toBe("policy:small-d@2");
    });

    it("approves nothing once it is disabled, and its versions stay readable and audited", async () => {
      await put("small-e", small("e", { description: "the first" }));
      await put("small-e", small("e", { enabled: false, reason: "too many" }));
      expect((await become({ action: "e", args: { amount: 1 }, risk: "low" })).state).toBe("pending");
      expect(await read("small-e")).toMatchObject({ version: 2, enabled: false });
      expect(await read("small-e?version=1")).toMatchObject({ version: 1, enabled: true, description: "the first" });
      const { items } = await read<{ readonly items: readonly Shown[] }>("small-e/versions");
      expect(items.map(({ version }) => version)).toEqual([2, 1]);
      expect((await desk.call("sam", "GET", "/v1/policies/small-e?version=3")).status).toBe(404);
      const audited = await bodyOf<{ readonly items: readonly { readonly policy: string }[] }>(
        await desk.call("sam", "GET", "/v1/audit?kind=policy&limit=100"),
      );
      const own = audited.items.filter(({ policy }) => policy.startsWith("small-e@"));
      expect(own).toMatchObject([
        { action: "disable", actor: "sam", policy: "small-e@2", reason: "too many" },
        { action: "enable", actor: "sam", policy: "small-e@1" },
      ]);
    });
  });

  describe("a policy and people who decide at the same time", () => {
    it("have one winner each, and the run hears of that one", async () => {
      await put("small-r", small("r"));
      const { holds } = desk.service.deps;
      const outcomes = await Promise.all(
        Array.from({ length: 8 }, async (_, n) => {
          const { thread_id: thread } = await desk.client().threads.create();
          const spec = { action: "r", args: { amount: n }, risk: "low" };
          await desk.client().runs.wait(thread, "asks", { input: { spec } });
          const [hold] = await holds.ofThread({ tenant: tenantId("acme"), threadId: threadId(thread) }, 0);
          const raised = { id: `${thread}.${hold?.value.holdId ?? ""}`, digest: hold?.value.digest ?? "" };
          const answers = await Promise.all(
            (["ann", "bob"] as const).map((who) =>
              desk.call(who, "POST", `/v1/reviews/${raised.id}/decisions`, {
                json: { type: "reject", comment: "no", digest: raised.digest },
              }),
            ),
          );
          const won = answers.filter(({ status }) => status === 200).length;
          const review = await eventually(async () => {
            const now = await desk.get(raised.id);
            return now.state === "applied" && now;
          });
          const { type, by } = review.decision ?? {};
          const [said = ""] = await desk.logOf(review);
          expect(said).toContain(`"decidedBy":"${by}"`);
          expect(said).toContain(`"type":"${type}"`);
          expect(won).toBe(type === "reject" ? 1 : 0);
          return type;
        }),
      );
      expect(outcomes).toHaveLength(8);
    });
  });

  describe("changing a policy", () => {
    it.each([
      [{ args: { type: "array" } }, "/args/type"],
      [
        { args: { type: "object", additionalProperties: false, properties: { amount: { maximum: 100 } } } },
        "/args/properties/amount/type",
      ],
      [
        {
          args: {
            type: "object",
            additionalProperties: false,
            properties: { amount: { type: "number", maximun: 100 } },
          },
        },
        "/args/properties/amount/maximun",
      ],
      [
        {
          args: {
            type: "object",
            additionalProperties: false,
            properties: { to: { type: "string", pattern: "(a+)+$" } },
          },
        },
        "/args/properties/to/pattern",
      ],
      [
        { args: { type: "object", additionalProperties: false, properties: { "a/b": { enum: [] } } } },
        "/args/properties/a~1b/enum",
      ],
      [
        { args: { type: "object", additionalProperties: false, properties: { x: { type: "string", enum: ["a"] } } } },
        "/args/properties/x/type",
      ],
      [
        { args: { type: "object", properties: { amuont: { type: "number", maximum: 1 } } } },
        "/args/additionalProperties",
      ],
      [
        { args: { type: "object", properties: {}, required: ["amout"], additionalProperties: false } },
        "/args/required/0",
      ],
      [{ max_risk: "none" }, "/max_risk"],
      [{ overrides: ["everything"] }, "/overrides/0"],
      [{ action: undefined }, "/action"],
    ])("refuses a mistake whole, with its pointer, and the old one stays: %j", async (mistake, pointer) => {
      await put("sound", small("f"));
      const before = await read("sound");
      const refused = await put("sound", { ...small("f"), ...mistake });
      const { errors } = (await refused.json()) as { readonly errors: readonly { readonly pointer: string }[] };
      expect([refused.status, errors.map((error) => error.pointer)]).toEqual([422, [pointer]]);
      expect(await read("sound")).toEqual(before);
      expect(
        (await desk.call("ann", "POST", "/v1/policies/dry-run", { json: { policy: { ...small("f"), ...mistake } } }))
          .status,
      ).toBe(422);
    });

    it("refuses a field that it does not know, and a name that is none", async () => {
      expect((await put("sound", { ...small("f"), aproves: true })).status).toBe(422);
      expect((await put("Not%20A%20Name", small("f"))).status).toBe(422);
    });

    it("heeds the version that it is to replace, and makes each version once however many write", async () => {
      expect((await put("raced", small("g"), "sam", { "if-match": '"1"' })).status).toBe(412);
      const etag = (await put("raced", small("g"))).headers.get("etag") ?? "";
      const all = await Promise.all([1, 2, 3, 4].map((n) => put("raced", small("g", { description: `${n}` }))));
      const versions = await Promise.all(all.map(async (response) => (await bodyOf<Shown>(response)).version));
      expect(versions.toSorted((a, b) => a - b)).toEqual([2, 3, 4, 5]);
      expect((await put("raced", small("g"), "sam", { "if-match": etag })).status).toBe(412);
      const { items } = await read<{ readonly items: readonly Shown[] }>("raced/versions");
      expect(items.map(({ version }) => version)).toEqual([5, 4, 3, 2, 1]);
    });

    it("is for admins; others read, and another tenant sees none of it", async () => {
      expect((await put("mine", small("h"), "ann")).status).toBe(403);
      await put("mine", small("h"));
      expect(await read("mine", "vic")).toMatchObject({ version: 1 });
      expect((await desk.call("gustav", "GET", "/v1/policies/mine")).status).toBe(404);
      expect(await bodyOf(await desk.call("gustav", "GET", "/v1/policies"))).toMatchObject({ items: [] });
      expect(await bodyOf(await put("mine", small("h"), "gustav"))).toMatchObject({ version: 1 });
      expect((await desk.call("sam", "GET", "/v1/policies/nobodys")).status).toBe(404);
    });
  });

  describe("a dry run", () => {
    it("says what a policy would have approved of what people decided, and where they did not", async () => {
      const raise = (amount: number) => desk.raise({ action: "dry", args: { amount }, risk: "low" });
      const [agreed, rejected, edited, large] = [await raise(10), await raise(20), await raise(30), await raise(1000)];
      await desk.decide("ann", agreed, APPROVE);
      await desk.decide("ann", rejected, { type: "reject", comment: "fraud" });
      await desk.decide("bob", edited, { type: "edit", args: { amount: 3 }, comment: "less" });
      await desk.decide("bob", large, { type: "reject", comment: "too much" });
      const open = await raise(40);
      await expect.poll(async () => (await dryRun(small("dry")))["approves"]).toBe(3);
      const report = await dryRun(small("dry"));
      expect(report).toMatchObject({ approves: 3, agreements: 1, disagreements: 2 });
      const disagreed = report["disagreed"] as readonly { readonly review_id: string }[];
      expect(new Set(disagreed.map((each) => each.review_id))).toEqual(new Set([rejected.id, edited.id]));
      expect(disagreed).toEqual(
        expect.arrayContaining([expect.objectContaining({ review_id: rejected.id, decision: "reject", by: "ann" })]),
      );
      expect(await dryRun(small("dry"), 1)).toMatchObject({ reviews: 1 });
      expect((await desk.get(open.id)).state).toBe("pending");
      expect((await desk.call("sam", "GET", "/v1/policies/dry")).status).toBe(404);
    });
  });
});
