/**
 * Routes: none can be added without saying who may call it and how large its body may be. What is refused because there
 * is too much to do, or because the table is away, is refused before anything is read for it.
 */
import { createHash } from "node:crypto";
import type { Request, Response, Router } from "express";
import type { TenantId } from "../core/ids.ts";
import type { Action, Origin, Principal } from "../core/principal.ts";
import type { Admission } from "./admission.ts";
import { authorized } from "./auth.ts";
import type { Authenticator } from "./auth.ts";
import { createBodyReader, createFormReader } from "./body.ts";
import type { Body, BodyReader } from "./body.ts";
import type { HttpLimits } from "./limits.ts";
import { rankingOf } from "./ranks.ts";
import type { Rank, Ranking } from "./ranks.ts";
import { traceOf } from "./trace.ts";

/** One request of a principal who may do what the route does. */
export interface Call {
  readonly principal: Principal;
  readonly request: Request;
  readonly response: Response;
  /** The parsed body; undefined when there was none. */
  readonly body: unknown;
  /** SHA-256 of method, path and raw body: what an idempotency key is bound to. */
  readonly bodyHash: string;
  /** From now on the request only waits or streams: it is no longer one of those in flight. */
  waits(): void;
}

export type Handler = (call: Call) => Promise<void>;

/** A request whose only credential is a token in its path. */
export interface TokenCall {
  readonly request: Request;
  readonly response: Response;
  /** Lets it in on behalf of the tenant that its token speaks for; its body is read only then. */
  readonly enter: (tenant: TenantId) => Disposable & { body(): Promise<unknown>; form(): Promise<URLSearchParams> };
}

/** `json` is bounded as ordinary requests are, `run` as those that carry a run's input. */
export type BodyKind = "json" | "run";

export interface Routes {
  /** For everyone whom this server answers at all: health and description. */
  open(path: string, handle: (request: Request, response: Response) => Promise<void>): void;
  /** For whoever has a token: other systems, which have no key. */
  byToken(path: string, handle: (call: TokenCall) => Promise<void>): void;
  showByToken(path: string, handle: (call: TokenCall) => Promise<void>): void;
  get(path: string, action: Action, handle: Handler): void;
  delete(path: string, action: Action, handle: Handler): void;
  /** A delete that names what to delete in its body. */
  deleteNamed(path: string, action: Action, handle: Handler): void;
  put(path: string, action: Action, handle: Handler): void;
  patch(path: string, action: Action, handle: Handler): void;
  post(path: string, action: Action, handle: Handler, body?: BodyKind): void;
}

/** What stands before every route of a surface. */
export interface Gate {
  readonly auth: Authenticator;
  readonly admission: Admission;
  readonly limits: HttpLimits;
  /** Where the router is mounted, from the root of what is served. */
  readonly prefix: string;
}

export function createRoutes(router: Router, { auth, admission, limits, prefix }: Gate): Routes {
  const readers = { json: createBodyReader(limits.bodyBytes), run: createBodyReader(limits.runBodyBytes) };
  const readToken = createBodyReader(limits.callbackBodyBytes);
  const readForm = createFormReader(limits.callbackBodyBytes);
  const serve = (route: string, action: Action, handle: Handler, kind?: BodyKind) => {
    const ranking = rankingOf(route);
    return async (request: Request, response: Response) => {
      const origin = originOf(request, response);
      const principal: Principal = { ...(await authorized(auth, request, action)), origin };
      const read = kind === undefined ? undefined : once(readers[kind], request, response);
      const rank = await admittedAs(ranking, { admission, principal, request, read });
      using admitted = admission.enter(rank, principal.tenant);
      const body = await read?.();
      const bodyHash = hashOf(request, body?.raw);
      await handle({ principal, request, response, body: body?.value, bodyHash, waits: () => admitted.waits() });
    };
  };
  const serveAll = (handle: Parameters<Routes["open"]>[1]) => async (request: Request, response: Response) => {
    auth.admit(request);
    await handle(request, response);
  };
  const serveToken = (route: string, handle: Parameters<Routes["byToken"]>[1]) => {
    const { rank } = rankingOf(route);
    return async (request: Request, response: Response) => {
      auth.admit(request);
      const enter: TokenCall["enter"] = (tenant) => {
        const refusal = admission.refusal(rank, tenant);
        if (refusal) throw refusal;
        const admitted = admission.enter(rank, tenant);
        return {
          body: async () => (await readToken(request, response)).value,
          form: () => readForm(request, response),
          [Symbol.dispose]: () => admitted[Symbol.dispose](),
        };
      };
      await handle({ request, response, enter });
    };
  };
  const at = (method: string, path: string): string => `${method} ${prefix}${path}`;
  return {
    open: (path, handle) => void router.get(path, serveAll(handle)),
    byToken: (path, handle) => void router.post(path, serveToken(at("POST", path), handle)),
    showByToken: (path, handle) => void router.get(path, serveToken(at("GET", path), handle)),
    get: (path, action, handle) => void router.get(path, serve(at("GET", path), action, handle)),
    delete: (path, action, handle) => void router.delete(path, serve(at("DELETE", path), action, handle)),
    deleteNamed: (path, action, handle) => void router.delete(path, serve(at("DELETE", path), action, handle, "json")),
    put: (path, action, handle) => void router.put(path, serve(at("PUT", path), action, handle, "json")),
    patch: (path, action, handle) => void router.patch(path, serve(at("PATCH", path), action, handle, "json")),
    post: (path, action, handle, body = "json") =>
      void router.post(path, serve(at("POST", path), action, handle, body)),
  };
}

/** Where a request came from. */
export function originOf({ socket }: Request, response: Response): Origin {
  const { remoteAddress: address } = socket;
  return { requestId: traceOf(response), ...(address === undefined ? {} : { address }) };
}

type ReadBody = () => Promise<Body>;

function once(read: BodyReader, request: Request, response: Response): ReadBody {
  let body: Promise<Body> | undefined;
  return () => (body ??= read(request, response));
}

interface Applicant {
  readonly admission: Admission;
  readonly principal: Principal;
  readonly request: Request;
  readonly read: ReadBody | undefined;
}

/** A body of this many bytes is read to see whether it must not be refused. */
const SMALL_BYTES = 16 * 1024;

/** The rank by which a request is let in. @throws HoldpointError `limit`, `unavailable` */
async function admittedAs(
  { rank, byBody }: Ranking,
  { admission, principal, request, read }: Applicant,
): Promise<Rank> {
  const refusal = admission.refusal(rank, principal.tenant);
  if (!refusal) return rank;
  if (!byBody || !read || !isSmall(request)) throw refusal;
  const shown = byBody((await read()).value);
  const stillRefused = shown === rank ? refusal : admission.refusal(shown, principal.tenant);
  if (stillRefused) throw stillRefused;
  return shown;
}

function isSmall(request: Request): boolean {
  const length = request.get("content-length");
  return length !== undefined && Number(length) <= SMALL_BYTES;
}

function hashOf(request: Request, raw: Uint8Array = new Uint8Array()): string {
  return createHash("sha256").update(`${request.method}\n${request.path}\n`).update(raw).digest("hex");
}
