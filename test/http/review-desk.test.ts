/** What people do with reviews before they decide them: find, claim, put aside, hand on, talk about, and decide several. */
import { describe, expect, it } from "vitest";
import { serviceEngines } from "../support/engines.ts";
import { eventually } from "../support/eventually.ts";
import { SseReader } from "../support/sse.ts";
import { bodyOf, sharedDesk } from "../support/review-desk.ts";
import type { Page, Person, Review } from "../support/review-desk.ts";

describe.each(serviceEngines())("on $name", (engine) => {
  const desk = sharedDesk({ engine });

  const APPROVE = { type: "approve" };
  const HOUR_MS = 3_600_000;
  const soon = (ms = HOUR_MS): string => new Date(Date.now() + ms).toISOString();

  const work = (as: Person, { id }: Review, what: string, json: object = {}): Promise<Response> =>
    desk.call(as, "POST", `/v1/reviews/${id}/${what}`, { json });

  /** Ids of every page of a list. */
  async function idsOf(query: string, as: Person = "ann"): Promise<readonly string[]> {
    const ids: string[] = [];
    for (let cursor = ""; ;) {
      const page = await bodyOf<Page>(await desk.call(as, "GET", `/v1/reviews?${query}${cursor}`));
      ids.push(...page.items.map(({ id }) => id));
      if (page.next_cursor === null) return ids;
      cursor = `&cursor=${page.next_cursor}`;
    }
  }

  describe("a claim", () => {
    it("keeps others from deciding and claiming until it is released", async () => {
      const review = await desk.raise();
      expect(await bodyOf(await work("ann", review, "claim"))).toMatchObject({ claim: { by: "ann" } });
      for (const refused of [
        await desk.decide("bob", review, APPROVE),
        await work("bob", review, "claim"),
        await work("bob", review, "release"),
        await work("bob", review, "assign", { assignee: "bob" }),
      ])
        expect(refused.status).toBe(409);
      const said = (await (await desk.decide("bob", review, APPROVE)).json()) as object;
      expect(said).toMatchObject({ claimed_by: "ann" });
      const resume = { assistant_id: "asks", command: { resume: APPROVE } };
      expect((await desk.call("sam", "POST", `/threads/${review.thread_id}/runs`, { json: resume })).status).toBe(409);
      expect((await work("ann", review, "release")).status).toBe(200);
      expect((await desk.decide("bob", review, APPROVE)).status).toBe(200);
    });

    it("ends by itself", async () => {
      const review = await desk.raise();
      await work("ann", review, "claim", { for_ms: 1000 });
      await eventually(async () => (await work("bob", review, "claim")).status === 200, "the end of the claim");
      expect((await desk.decide("ann", review, APPROVE)).status).toBe(409);
    });

    it("is won by one of many", async () => {
      const review = await desk.raise();
      const people = ["ann", "bob", "cleo", "sam"] as const;
      const answers = await Promise.all(people.map((who) => work(who, review, "claim")));
      expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 409, 409, 409]);
    });

    it("is for those only who may decide", async () => {
      const review = await desk.raise({ groups: ["payments"] });
      expect((await work("cleo", review, "claim")).status).toBe(403);
      expect((await work("vic", review, "claim")).status).toBe(403);
      expect((await work("ann", review, "claim")).status).toBe(200);
    });

    it("is not for who has answered already: it would keep the others away whose answer it needs", async () => {
      const review = await desk.raise({ quorum: 2 });
      await work("ann", review, "claim");
      expect((await desk.decide("ann", review, APPROVE)).status).toBe(200);
      expect((await work("ann", review, "claim")).status).toBe(403);
      expect(await bodyOf(await desk.decide("bob", review, APPROVE))).toMatchObject({ decision: { by: "bob" } });
    });

    it("of somebody who is away is ended by an admin of the tenant, of whatever group, and by nobody else", async () => {
      const review = await desk.raise({ groups: ["payments"] });
      await work("ann", review, "claim", { for_ms: 8 * HOUR_MS });
      for (const [who, status] of [
        ["bob", 409],
        ["cleo", 403],
        ["gustav", 404],
        ["sam", 200],
      ] as const)
        expect([who, (await work(who, review, "release")).status]).toEqual([who, status]);
      expect((await work("sam", review, "claim")).status).toBe(403);
      expect((await desk.decide("bob", review, APPROVE)).status).toBe(200);
    });

    it("and everything else is refused once the review is decided", async () => {
      const review = await desk.raise();
      await desk.decide("ann", review, APPROVE);
      for (const [what, json] of [
        ["claim", {}],
        ["snooze", { until: null }],
        ["comments", { text: "late" }],
      ] as const)
        expect((await work("ann", review, what, json)).status).toBe(409);
    });
  });

  describe("a list of reviews", () => {
    it("is filtered by what is asked, who may decide, and where it comes from", async () => {
      const one = await desk.raise({ action: "wire", risk: "high", groups: ["payments"], tags: ["emea", "q4"] });
      const two = await desk.raise({ action: "wire", risk: "low" });
      const other = await desk.raise({ action: "mail", risk: "high" });
      expect(await idsOf("action=wire&limit=1")).toEqual([one.id, two.id]);
      expect(await idsOf("action=wire&risk=high")).toEqual([one.id]);
      expect(await idsOf("group=payments&tag=q4&graph=asks&node=ask")).toEqual([one.id]);
      expect(await idsOf("action=mail")).toEqual([other.id]);
      expect(await idsOf("action=wire&graph=plain")).toEqual([]);
      expect(await idsOf(`action=wire&raised_after=${String(two["raised_at"])}`)).toEqual([two.id]);
      expect(await idsOf(`action=wire&raised_before=${String(two["raised_at"])}`)).toEqual([one.id]);
      await desk.decide("ann", two, APPROVE);
      expect(await idsOf("action=wire")).toEqual([one.id]);
      expect(await idsOf("action=wire&state=done")).toEqual([two.id]);
    });

    it("is filtered by when they are due, and so are its counts", async () => {
      const [soonDue, laterDue] = await Promise.all([
        desk.raise({ action: "due", dueInMs: HOUR_MS }),
        desk.raise({ action: "due", dueInMs: 3 * HOUR_MS }),
        desk.raise({ action: "due" }),
      ]);
      const counted = async (query: string) =>
        (await bodyOf<{ readonly open: number }>(await desk.call("ann", "GET", `/v1/reviews/counts?${query}`))).open;
      for (const [hours, ids] of [
        [0.5, []],
        [2, [soonDue.id]],
        [4, [soonDue.id, laterDue.id]],
      ] as const) {
        const query = `action=due&due_before=${soon(hours * HOUR_MS)}`;
        expect((await idsOf(query)).toSorted()).toEqual(ids.toSorted());
        expect(await counted(query)).toBe(ids.length);
      }
    });

    it("knows what is mine, nobody's, and put aside, and counts it", async () => {
      const [mine, claimed, free, aside] = await Promise.all(
        Array.from({ length: 4 }, () => desk.raise({ action: "sort", risk: "medium" })),
      );
      if (!mine || !claimed || !free || !aside) throw new Error("no reviews");
      await work("bob", mine, "assign", { assignee: "ann" });
      await work("ann", claimed, "claim");
      await work("bob", aside, "snooze", { until: soon() });
      const inOrder = (ids: readonly string[]): readonly string[] => ids.toSorted();
      expect(inOrder(await idsOf("action=sort&mine=true"))).toEqual(inOrder([mine.id, claimed.id]));
      expect(inOrder(await idsOf("action=sort&assignee=ann", "bob"))).toEqual(inOrder([mine.id, claimed.id]));
      expect(await idsOf("action=sort&unassigned=true")).toEqual([free.id]);
      expect(await idsOf("action=sort&snoozed=only")).toEqual([aside.id]);
      expect(await idsOf("action=sort&snoozed=with")).toHaveLength(4);
      expect(await bodyOf(await desk.call("ann", "GET", "/v1/reviews/counts?action=sort"))).toEqual({
        open: 3,
        assigned_to_me: 2,
        unassigned: 1,
        snoozed: 1,
        by_risk: { low: 0, medium: 3, high: 0, none: 0 },
        at_least: false,
      });
      await work("bob", aside, "snooze", { until: null });
      await work("bob", mine, "assign", { assignee: null });
      expect(await idsOf("action=sort&unassigned=true")).toHaveLength(3);
    });

    it("has cursors that continue no other list", async () => {
      await Promise.all([desk.raise({ action: "page" }), desk.raise({ action: "page" })]);
      const response = await desk.call("ann", "GET", "/v1/reviews?action=page&limit=1");
      const { next_cursor: cursor } = await bodyOf<Page>(response);
      expect(response.headers.get("link")).toContain(`cursor=${cursor}`);
      expect((await desk.call("ann", "GET", `/v1/reviews?action=page&cursor=${cursor}`)).status).toBe(200);
      expect((await desk.call("ann", "GET", `/v1/reviews?action=sort&cursor=${cursor}`)).status).toBe(422);
      expect((await desk.call("gustav", "GET", `/v1/reviews?action=page&cursor=${cursor}`)).status).toBe(422);
      expect((await desk.call("ann", "GET", "/v1/reviews?risk=none")).status).toBe(422);
      expect((await desk.call("ann", "GET", "/v1/reviews?raised_after=yesterday")).status).toBe(422);
    });
  });

  it("comments stay with the review, in their order, and have a limit", async () => {
    const review = await desk.raise();
    for (const text of ["is this the third one?", "it is"]) await work("ann", review, "comments", { text });
    expect(await desk.get(review.id)).toMatchObject({
      comments: [
        { by: "ann", text: "is this the third one?" },
        { by: "ann", text: "it is" },
      ],
    });
    const more = await Promise.all(Array.from({ length: 30 }, () => work("bob", review, "comments", { text: "+1" })));
    expect(new Set(more.map(({ status }) => status))).toEqual(new Set([200, 413]));
    expect((await desk.get(review.id))["comments"]).toHaveLength(25);
  });

  describe("several reviews at once", () => {
    const decide = async (json: object, headers = {}) => {
      const response = await desk.call("ann", "POST", "/v1/reviews/decisions", { json, headers });
      return bodyOf<{ readonly items: readonly { readonly id: string; readonly status: number }[] }>(response);
    };

    it("are decided by one answer, each for itself, after a dry run that changes nothing", async () => {
      const [one, two, guarded] = await Promise.all([desk.raise(), desk.raise(), desk.raise({ groups: ["board"] })]);
      const stale = await desk.raise();
      const reviews = [
        ...[one, two, guarded].map(({ id, digest }) => ({ id, digest })),
        { id: stale.id, digest: "0".repeat(64) },
        { id: "nothing.1", digest: "d" },
      ];
      const told = [200, 200, 403, 412, 404];
      const dry = await decide({ type: "approve", reviews, dry_run: true });
      expect(dry.items.map(({ status }) => status)).toEqual(told);
      expect((await desk.get(one.id)).state).toBe("pending");
      const headers = { "idempotency-key": "batch" };
      expect((await decide({ type: "approve", reviews }, headers)).items.map(({ status }) => status)).toEqual(told);
      expect((await decide({ type: "approve", reviews }, headers)).items.map(({ status }) => status)).toEqual(told);
      for (const review of [one, two]) expect(await desk.logOf(review)).toHaveLength(1);
      expect((await desk.get(stale.id)).state).toBe("pending");
    });

    it.each([true, false])("say of each refusal what the decision of one says, with dry_run %s", async (dry) => {
      const argsSchema = { type: "object", properties: { amount: { type: "number" } } } as const;
      const [typed, taken, changed] = await Promise.all([desk.raise({ argsSchema }), desk.raise(), desk.raise()]);
      await desk.decide("bob", taken, APPROVE);
      const edit = { type: "edit", args: { amount: "1" }, comment: "less" };
      const asked = [typed, taken, { ...changed, digest: "0".repeat(64) }];
      const alone = await Promise.all(
        asked.map(async (review) => {
          const said = (await (await desk.decide("ann", review, edit)).json()) as Readonly<Record<string, unknown>>;
          const { type: _type, title: _title, trace_id: _trace, status, ...error } = said;
          return { id: review.id, status, error: { code: expect.any(String) as string, ...error } };
        }),
      );
      expect(alone.map(({ error }) => error)).toMatchObject([
        { errors: [{ pointer: "/args/amount" }] },
        { decided_by: "bob" },
        { digest: changed.digest },
      ]);
      const reviews = asked.map(({ id, digest }) => ({ id, digest }));
      expect((await decide({ ...edit, reviews, dry_run: dry })).items).toEqual(alone);
    });

    it.each([
      { type: "approve", reviews: [] },
      { type: "approve" },
      { type: "maybe", reviews: [{ id: "a", digest: "b" }] },
      {
        type: "approve",
        reviews: [
          { id: "a", digest: "b" },
          { id: "a", digest: "b" },
        ],
      },
      { type: "approve", reviews: Array.from({ length: 101 }, (_, i) => ({ id: `${i}`, digest: "d" })) },
    ])("refuses %j", async (json) => {
      expect((await desk.call("ann", "POST", "/v1/reviews/decisions", { json })).status).toBe(422);
    });
  });

  it("a stream of reviews is told what comes, changes and goes, of its own tenant and filter", async () => {
    const before = await desk.raise({ action: "live" });
    await desk.raise({ action: "dead" });
    const leaving = new AbortController();
    const { signal } = leaving;
    const response = await desk.call("ann", "GET", "/v1/reviews/stream?action=live", { signal });
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    const reader = new SseReader(response);
    const told = () => reader.events().map(({ event, data }) => ({ event, data: data as Partial<Review> }));
    const seen = (event: string, id?: string): boolean =>
      told().some((each) => each.event === event && (id === undefined || each.data.id === id));
    await eventually(async () => seen("ready"), "everything that is open");
    expect(told().map(({ event, data }) => [event, data.id])).toEqual([
      ["review", before.id],
      ["ready", undefined],
    ]);
    const next = await desk.raise({ action: "live" });
    await eventually(async () => seen("review", next.id), "the new one");
    await work("bob", next, "claim");
    const claimed = (): boolean => told().some(({ data }) => data.id === next.id && data["claim"] !== null);
    await eventually(async () => claimed(), "its claim");
    await desk.decide("ann", before, APPROVE);
    await eventually(async () => seen("gone", before.id), "the decided one to go");
    leaving.abort();
  });

  it("statistics show who approves everything, and how fast", async () => {
    const since = soon(-1);
    for (let i = 0; i < 3; i++) await desk.decide("bob", await desk.raise(), APPROVE);
    await desk.decide("cleo", await desk.raise(), { type: "reject", comment: "no" });
    await desk.decide("cleo", await desk.raise(), { type: "edit", args: { amount: 1 }, comment: "less" });
    const path = `/v1/reviews/statistics?since=${since}`;
    const { reviewers } = await bodyOf<{ readonly reviewers: readonly { readonly reviewer: string }[] }>(
      await desk.call("sam", "GET", path),
    );
    const of = (who: string) => reviewers.find(({ reviewer }) => reviewer === who);
    expect(of("bob")).toMatchObject({ answers: 3, approved: 3, approval_rate: 1, within_five_seconds: 3 });
    expect(of("cleo")).toMatchObject({ answers: 2, rejected: 1, edited: 1, approval_rate: 0 });
    expect(of("gustav")).toBeUndefined();
    expect(await bodyOf(await desk.call("gustav", "GET", path))).toMatchObject({ reviews: 0 });
  });
});
