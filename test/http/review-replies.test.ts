/**
 * What is shown by each approval interface of the LangGraph world, and what it answers: its requests in their order, as it
 * sends them. None of them knows anything of us.
 */
import { describe, expect, it } from "vitest";
import { bodyOf, sharedDesk } from "../support/review-desk.ts";
import type { Review } from "../support/review-desk.ts";

const desk = sharedDesk();

const APPROVED = { type: "approve", decidedBy: "sam" };
const EDITED = { type: "edit", args: { amount: 7 }, decidedBy: "sam" };

interface Interrupted {
  readonly interrupts: Readonly<Record<string, readonly { readonly value: Readonly<Record<string, unknown>> }[]>>;
}

interface State {
  readonly next: readonly string[];
  readonly checkpoint: object;
}

const post = (path: string, json: object): Promise<Response> => desk.call("sam", "POST", path, { json });
const get = async <T>(path: string): Promise<T> => bodyOf<T>(await desk.call("sam", "GET", path));

/** What the graph was told, once its thread is at rest. */
async function toldOf(thread: string): Promise<unknown> {
  const runs = await desk.client().runs.list(thread);
  await Promise.all(runs.map(({ run_id: run }) => desk.client().runs.join(thread, run)));
  const { values } = await desk.client().threads.getState<{ readonly log?: readonly string[] }>(thread);
  return JSON.parse(values.log?.at(-1) ?? "null") as unknown;
}

/** The one interrupt that a thread shows. */
async function shownOn({ thread_id: thread }: Review): Promise<Readonly<Record<string, unknown>>> {
  const { interrupts } = await get<Interrupted>(`/threads/${thread}`);
  const all = Object.values(interrupts).flat();
  expect(all).toHaveLength(1);
  return all[0]?.value ?? {};
}

