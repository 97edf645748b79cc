/** Timers and callbacks as they travel through LangGraph: the value of the interrupt, and what `interrupt()` returns. */
import type { Json, JsonObject } from "./json.ts";

/** The value that `until()` hands to `interrupt()`. */
export const timerValue = (dueAt: number): JsonObject => ({
  holdpoint: "timer",
  due_at: new Date(dueAt).toISOString(),
});

/** The value that `callback()` hands to `interrupt()`. Its token is never part of it: whoever may read a thread may not answer. */
export function callbackValue(asked: RaisedCallback): JsonObject {
  const { key, timeoutMs, schema } = asked;
  return {
    holdpoint: "callback",
    key,
    timeout_ms: timeoutMs,
    ...(schema === undefined ? {} : { schema }),
  };
}

export interface RaisedTimer {
  readonly kind: "timer";
  /** Table time. */
  readonly dueAt: number;
}

export interface RaisedCallback {
  /** Names it among all callbacks of its thread. */
  readonly key: string;
  readonly timeoutMs: number;
  readonly schema?: JsonObject;
}

/** The timer or the callback in an interrupt's value; undefined for anything else. */
export function waitOf(value: unknown): RaisedTimer | (RaisedCallback & { readonly kind: "callback" }) | undefined {
  if (!isObject(value)) return undefined;
  switch (value["holdpoint"]) {
    case "timer": {
      const dueAt = Date.parse(String(value["due_at"]));
      return Number.isNaN(dueAt) ? undefined : { kind: "timer", dueAt };
    }
    case "callback": {
      const { key, timeout_ms: timeoutMs, schema } = value;
      if (typeof key !== "string" || typeof timeoutMs !== "number") return undefined;
      // What LangGraph kept of it was JSON when it was raised.
      return { kind: "callback", key, timeoutMs, ...(isObject(schema) ? { schema: schema as JsonObject } : {}) };
    }
    default:
      return undefined;
  }
}

/** What a timer or a callback came to, as the code that raised it is told. */
export type WaitOutcome =
  | { readonly kind: "fired" }
  | { readonly kind: "arrived"; readonly result: Json }
  | { readonly kind: "failed"; readonly error: string; readonly cause: string }
  | { readonly kind: "timeout" };

/** The value that `interrupt()` returns. */
export const outcomeValue = (outcome: WaitOutcome): JsonObject => ({ holdpoint: "waited", ...outcome });

/** Reads what `outcomeValue` made; undefined for anything else. */
export function outcomeOf(value: unknown): WaitOutcome | undefined {
  if (!isObject(value) || value["holdpoint"] !== "waited") return undefined;
  const { kind, result, error, cause } = value;
  switch (kind) {
    case "fired":
    case "timeout":
      return { kind };
    case "arrived":
      return { kind, result: (result ?? null) as Json }; // it was JSON when it arrived
    case "failed":
      return { kind, error: textOf(error), cause: textOf(cause) };
    default:
      return undefined;
  }
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
