/**
 * Between a review as its author wrote it and what travels through LangGraph: the value of the interrupt, and the value
 * that `interrupt()` returns. One shape serves every approval interface of the LangGraph world: `action_requests` and
 * `review_configs` for chat interfaces, the classic `action_request` and `config` for inboxes.
 */
import { HoldpointError } from "./errors.ts";
import { reviewDigest } from "./hold.ts";
import type { Answer, Hold, RaisedBy, ReviewRequest } from "./hold.ts";
import type { Json, JsonObject } from "./json.ts";

/** A review as it was recognised in an interrupt's value. */
export interface RaisedReview {
  readonly request: ReviewRequest;
  readonly digest: string;
  /** Digest of what this review replaces: the same question was asked before with other content. */
  readonly supersedes?: string;
}

/** Why a review is raised again. */
export interface AskedAgain {
  /** Digest of what this one replaces. */
  readonly supersedes: string;
  /** What the author's schema found in the arguments of the last answer. */
  readonly problem?: string;
}

/** The value that `review()` hands to `interrupt()`. */
export function reviewValue(request: ReviewRequest, again?: AskedAgain): JsonObject {
  const { number, title, description, action, args, argsSchema, risk, groups, quorum, fourEyes, tags } = request;
  return {
    holdpoint: "review",
    number,
    digest: reviewDigest(request),
    title,
    ...(description === undefined ? {} : { description }),
    ...(risk === undefined ? {} : { risk }),
    ...(groups === undefined || groups.length === 0 ? {} : { groups }),
    ...(quorum === undefined || quorum <= 1 ? {} : { quorum }),
    ...(fourEyes === true ? { four_eyes: true } : {}),
    ...(tags === undefined || tags.length === 0 ? {} : { tags }),
    ...again,
    action_requests: [{ name: action, args, arguments: args, description: description ?? title }],
    review_configs: [
      {
        action_name: action,
        allowed_decisions: ["approve", "edit", "reject"],
        ...(argsSchema === undefined ? {} : { args_schema: argsSchema }),
      },
    ],
    action_request: { action, args },
    config: { allow_accept: true, allow_edit: true, allow_respond: true, allow_ignore: true },
  };
}

/** The review in an interrupt's value; undefined when the interrupt is a plain one. */
export function reviewRequestOf(value: unknown): RaisedReview | undefined {
  if (!isObject(value) || value["holdpoint"] !== "review") return undefined;
  const { number, title, description, risk, groups, quorum, tags, supersedes } = value;
  const shown = first(value["action_requests"]);
  const config = first(value["review_configs"]);
  if (typeof number !== "number" || typeof title !== "string" || !isObject(shown)) return undefined;
  const { name: action, args } = shown;
  if (typeof action !== "string" || !isObject(args)) return undefined;
  const argsSchema = isObject(config) ? config["args_schema"] : undefined;
  const request: ReviewRequest = {
    number,
    title,
    ...(typeof description === "string" ? { description } : {}),
    action,
    args: args as JsonObject, // what LangGraph kept of it was JSON when it was raised
    ...(isObject(argsSchema) ? { argsSchema: argsSchema as JsonObject } : {}),
    ...(risk === "low" || risk === "medium" || risk === "high" ? { risk } : {}),
    ...(Array.isArray(groups) ? { groups: groups.filter((group) => typeof group === "string") } : {}),
    ...(typeof quorum === "number" ? { quorum } : {}),
    ...(value["four_eyes"] === true ? { fourEyes: true } : {}),
    ...(Array.isArray(tags) ? { tags: tags.filter((tag) => typeof tag === "string") } : {}),
  };
  return {
    request,
    digest: reviewDigest(request),
    ...(typeof supersedes === "string" ? { supersedes } : {}),
  };
}

/** True for the value of an interrupt that `review()` raised. */
export function isReviewRequest(value: unknown): boolean {
  return reviewRequestOf(value) !== undefined;
}

/** Digest of the review that this one replaces; undefined for a first one and for anything that is no review. */
export function supersedesOf(value: unknown): string | undefined {
  return reviewRequestOf(value)?.supersedes;
}

/** Whether a question stands in the place of one that the same task asked before: its code has refused what was answered to that. */
export const isAskedInsteadOf = (
  asked: { readonly value: unknown; readonly raisedBy: RaisedBy | undefined },
  before: Pick<Hold, "digest" | "raisedBy">,
): boolean => supersedesOf(asked.value) === before.digest && asked.raisedBy?.taskId === before.raisedBy.taskId;

