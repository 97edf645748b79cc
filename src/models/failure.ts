/** Why a call of a model did not come to an answer, and what follows from it. */
import { HoldpointError } from "../core/errors.ts";
import type { ErrorCode } from "../core/errors.ts";
import type { ModelUsage } from "./model.ts";

export type FailureReason =
  | "throttled" // the service asks for fewer requests
  | "quota" // of the account; asking again at once is no use
  | "unavailable" // the service or the model behind it failed
  | "timeout" // nothing came for too long
  | "cut" // the answer ended before it was whole
  | "malformed" // a tool call that cannot be read, or an end that contradicts what came
  | "empty" // neither text nor a tool call
  | "filtered" // withheld by the model's own filter
  | "max_tokens" // cut at the token limit with a tool call in it
  | "invalid_request" // refused by the service's rules
  | "credentials" // missing, expired, or not allowed to
  | "unknown_model" // not there, or not in this region
  | "unfit" // no target can take this request
  | "busy" // the tenant has too many calls under way
  | "open" // the breaker of the target is open
  | "deadline"; // the time of the whole call is up

interface Rule {
  readonly code: ErrorCode;
  /** Whether the same target may be asked again. */
  readonly retry?: true;
  /** Whether the next target may be asked. */
  readonly fallback?: true;
  /** Whether it speaks against the target, and so counts for its breaker. */
  readonly blame?: true;
}

const RULES: Readonly<Record<FailureReason, Rule>> = {
  throttled: { code: "limit", retry: true, fallback: true, blame: true },
  quota: { code: "limit", fallback: true, blame: true },
  unavailable: { code: "unavailable", retry: true, fallback: true, blame: true },
  timeout: { code: "unavailable", retry: true, fallback: true, blame: true },
  cut: { code: "unavailable", retry: true, fallback: true, blame: true },
  malformed: { code: "unavailable", retry: true, fallback: true },
  empty: { code: "unavailable", retry: true, fallback: true },
  filtered: { code: "unavailable" },
  max_tokens: { code: "limit" },
  invalid_request: { code: "invalid" },
  credentials: { code: "forbidden", fallback: true },
  unknown_model: { code: "not_found", fallback: true },
  unfit: { code: "unsupported" },
  busy: { code: "limit" },
  open: { code: "unavailable", fallback: true },
  deadline: { code: "unavailable" },
};

/** A HoldpointError whose `detail.reason` a graph can branch on. */
export function modelFailure(reason: FailureReason, message: string, cause?: unknown): HoldpointError {
  return new HoldpointError(RULES[reason].code, message, { cause, detail: { reason } });
}

/** The same failure, with what was used before it in `detail.usage`; the error itself where nothing was, or where it is none. */
export function withUsage(error: unknown, usage: ModelUsage | undefined): unknown {
  if (usage === undefined || !(error instanceof HoldpointError)) return error;
  const { code, message, cause, detail } = error;
  return new HoldpointError(code, message, { cause, detail: { ...detail, usage } });
}

/** The reason of a failed call; undefined for anything that is no failure of a model. */
export function reasonOf(error: unknown): FailureReason | undefined {
  const reason: unknown = error instanceof HoldpointError ? error.detail?.["reason"] : undefined;
  return typeof reason === "string" && Object.hasOwn(RULES, reason) ? (reason as FailureReason) : undefined; // a key of RULES
}

/** What follows from an error; nothing does from one that is no failure of a model. */
export function ruleOf(error: unknown): Partial<Rule> {
  const reason = reasonOf(error);
  return reason === undefined ? {} : RULES[reason];
}
