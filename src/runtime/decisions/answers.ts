/**
 * Answers are validated and normalised before LangGraph hears of them: one that the node refuses by throwing poisons its
 * task. Each origin of a hold accepts one form.
 */
import { z } from "zod";
import { HoldpointError } from "../../core/errors.ts";
import { isWait } from "../../core/hold.ts";
import type { Answer, Hold, HoldAnswer } from "../../core/hold.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { jsonPointer } from "../../core/json-pointer.ts";
import { middlewareActions } from "../../core/middleware-value.ts";
import type { MiddlewareAction } from "../../core/middleware-value.ts";
import { parseAnswer } from "../../core/review-value.ts";

/** The answer in the form that the hold's code accepts. @throws HoldpointError `invalid`, with JSON pointers */
export function fittingAnswer(hold: Hold, answer: HoldAnswer): HoldAnswer {
  switch (hold.origin) {
    case "interrupt":
      if (answer.type === "value") return answer;
      throw refused('a plain interrupt is answered with {"type": "value", "value": …}', "/type");
    case "review":
      if (answer.type === "value" || answer.type === "decisions")
        throw refused("a review is answered with approve, edit, reject or response", "/type");
      if (answer.type === "edit") assertFits(hold.request?.argsSchema, answer.args, "/args");
      return answer;
    case "middleware":
      return forMiddleware(hold, answer);
    case "breakpoint":
      if (answer.type === "approve") return answer;
      throw refused(
        "a breakpoint is approved or left: cancel its run instead, or update the state of its thread",
        "/type",
      );
    case "timer":
    case "callback":
      throw notForPeople(hold);
  }
}

/** A reply of the SDK's `command.resume`, in any of the forms in use. @throws HoldpointError `invalid` */
export function answerInReply(hold: Hold, reply: Json): HoldAnswer {
  switch (hold.origin) {
    case "interrupt":
      return { type: "value", value: reply };
    case "review":
      return fittingAnswer(hold, parseAnswer(reply, hold.request?.action));
    case "middleware": {
      const actions = middlewareActions(hold.value) ?? [];
      const decisions = repliesIn(reply).map((each, i) => parseAnswer(each, actions[i]?.name));
      return fittingAnswer(hold, { type: "decisions", decisions });
    }
    case "breakpoint":
      return fittingAnswer(hold, isTyped(reply) ? parseAnswer(reply) : { type: "approve" });
    case "timer":
    case "callback":
      throw notForPeople(hold);
  }
}

/** Any other value resumes a breakpoint, as it does in LangGraph, which has nobody to give it to. */
function isTyped(reply: Json): boolean {
  const [first] = repliesIn(reply);
  return typeof first === "object" && first !== null && "type" in first;
}

/** @throws HoldpointError `forbidden` for a timer or a callback */
export function assertForPeople(hold: Hold): void {
  if (isWait(hold)) throw notForPeople(hold);
}

const notForPeople = ({ origin }: Hold): HoldpointError =>
  new HoldpointError("forbidden", `a ${origin} is not for people to decide`);

/** @throws HoldpointError `invalid` for an edit without a comment, or a rejection without any word */
export function assertCommented(hold: Hold, answer: HoldAnswer, comment: string | undefined): void {
  if (hold.origin === "interrupt" || (comment ?? "").trim() !== "") return;
  const answers = answer.type === "decisions" ? answer.decisions : [answer];
  for (const { type, ...rest } of answers) {
    const isExplained = "message" in rest && rest.message !== undefined && rest.message.trim() !== "";
    if (type === "edit" || (type === "reject" && !isExplained))
      throw refused(`a comment is missing: say why you ${type}`, "/comment");
  }
}

function forMiddleware(hold: Hold, answer: HoldAnswer): HoldAnswer {
  if (answer.type === "value") throw refused("tool calls are answered with approve, edit or reject", "/type");
  const decisions = answer.type === "decisions" ? answer.decisions : [answer];
  const actions = middlewareActions(hold.value) ?? [];
  if (decisions.length !== actions.length) {
    throw refused(
      `${actions.length} tool calls wait: send as many in {"type": "decisions", "decisions": […]}`,
      "/decisions",
    );
  }
  decisions.forEach((decision, i) => assertAllowed(actions[i], decision, `/decisions/${i}`));
  return { type: "decisions", decisions };
}

function assertAllowed(action: MiddlewareAction | undefined, answer: Answer, pointer: string): void {
  const type = answer.type === "response" ? "respond" : answer.type;
  if (!action?.allowed.includes(type)) {
    const allowed = action?.allowed.join(", ") ?? "nothing";
    throw refused(`${action?.name ?? "this call"} allows ${allowed}, not ${type}`, `${pointer}/type`);
  }
  if (answer.type === "edit") assertFits(action.argsSchema, answer.args, `${pointer}/args`);
}

function repliesIn(reply: Json): readonly Json[] {
  if (Array.isArray(reply)) return reply as readonly Json[];
  const list = typeof reply === "object" && reply !== null ? (reply as JsonObject)["decisions"] : undefined;
  return Array.isArray(list) ? (list as readonly Json[]) : [reply];
}

function assertFits(schema: JsonObject | undefined, args: JsonObject, pointer: string): void {
  if (!schema) return;
  const parsed = checkable(schema).safeParse(args);
  if (parsed.success) return;
  const errors = parsed.error.issues.map(({ path, message }) => ({
    pointer: pointer + jsonPointer(path),
    message,
  }));
  const said = errors.map((error) => `${error.pointer}: ${error.message}`).join("; ");
  throw new HoldpointError("invalid", `the edited arguments do not fit their schema: ${said}`, { detail: { errors } });
}

/** An edit that cannot be checked is not let through. */
function checkable(schema: JsonObject): z.ZodType {
  try {
    return z.fromJSONSchema(schema);
  } catch (cause) {
    const what = "the argsSchema of this review cannot be checked: approve it as it is, or reject it";
    throw new HoldpointError("invalid", what, { cause });
  }
}

const refused = (what: string, pointer: string): HoldpointError =>
  new HoldpointError("invalid", what, { detail: { errors: [{ pointer, message: what }] } });
