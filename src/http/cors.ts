import type { RequestHandler } from "express";

/** Origins that may call from a browser; `*` for any. Empty: no CORS headers at all. */
export interface CorsOptions {
  readonly origins: readonly string[];
}

const EXPOSED = "content-location, location, x-pagination-total, x-pagination-next, x-trace-id, retry-after";
const METHODS = "GET, POST, PUT, PATCH, DELETE";
const DEFAULT_HEADERS =
  "content-type, x-api-key, authorization, last-event-id, idempotency-key, prefer, holdpoint-force";

/** Cross-origin access for the configured origins. Credentials travel in headers, so cookies are never allowed. */
export function cors({ origins }: CorsOptions): RequestHandler {
  return (request, response, next) => {
    const origin = request.get("origin");
    if (origins.length > 0) response.vary("origin");
    if (origin === undefined || !(origins.includes("*") || origins.includes(origin))) return next();
    response.setHeader("access-control-allow-origin", origin);
    response.setHeader("access-control-expose-headers", EXPOSED);
    if (request.method !== "OPTIONS" || request.get("access-control-request-method") === undefined) return next();
    response.setHeader("access-control-allow-methods", METHODS);
    response.setHeader(
      "access-control-allow-headers",
      request.get("access-control-request-headers") ?? DEFAULT_HEADERS,
    );
    response.setHeader("access-control-max-age", "600");
    response.status(204).end();
  };
}
