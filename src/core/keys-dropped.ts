import { HoldpointError, isHoldpointError } from "./errors.ts";

const REASON = "keys_dropped";

/** What is said of content that nobody can read any more, since the tenant's encryption keys were dropped. */
export const keysDropped = (message: string): HoldpointError =>
  new HoldpointError("gone", message, { detail: { reason: REASON } });

/** True for the error above, wherever it was raised. */
export const isKeysDropped = (error: unknown): error is HoldpointError =>
  isHoldpointError(error, "gone") && error.detail?.["reason"] === REASON;

/** What was read, or undefined where nobody can read it any more: for lists, which go on without that. */
export async function unlessKeysDropped<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (isKeysDropped(error)) return undefined;
    throw error;
  }
}