/** An answer as the code that raised the review receives it. */
export interface CarriedAnswer {
  readonly number: number;
  readonly digest: string;
  readonly decidedBy: string;
  readonly comment?: string;
  readonly answer: Answer;
}

/** Reads what `resumeValue` of core/hold.ts made; undefined for anything else. */
export function carriedAnswer(value: unknown): CarriedAnswer | undefined {
  if (!isObject(value) || value["holdpoint"] !== "answer") return undefined;
  const { number, digest, decidedBy, comment } = value;
  if (typeof number !== "number" || typeof digest !== "string") return undefined;
  const { type, args } = value;
  // They were taken out of whatever they came in, and may look like such themselves.
  const answer: Answer | undefined =
    type === "edit" && isObject(args)
      ? { type, args: args as JsonObject }
      : typedAnswer(value as JsonObject, undefined);
  if (answer === undefined) return undefined;
  return {
    number,
    digest,
    decidedBy: typeof decidedBy === "string" ? decidedBy : "",
    ...(typeof comment === "string" ? { comment } : {}),
    answer,
  };
}

/**
 * Accepts every reply form in use: `{decisions: [{type, …}]}`, `[{type: accept|edit|response|ignore, args}]`,
 * `edited_action` or `editedAction`, or a plain typed answer. An edit may not change the name of `action`.
 * @throws HoldpointError `invalid`, saying what is wrong with the reply
 */
export function parseAnswer(reply: Json, action?: string): Answer {
  const answer = typedAnswer(onlyReply(reply), action);
  if (answer !== undefined) return answer;
  throw new HoldpointError(
    "invalid",
    'the reply is none of {"type": "approve"}, {"type": "edit", "args": {…}}, {"type": "reject", "message": "…"}, ' +
      '{"type": "response", "message": "…"}, or one of these in {"decisions": […]} or a list',
  );
}

/** The one reply in whatever it came wrapped in. */
function onlyReply(reply: Json): JsonObject {
  const list = Array.isArray(reply) ? reply : isObject(reply) ? (reply["decisions"] ?? [reply]) : [];
  const replies: readonly unknown[] = Array.isArray(list) ? list : [];
  if (replies.length > 1) throw new HoldpointError("invalid", `${replies.length} replies were given to one action`);
  const only = replies[0];
  if (!isObject(only)) throw new HoldpointError("invalid", "the reply is not an object with a type");
  return only as JsonObject;
}

function typedAnswer(reply: JsonObject, action: string | undefined): Answer | undefined {
  const message = text(reply["message"]) ?? text(reply["args"]);
  switch (reply["type"]) {
    case "approve":
    case "accept":
      return { type: "approve" };
    case "edit":
      return { type: "edit", args: editedArgs(reply, action) };
    case "reject":
    case "ignore":
      return message === undefined ? { type: "reject" } : { type: "reject", message };
    case "response":
    case "respond":
      if (message === undefined) throw new HoldpointError("invalid", "a response needs a message");
      return { type: "response", message };
    default:
      return undefined;
  }
}

/** Edited arguments: as they are, or inside an action of the classic form or of one of the two newer ones. */
function editedArgs(reply: JsonObject, action: string | undefined): JsonObject {
  const edited = reply["edited_action"] ?? reply["editedAction"] ?? reply["args"];
  if (!isObject(edited)) throw new HoldpointError("invalid", "an edit needs the edited arguments");
  const isClassic = typeof edited["action"] === "string" && isObject(edited["args"]);
  const isAction = reply["edited_action"] !== undefined || reply["editedAction"] !== undefined || isClassic;
  if (!isAction) return edited;
  const name = edited["name"] ?? edited["action"];
  if (action !== undefined && name !== undefined && name !== action) {
    const message = `an edit may not change the action from ${action} to ${JSON.stringify(name)}`;
    throw new HoldpointError("invalid", message, { detail: { errors: [{ pointer: "/edited_action/name", message }] } });
  }
  const args = edited["args"] ?? edited["arguments"];
  if (!isObject(args)) throw new HoldpointError("invalid", "an edit needs the edited arguments");
  return args;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const first = (value: unknown): unknown => (Array.isArray(value) ? (value as readonly unknown[])[0] : undefined);

const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);
