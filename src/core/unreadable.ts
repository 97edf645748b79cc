import { HoldpointError, isHoldpointError, unless } from "./errors.ts";

const REASON = "keys_dropped";

/** What is said of content that nobody can read any more, since the tenant's encryption keys were dropped. */
export const keysDropped = (message: string): HoldpointError =>
  new HoldpointError("gone", message, { detail: { reason: REASON } });

/** True for the error above, wherever it was raised. */
export const isKeysDropped = (error: unknown): error is HoldpointError =>
  isHoldpointError(error, "gone") && error.detail?.["reason"] === REASON;

/** True for what will never be read again: its keys were dropped, or it is damaged. */
export const isUnreadable = (error: unknown): error is HoldpointError =>
  isKeysDropped(error) || isHoldpointError(error, "corrupt");

/** What was read, or undefined where nobody can read it any more: for lists, which go on without that. */
export const unlessUnreadable = unless(isUnreadable);
