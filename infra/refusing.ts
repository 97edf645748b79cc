import { isHoldpointError } from "../src/core/errors.ts";

/** Works; what is refused is said without a stack on standard error, with exit code 1. */
export async function refusing(work: () => Promise<void> | void): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isHoldpointError(error)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}
