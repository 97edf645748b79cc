/** Routes: none can be added without saying who may call it and how large its body may be. */
import { createHash } from "node:crypto";
import type { Request, Response, Router } from "express";
import type { Action, Principal } from "../core/principal.ts";
import { authorized } from "./auth.ts";
import type { Authenticator } from "./auth.ts";
import { createBodyReader } from "./body.ts";
import type { HttpLimits } from "./limits.ts";

/** One request of a principal who may do what the route does. */
export interface Call {
  readonly principal: Principal;
  readonly request: Request;
  readonly response: Response;
  /** The parsed body; undefined when there was none. */
  readonly body: unknown;
  /** SHA-256 of method, path and raw body: what an idempotency key is bound to. */
  readonly bodyHash: string;
}

export type Handler = (call: Call) => Promise<void>;

/** `json` is bounded as ordinary requests are, `run` as those that carry a run's input. */
export type BodyKind = "json" | "run";

export interface Routes {
  /** For everyone whom this server answers at all: health and description. */
  open(path: string, handle: (request: Request, response: Response) => Promise<void>): void;
  get(path: string, action: Action, handle: Handler): void;
  delete(path: string, action: Action, handle: Handler): void;
  patch(path: string, action: Action, handle: Handler): void;
  post(path: string, action: Action, handle: Handler, body?: BodyKind): void;
}

export function createRoutes(router: Router, auth: Authenticator, limits: HttpLimits): Routes {
  const readers = { json: createBodyReader(limits.bodyBytes), run: createBodyReader(limits.runBodyBytes) };
  const serve = (action: Action, handle: Handler, kind?: BodyKind) => async (request: Request, response: Response) => {
    const principal = await authorized(auth, request, action);
    const body = kind && (await readers[kind](request, response));
    const bodyHash = hashOf(request, body?.raw);
    await handle({ principal, request, response, body: body?.value, bodyHash });
  };
  const serveAll = (handle: Parameters<Routes["open"]>[1]) => async (request: Request, response: Response) => {
    auth.admit(request);
    await handle(request, response);
  };
  return {
    open: (path, handle) => void router.get(path, serveAll(handle)),
    get: (path, action, handle) => void router.get(path, serve(action, handle)),
    delete: (path, action, handle) => void router.delete(path, serve(action, handle)),
    patch: (path, action, handle) => void router.patch(path, serve(action, handle, "json")),
    post: (path, action, handle, body = "json") => void router.post(path, serve(action, handle, body)),
  };
}

function hashOf(request: Request, raw: Uint8Array = new Uint8Array()): string {
  return createHash("sha256").update(`${request.method}\n${request.path}\n`).update(raw).digest("hex");
}
