/**
 * The token of a callback says which hold it releases, signed so that nobody can make one up.
 * Whoever has it may release that one hold, once.
 */
import { makeHoldId } from "./hold.ts";
import { holdId as asHoldId, sha256, tenantId, threadId } from "./ids.ts";
import type { HoldId, TenantId, ThreadId } from "./ids.ts";
import { openedToken, signedToken } from "./signed-token.ts";

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

const CALLBACK = { use: "callback", version: "c1" };

export function signedCallback({ tenant, threadId: thread, generation, holdId }: CallbackTarget, secret: Uint8Array) {
  return signedToken(CALLBACK, [tenant, thread, generation, holdId], secret);
}

/** Undefined for a token that none of these secrets has signed. */
export function openedCallback(token: string, secrets: readonly Uint8Array[]): CallbackTarget | undefined {
  const said = openedToken(CALLBACK, token, secrets);
  if (said === undefined) return undefined;
  const [tenant, thread, generation, hold] = said as unknown as readonly [string, string, number, string]; // as it was signed above
  return { tenant: tenantId(tenant), threadId: threadId(thread), generation, holdId: asHoldId(hold) };
}
