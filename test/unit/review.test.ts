import { Annotation, END, START, Send, StateGraph } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { makeHoldId, resumeValue } from "../../src/core/hold.ts";
import type { Answer, Hold } from "../../src/core/hold.ts";
import { decisionId, runId } from "../../src/core/ids.ts";
import type { Json } from "../../src/core/json.ts";
import { isReviewRequest, parseAnswer, reviewRequestOf, supersedesOf } from "../../src/core/review-value.ts";
import { effect } from "../../src/graph/effect.ts";
import { review } from "../../src/graph/review.ts";
import type { ReviewAnswer } from "../../src/graph/review.ts";
import type { WaitingInterrupt } from "../../src/langgraph/drive.ts";
import { DrivenThread, interruptsOf, valuesOf } from "../support/drive-kit.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
  item: Annotation<string>({ reducer: (_, b) => b, default: () => "" }),
});
type S = typeof State.State;
type Config = LangGraphRunnableConfig;

const single = (node: (s: S, c: Config) => Promise<Partial<S>>) =>
  new StateGraph(State).addNode("x", node).addEdge(START, "x").addEdge("x", END);

/** What the runtime hands back for a review that was decided. */
function answerTo(
  interrupt: WaitingInterrupt | undefined,
  answer: Answer = { type: "approve" },
  comment?: string,
): Json {
  const raised = reviewRequestOf(interrupt?.value);
  if (!interrupt?.raisedBy || !raised) throw new Error("no review waits");
  const thread = new DrivenThread(single(async () => ({})));
  const run = thread.newRun();
  const hold: Hold = {
    ...run,
    holdId: makeHoldId({ ...run, interruptId: interrupt.id, digest: raised.digest }),
    fence: 1,
    node: "x",
    origin: "review",
    interruptId: interrupt.id,
    raisedBy: interrupt.raisedBy,
    value: interrupt.value,
    request: raised.request,
    digest: raised.digest,
    state: "decided",
    decision: {
      id: decisionId("d"),
      by: "ann",
      at: 1,
      ...(comment === undefined ? {} : { comment }),
      answer,
      continuation: runId("r"),
    },
    followUpDue: true,
    raisedAt: 1,
  };
  return resumeValue(hold);
}

const decide = (thread: DrivenThread, interrupt: WaitingInterrupt | undefined, answer?: Answer) =>
  thread.resume({ [interrupt?.id ?? ""]: answerTo(interrupt, answer) });

/** Pays `amount` after a person has approved it. */
function refunds(of: { amount: number }, paid: number[], checked = true) {
  return single(async (_, config) => {
    const args = { amount: of.amount };
    const answer = await review(config, {
      title: "Refund above limit",
      action: "refund",
      args: checked ? args : {},
      risk: "high",
    });
    await effect(config, { name: "refund", policy: "idempotent", args }, async () => paid.push(of.amount));
    return { log: [`${answer.type} by ${answer.decidedBy}`] };
  });
}

