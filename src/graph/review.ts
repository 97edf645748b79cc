/**
 * A person must decide. Underneath it is a LangGraph interrupt; on resume `interrupt()` returns instead of raising, so
 * what was shown is compared here with what is asked now: an answer counts only for the content it was given to.
 */
import { interrupt } from "@langchain/langgraph";
import { HoldpointError } from "../core/errors.ts";
import { reviewTimesValue } from "../core/hold-times.ts";
import type { ReviewTimes } from "../core/hold-times.ts";
import { reviewDigest } from "../core/hold.ts";
import type { Answer, ReviewRequest } from "../core/hold.ts";
import type { JsonObject } from "../core/json.ts";
import { strictJson } from "../core/plain-json.ts";
import { carriedAnswer, reviewValue } from "../core/review-value.ts";
import type { CarriedAnswer } from "../core/review-value.ts";
import { assertAnswerable } from "./answerable.ts";
import { nextCall, scratchpadOf } from "./context.ts";
import type { NodeConfig, Scratchpad } from "./context.ts";

/** What is shown to the person who decides. */
export interface ReviewSpec extends ReviewTimes {
  readonly title: string;
  /** Markdown. */
  readonly description?: string;
  /** What is done when it is approved. An edit may change the arguments, never the action. */
  readonly action: string;
  /** JSON. Part of what is approved: with other arguments the review is asked again. */
  readonly args: object;
  /** JSON Schema that edited arguments must fit. */
  readonly argsSchema?: object;
  readonly risk?: "low" | "medium" | "high";
  /** Who may decide; every reviewer of the tenant when it is left out. */
  readonly groups?: readonly string[];
}

/** What the person answered, who it was, and the comment that was left. */
export type ReviewAnswer = Answer & { readonly decidedBy: string; readonly comment?: string };

/**
 * Waits for a person. The run ends as `held`; the answer starts a new run of the same root, in which this returns.
 * @throws HoldpointError `unsupported` in a subgraph compiled without a checkpointer, where nobody could answer it
 */
export async function review(config: NodeConfig, spec: ReviewSpec): Promise<ReviewAnswer> {
  const number = nextCall(config, "review");
  assertAnswerable(config, "review");
  assertTimes(spec);
  const times = reviewTimesValue(spec);
  const request = requestOf(number, spec);
  const digest = reviewDigest(request);
  const scratchpad = scratchpadOf(config);
  let supersedes: string | undefined;
  for (;;) {
    const carried = carriedAnswer(interrupt({ ...reviewValue(request, supersedes), ...times }));
    if (carried?.number === number && carried.digest === digest && !isAnsweredAgain(scratchpad, number))
      return answerOf(carried);
    supersedes = carried?.digest;
  }
}

function requestOf(
  number: number,
  { title, description, action, args, argsSchema, risk, groups }: ReviewSpec,
): ReviewRequest {
  return {
    number,
    title,
    ...(description === undefined ? {} : { description }),
    action,
    args: asObject(args, "args"),
    ...(argsSchema === undefined ? {} : { argsSchema: asObject(argsSchema, "argsSchema") }),
    ...(risk === undefined ? {} : { risk }),
    ...(groups === undefined ? {} : { groups }),
  };
}

function asObject(value: object, what: string): JsonObject {
  const json = strictJson(value);
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw new HoldpointError("invalid", `a review's ${what} must be an object`);
  return json as JsonObject; // neither null nor a list
}

/** A later answer to the same review replaces this one. */
function isAnsweredAgain({ resume, interruptCounter }: Scratchpad, number: number): boolean {
  return resume.slice(interruptCounter + 1).some((value) => carriedAnswer(value)?.number === number);
}

function answerOf({ answer, decidedBy, comment }: CarriedAnswer): ReviewAnswer {
  return { ...answer, decidedBy, ...(comment === undefined ? {} : { comment }) };
}

/** Graphs are loaded without being type-checked. */
function assertTimes({ dueInMs, onExpiry, escalateAfterMs, escalateTo, remindEveryMs }: ReviewTimes): void {
  const wrong = Object.entries({ dueInMs, escalateAfterMs, remindEveryMs }).find(
    ([name, value]) =>
      value !== undefined && !(value >= (name === "remindEveryMs" ? LEAST_REMINDER_MS : 0) && value <= LONGEST_MS),
  );
  if (wrong) throw new HoldpointError("invalid", `review(): \`${wrong[0]}\` is no length of time`);
  if (onExpiry !== undefined && dueInMs === undefined)
    throw new HoldpointError("invalid", "review(): `onExpiry` needs `dueInMs`");
  if ((escalateAfterMs === undefined) !== (escalateTo === undefined))
    throw new HoldpointError("invalid", "review(): `escalateAfterMs` and `escalateTo` need each other");
}

const LEAST_REMINDER_MS = 1000;
const LONGEST_MS = 10 * 365 * 24 * 3_600_000;
