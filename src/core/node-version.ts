import { HoldpointError } from "./errors.ts";

const LEAST = 24;

/** `version`: such as `24.1.0`. @throws HoldpointError `unsupported` for a Node below 24 */
export function assertNodeVersion(version: string): void {
  if (Number.parseInt(version, 10) >= LEAST) return;
  throw new HoldpointError("unsupported", `Holdpoint needs Node ${LEAST} or newer; this is Node ${version}`);
}
