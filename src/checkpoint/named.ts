import { HoldpointError, isHoldpointError } from "../core/errors.ts";

/** What is wrong with an item is told with its name. */
export function named<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw withName(what, error);
  }
}

/** An error that says what was being read; any other than `corrupt` as it is. */
export const withName = (what: string, error: unknown): unknown =>
  isHoldpointError(error, "corrupt")
    ? new HoldpointError("corrupt", `${what}: ${error.message}`, { cause: error })
    : error;
