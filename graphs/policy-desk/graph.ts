/**
 * The policy desk: retrieve → decide → answer with citations, or propose a refund → check what was paid before → review
 * above a limit → pay → reply. While the ledger is away, checking is tried again; at last a person is asked.
 *
 * What must stay true: nothing is paid above the limit without an approval of exactly that order and amount; what is
 * paid is what was approved, the reviewer's change included; what the documents do not answer is refused.
 */
import { AIMessage, HumanMessage, ToolMessage } from "@langchain/core/messages";
import { END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { addRetry, isHoldpointError, review, toolNode } from "holdpoint/graph";
import type { NodeConfig, ReviewAnswer } from "holdpoint/graph";
import { z } from "zod";
import { askModel } from "../../tools/ask-model.ts";
import { issueRefund } from "../../tools/issue-refund.ts";
import { ledgerOf } from "../../tools/ledger.ts";
import { Listing, listRefunds } from "../../tools/list-refunds.ts";
import { retrieve } from "../../tools/retrieve.ts";
import { euros, understand } from "./request.ts";
import type { Refund } from "./request.ts";
import { Input, State } from "./state.ts";
import type { Approval, DeskState, DeskUpdate, EarlierRefund, Outcome } from "./state.ts";
import { answerText, missingText, notPaidText, paidText, proposalText, rejectedText } from "./wording.ts";

/** Euros per order, earlier refunds included, up to which no approval is needed: `documents/refunds.md` says so. */
const LIMIT = 100;
const HIGH_RISK_ABOVE = 500;
const MOST_ASKED = 4_000;

/** Takes the turn's text, forgets the turn before, and finds what the documents say about it. */
async function findPassages(state: DeskState, config: NodeConfig): Promise<DeskUpdate> {
  const { question } = state;
  const last = state.messages.at(-1);
  const asked = (question ?? (last instanceof HumanMessage ? last.text : "")).trim().slice(0, MOST_ASKED);
  return {
    messages: question === null || question === undefined ? [] : [new HumanMessage(question)],
    question: null,
    asked,
    passages: asked === "" ? [] : await retrieve.invoke({ query: asked }, config),
    draft: state.draft ?? null,
    refund: null,
    earlier: [],
    approval: null,
    receipt: null,
    citations: [],
    answer: null,
    outcome: null,
  };
}

/** Sees whether a refund is asked for. */
function decide(state: DeskState, config: NodeConfig): DeskUpdate {
  if (state.asked === "") return said("Please ask a question, or ask for a refund.", "needs-details");
  const understood = understand(state.asked, state.draft);
  switch (understood.kind) {
    case "question":
      return { draft: null };
    case "dropped":
      return { draft: null, ...said("All right, no refund is proposed.", "dropped") };
    case "incomplete":
      return { draft: understood.draft, ...said(missingText(understood.missing), "needs-details") };
    case "refund":
      return { draft: null, ...propose(understood.refund, state, config) };
  }
}

/** Asks for what was refunded on the order before, as a model would ask for a tool. */
function propose(refund: Refund, { messages }: DeskState, config: NodeConfig): DeskUpdate {
  if (ledgerOf(config) === undefined) {
    return said(
      notPaidText(refund, "this service has no ledger; its operator has to set HOLDPOINT_LEDGER_URL."),
      "not-paid",
    );
  }
  const call = { name: listRefunds.name, args: { order: refund.order }, id: `check-${messages.length}` };
  return { refund, messages: [new AIMessage({ content: "", tool_calls: [{ ...call, type: "tool_call" }] })] };
}

/** Sees whether a person has to approve. Without knowing what was paid before, one has to. */
function assess(state: DeskState): DeskUpdate {
  const { amount } = proposed(state);
  const earlier = earlierRefunds(state);
  const total = earlier?.reduce((sum, one) => sum + one.amount, amount);
  const approval: Approval | null = total !== undefined && total <= LIMIT ? { type: "not-needed" } : null;
  return { earlier: earlier ?? [], approval };
}

/** What the ledger has answered in this turn: whatever a caller puts into the conversation stands before the question. */
function earlierRefunds({ messages }: DeskState): readonly EarlierRefund[] | undefined {
  const last = messages.at(-1);
  const isAnswer = ToolMessage.isInstance(last) && last.name === listRefunds.name && last.status !== "error";
  return isAnswer ? Listing.parse(JSON.parse(last.text)).refunds : undefined;
}

function afterDecide({ outcome, refund }: DeskState): "answer" | "check" | typeof END {
  if (outcome !== null) return END;
  return refund === null ? "answer" : "check";
}

const afterAssess = ({ approval }: DeskState): "approve" | "pay" => (approval === null ? "approve" : "pay");

/** Answers from the passages, or says that they do not answer. */
async function answer({ asked, passages }: DeskState, config: NodeConfig): Promise<DeskUpdate> {
  const reply = await askModel.invoke({ question: asked, passages: [...passages] }, config);
  return { ...said(answerText(reply), reply.outcome), citations: reply.citations };
}

/** Waits for a person. */
async function approve(state: DeskState, config: NodeConfig): Promise<DeskUpdate> {
  const { earlier, asked, passages } = state;
  const refund = proposed(state);
  const { order, amount, currency } = refund;
  const decision = await review(config, {
    title: `Refund ${euros(amount)} on order ${order}`,
    description: proposalText({ refund, earlier, limit: LIMIT, asked, passages }),
    action: "refund",
    args: { order, amount, currency },
    argsSchema: argsSchema(refund),
    risk: amount > HIGH_RISK_ABOVE ? "high" : "medium",
  });
  return decided(refund, decision);
}

/** What a reviewer may change: the amount, and nothing else. */
function argsSchema({ order, currency }: Refund): object {
  return {
    type: "object",
    properties: {
      order: { const: order },
      amount: { type: "number", exclusiveMinimum: 0 },
      currency: { const: currency },
    },
    required: ["order", "amount", "currency"],
    additionalProperties: false,
  };
}

function decided(refund: Refund, decision: ReviewAnswer): DeskUpdate {
  const by = decision.decidedBy;
  const comment = decision.comment ?? null;
  switch (decision.type) {
    case "approve":
      return { approval: { type: "approved", by, changedFrom: null, comment } };
    case "edit": {
      const { amount } = editedArgs(refund).parse(decision.args);
      const changedFrom = amount === refund.amount ? null : refund.amount;
      return { refund: { ...refund, amount }, approval: { type: "approved", by, changedFrom, comment } };
    }
    case "reject":
      return { approval: { type: "rejected", by, reason: decision.message ?? comment } };
    case "response":
      return { approval: { type: "rejected", by, reason: decision.message } };
  }
}

const editedArgs = ({ order, currency }: Refund) =>
  z.strictObject({ order: z.literal(order), amount: z.number().positive(), currency: z.literal(currency) });

function afterApprove({ approval }: DeskState): "pay" | "reply" {
  return approval?.type === "approved" ? "pay" : "reply";
}

/** Pays, once, what was approved. */
async function pay(state: DeskState, config: NodeConfig): Promise<DeskUpdate> {
  const { order, amount, currency, reason } = proposed(state);
  try {
    const args = { order, amount, currency, ...(reason === null ? {} : { reason }) };
    return { receipt: await issueRefund.invoke(args, config) };
  } catch (error) {
    if (!isHoldpointError(error, "effect_rejected")) throw error;
    return said(notPaidText(proposed(state), `the ledger refused it: ${error.message}`), "not-paid");
  }
}

/** Tells the customer what came of it. */
function reply(state: DeskState): DeskUpdate {
  const { receipt, approval, outcome } = state;
  if (outcome !== null || approval === null) return {};
  if (receipt !== null) return said(paidText(receipt, approval), "refunded");
  return said(rejectedText(proposed(state), approval.type === "rejected" ? approval.reason : null), "not-approved");
}

function proposed({ refund }: DeskState): Refund {
  if (refund === null) throw new Error("no refund was proposed in this turn");
  return refund;
}

function said(text: string, outcome: Outcome): DeskUpdate {
  return { messages: [new AIMessage(text)], answer: text, outcome };
}

/** How long the desk waits for a ledger that is away, before it asks a person. */
const CHECKS = { attempts: 3, backoffMs: 1_000 } as const;

/** A graph of its own, so that a call that fails ends it and not the superstep of the desk: the retry edge is around it. */
const check = new StateGraph(MessagesAnnotation)
  .addNode("look", toolNode([listRefunds]))
  .addEdge(START, "look")
  .addEdge("look", END)
  .compile();

const desk = new StateGraph({ input: Input, stateSchema: State })
  .addNode("retrieve", findPassages)
  .addNode("decide", decide)
  .addNode("respond", answer)
  .addNode("check", check)
  .addNode("assess", assess)
  .addNode("approve", approve)
  .addNode("pay", pay)
  .addNode("reply", reply)
  .addEdge(START, "retrieve")
  .addEdge("retrieve", "decide")
  .addConditionalEdges("decide", afterDecide, { answer: "respond", check: "check", [END]: END })
  .addEdge("check", "assess")
  .addConditionalEdges("assess", afterAssess, ["approve", "pay"])
  .addConditionalEdges("approve", afterApprove, ["pay", "reply"])
  .addEdge("pay", "reply")
  .addEdge("respond", END)
  .addEdge("reply", END);

/** The graph that `langgraph.json` names. */
export const graph = addRetry(desk, "check", {
  ...CHECKS,
  exhausted: "ask-a-person",
  ask: {
    title: "The ledger does not answer",
    description:
      "What was refunded on the order before is not known. Approve to ask the ledger again, or reject to have a person decide about the refund without it.",
  },
  rejected: { goto: "assess" },
}).compile();
graph.name = "policy-desk";
