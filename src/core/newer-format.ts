import { HoldpointError, isHoldpointError, unless } from "./errors.ts";

const REASON = "newer_format";

/** What a reader says of something that a later version has written: it is whole, and not this version's to judge. */
export const newerFormat = (what: string): HoldpointError =>
  new HoldpointError("unsupported", `${what} was written by a newer version of Holdpoint`, {
    detail: { reason: REASON },
  });

/** True for the error above: the thread is to be left to a worker that can read it. */
export const isNewerFormat = (error: unknown): error is HoldpointError =>
  isHoldpointError(error, "unsupported") && error.detail?.["reason"] === REASON;

/** What was read, or undefined where a later version wrote it: for lists, which go on without that. */
export const unlessNewer = unless(isNewerFormat);
