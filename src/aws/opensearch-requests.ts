/**
 * Requests to one OpenSearch: signed or plain, with a time-out that is enforced, tried again where the answer is that
 * nothing has happened or that it may be repeated. Every request that is made here may be repeated.
 */
import { z } from "zod";
import type { Clock } from "../core/clock.ts";
import { errorInfo, HoldpointError } from "../core/errors.ts";
import type { IdSource } from "../core/ids.ts";
import { pauseMs } from "../storage/backoff.ts";

export interface SignableRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

/** The headers that a request is sent with. */
export type SignRequest = (request: SignableRequest) => Promise<Readonly<Record<string, string>>>;

export interface OpenSearchOptions {
  /** Without credentials, path or query. */
  readonly url: string;
  /** Index of all passages of all tenants. */
  readonly index: string;
  readonly clock: Clock;
  readonly ids: IdSource;
  /** Undefined: requests are sent as they are. */
  readonly sign?: SignRequest | undefined;
  /** Milliseconds until the whole answer must be there; 30,000 by default. */
  readonly requestTimeoutMs?: number | undefined;
}

export interface OpenSearchRequest {
  readonly method: "GET" | "PUT" | "POST";
  /** Below the index, such as `_search`; empty for the index itself. */
  readonly path: string;
  /** JSON, or lines of it. */
  readonly body?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Statuses that are answers although they are not of success. */
  readonly expected?: readonly number[];
}

export interface OpenSearchAnswer {
  readonly status: number;
  readonly json: unknown;
}

export interface OpenSearchRequests {
  readonly index: string;
  /**
   * @throws HoldpointError `unavailable` when it cannot be reached, is too slow, too busy or refuses the credentials;
   * `internal` for what it does not understand; the signal's reason
   */
  send(request: OpenSearchRequest): Promise<OpenSearchAnswer>;
  /** Before what was refused for now is sent again; ends early when the signal aborts. */
  pause(attempt: number, signal: AbortSignal | undefined): Promise<void>;
  /** The error that says what went wrong at this index. */
  failed(code: "conflict" | "internal" | "unavailable" | "unsupported", what: string, cause?: unknown): HoldpointError;
}

/** How often one request is sent before it counts as failed. */
const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
const TIMEOUT_MS = 30_000;

const NOT_JSON = "what answered there is not OpenSearch, whose answers are JSON: look at HOLDPOINT_OPENSEARCH_URL";

/** What a server says when it may do the same thing later. */
export const isForNow = (status: number): boolean => status === 429 || status >= 500;

/** What OpenSearch says of an error, and what a proxy before it may say. */
export const errorReason = z
  .object({ error: z.union([z.string(), z.object({ type: z.string(), reason: z.string().nullish() })]) })
  .transform(({ error }) => (typeof error === "string" ? error : `${error.type}: ${error.reason ?? ""}`))
  .or(z.object({ message: z.string() }).transform(({ message }) => message));

export function createOpenSearchRequests(options: OpenSearchOptions): OpenSearchRequests {
  const { url, index, clock, ids } = options;
  const failed: OpenSearchRequests["failed"] = (code, what, cause) =>
    new HoldpointError(code, `OpenSearch index ${index} at ${url}: ${what}`, { cause });
  const pause = (attempt: number, signal: AbortSignal | undefined): Promise<void> =>
    clock.sleep(pauseMs(attempt, FIRST_PAUSE_MS, LONGEST_PAUSE_MS, ids), signal);
  return {
    index,
    failed,
    pause,
    async send(request) {
      const { signal, expected = [] } = request;
      for (let attempt = 0; ; attempt += 1) {
        const outcome = await once(options, request);
        signal?.throwIfAborted();
        const isLast = attempt + 1 === ATTEMPTS;
        if ("error" in outcome) {
          if (isLast || !outcome.mayRepeat) throw failed("unavailable", outcome.error, outcome.cause);
        } else {
          const { status, json } = outcome;
          if (status < 300 && json === undefined) throw failed("unavailable", NOT_JSON);
          if (status < 300 || expected.includes(status)) return outcome;
          if (isLast || !isForNow(status)) throw failed(codeOf(status), said(outcome));
        }
        await pause(attempt, signal);
        signal?.throwIfAborted();
      }
    },
  };
}

const codeOf = (status: number): "internal" | "unavailable" =>
  isForNow(status) || status === 401 || status === 403 ? "unavailable" : "internal";

function said({ status, json }: OpenSearchAnswer): string {
  const reason = errorReason.safeParse(json);
  return `answered ${status}${reason.success ? `: ${reason.data}` : ""}`;
}

type Outcome = OpenSearchAnswer | { readonly error: string; readonly cause: unknown; readonly mayRepeat: boolean };

async function once(options: OpenSearchOptions, request: OpenSearchRequest): Promise<Outcome> {
  const { clock, requestTimeoutMs = TIMEOUT_MS } = options;
  const answered = new AbortController();
  const late = new AbortController();
  void clock.sleep(requestTimeoutMs, answered.signal).then(() => late.abort());
  const signals = request.signal === undefined ? [late.signal] : [late.signal, request.signal];
  try {
    return await exchange(options, request, AbortSignal.any(signals));
  } catch (cause) {
    if (late.signal.aborted && !answered.signal.aborted)
      return { error: `did not answer within ${requestTimeoutMs} ms`, cause, mayRepeat: false };
    return { error: `cannot be reached: ${reasonOf(cause)}`, cause, mayRepeat: true };
  } finally {
    answered.abort();
  }
}

/** `fetch` says only that it failed; its cause says why. */
function reasonOf(error: unknown): string {
  const { message } = errorInfo(error);
  return error instanceof Error && error.cause !== undefined
    ? `${message}: ${errorInfo(error.cause).message}`
    : message;
}

async function exchange(
  { url: base, index, sign }: OpenSearchOptions,
  { method, path, body }: OpenSearchRequest,
  signal: AbortSignal,
): Promise<Outcome> {
  const url = new URL(`/${index}${path === "" ? "" : `/${path}`}`, base);
  const plain = { "content-type": "application/json" };
  let headers: Readonly<Record<string, string>>;
  try {
    headers = sign === undefined ? plain : await sign({ method, url, headers: plain, body });
  } catch (cause) {
    return { error: `the request cannot be signed: ${errorInfo(cause).message}`, cause, mayRepeat: false };
  }
  const sent = { method, headers, signal, redirect: "error", ...(body === undefined ? {} : { body }) } as const;
  const response = await fetch(url, sent);
  const text = await response.text();
  return { status: response.status, json: parsed(text) };
}

/** What is in front of a server may answer in something other than JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
