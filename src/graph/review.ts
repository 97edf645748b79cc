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
import type { AskedAgain } from "../core/review-value.ts";
import { assertAnswerable } from "./answerable.ts";
import { nextCall, scratchpadOf } from "./context.ts";
import type { NodeConfig, Scratchpad } from "./context.ts";
import { assertKnown } from "./known.ts";
import type { Fields } from "./known.ts";
import { parsedArgs, shownSchema } from "./schema.ts";
import type { ArgsOf, ArgsSchema } from "./schema.ts";

/** What is shown to the person who decides, who that may be, and until when. */
export interface ReviewSpec<Schema extends ArgsSchema = object> extends ReviewTimes {
  readonly title: string;
  /** Markdown. */
  readonly description?: string;
  /** What is done when it is approved. An edit may change the arguments, never the action. */
  readonly action: string;
  /** JSON. Part of what is approved: with other arguments the review is asked again. */
  readonly args: object;
  /** Zod schema or JSON Schema that edited arguments must fit. */
  readonly argsSchema?: Schema;
  readonly risk?: "low" | "medium" | "high";
  /** Who may decide; every reviewer of the tenant when it is left out. */
  readonly groups?: readonly string[];
  /** How many people must give the same answer, 1 to 10; one when it is left out. One rejection is enough. */
  readonly quorum?: number;
  /** Whoever started the run may not decide. */
  readonly fourEyes?: boolean;
  /** For finding it among others. */
  readonly tags?: readonly string[];
}

/** What the person answered, who it was (the last one, where several had to), and the comment that was left. */
export type ReviewAnswer<Args = JsonObject> = (
  | Exclude<Answer, { readonly type: "edit" }>
  | { readonly type: "edit"; readonly args: Args }
) & { readonly decidedBy: string; readonly comment?: string };

/**
 * Waits for a person. The run ends as `held`; the answer starts a new run of the same root, in which this returns.
 * @throws HoldpointError `unsupported` in a subgraph compiled without a checkpointer, where nobody could answer it;
 * `invalid`, naming the field, for what cannot be shown, checked or answered
 */
export async function review<const Schema extends ArgsSchema = object>(
  config: NodeConfig,
  spec: ReviewSpec<Schema>,
): Promise<ReviewAnswer<ArgsOf<Schema>>> {
  const number = nextCall(config, "review");
  assertAnswerable(config, "review");
  assertKnown("review()", spec, FIELDS);
  assertShown(spec);
  assertTimes(spec);
  const times = reviewTimesValue(spec);
  const request = requestOf(number, spec);
  const digest = reviewDigest(request);
  const scratchpad = scratchpadOf(config);
  let again: AskedAgain | undefined;
  for (;;) {
    const carried = carriedAnswer(interrupt({ ...reviewValue(request, again), ...times }));
    again = carried && { supersedes: carried.digest };
    if (carried?.digest !== digest || isAnsweredAgain(scratchpad, number)) continue;
    const { answer, decidedBy, comment } = carried;
    const by = { decidedBy, ...(comment === undefined ? {} : { comment }) };
    if (answer.type !== "edit") return { ...answer, ...by };
    const parsed = await parsedArgs(spec.argsSchema, answer.args);
    if (parsed.success) return { type: "edit", args: parsed.args as ArgsOf<Schema>, ...by }; // as the schema made them
    again = { supersedes: digest, problem: parsed.problem };
  }
}

const FIELDS: Fields<ReviewSpec> = {
  title: true,
  description: true,
  action: true,
  args: true,
  argsSchema: true,
  risk: true,
  groups: true,
  quorum: true,
  fourEyes: true,
  tags: true,
  dueInMs: true,
  onExpiry: true,
  escalateAfterMs: true,
  escalateTo: true,
  remindEveryMs: true,
};

function requestOf(number: number, spec: ReviewSpec<ArgsSchema>): ReviewRequest {
  const { title, description, action, args, argsSchema, risk, groups, quorum, fourEyes, tags } = spec;
  assertPolicy(spec);
  return {
    number,
    title,
    ...(description === undefined ? {} : { description }),
    action,
    args: asObject(args, "args"),
    ...(argsSchema === undefined ? {} : { argsSchema: shownSchema(argsSchema) }),
    ...(risk === undefined ? {} : { risk }),
    ...(groups === undefined ? {} : { groups }),
    ...(quorum === undefined ? {} : { quorum }),
    ...(fourEyes === undefined ? {} : { fourEyes }),
    ...(tags === undefined ? {} : { tags }),
  };
}