describe("a review", () => {
  it("is edited to what was approved, also where that looks like the form in which edits come", async () => {
    const args = { action: "transfer", args: { amount: 5 }, to: "eve" };
    const thread = new DrivenThread(
      single(async (_, config) => ({
        log: [JSON.stringify(await review(config, { title: "Call", action: "call", args }))],
      })),
    );
    const [asked] = interruptsOf((await thread.invoke({})).outcome);
    await decide(thread, asked, { type: "edit", args: { ...args, to: "ann" } });
    const { log } = (await valuesOf(thread)) as unknown as S;
    expect(log.map((each) => JSON.parse(each) as Json)).toEqual([
      { type: "edit", args: { ...args, to: "ann" }, decidedBy: "ann" },
    ]);
  });

  it("shows one shape that every approval interface can answer", async () => {
    const thread = new DrivenThread(
      single(async (_, config) => {
        await review(config, {
          title: "Refund above limit",
          description: "**100** to ann",
          action: "refund",
          args: { amount: 100 },
          argsSchema: { type: "object", properties: { amount: { type: "number" } } },
          risk: "high",
          groups: ["payments"],
        });
        return {};
      }),
    );
    const [asked] = interruptsOf((await thread.invoke({})).outcome);
    expect(asked?.value).toEqual({
      holdpoint: "review",
      number: 0,
      digest: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
      title: "Refund above limit",
      description: "**100** to ann",
      risk: "high",
      groups: ["payments"],
      action_requests: [
        { name: "refund", args: { amount: 100 }, arguments: { amount: 100 }, description: "**100** to ann" },
      ],
      review_configs: [
        {
          action_name: "refund",
          allowed_decisions: ["approve", "edit", "reject"],
          args_schema: { type: "object", properties: { amount: { type: "number" } } },
        },
      ],
      action_request: { action: "refund", args: { amount: 100 } },
      config: { allow_accept: true, allow_edit: true, allow_respond: true, allow_ignore: true },
    });
    expect(isReviewRequest(asked?.value)).toBe(true);
    expect(reviewRequestOf(asked?.value)?.request).toMatchObject({
      number: 0,
      action: "refund",
      groups: ["payments"],
      risk: "high",
    });
    expect(isReviewRequest({ question: "plain" })).toBe(false);
  });

  it("returns the answer, who gave it and what was said", async () => {
    const answers: ReviewAnswer[] = [];
    const graph = () =>
      single(async (_, config) => {
        answers.push(await review(config, { title: "?", action: "refund", args: { amount: 1 } }));
        return {};
      });
    const given: readonly Answer[] = [
      { type: "approve" },
      { type: "edit", args: { amount: 2 } },
      { type: "reject", message: "no" },
      { type: "response", message: "ask ann" },
    ];
    for (const answer of given) {
      const thread = new DrivenThread(graph());
      const [asked] = interruptsOf((await thread.invoke({})).outcome);
      expect((await thread.resume({ [asked?.id ?? ""]: answerTo(asked, answer, "seen") })).outcome).toEqual({
        kind: "done",
      });
    }
    expect(answers).toEqual(given.map((answer) => ({ ...answer, decidedBy: "ann", comment: "seen" })));
  });

  it("is asked again when what was approved is not what would be done now", async () => {
    const of = { amount: 100 };
    const paid: number[] = [];
    const thread = new DrivenThread(refunds(of, paid));
    const [first] = interruptsOf((await thread.invoke({})).outcome);
    of.amount = 101;
    const [second] = interruptsOf((await decide(thread, first)).outcome);
    expect(second?.value).toMatchObject({ action_request: { args: { amount: 101 } } });
    expect(second?.id).not.toBe(first?.id);
    expect(supersedesOf(second?.value)).toBe(reviewRequestOf(first?.value)?.digest);
    expect(paid).toEqual([]);
    expect((await decide(thread, second)).outcome).toEqual({ kind: "done" });
    expect(paid).toEqual([101]);
  });

  it("would pay 101 on an approval of 100 if the digest did not cover the arguments (negative control)", async () => {
    const of = { amount: 100 };
    const paid: number[] = [];
    const thread = new DrivenThread(refunds(of, paid, false));
    const [asked] = interruptsOf((await thread.invoke({})).outcome);
    of.amount = 101;
    expect((await decide(thread, asked)).outcome).toEqual({ kind: "done" });
    expect(paid).toEqual([101]);
  });

  it("does not take an older answer for a newer question that came back to the old content", async () => {
    const of = { amount: 100 };
    const paid: number[] = [];
    const thread = new DrivenThread(refunds(of, paid));
    const [first] = interruptsOf((await thread.invoke({})).outcome);
    of.amount = 101;
    const [second] = interruptsOf((await decide(thread, first)).outcome);
    of.amount = 100;
    const [third] = interruptsOf((await decide(thread, second)).outcome);
    expect(third?.value).toMatchObject({ action_request: { args: { amount: 100 } } });
    expect(paid).toEqual([]);
    expect((await decide(thread, third)).outcome).toEqual({ kind: "done" });
    expect(paid).toEqual([100]);
  });

  it("is numbered within its node, so that answers stay with their questions", async () => {
    const thread = new DrivenThread(
      single(async (_, config) => {
        const log: string[] = [];
        for (const action of ["a", "b", "c"])
          log.push(`${action} ${(await review(config, { title: action, action, args: {} })).type}`);
        return { log };
      }),
    );
    let { outcome } = await thread.invoke({});
    const ids: string[] = [];
    for (const answer of [{ type: "approve" }, { type: "reject" }, { type: "approve" }] as const) {
      const [asked] = interruptsOf(outcome);
      ids.push(asked?.id ?? "");
      ({ outcome } = await decide(thread, asked, answer));
    }
    expect(outcome).toEqual({ kind: "done" });
    expect(new Set(ids).size).toBe(3);
    const tuple = await thread.reader().getTuple({ configurable: { thread_id: thread.threadId } });
    expect(tuple?.checkpoint.channel_values["log"]).toEqual(["a approve", "b reject", "c approve"]);
  });

  it("waits in parallel Sends and subgraphs, each with its own answer", async () => {
    const sub = new StateGraph(State)
      .addNode("ask", async (s, config: Config) => ({
        log: [`${s.item} ${(await review(config, { title: s.item, action: "do", args: { item: s.item } })).type}`],
      }))
      .addEdge(START, "ask")
      .compile();
    const graph = new StateGraph(State)
      .addNode("sub", sub)
      .addConditionalEdges(START, () => ["1", "2"].map((item) => new Send("sub", { item, log: [] })), ["sub"]);
    const thread = new DrivenThread(graph);
    const waiting = interruptsOf((await thread.invoke({})).outcome);
    const byTitle = (title: string) => waiting.find(({ value }) => reviewRequestOf(value)?.request.title === title);
    const partly = await decide(thread, byTitle("2"), { type: "reject" });
    expect(interruptsOf(partly.outcome).map(({ id }) => id)).toEqual([byTitle("1")?.id]);
    expect((await decide(thread, byTitle("1"))).outcome).toEqual({ kind: "done" });
    const tuple = await thread.reader().getTuple({ configurable: { thread_id: thread.threadId } });
    expect(tuple?.checkpoint.channel_values["log"]).toEqual(["1 approve", "2 reject"]);
  });

  it("refuses to wait where nobody could answer it", async () => {
    const inner = new StateGraph(State)
      .addNode("ask", async (_, config: Config) => ({
        log: [(await review(config, { title: "?", action: "do", args: {} })).type],
      }))
      .addEdge(START, "ask")
      .compile({ checkpointer: false });
    const { outcome } = await new DrivenThread(
      new StateGraph(State).addNode("sub", inner).addEdge(START, "sub"),
    ).invoke({});
    expect(outcome).toMatchObject({ kind: "failed", error: { name: "unsupported" } });
  });
});

