/** Reviews as `/v1` shows them. What graphs and people wrote is data: nothing here makes markup of it. */
import { deskVersion } from "../../core/hold-desk.ts";
import type { Hold, HoldAnswer, ReviewRequest, Vote } from "../../core/hold.ts";
import type { JsonObject } from "../../core/json.ts";
import { middlewareActions } from "../../core/middleware-value.ts";
import { isoTime } from "../langgraph/objects.ts";

export function reviewObject(hold: Hold): JsonObject {
  return {
    id: `${hold.threadId}.${hold.holdId}`,
    thread_id: hold.threadId,
    run_id: hold.runId,
    graph_id: hold.graphId,
    assistant_id: hold.assistantId,
    node: hold.node,
    origin: hold.origin,
    state: hold.state,
    reason: hold.reason ?? null,
    ...requestObject(hold.request),
    actions: actionsOf(hold),
    digest: hold.digest,
    version: deskVersion(hold),
    interrupt_id: hold.interruptId,
    value: hold.value,
    started_by: hold.startedBy,
    raised_at: isoTime(hold.raisedAt),
    updated_at: isoTime(hold.updatedAt),
    due_at: timeOf(hold.times?.settlesAt),
    ...deskObject(hold),
    decision: decisionObject(hold),
  };
}

/** What is asked, and the policy under which it is decided. */
function requestObject(request: Partial<ReviewRequest> = {}): JsonObject {
  const { title, description, action, args, argsSchema, risk } = request;
  const { groups = [], quorum = 1, fourEyes = false, tags = [] } = request;
  return {
    title: title ?? null,
    description: description ?? null,
    action: action ?? null,
    args: args ?? null,
    args_schema: argsSchema ?? null,
    risk: risk ?? null,
    groups,
    quorum,
    four_eyes: fourEyes,
    tags,
  };
}

/** The tool calls that LangChain's middleware asks about; null for any other review. */
function actionsOf({ origin, value }: Hold): readonly JsonObject[] | null {
  const actions = origin === "middleware" ? middlewareActions(value) : undefined;
  if (!actions) return null;
  return actions.map(({ name, args, description, argsSchema, allowed }) => ({
    name,
    args,
    description: description ?? null,
    args_schema: argsSchema ?? null,
    allowed_decisions: allowed,
  }));
}

function deskObject({ votes = [], claim, assignee, snoozedUntil, comments = [] }: Hold): JsonObject {
  return {
    votes: votes.map(voteObject),
    claim: claim ? { by: claim.by, until: isoTime(claim.until) } : null,
    assignee: assignee ?? null,
    snoozed_until: timeOf(snoozedUntil),
    comments: comments.map(({ by, at, text }) => ({ by, at: isoTime(at), text })),
  };
}

const timeOf = (ms: number | undefined): string | null => (ms === undefined ? null : isoTime(ms));

const voteObject = ({ id, by, at, comment, answer }: Vote): JsonObject => ({
  ...answerObject(answer),
  id,
  by,
  at: isoTime(at),
  comment: comment ?? null,
});

/** Which run carries a decision on is not known before its follow-up: another decision's may. */
function decisionObject({ decision, carriedBy, followUpDue }: Hold): JsonObject | null {
  if (!decision) return null;
  const run = carriedBy ?? (followUpDue ? null : decision.continuation);
  return { ...voteObject(decision), cause: decision.cause ?? null, continuation_run_id: run };
}

const answerObject = (answer: HoldAnswer): JsonObject =>
  answer.type === "decisions" ? { ...answer, decisions: answer.decisions.map((each) => ({ ...each })) } : { ...answer };
