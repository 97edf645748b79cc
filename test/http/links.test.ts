/** One-tap links: one person, one answer, once and not for long; reading one decides nothing. */
import { describe, expect, it } from "vitest";
import { linkOf, linkToJson } from "../../src/core/decision-link.ts";
import { reopened } from "../../src/core/hold.ts";
import { holdId, tenantId, threadId } from "../../src/core/ids.ts";
import { openedToken, signedToken } from "../../src/core/signed-token.ts";
import { serviceEngines } from "../support/engines.ts";
import { bodyOf, sharedDesk } from "../support/review-desk.ts";
import type { Person, Review } from "../support/review-desk.ts";

describe.each(serviceEngines())("on $name", (engine) => {
  const desk = sharedDesk({ engine });

  interface Made {
    readonly path: string;
    readonly user: string;
    readonly expires_at: string;
  }

  const make = (as: Person, review: Pick<Review, "id" | "digest">, json: object) =>
    desk.call(as, "POST", `/v1/reviews/${review.id}/links`, { json: { digest: review.digest, ...json } });
  const link = async (as: Person, review: Review, json: object): Promise<string> =>
    (await bodyOf<Made>(await make(as, review, json))).path;

  /** Without any credential but the path. */
  const tap = (path: string, comment?: string): Promise<Response> =>
    fetch(`${desk.service.app.url}${path}`, {
      method: "POST",
      ...(comment === undefined ? {} : { body: new URLSearchParams({ comment }) }),
    });
  const look = (path: string): Promise<Response> => fetch(`${desk.service.app.url}${path}`);

  describe("a link", () => {
    it("shows what it decides, decides nothing when it is read, and decides when its form is sent", async () => {
      const review = await desk.raise();
      const path = await link("ann", review, { decision: "approve" });
      for (let i = 0; i < 3; i++) {
        const shown = await look(path);
        expect([shown.status, shown.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
        const html = await shown.text();
        for (const part of [
          "Approve: Refund",
          "ann",
          '<form method="post">',
          '<html lang="en">',
          '<label for="comment">',
        ])
          expect(html).toContain(part);
      }
      expect((await desk.get(review.id)).state).toBe("pending");
      const done = await tap(path);
      expect([done.status, await done.text()]).toEqual([200, expect.stringContaining("approve by ann")]);
      expect((await desk.get(review.id)).decision).toMatchObject({ type: "approve", by: "ann", cause: null });
      expect(await desk.logOf(review)).toEqual([JSON.stringify({ type: "approve", decidedBy: "ann" })]);
    });

    it("counts once: however often it is sent the first answer stands, and reading it says so", async () => {
      const review = await desk.raise({ quorum: 2 });
      const path = await link("ann", review, { decision: "approve" });
      const taps = await Promise.all(["a", "b", "c", "d"].map((comment) => tap(path, comment)));
      expect(taps.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
      expect((await desk.get(review.id))["votes"]).toHaveLength(1);
      const again = await look(path);
      expect([again.status, await again.text()]).toEqual([410, expect.stringContaining("has been used")]);
      expect((await desk.decide("ann", review, { type: "approve" })).status).toBe(403);
    });

    it("is used up also where its answer comes back, because nobody could carry it on", async () => {
      const review = await desk.raise();
      const path = await link("ann", review, { decision: "approve" });
      await tap(path);
      const [thread = "", hold = ""] = review.id.split(".");
      const ref = { tenant: tenantId("acme"), threadId: threadId(thread) };
      const { holds } = desk.service.deps;
      const used = await holds.update(ref, holdId(hold), (now) => reopened(now, "it failed", 1));
      expect(used?.value.state).toBe("pending");
      const again = await tap(path);
      expect([again.status, await again.text()]).toEqual([410, expect.stringContaining("has been used")]);
    });

    it("to reject asks for a reason", async () => {
      const review = await desk.raise();
      const path = await link("ann", review, { decision: "reject" });
      expect(await (await look(path)).text()).toContain("required");
      expect((await tap(path)).status).toBe(422);
      expect((await tap(path, " ")).status).toBe(422);
      expect((await tap(path, "x".repeat(4_001))).status).toBe(422);
      expect((await tap(path, "too much")).status).toBe(200);
      expect((await desk.get(review.id)).decision).toMatchObject({ type: "reject", by: "ann", comment: "too much" });
    });

    it("is a page without anything to execute, whatever graphs wrote, that nobody keeps or frames", async () => {
      const html = `<script>alert(1)</script><img src=x onerror="alert(1)">'"&`;
      const review = await desk.raise({ title: html, description: html, args: { note: `</pre>${html}` } });
      const shown = await look(await link("ann", review, { decision: "reject" }));
      const body = await shown.text();
      expect(body).not.toMatch(/<script|<img|onerror="|<\/pre>&lt;|javascript:/);
      expect(body).toContain("&lt;script&gt;alert(1)&lt;/script&gt;");
      expect(body.match(/<\/?pre>/g)).toHaveLength(4);
      expect(shown.headers.get("content-security-policy")).toMatch(/default-src 'none'.*frame-ancestors 'none'/);
      expect(shown.headers.get("cache-control")).toBe("no-store");
      expect(shown.headers.get("referrer-policy")).toBe("no-referrer");
    });

    it("that has expired, or shows what is not asked any more, says so and decides nothing", async () => {
      const review = await desk.raise();
      const path = await link("ann", review, { decision: "approve" });
      const { callbacks } = desk.service.deps;
      const opened = await callbacks.openLink(path.split("/").at(-1) ?? "");
      if (!opened) throw new Error("no link");
      const at = (token: string): string => `/v1/links/${token}`;
      const expired = at(await callbacks.signLink({ ...opened, id: "e", expiresAt: 1 }));
      const stale = at(await callbacks.signLink({ ...opened, id: "s", digest: "0".repeat(64) }));
      for (const [bad, status, text] of [
        [expired, 410, "has expired"],
        [stale, 412, "has changed"],
      ] as const)
        for (const response of [await look(bad), await tap(bad)])
          expect([response.status, await response.text()]).toEqual([status, expect.stringContaining(text)]);
      expect((await desk.get(review.id)).state).toBe("pending");
      await desk.decide("bob", review, { type: "reject", comment: "no" });
      const late = await tap(path);
      expect([late.status, await late.text()]).toEqual([409, expect.stringContaining("reject by bob")]);
    });

    it("that nobody signed is 404, and so is one that was signed for something else", async () => {
      const review = await desk.raise();
      const path = await link("ann", review, { decision: "approve" });
      const [version, said = "", signature = ""] = (path.split("/").at(-1) ?? "").split(".");
      const forged = JSON.parse(Buffer.from(said, "base64url").toString()) as object;
      const other = Buffer.from(JSON.stringify({ ...forged, user: "bob" })).toString("base64url");
      for (const token of [`${version}.${other}.${signature}`, `${version}.${said}.`, `c1.${said}.${signature}`, "x"])
        for (const response of [await look(`/v1/links/${token}`), await tap(`/v1/links/${token}`)])
          expect(response.status).toBe(404);
      const arrived = await desk.call("sam", "POST", `/v1/callbacks/${version}.${said}.${signature}`, { json: {} });
      expect(arrived.status).toBe(404);
      expect((await desk.get(review.id)).state).toBe("pending");
    });
  });

  describe("a token in a path", () => {
    it.each(["/v1/callbacks/c1.secret-token.x", "/v1/links/l1.secret-token.x"])("is never logged: %s", async (path) => {
      const before = desk.service.app.log.lines.length;
      await desk.call("sam", "PUT", path, { json: {} });
      await desk.call("sam", "POST", path, { json: {} });
      const lines = desk.service.app.log.lines.slice(before);
      expect(lines.length).toBeGreaterThan(0);
      expect(JSON.stringify(lines)).not.toContain("secret-token");
    });
  });

  describe("who may make one", () => {
    it("is a reviewer for themselves, with the groups they are in; the policy of the review holds", async () => {
      const review = await desk.raise({ groups: ["payments"] });
      expect((await make("cleo", review, { decision: "approve" })).status).toBe(403);
      expect((await make("cleo", review, { decision: "approve", groups: ["payments"] })).status).toBe(422);
      expect((await make("cleo", review, { decision: "approve", user: "ann", groups: ["payments"] })).status).toBe(403);
      expect((await make("vic", review, { decision: "approve" })).status).toBe(403);
      expect((await make("gustav", review, { decision: "approve" })).status).toBe(404);
      expect((await tap(await link("ann", review, { decision: "approve" }))).status).toBe(200);
    });

    it("is a notifier for whom it names; four eyes and quorum hold for that person", async () => {
      const eyes = await desk.raise({ fourEyes: true });
      expect((await make("nora", eyes, { decision: "approve", user: "sam" })).status).toBe(403);
      for (const user of ["policy:small@1", "holdpoint:time"])
        expect((await make("nora", eyes, { decision: "approve", user })).status).toBe(422);
      expect((await tap(await link("nora", eyes, { decision: "approve", user: "bob" }))).status).toBe(200);
      expect((await desk.get(eyes.id)).decision).toMatchObject({ by: "bob" });
      const two = await desk.raise({ quorum: 2 });
      const [first, second] = await Promise.all(
        [1, 2].map(() => link("nora", two, { decision: "approve", user: "ann" })),
      );
      expect((await tap(first ?? "")).status).toBe(200);
      expect((await tap(second ?? "")).status).toBe(403);
      expect((await desk.get(two.id)).state).toBe("pending");
      expect((await desk.decide("nora", two, { type: "approve" })).status).toBe(403);
    });

    it("is no notifier for itself, whether it names nobody or its own name", async () => {
      const review = await desk.raise();
      for (const user of [{}, { user: "nora" }, { user: "nora", groups: ["payments"] }]) {
        const refused = await make("nora", review, { decision: "approve", ...user });
        expect([refused.status, await refused.text()]).toEqual([422, expect.stringContaining("body.user")]);
      }
    });

    it("is not an admin for others: one who decides is not several people", async () => {
      const review = await desk.raise({ quorum: 2, fourEyes: true });
      expect((await make("sam", review, { decision: "approve", user: "bob" })).status).toBe(403);
      expect((await make("sam", await desk.raise(), { decision: "approve" })).status).toBe(201);
    });

    it("is on the record, and so is whose link an answer came with", async () => {
      const review = await desk.raise();
      await tap(await link("nora", review, { decision: "approve", user: "bob" }));
      const { items } = await bodyOf<{ readonly items: readonly object[] }>(
        await desk.call("sam", "GET", `/v1/audit?review_id=${review.id}`),
      );
      expect(items).toHaveLength(2);
      expect(items).toEqual(
        expect.arrayContaining([
          expect.objectContaining({
            action: "link",
            actor: "nora",
            detail: expect.objectContaining({ user: "bob" }) as object,
          }),
          expect.objectContaining({
            action: "approve",
            actor: "bob",
            detail: expect.objectContaining({ link_by: "nora" }) as object,
          }),
        ]),
      );
    });

    it.each([
      [{ decision: "edit" }, 422],
      [{ decision: "approve", for_ms: 1 }, 422],
      [{ decision: "approve", for_ms: 25 * 3_600_000 }, 422],
      [{ decision: "approve", digest: null }, 428],
      [{ decision: "approve", digest: "0".repeat(64) }, 412],
    ])("with %j is refused: %d", async (json, status) => {
      expect((await make("ann", await desk.raise(), json)).status).toBe(status);
    });
  });

  describe("a signed token", () => {
    const secret = Buffer.from("s".repeat(32));
    const kind = { use: "link", version: "l1" };

    it("is opened by who has its secret, for the use it was signed for", () => {
      const token = signedToken(kind, { a: 1 }, secret);
      expect(openedToken(kind, token, [Buffer.from("other"), secret])).toEqual({ a: 1 });
      expect(openedToken(kind, token, [Buffer.from("other")])).toBeUndefined();
      expect(openedToken({ ...kind, use: "callback" }, token, [secret])).toBeUndefined();
    });

    it("says of a link all there is to it", () => {
      const one = {
        id: "i",
        tenant: tenantId("acme"),
        threadId: threadId("t"),
        holdId: holdId("h"),
        digest: "d",
        user: "ann",
        groups: ["g"],
        answer: "approve",
        issuedBy: "nora",
        expiresAt: 7,
      } as const;
      expect(linkOf(linkToJson(one))).toEqual(one);
    });
  });
});
