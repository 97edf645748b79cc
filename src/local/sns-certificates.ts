/**
 * Fetches certificates of Amazon SNS over Node's own HTTP client, guarded as webhooks are: no address that is not public,
 * no redirect, no proxy from the environment. Whoever calls has seen to it that the address is Amazon's.
 */
import { request as httpRequest } from "node:http";
import type { IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { isIP } from "node:net";
import { HoldpointError, errorInfo } from "../core/errors.ts";
import type { SnsCertificates } from "../core/sns-signature.ts";
import { hostOf, isPublicAddress } from "../core/webhook-address.ts";
import { guardedLookup, notPublic, resolveAll } from "./guarded-lookup.ts";
import type { Resolve } from "./guarded-lookup.ts";

export interface SnsCertificatesOptions {
  /** Hosts that may be reached wherever they are, without TLS as well; none by default. */
  readonly allowed?: readonly string[];
  /** Milliseconds from the beginning to the whole answer; 5,000 by default. */
  readonly timeoutMs?: number;
  readonly resolve?: Resolve;
}

const TIMEOUT_MS = 5_000;
const MAX_BYTES = 32 * 1024;
/** One for each region and year. */
const MAX_KEPT = 64;
const AGAIN_MS = 5_000;

/** What is at such an address never changes: it is fetched once. */
export function createSnsCertificates(options: SnsCertificatesOptions = {}): SnsCertificates {
  const kept = new Map<string, Promise<string>>();
  const fetched = async (url: string): Promise<string> => {
    try {
      return await fetchText(new URL(url), options);
    } catch (cause) {
      kept.delete(url);
      const what = `the certificate of Amazon SNS at ${url} cannot be fetched: ${errorInfo(cause).message}`;
      throw new HoldpointError("unavailable", what, { cause, retryAfterMs: AGAIN_MS });
    }
  };
  return {
    get(url) {
      const known = kept.get(url);
      if (known) return known;
      const [oldest] = kept.keys();
      if (oldest !== undefined && kept.size >= MAX_KEPT) kept.delete(oldest);
      const found = fetched(url);
      kept.set(url, found);
      return found;
    },
  };
}

async function fetchText(
  url: URL,
  { allowed = [], timeoutMs = TIMEOUT_MS, resolve = resolveAll }: SnsCertificatesOptions,
): Promise<string> {
  const host = hostOf(url);
  const isAllowed = allowed.includes(host);
  if (!isAllowed && url.protocol !== "https:") throw new Error("the address is not https");
  // Node connects to an address without looking it up.
  if (!isAllowed && isIP(host) !== 0 && !isPublicAddress(host)) throw new Error(notPublic(host));
  const send = url.protocol === "https:" ? httpsRequest : httpRequest;
  const lookup = guardedLookup(resolve, isAllowed);
  const signal = AbortSignal.timeout(timeoutMs);
  const response = await new Promise<IncomingMessage>((answered, failed) => {
    const request = send(url, { method: "GET", agent: false, lookup, signal }, answered);
    request.on("error", failed);
    request.end();
  });
  return textOf(response);
}

async function textOf(response: IncomingMessage): Promise<string> {
  if (response.statusCode !== 200) {
    response.destroy();
    throw new Error(`it is answered with ${response.statusCode}`);
  }
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response as AsyncIterable<Uint8Array>) {
    bytes += part.length;
    if (bytes > MAX_BYTES) throw new Error(`it is longer than ${MAX_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}
