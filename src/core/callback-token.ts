/**
 * The token of a callback says which hold it releases, signed so that nobody can make one up (HMAC-SHA-256 over what it
 * says). Whoever has it may release that one hold, once.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { makeHoldId } from "./hold.ts";
import { holdId as asHoldId, sha256, tenantId, threadId } from "./ids.ts";
import type { HoldId, TenantId, ThreadId } from "./ids.ts";

/** The hold that a token stands for. */
export interface CallbackTarget {
  readonly tenant: TenantId;
  readonly threadId: ThreadId;
  readonly generation: number;
  readonly holdId: HoldId;
}

/** Names one callback among all of a thread: the namespace of its task, and how many answers that has had before. */
export const callbackKey = (ns: string, answered: number): string =>
  sha256(JSON.stringify([ns, answered])).slice(0, 32);

/** The id of a callback's hold, known before it is raised: its token is handed out before that. */
export function callbackHoldId(at: Omit<CallbackTarget, "holdId">, key: string): HoldId {
  return makeHoldId({ ...at, interruptId: key, digest: "callback" });
}

const VERSION = "c1";

export function signedToken(target: CallbackTarget, secret: Uint8Array): string {
  const { tenant, threadId: thread, generation, holdId } = target;
  const said = Buffer.from(JSON.stringify([tenant, thread, generation, holdId])).toString("base64url");
  return `${VERSION}.${said}.${signature(said, secret).toString("base64url")}`;
}

/** Undefined for a token that none of these secrets has signed. */
export function openedToken(token: string, secrets: readonly Uint8Array[]): CallbackTarget | undefined {
  const [version, said = "", signed = ""] = token.split(".");
  const given = Buffer.from(signed, "base64url");
  if (version !== VERSION || !secrets.some((secret) => isSame(given, signature(said, secret)))) return undefined;
  const [tenant, thread, generation, hold] = JSON.parse(Buffer.from(said, "base64url").toString("utf8")) as [
    string,
    string,
    number,
    string,
  ]; // as it was signed above
  return { tenant: tenantId(tenant), threadId: threadId(thread), generation, holdId: asHoldId(hold) };
}

const signature = (said: string, secret: Uint8Array): Buffer =>
  createHmac("sha256", secret).update(`holdpoint callback ${VERSION} ${said}`).digest();

const isSame = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && timingSafeEqual(a, b);
