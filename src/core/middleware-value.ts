/**
 * Tool calls that LangChain's `humanInTheLoopMiddleware` asks about: one interrupt for all calls of a message, in camelCase.
 * Its code accepts one form of reply, a decision for each call in their order, and fails for good on any other.
 */
import { HoldpointError } from "./errors.ts";
import type { Answer } from "./hold.ts";
import type { Json, JsonObject } from "./json.ts";

/** One tool call that waits for a decision. */
export interface MiddlewareAction {
  readonly name: string;
  readonly args: JsonObject;
  readonly description?: string;
  readonly argsSchema?: JsonObject;
  /** `approve`, `edit`, `reject`; others are LangChain's own to answer. */
  readonly allowed: readonly string[];
}

/** What the middleware asks about; undefined for the value of any other interrupt. */
export function middlewareActions(value: unknown): readonly MiddlewareAction[] | undefined {
  if (!isObject(value)) return undefined;
  const { actionRequests, reviewConfigs } = value;
  if (!Array.isArray(actionRequests) || actionRequests.length === 0 || !Array.isArray(reviewConfigs)) return undefined;
  const configs = reviewConfigs.filter(isObject);
  const actions = actionRequests.map((request: unknown) => actionOf(request, configs));
  return actions.every((action) => action !== undefined) ? actions : undefined;
}

function actionOf(request: unknown, configs: readonly Readonly<Record<string, unknown>>[]) {
  if (!isObject(request)) return undefined;
  const { name, args, description } = request;
  if (typeof name !== "string" || !isObject(args)) return undefined;
  const config = configs.find(({ actionName }) => actionName === name);
  const allowed: unknown = config?.["allowedDecisions"];
  if (!Array.isArray(allowed)) return undefined;
  const argsSchema = config?.["argsSchema"];
  const action: MiddlewareAction = {
    name,
    args: args as JsonObject, // what LangGraph kept of it was JSON when it was raised
    ...(typeof description === "string" ? { description } : {}),
    ...(isObject(argsSchema) ? { argsSchema: argsSchema as JsonObject } : {}),
    allowed: allowed.filter((decision) => typeof decision === "string"),
  };
  return action;
}

/**
 * The reply that the middleware accepts.
 * @throws HoldpointError `invalid` when the answers are not those of what it asked
 */
export function middlewareReply(value: Json, answers: readonly Answer[]): JsonObject {
  const actions = middlewareActions(value) ?? [];
  if (actions.length !== answers.length)
    throw new HoldpointError("invalid", `${actions.length} tool calls wait, and ${answers.length} answers were given`);
  return { decisions: answers.map((answer, i) => decisionOf(answer, actions[i])) };
}

function decisionOf(answer: Answer, action: MiddlewareAction | undefined): JsonObject {
  switch (answer.type) {
    case "approve":
      return { type: "approve" };
    case "edit":
      return { type: "edit", editedAction: { name: action?.name ?? "", args: answer.args } };
    case "reject":
      return answer.message === undefined ? { type: "reject" } : { type: "reject", message: answer.message };
    case "response":
      return { type: "respond", message: answer.message };
  }
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
