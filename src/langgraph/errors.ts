/** What graphs throw, as readable and typed facts: LangGraph itself passes on whatever it was handed, or worse. */
import { HoldpointError, errorInfo } from "../core/errors.ts";
import type { ErrorInfo } from "../core/errors.ts";

/** LangGraph marks what a node threw with its task id; on anything that takes no properties that fails like this. */
const PRIMITIVE = /^Cannot create property 'pregelTaskId' on (string|number|boolean|bigint|symbol) '([\s\S]*)'$/;
const NOTHING = /^Cannot set properties of (undefined|null) \(setting 'pregelTaskId'\)$/;
const FROZEN = "Cannot add property pregelTaskId, object is not extensible";
const TROUBLESHOOTING = /\s*Troubleshooting URL: \S+\s*$/;

/** A thrown value as a name and a readable message, whatever it was. `recursionLimit` is named when it was reached. */
export function graphErrorInfo(thrown: unknown, recursionLimit?: number): ErrorInfo {
  if (thrown instanceof HoldpointError) return errorInfo(thrown);
  if (thrown instanceof AggregateError) return aggregateInfo(thrown, recursionLimit);
  if (!(thrown instanceof Error)) return thrownObject(thrown);
  if (thrown.name === "GraphRecursionError" && recursionLimit !== undefined) {
    return {
      name: thrown.name,
      message: `the run reached its limit of ${recursionLimit} supersteps (recursion_limit) before it ended`,
    };
  }
  return marked(thrown) ?? { name: thrown.name, message: thrown.message.replace(TROUBLESHOOTING, "") || thrown.name };
}

function marked({ message }: Error): ErrorInfo | undefined {
  const primitive = PRIMITIVE.exec(message);
  if (primitive) return { name: "Error", message: primitive[2] ?? "" };
  const nothing = NOTHING.exec(message);
  if (nothing) return { name: "Error", message: `a node threw ${nothing[1] ?? "nothing"}` };
  return message === FROZEN ? { name: "Error", message: "a node threw a frozen object" } : undefined;
}

/** Something thrown that is no Error: its own message if it has one, without LangGraph's mark. */
function thrownObject(thrown: unknown): ErrorInfo {
  if (typeof thrown !== "object" || thrown === null) return errorInfo(thrown);
  const name = "name" in thrown && typeof thrown.name === "string" ? thrown.name : "Error";
  if ("message" in thrown && typeof thrown.message === "string") return { name, message: thrown.message };
  const { pregelTaskId: _, ...rest } = thrown as { readonly pregelTaskId?: unknown };
  const { message } = errorInfo(rest);
  return {
    name,
    message: message === "[object Object]" ? "a node threw an object that cannot be written as JSON" : message,
  };
}

function aggregateInfo(thrown: AggregateError, recursionLimit: number | undefined): ErrorInfo {
  const each = thrown.errors.map((error: unknown) => graphErrorInfo(error, recursionLimit));
  const only = each.length === 1 ? each[0] : undefined;
  return (
    only ?? {
      name: thrown.name,
      message: `${each.length} nodes failed: ${each.map(({ name, message }) => `${name}: ${message}`).join("; ")}`,
    }
  );
}
