import type { RequestHandler, Response } from "express";
import type { IdSource } from "../core/ids.ts";

const HEADER = "x-trace-id";
const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/;
const REQUEST_ID = /^[\w.:-]{1,128}$/;

/** Gives every request a trace id, the caller's own where it sent a usable one, and says it in a response header. */
export function tracing(ids: IdSource): RequestHandler {
  return (request, response, next) => {
    const parent = TRACEPARENT.exec(request.get("traceparent") ?? "")?.[1];
    const own = request.get("x-request-id") ?? "";
    response.setHeader(HEADER, parent ?? (REQUEST_ID.test(own) ? own : ids.token(16)));
    next();
  };
}

/** The trace id of the request that this response answers. */
export function traceOf(response: Response): string {
  return String(response.getHeader(HEADER) ?? "");
}
