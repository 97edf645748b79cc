/** The table of answers: what a decision on a review is told, row by row. */
import { describe, expect, it } from "vitest";
import { tenantId } from "../../src/core/ids.ts";
import type { Principal } from "../../src/core/principal.ts";
import { serviceEngines } from "../support/engines.ts";
import { bodyOf, sharedDesk } from "../support/review-desk.ts";
import type { Person, Review } from "../support/review-desk.ts";

describe.each(serviceEngines())("on $name", (engine) => {
  const desk = sharedDesk({ engine });

  const APPROVE = { type: "approve" };
  const schema = {
    type: "object",
    properties: { amount: { type: "number", maximum: 100 }, "a/b": { type: "string" } },
    required: ["amount"],
  };

  async function problem(response: Response): Promise<{ readonly status: number; readonly [fact: string]: unknown }> {
    return (await response.json()) as { readonly status: number };
  }

  describe("a decision", () => {
    it("that is the first valid one is 200, and the run goes on with it", async () => {
      const review = await desk.raise();
      const response = await desk.decide("ann", review, APPROVE);
      expect(response.status).toBe(200);
      expect(await desk.logOf(review)).toEqual([JSON.stringify({ type: "approve", decidedBy: "ann" })]);
    });

    it("with the same key and body again is 200 with the same decision, and the review as it is now", async () => {
      const review = await desk.raise();
      const headers = { "idempotency-key": "k" };
      const first = await bodyOf(await desk.decide("ann", review, APPROVE, headers));
      await desk.logOf(review);
      const again = await bodyOf(await desk.decide("ann", review, APPROVE, headers));
      expect(again.decision).toEqual(first.decision);
      expect([first.state, again.state]).toEqual(["decided", "applied"]);
      expect((await desk.decide("ann", review, { type: "reject", comment: "no" }, headers)).status).toBe(422);
      // The key is the person's own: another one's decision comes too late.
      expect((await desk.decide("bob", review, APPROVE, headers)).status).toBe(409);
    });

    it("after another one is 409 with who decided what and when", async () => {
      const review = await desk.raise();
      await desk.decide("ann", review, APPROVE);
      const response = await desk.decide("bob", review, { type: "reject", comment: "no" });
      expect(await problem(response)).toMatchObject({
        status: 409,
        decided_by: "ann",
        decision: "approve",
        decided_at: expect.stringMatching(/^\d{4}-/) as string,
      });
    });

    it("without a digest is 428, with another one 412, and with an older version 412", async () => {
      const review = await desk.raise();
      const { digest: _, ...undigested } = { ...review, digest: undefined };
      expect((await desk.decide("ann", { ...review, ...undigested }, { ...APPROVE, digest: null })).status).toBe(428);
      expect((await desk.decide("ann", review, { ...APPROVE, digest: "0".repeat(64) })).status).toBe(412);
      const shown = await desk.call("ann", "GET", `/v1/reviews/${review.id}`);
      const etag = shown.headers.get("etag") ?? "";
      await desk.call("bob", "POST", `/v1/reviews/${review.id}/comments`, { json: { text: "wait a moment" } });
      expect((await desk.decide("ann", review, APPROVE, { "if-match": etag })).status).toBe(412);
      const now = await desk.get(review.id);
      expect((await desk.decide("ann", review, APPROVE, { "if-match": `"${now.version}"` })).status).toBe(200);
    });

    it("on a cancelled review is 410 with the reason", async () => {
      const review = await desk.raise();
      const json = { assistant_id: "asks", input: { spec: {} }, on_pending: "cancel" };
      const path = `/threads/${review.thread_id}/runs/wait`;
      expect((await desk.call("sam", "POST", path, { json })).status).toBe(200);
      const response = await desk.decide("ann", review, APPROVE);
      expect(await problem(response)).toMatchObject({
        status: 410,
        state: "cancelled",
        reason: expect.stringContaining("new input") as string,
      });
    });

    it("on one that has expired is 410 with what became of it", async () => {
      const review = await desk.raise({ dueInMs: 300 });
      await expect.poll(async () => (await desk.get(review.id)).state, { timeout: 5_000 }).not.toBe("pending");
      const { status, ...facts } = await problem(await desk.decide("ann", review, APPROVE));
      expect([status, facts]).toMatchObject([410, { state: "expired", decision: "reject" }]);
    });

    it("of another tenant's review is 404", async () => {
      const review = await desk.raise();
      expect((await desk.decide("gustav", review, APPROVE)).status).toBe(404);
      for (const work of ["claim", "release"])
        expect((await desk.call("gustav", "POST", `/v1/reviews/${review.id}/${work}`, { json: {} })).status).toBe(404);
    });

    it("of who may only read is 403", async () => {
      const review = await desk.raise();
      expect((await desk.decide("vic", review, APPROVE)).status).toBe(403);
    });
  });

  describe("the policy of a review", () => {
    it("lets only its groups decide", async () => {
      const review = await desk.raise({ groups: ["payments", "board"] });
      expect((await desk.decide("cleo", review, APPROVE)).status).toBe(403);
      expect((await desk.decide("ann", review, APPROVE)).status).toBe(200);
    });

    it("does not let whoever started the run decide (four eyes)", async () => {
      const review = await desk.raise({ fourEyes: true });
      expect((await desk.decide("sam", review, APPROVE)).status).toBe(403);
      expect((await desk.decide("ann", review, APPROVE)).status).toBe(200);
      const free = await desk.raise();
      expect((await desk.decide("sam", free, APPROVE)).status).toBe(200);
    });

    it("does not let whoever started it decide where somebody else resumed it (four eyes)", async () => {
      const { thread_id: thread } = await desk.client("sam").threads.create();
      await desk.client("sam").runs.wait(thread, "both", { input: { spec: { fourEyes: true } } });
      await desk.client("dora").runs.wait(thread, "both", { command: { resume: "eve" } });
      const [review] = await desk.openOf(thread);
      if (!review) throw new Error("no review was raised");
      expect(review["started_by"]).toBe("sam");
      expect((await desk.decide("sam", review, APPROVE)).status).toBe(403);
      expect((await desk.decide("ann", review, APPROVE)).status).toBe(200);
    });

    it("takes the same answer of several people, of each once (quorum)", async () => {
      const review = await desk.raise({ quorum: 2 });
      const first = await bodyOf(await desk.decide("ann", review, APPROVE, { "idempotency-key": "a" }));
      expect(first).toMatchObject({ state: "pending", quorum: 2, votes: [{ by: "ann", type: "approve" }] });
      const again = await bodyOf(await desk.decide("ann", review, APPROVE, { "idempotency-key": "a" }));
      expect(again["votes"]).toEqual(first["votes"]);
      expect((await desk.decide("ann", review, APPROVE)).status).toBe(403);
      expect((await desk.openOf(review.thread_id)).map(({ id }) => id)).toEqual([review.id]);
      const second = await bodyOf(await desk.decide("bob", review, APPROVE));
      expect(second.decision).toMatchObject({ type: "approve", by: "bob" });
      expect(await desk.logOf(review)).toHaveLength(1);
      const auditor: Principal = { tenant: tenantId("acme"), subject: "eve", roles: ["auditor"], groups: [] };
      const { items } = await desk.service.runtime.audit.list(auditor, { review: review.id, limit: 10 });
      expect(items.map(({ content }) => [content?.actor, content?.action, content?.detail?.["vote"] === true])).toEqual(
        expect.arrayContaining([
          ["bob", "approve", false],
          ["ann", "approve", true],
        ]),
      );
      expect(items).toHaveLength(2);
    });

    it("counts only answers that are the same, and one rejection is enough", async () => {
      const review = await desk.raise({ quorum: 2 });
      await bodyOf(await desk.decide("ann", review, { type: "edit", args: { amount: 5 }, comment: "less" }));
      expect(await bodyOf(await desk.decide("bob", review, APPROVE))).toMatchObject({ state: "pending" });
      const decided = await bodyOf(await desk.decide("cleo", review, { type: "reject", comment: "no" }));
      expect(decided.decision).toMatchObject({ type: "reject", by: "cleo" });
    });

    it("is decided by one of many votes that come at once, each counted once", async () => {
      const review = await desk.raise({ quorum: 3 });
      const people = ["ann", "bob", "cleo", "sam"] as const;
      const answers = await Promise.all(
        people.flatMap((who) => [desk.decide(who, review, APPROVE), desk.decide(who, review, APPROVE)]),
      );
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(3);
      const { decision, ...rest } = await desk.get(review.id);
      const by = (rest["votes"] as { readonly by: string }[]).map((vote) => vote.by);
      expect(new Set([...by, decision?.by]).size).toBe(3);
      expect(await desk.logOf(review)).toHaveLength(1);
    });

    it.each([{ groups: ["payments"] }, { quorum: 2 }, { fourEyes: true }])(
      "%j is not passed by with command.resume: 403 that points to the review",
      async (policy) => {
        const review = await desk.raise(policy);
        const json = { assistant_id: "asks", command: { resume: APPROVE } };
        const response = await desk.call("ann", "POST", `/threads/${review.thread_id}/runs/wait`, { json });
        // A reviewer may not start runs; who may is refused for the policy.
        expect(response.status).toBe(403);
        const admin = await desk.call("sam", "POST", `/threads/${review.thread_id}/runs`, { json });
        expect(admin.status).toBe(403);
        expect((await problem(admin))["detail"]).toContain(`/v1/reviews/${review.id}`);
        expect((await desk.get(review.id)).state).toBe("pending");
      },
    );

    it("cannot be one that nobody could fulfil", async () => {
      const { thread_id: thread } = await desk.client().threads.create();
      for (const spec of [{ quorum: 0 }, { quorum: 1.5 }, { quorum: 11 }, { groups: Array<string>(17).fill("g") }])
        await expect(desk.client().runs.wait(thread, "asks", { input: { spec } })).rejects.toThrow(/invalid/);
    });
  });

  describe("an edit", () => {
    const edit = (args: object, comment = "corrected"): object => ({ type: "edit", args, comment });

    it("that does not fit the schema is 422 with JSON pointers", async () => {
      const review = await desk.raise({ argsSchema: schema });
      const response = await desk.decide("ann", review, edit({ amount: 101, "a/b": 1 }));
      const { status, errors } = await problem(response);
      expect(status).toBe(422);
      expect((errors as { readonly pointer: string }[]).map(({ pointer }) => pointer)).toEqual([
        "/args/amount",
        "/args/a~1b",
      ]);
      expect((await desk.decide("ann", review, edit({ amount: 7 }))).status).toBe(200);
      expect(await desk.logOf(review)).toEqual([expect.stringContaining('"args":{"amount":7}')]);
    });

    it("that changes the action's name is 422", async () => {
      const review = await desk.raise();
      const renamed = { type: "edit", args: { amount: 1 }, action: "pay-twice", comment: "x" };
      expect((await desk.decide("ann", review, renamed)).status).toBe(422);
      const reply = [{ type: "edit", args: { action: "pay-twice", args: { amount: 1 } } }];
      const json = { assistant_id: "asks", command: { resume: reply } };
      expect((await desk.call("sam", "POST", `/threads/${review.thread_id}/runs`, { json })).status).toBe(422);
      expect((await desk.get(review.id)).state).toBe("pending");
    });

    it("and a rejection need a comment", async () => {
      const review = await desk.raise();
      for (const answer of [
        { type: "edit", args: { amount: 1 } },
        { type: "reject" },
        { type: "reject", comment: " " },
      ])
        expect(await problem(await desk.decide("ann", review, answer))).toMatchObject({
          status: 422,
          errors: [{ pointer: "/comment" }],
        });
      expect((await desk.decide("ann", review, { type: "reject", message: "too much" })).status).toBe(200);
    });
  });

  describe("bad input", () => {
    it("a comment of 5 MB is refused, and so is one that is only long", async () => {
      const review = await desk.raise();
      const huge = await desk.decide("ann", review, { ...APPROVE, comment: "x".repeat(5_000_000) });
      expect(huge.status).toBe(413);
      expect((await desk.decide("ann", review, { ...APPROVE, comment: "x".repeat(4_001) })).status).toBe(422);
      const path = `/v1/reviews/${review.id}/comments`;
      expect((await desk.call("ann", "POST", path, { json: { text: "x".repeat(4_001) } })).status).toBe(422);
      expect((await desk.get(review.id)).state).toBe("pending");
    });

    it.each([
      ["comments", 20_000],
      ["comments", 26_000],
      ["votes", 20_000],
    ] as const)("%s fill a review about %d characters, and still it can be decided", async (what, length) => {
      const review = await desk.raise({ args: { text: "語".repeat(length) }, quorum: what === "votes" ? 10 : 1 });
      const comments = async (text: string) =>
        (await desk.call("bob", "POST", `/v1/reviews/${review.id}/comments`, { json: { text } })).status;
      const edit = (who: Person, n: number) =>
        desk.decide(who, review, { type: "edit", args: { text: `${n}${"文".repeat(10_000)}` }, comment: "shorter" });
      if (what === "votes") {
        const people = ["bob", "cleo", "sam"] as const;
        const statuses = await Promise.all(people.map(async (who, n) => (await edit(who, n)).status));
        expect(statuses).toContain(413);
      }
      for (const size of [4000, 400, 40, 1]) while ((await comments("語".repeat(size))) === 200);
      const message = { type: "reject", message: "語".repeat(10_000), comment: "語".repeat(4000) };
      expect((await desk.decide("ann", review, message)).status).toBe(200);
      expect(await desk.logOf(review)).toHaveLength(1);
    });

    it("HTML and scripts in what is asked and said are kept as data", async () => {
      const html = "<script>alert(1)</script><b>100</b>";
      const review = await desk.raise({ title: html, description: html, args: { note: html } });
      await desk.decide("ann", review, { type: "reject", comment: html });
      const shown = await desk.call("ann", "GET", `/v1/reviews/${review.id}`);
      expect(shown.headers.get("content-type")).toContain("application/json");
      expect(shown.headers.get("x-content-type-options")).toBe("nosniff");
      expect(await bodyOf(shown)).toMatchObject({
        title: html,
        description: html,
        args: { note: html },
        decision: { comment: html },
      });
    });

    it.each([
      ["claim", { for_ms: 0 }],
      ["claim", { for_ms: 9e9 }],
      ["snooze", {}],
      ["snooze", { until: "2001-01-01T00:00:00Z" }],
      ["snooze", { until: "2999-01-01T00:00:00Z" }],
      ["assign", { to: "ann" }],
      ["assign", { assignee: "" }],
      ["comments", { text: "" }],
      ["comments", { text: 7 }],
      ["release", { now: true }],
    ])("%s with %j is 422", async (work, json) => {
      const review: Review = await desk.raise();
      expect((await desk.call("ann", "POST", `/v1/reviews/${review.id}/${work}`, { json })).status).toBe(422);
    });
  });
});
