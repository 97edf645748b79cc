import { createServer } from "node:http";
import type { Server } from "node:http";
import type { Express } from "express";

/** Above the idle time-out of the load balancers in front, so that they never reuse a connection we just closed. */
export const KEEP_ALIVE_MS = 65_000;
const HEADERS_MS = 15_000;
const REQUEST_MS = 60_000;
/** A connection on which nothing moves: every answer that takes its time sends something every few seconds. */
const SILENT_MS = 60_000;

/** An HTTP server for the application, with time-outs that neither slow clients nor dead ones outlast. */
export function createHttpServer(app: Express): Server {
  const server = createServer(
    { keepAliveTimeout: KEEP_ALIVE_MS, headersTimeout: HEADERS_MS, requestTimeout: REQUEST_MS },
    // Express answers through the request and response it is given; its handler returns nothing to wait for.
    (request, response) => void app(request, response),
  );
  server.timeout = SILENT_MS;
  return server;
}
