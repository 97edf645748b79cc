/**
 * Whatever was thrown, as an error that LangGraph can work with. It marks what a node threw with the task's id and asks
 * it for its message, which fails on texts, numbers, nothing at all, and frozen objects.
 */
import { isGraphBubbleUp } from "@langchain/langgraph";
import { errorInfo } from "../core/errors.ts";
import type { ErrorInfo } from "../core/errors.ts";

/** Something thrown that was no error, or one that nothing can be added to. */
export class ThrownValue extends Error {
  readonly value: unknown;

  constructor(value: unknown) {
    const { name, message } = describe(value);
    super(message, value instanceof Error && value.cause !== undefined ? { cause: value.cause } : undefined);
    this.name = name;
    this.value = value;
  }
}

/** The error itself, if it is one that LangGraph can work with. */
export function asError(thrown: unknown): Error {
  if (isError(thrown) && (Object.isExtensible(thrown) || isGraphBubbleUp(thrown))) return thrown;
  return new ThrownValue(thrown);
}

/** What was thrown before `asError` made an error of it. */
export const thrownBy = (error: unknown): unknown => (error instanceof ThrownValue ? error.value : error);

/** An error of any realm. */
const isError = (value: unknown): value is Error =>
  value instanceof Error || Object.prototype.toString.call(value) === "[object Error]";

/** Name and message of anything that was thrown; its own, if it has them. */
export function describe(thrown: unknown): ErrorInfo {
  if (thrown === undefined || thrown === null) return { name: "Error", message: `a node threw ${thrown}` };
  if (typeof thrown !== "object") return errorInfo(thrown);
  const name = "name" in thrown && typeof thrown.name === "string" ? thrown.name : "Error";
  if ("message" in thrown && typeof thrown.message === "string") return { name, message: thrown.message || name };
  const { pregelTaskId: _, ...rest } = thrown as { readonly pregelTaskId?: unknown }; // LangGraph's mark
  const { message } = errorInfo(rest);
  return {
    name,
    message: message === "[object Object]" ? "a node threw an object that cannot be written as JSON" : message,
  };
}
