import { ROOT_CONTEXT, SpanKind, context, propagation, trace } from "@opentelemetry/api";
import type { Span, Tracer } from "@opentelemetry/api";
import type { Request, RequestHandler, Response } from "express";
import type { IdSource } from "../core/ids.ts";
import { markFailed } from "../telemetry/spans.ts";

const HEADER = "x-trace-id";
const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/;
const REQUEST_ID = /^[\w.:-]{1,128}$/;
/** Asked every few seconds by whoever watches the process. */
const HEALTH = /\/(ok|ready)$/;
const WAITS = Symbol("waits");

/**
 * Gives every request a trace id, and says it in a response header: that of its span where spans are recorded, else the
 * caller's own where it sent a usable one. The span is a part of the caller's trace.
 */
export function tracing(ids: IdSource, tracer?: Tracer): RequestHandler {
  return (request, response, next) => {
    if (tracer && !HEALTH.test(request.path)) return withinSpan(tracer, request, response, next);
    const parent = TRACEPARENT.exec(request.get("traceparent") ?? "")?.[1];
    const own = request.get("x-request-id") ?? "";
    response.setHeader(HEADER, parent ?? (REQUEST_ID.test(own) ? own : ids.token(16)));
    next();
  };
}

/** The span ends with the answer, or as soon as the request only waits or streams: it may do that for days, across holds. */
function withinSpan(tracer: Tracer, request: Request, response: Response, next: () => void): void {
  const parent = propagation.extract(ROOT_CONTEXT, request.headers);
  const { method } = request;
  const attributes = { "http.request.method": method };
  const span = tracer.startSpan(method, { kind: SpanKind.SERVER, attributes }, parent);
  response.setHeader(HEADER, span.spanContext().traceId);
  response.once("close", () => end(span, request, response));
  response.once(WAITS, () => end(span, request, response));
  context.with(trace.setSpan(parent, span), next);
}

/** Named by the route and never by the path, which may hold what a caller keeps secret. */
function end(span: Span, { method, route, baseUrl }: Request, response: Response): void {
  if (!span.isRecording()) return;
  const path: unknown = (route as { readonly path?: unknown } | undefined)?.path; // Express has no type for it
  if (typeof path === "string")
    span.updateName(`${method} ${baseUrl}${path}`).setAttribute("http.route", `${baseUrl}${path}`);
  if (response.headersSent) span.setAttribute("http.response.status_code", response.statusCode);
  if (response.headersSent && response.statusCode >= 500) markFailed(span, String(response.statusCode));
  span.end();
}

/** From now on the request only waits or streams. */
export function requestWaits(response: Response): void {
  response.emit(WAITS);
}

/** The trace id of the request that this response answers. */
export function traceOf(response: Response): string {
  return String(response.getHeader(HEADER) ?? "");
}
