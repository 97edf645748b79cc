/**
 * `command.resume` of whoever may start runs: it answers a review that has no policy, on the audit log as any decision,
 * and never one whose policy asks who answers, however it is sent.
 */
import { Annotation, START, StateGraph } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import type { NodeConfig } from "../../src/graph/context.ts";
import { review } from "../../src/graph/review.ts";
import { registeredGraph } from "../../src/langgraph/registry.ts";
import { bodyOf, sharedDesk } from "../support/review-desk.ts";
import type { Person, Review } from "../support/review-desk.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});

const ask = (title: string, fourEyes: boolean) => async (_: typeof State.State, config: NodeConfig) => {
  const answer = await review(config, { title, action: "pay", args: {}, fourEyes });
  return { log: [`${title} ${answer.type}`] };
};

/** One review with a policy, and one without. */
const mixed = new StateGraph(State)
  .addNode("free", ask("free", false))
  .addNode("bound", ask("bound", true))
  .addEdge(START, "free")
  .addEdge(START, "bound")
  .compile();

const desk = sharedDesk({ graphs: [registeredGraph("mixed", mixed)] });

const APPROVE = { type: "approve" };
const send = (as: Person, thread: string, json: object): Promise<Response> =>
  desk.call(as, "POST", `/threads/${thread}/runs/wait`, { json: { assistant_id: "asks", ...json } });
const auditOf = async ({ id }: Pick<Review, "id">): Promise<readonly object[]> =>
  (await bodyOf<{ readonly items: readonly object[] }>(await desk.call("sam", "GET", `/v1/audit?review_id=${id}`)))
    .items;

describe("command.resume", () => {
  it("answers a review without policy, on the audit log as a decision of who sent it", async () => {
    const asked = await desk.raise();
    expect((await send("dora", asked.thread_id, { command: { resume: APPROVE } })).status).toBe(200);
    expect(await auditOf(asked)).toMatchObject([
      {
        kind: "decision",
        action: "approve",
        actor: "dora",
        address: expect.any(String) as string,
        detail: { digest: asked.digest },
      },
    ]);
    expect(await desk.get(asked.id)).toMatchObject({ state: "applied", decision: { type: "approve", by: "dora" } });
  });

  it("answers a plain interrupt in the same way", async () => {
    const asked = await desk.raise({}, "plain");
    expect((await send("dora", asked.thread_id, { assistant_id: "plain", command: { resume: 7 } })).status).toBe(200);
    expect(await auditOf(asked)).toMatchObject([{ kind: "decision", action: "value", actor: "dora" }]);
  });

  const POLICIES = [{ fourEyes: true }, { quorum: 2 }, { groups: ["payments"] }] as const;
  it.each(POLICIES)("never answers a review with %j, however it is sent", async (policy) => {
    const asked = await desk.raise(policy);
    const { thread_id: thread, interrupt_id: id } = asked;
    const { checkpoint } = await desk.client().threads.getState(thread);
    const history = await desk.client().threads.getHistory(thread);
    const resumes: readonly object[] = [
      { command: { resume: APPROVE } },
      { command: { resume: [{ type: "accept", args: null }] } },
      { command: { resume: { decisions: [APPROVE] } } },
      { command: { resume: { [id]: APPROVE } } },
      { command: { resume: APPROVE, update: { log: ["written"] } } },
      { command: { resume: APPROVE, goto: "__end__" } },
      { command: { resume: APPROVE }, on_pending: "cancel" },
      { command: { resume: APPROVE }, multitask_strategy: "interrupt" },
      { command: { resume: APPROVE }, checkpoint },
      ...history.map((at) => ({ command: { resume: APPROVE }, checkpoint_id: at.checkpoint.checkpoint_id })),
    ];
    for (const sent of resumes) expect([sent, (await send("sam", thread, sent)).status]).toEqual([sent, 403]);
    for (const sent of [{ command: { goto: "__end__" } }, { command: { update: { log: ["x"] } } }, { input: {} }])
      expect([sent, (await send("sam", thread, sent)).status]).toEqual([sent, 409]);
    expect(await desk.openOf(thread)).toMatchObject([{ id: asked.id, votes: [], state: "pending" }]);
    expect(await auditOf(asked)).toEqual([]);
    expect((await desk.client().threads.getState<{ log: string[] }>(thread)).values.log ?? []).toEqual([]);
  });

  it("of a map with one of each decides neither, and without the other one that has no policy", async () => {
    const { thread_id: thread } = await desk.client().threads.create();
    await desk.client().runs.wait(thread, "mixed", { input: {} });
    const open = await desk.openOf(thread);
    const [free, bound] = ["free", "bound"].map((title) => open.find((asked) => asked["title"] === title));
    const both = { [free?.interrupt_id ?? ""]: APPROVE, [bound?.interrupt_id ?? ""]: APPROVE };
    const refused = await send("sam", thread, { assistant_id: "mixed", command: { resume: both } });
    expect(refused.status).toBe(403);
    expect(await desk.openOf(thread)).toHaveLength(2);
    const alone = { [free?.interrupt_id ?? ""]: APPROVE };
    expect((await send("sam", thread, { assistant_id: "mixed", command: { resume: alone } })).status).toBe(200);
    expect((await desk.openOf(thread)).map(({ id }) => id)).toEqual([bound?.id]);
  });
});

describe("four eyes", () => {
  it("are those of who sent the input also on a copy of the thread that somebody else lets go on", async () => {
    const asked = await desk.raise({ fourEyes: true });
    const { thread_id: copy } = await bodyOf<{ readonly thread_id: string }>(
      await desk.call("dora", "POST", `/threads/${asked.thread_id}/copy`),
    );
    expect((await send("dora", copy, { input: null })).status).toBe(200);
    const [again] = await desk.openOf(copy);
    if (!again) throw new Error("the copy does not ask");
    expect((await desk.decide("sam", again, APPROVE)).status).toBe(403);
    expect((await desk.decide("ann", again, APPROVE)).status).toBe(200);
  });
});