describe("replies to a review", () => {
  const edit: Answer = { type: "edit", args: { amount: 2 } };
  it.each<[string, Json, Answer]>([
    ["decisions: approve", { decisions: [{ type: "approve" }] }, { type: "approve" }],
    ["decisions: reject", { decisions: [{ type: "reject", message: "no" }] }, { type: "reject", message: "no" }],
    [
      "decisions: edited_action",
      { decisions: [{ type: "edit", edited_action: { name: "refund", args: { amount: 2 } } }] },
      edit,
    ],
    [
      "decisions: editedAction",
      { decisions: [{ type: "edit", editedAction: { name: "refund", args: { amount: 2 } } }] },
      edit,
    ],
    [
      "decisions: respond",
      { decisions: [{ type: "respond", message: "why?" }] },
      { type: "response", message: "why?" },
    ],
    ["list: accept", [{ type: "accept", args: null }], { type: "approve" }],
    ["list: edit", [{ type: "edit", args: { action: "refund", args: { amount: 2 } } }], edit],
    ["list: response", [{ type: "response", args: "why?" }], { type: "response", message: "why?" }],
    ["list: ignore", [{ type: "ignore", args: null }], { type: "reject" }],
    ["plain approve", { type: "approve" }, { type: "approve" }],
    ["plain edit", { type: "edit", args: { amount: 2 } }, edit],
  ])("are understood: %s", (_, reply, answer) => {
    expect(parseAnswer(reply, "refund")).toEqual(answer);
  });

  it.each<[string, Json, string]>([
    ["a bare value", "yes", "not an object"],
    ["nothing", null, "not an object"],
    ["an unknown type", { type: "maybe" }, "none of"],
    ["two answers to one action", { decisions: [{ type: "approve" }, { type: "reject" }] }, "2 replies"],
    ["an edit without arguments", { type: "edit" }, "needs the edited arguments"],
    [
      "another action",
      { decisions: [{ type: "edit", edited_action: { name: "wire", args: {} } }] },
      "may not change the action",
    ],
    ["a response without words", { type: "response" }, "needs a message"],
  ])("are refused: %s", (_, reply, message) => {
    expect(() => parseAnswer(reply, "refund")).toThrow(message);
  });
});
