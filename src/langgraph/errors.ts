/** What graphs throw, as readable and typed facts: LangGraph itself passes on whatever it was handed. */
import { HoldpointError, errorInfo } from "../core/errors.ts";
import type { ErrorInfo } from "../core/errors.ts";
import { LIMIT_SETTINGS, attributed, limitError } from "../core/limits.ts";
import type { SetBy } from "../core/limits.ts";
import { describe } from "./thrown.ts";

const TROUBLESHOOTING = /\s*Troubleshooting URL: \S+\s*$/;
/** Causes of causes that are told. */
const DEPTH = 5;

/** The bounds that LangGraph itself enforces, and in whose words the limit is not named. */
export interface GraphBounds {
  readonly steps: number;
  readonly nodeTimeoutMs: number;
  readonly setBy: SetBy;
}

/** A thrown value as a name and a readable message with its causes, whatever it was. A limit is named when it was reached. */
export function graphErrorInfo(thrown: unknown, bounds?: GraphBounds): ErrorInfo {
  if (thrown instanceof HoldpointError) {
    const told = attributed(thrown, bounds?.setBy ?? {});
    return isStepsUsedUp(thrown) ? recursionError(told) : errorInfo(told);
  }
  if (thrown instanceof AggregateError) return aggregateInfo(thrown, bounds);
  const { name, message } = describe(thrown);
  const reached = bounds && limitOf(name, thrown, bounds);
  return { name, message: reached ?? withCauses(message.replace(TROUBLESHOOTING, "") || name, thrown) };
}

/** The error of a lineage that has used up its supersteps. */
export const stepsUsedUp = (steps: number): HoldpointError =>
  limitError("steps", "the run used up its supersteps (recursion_limit) before it ended", steps);

const isStepsUsedUp = ({ code, detail }: HoldpointError): boolean =>
  code === "limit" && detail?.["setting"] === LIMIT_SETTINGS.steps;

/** Under the name that clients know. */
const recursionError = ({ message }: HoldpointError): ErrorInfo => ({ name: "GraphRecursionError", message });

function limitOf(name: string, thrown: unknown, { steps, nodeTimeoutMs, setBy }: GraphBounds): string | undefined {
  if (name === "GraphRecursionError") return attributed(stepsUsedUp(steps), setBy).message;
  const isTimeout = name === "NodeTimeoutError" && typeof thrown === "object" && thrown !== null;
  // An author's own time-out is said in LangGraph's words.
  if (!isTimeout || !("runTimeout" in thrown) || thrown.runTimeout !== nodeTimeoutMs) return undefined;
  const node = "node" in thrown ? String(thrown.node) : "";
  const error = limitError("nodeTimeoutMs", `node "${node}" took longer than ${nodeTimeoutMs} ms`, nodeTimeoutMs);
  return attributed(error, setBy).message;
}

function withCauses(message: string, thrown: unknown): string {
  let told = message;
  const seen = new Set([thrown]);
  for (let cause = causeOf(thrown); cause !== undefined && !seen.has(cause) && seen.size <= DEPTH;) {
    seen.add(cause);
    const info = describe(cause);
    if (!told.includes(info.message)) told += `; caused by ${info.name}: ${info.message}`;
    cause = causeOf(cause);
  }
  return told;
}

const causeOf = (thrown: unknown): unknown =>
  thrown instanceof Error && thrown.cause !== null ? thrown.cause : undefined;

function aggregateInfo(thrown: AggregateError, bounds: GraphBounds | undefined): ErrorInfo {
  const each = thrown.errors.map((error: unknown) => graphErrorInfo(error, bounds));
  const only = each.length === 1 ? each[0] : undefined;
  return (
    only ?? {
      name: thrown.name,
      message: `${each.length} nodes failed: ${each.map(({ name, message }) => `${name}: ${message}`).join("; ")}`,
    }
  );
}
