/** From reasons to statuses: the only place where an error becomes an HTTP answer. */
import type { ErrorRequestHandler, Response } from "express";
import { HoldpointError } from "../core/errors.ts";
import type { ErrorCode } from "../core/errors.ts";
import { isNewerFormat } from "../core/newer-format.ts";
import type { Log } from "../runtime/deps.ts";
import { traceOf } from "./trace.ts";

const STATUS: Readonly<Record<ErrorCode, number>> = {
  invalid: 422,
  unsupported: 422,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  graph_unavailable: 409,
  gone: 410,
  precondition_failed: 412,
  precondition_required: 428,
  too_large: 413,
  item_too_large: 413,
  limit: 429,
  unavailable: 503,
  lost: 500,
  corrupt: 500,
  effect_rejected: 500,
  effect_ambiguous: 500,
  effect_diverged: 500,
  internal: 500,
};

/** A refusal that only HTTP knows (malformed JSON, unknown route): the shape that Express gives its own. */
export function httpError(status: number, message: string): Error {
  return Object.assign(new Error(message), { status, expose: true });
}

/** What a caller is told about an error. */
export interface Problem {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly retryAfterMs?: number;
}

const DEFAULT_RETRY_AFTER_MS = 1000;

/** Anything that is not a known refusal is a 500 that says nothing: what happened is in the log. */
export function problemOf(error: unknown): Problem {
  if (error instanceof HoldpointError && STATUS[error.code] !== 500) {
    const { code } = error;
    // A process of the version that wrote it may answer the next attempt.
    const status = isNewerFormat(error) ? 503 : STATUS[code];
    const retryAfterMs = error.retryAfterMs ?? (status === 429 || status === 503 ? DEFAULT_RETRY_AFTER_MS : undefined);
    return {
      status,
      code,
      detail: error.message,
      facts: error.detail ?? {},
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    };
  }
  const refusal = refusalOf(error);
  if (refusal) return { ...refusal, facts: {} };
  return { status: 500, code: "internal", detail: "Internal error", facts: {} };
}

/** Refusals of Express and its body parser carry a status between 400 and 499. */
function refusalOf(
  error: unknown,
): { readonly status: number; readonly code: string; readonly detail: string } | undefined {
  if (!(error instanceof Error) || !("status" in error) || typeof error.status !== "number") return undefined;
  if (error.status < 400 || error.status > 499) return undefined;
  const limit = "limit" in error && typeof error.limit === "number" ? error.limit : undefined;
  if (error.status === 413 && limit !== undefined) {
    return { status: 413, code: "too_large", detail: `the body is larger than the limit of ${limit} bytes` };
  }
  return { status: error.status, code: error.status === 404 ? "not_found" : "invalid", detail: error.message };
}

export interface ErrorAnswers {
  readonly log: Log;
  /** Path under which Holdpoint's own surface answers, with problem details instead of the peers' `detail`. */
  readonly ownSurface: string;
}

/** Answers every error of every route, in the form of the surface on which it happened. */
export function answerErrors({ log, ownSurface }: ErrorAnswers): ErrorRequestHandler {
  return (error: unknown, request, response, _next) => {
    const problem = problemOf(error);
    const { method, path } = request;
    const fields = { trace_id: traceOf(response), method, route: withoutTokens(path), status: problem.status };
    if (response.destroyed) {
      log.debug({ ...fields, err: error }, "the client has gone");
      return;
    }
    if (problem.status === 503) log.warn({ ...fields, reason: problem.detail }, "request refused for now");
    else if (problem.status >= 500) log.error({ ...fields, err: error }, "request failed");
    else log.debug({ ...fields, code: problem.code }, "request refused");
    if (response.headersSent) {
      response.destroy();
      return;
    }
    if (problem.retryAfterMs !== undefined) response.setHeader("retry-after", Math.ceil(problem.retryAfterMs / 1000));
    if (problem.status === 401) response.setHeader("www-authenticate", "Bearer");
    response.status(problem.status);
    if (request.path === ownSurface || request.path.startsWith(`${ownSurface}/`)) sendProblemDetails(response, problem);
    else response.json({ detail: problem.detail, trace_id: traceOf(response) });
  };
}

/** A path as it may be logged: of a callback's and a link's, one segment is a credential. */
const withoutTokens = (path: string): string => path.replace(/\/(callbacks|links)\/[^/]+/i, "/$1/…");

/** RFC 9457. */
function sendProblemDetails(response: Response, { status, code, detail, facts }: Problem): void {
  const body = { ...facts, type: `urn:holdpoint:problem:${code}`, title: TITLES[status] ?? "Error", status, detail };
  response.type("application/problem+json").send(JSON.stringify({ ...body, trace_id: traceOf(response) }));
}

const TITLES: Readonly<Record<number, string>> = {
  400: "Bad request",
  401: "Not authenticated",
  403: "Not authorized",
  404: "Not found",
  409: "Conflict",
  410: "Gone",
  412: "Precondition failed",
  413: "Too large",
  415: "Unsupported media type",
  422: "Invalid request",
  428: "Precondition required",
  429: "Too many requests",
  500: "Internal error",
  503: "Unavailable",
};
