/**
 * Sends webhooks over Node's own HTTP client. The address is checked where the connection is made: of a name, in the
 * look-up whose answer is connected to, so that one which resolves to another address by then (DNS rebinding) reaches
 * nothing. No redirects, no proxy from the environment, no kept connections; of an answer the status is read, and of its
 * body only so much that a polite target can finish.
 */
import { request as httpRequest } from "node:http";
import type { IncomingMessage, RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";
import { isIP } from "node:net";
import type { LookupFunction } from "node:net";
import { errorInfo } from "../core/errors.ts";
import type { HookRequest, HookSender, Sent } from "../core/webhook.ts";
import { hostOf, isPublicAddress } from "../core/webhook-address.ts";
import { guardedLookup, notPublic, resolveAll } from "./guarded-lookup.ts";
import type { Resolve } from "./guarded-lookup.ts";

export interface WebhookSenderOptions {
  /** Hosts that may be reached wherever they are. */
  readonly allowed: readonly string[];
  /** Milliseconds from the beginning to the whole answer; 15,000 by default. */
  readonly timeoutMs?: number;
  /** Resolves names, as `dns.lookup` with `all` does; that one by default. */
  readonly resolve?: Resolve;
}

const TIMEOUT_MS = 15_000;
const MAX_ANSWER_BYTES = 64 * 1024;
const MAX_HEADER_BYTES = 16 * 1024;

export function createWebhookSender(options: WebhookSenderOptions): HookSender {
  const { allowed, timeoutMs = TIMEOUT_MS, resolve = resolveAll } = options;
  const closing = new AbortController();
  return {
    async send(request) {
      const url = new URL(request.url);
      const host = hostOf(url);
      const isAllowed = allowed.includes(host);
      if (!isAllowed && url.protocol !== "https:") return failed("the address is not https");
      // Node connects to an address without looking it up.
      if (isIP(host) !== 0 && !isAllowed && !isPublicAddress(host)) return failed(notPublic(host));
      const signal = AbortSignal.any([request.signal, closing.signal, AbortSignal.timeout(timeoutMs)]);
      return post(url, request, { signal, lookup: guardedLookup(resolve, isAllowed) });
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
    },
  };
}

const failed = (error: string): Sent => ({ kind: "failed", error });

interface Through {
  readonly signal: AbortSignal;
  readonly lookup: LookupFunction;
}

function post(url: URL, { headers, body }: HookRequest, { signal, lookup }: Through): Promise<Sent> {
  const options: RequestOptions = {
    method: "POST",
    headers: { ...headers, "content-length": String(body.length) },
    agent: false,
    signal,
    lookup,
    maxHeaderSize: MAX_HEADER_BYTES,
  };
  return new Promise((resolve) => {
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    const request = send(url, options, (response) => resolve(answerOf(response)));
    request.on("error", (error) => {
      resolve(failed(signal.aborted ? "no answer in time" : errorInfo(error).message));
    });
    request.end(body);
  });
}

/** What the target says beyond its status is counted and dropped; that it breaks off changes nothing. */
function answerOf(response: IncomingMessage): Sent {
  let bytes = 0;
  response.on("error", () => {});
  response.on("data", (chunk: Uint8Array) => {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) response.destroy();
  });
  const retryAfter = response.headers["retry-after"];
  const status = response.statusCode ?? 0;
  return { kind: "answered", status, ...(retryAfter === undefined ? {} : { retryAfter }) };
}