describe("agent-inbox", () => {
  const found = async (review: Review): Promise<void> => {
    const search = { offset: 0, limit: 100, status: "interrupted", metadata: { graph_id: "asks" } };
    const threads = await bodyOf<readonly { readonly thread_id: string }[]>(await post("/threads/search", search));
    expect(threads.map(({ thread_id: id }) => id)).toContain(review.thread_id);
    await get(`/threads/${review.thread_id}`);
    await get(`/threads/${review.thread_id}/state`);
    expect(await shownOn(review)).toMatchObject({
      action_request: { action: "refund", args: { amount: 100 } },
      config: { allow_accept: true, allow_edit: true, allow_respond: true, allow_ignore: true },
    });
  };
  const answered = async ({ thread_id: thread }: Review, reply: object): Promise<unknown> => {
    const body = { assistant_id: "asks", stream_mode: "events", command: { resume: [reply] } };
    const response = await post(`/threads/${thread}/runs/stream`, body);
    expect(response.status).toBe(200);
    // By these it shows which node is at work.
    expect(await response.text()).toMatch(/^event: events\ndata: \{"event":"on_chain_start".*"langgraph_node":"ask"/m);
    return toldOf(thread);
  };

  it.each([
    [{ type: "accept", args: null }, APPROVED],
    [{ type: "accept", args: { action: "refund", args: { amount: 100 } } }, APPROVED],
    [{ type: "edit", args: { action: "refund", args: { amount: 7 } } }, EDITED],
    [
      { type: "response", args: "ask the customer" },
      { type: "response", message: "ask the customer", decidedBy: "sam" },
    ],
    [
      { type: "ignore", args: null },
      { type: "reject", decidedBy: "sam" },
    ],
  ])("answers %j", async (reply, told) => {
    const review = await desk.raise();
    await found(review);
    expect(await answered(review, reply)).toEqual(told);
    expect((await desk.get(review.id)).decision).toMatchObject({ type: told.type, by: "sam" });
  });

  it("ignores by a run of its own", async () => {
    const review = await desk.raise();
    const body = { assistant_id: "asks", command: { resume: [{ type: "ignore", args: null }] } };
    expect((await post(`/threads/${review.thread_id}/runs`, body)).status).toBe(200);
    expect(await toldOf(review.thread_id)).toEqual({ type: "reject", decidedBy: "sam" });
  });

  it("may not resolve past a review: that is refused, and the review waits", async () => {
    const review = await desk.raise();
    const body = { values: null, as_node: "__end__" };
    expect((await post(`/threads/${review.thread_id}/state`, body)).status).toBe(409);
    expect((await desk.get(review.id)).state).toBe("pending");
  });

  it("resolves a plain interrupt, which is on the record as cancelled", async () => {
    const review = await desk.raise({ action_request: { action: "mail", args: {} } } as object, "plain");
    const body = { values: null, as_node: "__end__" };
    expect((await post(`/threads/${review.thread_id}/state`, body)).status).toBe(200);
    expect((await get<{ readonly status: string }>(`/threads/${review.thread_id}`)).status).toBe("idle");
    expect((await desk.get(review.id)).state).toBe("cancelled");
  });

  it("answers a plain interrupt of its own form with the list that its graph expects", async () => {
    const spec = { action_request: { action: "mail", args: {} }, config: { allow_accept: true } };
    const review = await desk.raise(spec as object, "plain");
    expect(review["origin"]).toBe("interrupt");
    const reply = [{ type: "accept", args: null }];
    const body = { assistant_id: "plain", command: { resume: reply } };
    expect((await post(`/threads/${review.thread_id}/runs/wait`, body)).status).toBe(200);
    expect(await toldOf(review.thread_id)).toEqual(reply);
  });
});

describe("agent-chat-ui", () => {
  const answered = async ({ thread_id: thread }: Review, decision: object): Promise<unknown> => {
    const body = {
      assistant_id: "asks",
      input: {},
      command: { resume: { decisions: [decision] } },
      stream_mode: ["values"],
      stream_subgraphs: true,
      stream_resumable: true,
    };
    const response = await post(`/threads/${thread}/runs/stream`, body);
    expect(response.status).toBe(200);
    await response.text();
    return toldOf(thread);
  };

  it.each([
    [{ type: "approve" }, APPROVED],
    [
      { type: "reject", message: "no" },
      { type: "reject", message: "no", decidedBy: "sam" },
    ],
    [{ type: "edit", edited_action: { name: "refund", args: { amount: 7 } } }, EDITED],
  ])("answers %j", async (decision, told) => {
    const review = await desk.raise();
    expect((await desk.call("sam", "GET", "/info")).status).toBe(200);
    expect((await post("/threads/search", { limit: 100, metadata: { graph_id: "asks" } })).status).toBe(200);
    expect((await post(`/threads/${review.thread_id}/history`, { limit: 10 })).status).toBe(200);
    expect(await shownOn(review)).toMatchObject({
      action_requests: [{ name: "refund", args: { amount: 100 } }],
      review_configs: [{ action_name: "refund", allowed_decisions: ["approve", "edit", "reject"] }],
    });
    expect(await answered(review, decision)).toEqual(told);
  });

  const END = { assistant_id: "asks", command: { goto: "__end__" } };

  it("may not mark a review as resolved; of a plain interrupt it is asked again, as LangGraph does", async () => {
    const review = await desk.raise();
    expect((await post(`/threads/${review.thread_id}/runs/stream`, END)).status).toBe(409);
    expect((await desk.get(review.id)).state).toBe("pending");
    const plain = await desk.raise({ title: "why?" }, "plain");
    const resolved = await post(`/threads/${plain.thread_id}/runs/stream`, { ...END, assistant_id: "plain" });
    expect(resolved.status).toBe(200);
    await resolved.text();
    const open = await desk.openOf(plain.thread_id);
    expect(open.map(({ state }) => state)).toEqual(["pending"]);
    expect(open[0]?.id).not.toBe(plain.id);
    expect((await desk.get(plain.id)).state).toBe("cancelled");
  });

  it("regenerates an answer from the checkpoint before it, and is asked anew", async () => {
    const review = await desk.raise();
    await answered(review, { type: "approve" });
    const path = `/threads/${review.thread_id}`;
    const history = await bodyOf<readonly State[]>(await post(`${path}/history`, { limit: 10 }));
    const asking = history.find(({ next }) => next[0] === "ask")?.checkpoint;
    expect(asking).toBeDefined();
    const body = {
      assistant_id: "asks",
      input: null,
      checkpoint: asking,
      stream_mode: ["values"],
      stream_subgraphs: true,
    };
    const again = await post(`${path}/runs/stream`, { ...body, stream_resumable: true });
    expect([again.status, await again.text()]).toEqual([200, expect.stringContaining("__interrupt__")]);
    const [other] = await desk.openOf(review.thread_id);
    if (!other) throw new Error("nothing is asked");
    expect(other.id).not.toBe(review.id);
    expect(await answered(other, { type: "reject", message: "no" })).toMatchObject({ type: "reject", message: "no" });
  });

  it("is refused with 422 for an edit that changes the action, and for two answers to one question", async () => {
    const review = await desk.raise();
    const path = `/threads/${review.thread_id}/runs/stream`;
    for (const decisions of [
      [{ type: "edit", edited_action: { name: "pay", args: {} } }],
      [{ type: "approve" }, { type: "approve" }],
      [{ type: "whatever" }],
      [],
    ])
      expect((await post(path, { assistant_id: "asks", command: { resume: { decisions } } })).status).toBe(422);
    expect((await desk.get(review.id)).state).toBe("pending");
  });
});

describe("deep-agents-ui", () => {
  const listed = async (): Promise<void> => {
    const search = { sort_by: "updated_at", sort_order: "desc", status: "interrupted", limit: 20 };
    expect((await post("/threads/search", search)).status).toBe(200);
    const [assistant] = await bodyOf<readonly { readonly assistant_id: string }[]>(
      await post("/assistants/search", { graph_id: "asks" }),
    );
    expect(await get(`/assistants/${assistant?.assistant_id}`)).toMatchObject({ graph_id: "asks" });
  };

  it.each([
    [{ type: "approve" }, APPROVED],
    [
      { type: "reject", message: "no" },
      { type: "reject", message: "no", decidedBy: "sam" },
    ],
    [{ type: "edit", editedAction: { name: "refund", args: { amount: 7 } } }, EDITED],
    [{ type: "edit", edited_action: { name: "refund", args: { amount: 7 } } }, EDITED],
  ])("answers %j, by interrupt id and without", async (decision, told) => {
    for (const isById of [true, false]) {
      const review = await desk.raise();
      await listed();
      const reply = { decisions: [decision] };
      const resume = isById ? { [review.interrupt_id]: reply } : reply;
      const body = { assistant_id: "asks", input: {}, command: { resume }, stream_mode: ["values", "messages-tuple"] };
      const response = await post(`/threads/${review.thread_id}/runs/stream`, body);
      expect(response.status).toBe(200);
      await response.text();
      expect(await toldOf(review.thread_id)).toEqual(told);
    }
  });

  it("edits files in the state of a thread that rests, and of none that waits for a person", async () => {
    const review = await desk.raise();
    const files = { values: { log: ["edited by hand"] } };
    expect((await post(`/threads/${review.thread_id}/state`, files)).status).toBe(409);
    expect((await desk.decide("ann", review, { type: "approve" })).status).toBe(200);
    await desk.logOf(review);
    expect((await post(`/threads/${review.thread_id}/state`, files)).status).toBe(200);
    const { values } = await desk.client().threads.getState<{ readonly log: readonly string[] }>(review.thread_id);
    expect(values.log.at(-1)).toBe("edited by hand");
  });

  it("goes step by step, and a breakpoint is a question that it passes without an answer", async () => {
    const { thread_id: thread } = await desk.client().threads.create();
    const run = { assistant_id: "asks", input: {}, interrupt_before: ["ask"], interrupt_after: ["ask"] };
    expect((await post(`/threads/${thread}/runs/wait`, run)).status).toBe(200);
    expect(await get(`/threads/${thread}/state`)).toMatchObject({ next: ["ask"] });
    expect(await desk.openOf(thread)).toMatchObject([{ origin: "breakpoint", node: "ask" }]);
    expect((await post(`/threads/${thread}/runs/wait`, { ...run, input: null })).status).toBe(200);
    expect(await desk.openOf(thread)).toMatchObject([{ origin: "review", title: "Refund" }]);
  });
});

describe("LangChain's humanInTheLoopMiddleware", () => {
  const argsSchema = { type: "object", properties: { amount: { type: "number", maximum: 50 } } };
  /** What the middleware hands to `interrupt()`, for two calls of one message. */
  const ASKED = {
    actionRequests: [
      { name: "refund", args: { amount: 100 }, description: "Tool execution requires approval" },
      { name: "mail", args: { to: "ann" } },
    ],
    reviewConfigs: [
      { actionName: "refund", allowedDecisions: ["approve", "edit", "reject"], argsSchema },
      { actionName: "mail", allowedDecisions: ["approve", "reject"] },
    ],
  };
  const raise = (asked: object = ASKED): Promise<Review> => desk.raise(asked, "plain");
  const decide = (review: Review, decisions: readonly object[], comment = "seen"): Promise<Response> =>
    desk.decide("ann", review, { type: "decisions", decisions, comment });
  const [refund] = ASKED.actionRequests;
  const ONE = { actionRequests: [refund], reviewConfigs: ASKED.reviewConfigs };

  it("becomes a review that shows its calls, and takes one decision for each in the form it accepts", async () => {
    const review = await raise();
    expect(review).toMatchObject({
      origin: "middleware",
      actions: [
        { name: "refund", args: { amount: 100 }, allowed_decisions: ["approve", "edit", "reject"] },
        { name: "mail", args: { to: "ann" } },
      ],
    });
    const given = [
      { type: "edit", args: { amount: 7 } },
      { type: "reject", message: "not now" },
    ];
    expect((await decide(review, given)).status).toBe(200);
    await desk.logOf(review);
    expect(await toldOf(review.thread_id)).toEqual({
      decisions: [
        { type: "edit", editedAction: { name: "refund", args: { amount: 7 } } },
        { type: "reject", message: "not now" },
      ],
    });
  });

  it("takes a single answer for a single call", async () => {
    const review = await raise(ONE);
    expect((await desk.decide("ann", review, { type: "approve" })).status).toBe(200);
    await desk.logOf(review);
    expect(await toldOf(review.thread_id)).toEqual({ decisions: [{ type: "approve" }] });
  });

  it.each([
    [{ decisions: [{ type: "approve" }] }],
    [[{ type: "accept", args: null }]],
    [{ decisions: [{ type: "edit", edited_action: { name: "refund", args: { amount: 7 } } }] }],
  ])("is resumed with %j in its own form", async (resume) => {
    const review = await raise(ONE);
    const body = { assistant_id: "plain", command: { resume } };
    expect((await post(`/threads/${review.thread_id}/runs/wait`, body)).status).toBe(200);
    const told = (await toldOf(review.thread_id)) as { readonly decisions: readonly { readonly type: string }[] };
    expect(["approve", "edit"]).toContain(told.decisions[0]?.type);
    expect(JSON.stringify(told)).not.toMatch(/edited_action|accept/);
  });

  it("never hears of what would fail its task for good", async () => {
    const review = await raise();
    const approve = { type: "approve" };
    for (const [decisions, pointer] of [
      [[approve], "/decisions"],
      [[approve, { type: "edit", args: { to: "bob" } }], "/decisions/1/type"],
      [[{ type: "edit", args: { amount: 99 } }, approve], "/decisions/0/args/amount"],
      [[{ type: "response", message: "hm" }, approve], "/decisions/0/type"],
    ] as const) {
      const response = await decide(review, decisions);
      expect([response.status, await response.json()]).toMatchObject([422, { errors: [{ pointer }] }]);
    }
    const resume = { decisions: [approve] };
    const path = `/threads/${review.thread_id}/runs`;
    expect((await post(path, { assistant_id: "plain", command: { resume } })).status).toBe(422);
    expect((await decide(review, [approve, approve])).status).toBe(200);
  });
});