/** Characters. */
const LONGEST = { title: 1_000, action: 256, description: 64_000 } as const;

/** Graphs are loaded without being type-checked, and people must be able to tell what they decide. */
function assertShown(spec: ReviewSpec<ArgsSchema>): void {
  for (const name of ["title", "action", "description"] as const) {
    const text: unknown = spec[name];
    if (name === "description" && text === undefined) continue;
    if (typeof text !== "string") throw new HoldpointError("invalid", `review(): \`${name}\` is no text`);
    if (name !== "description" && text.trim() === "")
      throw new HoldpointError("invalid", `review(): \`${name}\` is empty`);
    if (text.length > LONGEST[name])
      throw new HoldpointError("invalid", `review(): \`${name}\` is longer than ${LONGEST[name]} characters`);
  }
}

const MAX_QUORUM = 10;
const MAX_NAMES = 16;
const RISKS: ReadonlySet<string> = new Set(["low", "medium", "high"]);

/** Graphs are loaded without being type-checked, and what is no policy must not leave a review to everybody. */
function assertPolicy(spec: ReviewSpec<ArgsSchema>): void {
  const { quorum = 1, groups = [], tags = [], fourEyes = false, risk } = spec;
  const names = Object.entries({ groups, tags }).find(([, list]) => !areNames(list));
  if (names) throw new HoldpointError("invalid", `review(): \`${names[0]}\` is a list of texts that are not empty`);
  // A list that was computed, and came out empty.
  if (spec.groups?.length === 0)
    throw new HoldpointError(
      "invalid",
      "review(): `groups` is empty; leave it out for a review that anybody may decide",
    );
  if (typeof fourEyes !== "boolean") throw new HoldpointError("invalid", "review(): `fourEyes` is true or false");
  if (risk !== undefined && !RISKS.has(risk))
    throw new HoldpointError("invalid", "review(): `risk` is low, medium or high");
  if (!Number.isInteger(quorum) || quorum < 1 || quorum > MAX_QUORUM)
    throw new HoldpointError("invalid", `a review's quorum is a whole number from 1 to ${MAX_QUORUM}`);
  if (groups.length > MAX_NAMES || tags.length > MAX_NAMES)
    throw new HoldpointError("invalid", `a review has at most ${MAX_NAMES} groups and as many tags`);
}

/** Graphs are loaded without being type-checked, and what they read from their environment may be missing. */
const areNames = (list: unknown): boolean =>
  Array.isArray(list) && list.every((name) => typeof name === "string" && name !== "");

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

/** Graphs are loaded without being type-checked. */
function assertTimes({ dueInMs, onExpiry, escalateAfterMs, escalateTo, remindEveryMs }: ReviewTimes): void {
  const wrong = Object.entries({ dueInMs, escalateAfterMs, remindEveryMs }).find(
    ([name, value]) =>
      value !== undefined && !(value >= (name === "remindEveryMs" ? LEAST_REMINDER_MS : 0) && value <= LONGEST_MS),
  );
  if (wrong) throw new HoldpointError("invalid", `review(): \`${wrong[0]}\` is no length of time`);
  if (onExpiry !== undefined && dueInMs === undefined)
    throw new HoldpointError("invalid", "review(): `onExpiry` needs `dueInMs`");
  if (onExpiry !== undefined && onExpiry !== "approve" && onExpiry !== "reject")
    throw new HoldpointError("invalid", "review(): `onExpiry` is approve or reject");
  if (escalateTo !== undefined && !areNames(escalateTo))
    throw new HoldpointError("invalid", "review(): `escalateTo` is a list of texts that are not empty");
  if ((escalateAfterMs === undefined) !== (escalateTo === undefined))
    throw new HoldpointError("invalid", "review(): `escalateAfterMs` and `escalateTo` need each other");
}

const LEAST_REMINDER_MS = 1000;
const LONGEST_MS = 10 * 365 * 24 * 3_600_000;
