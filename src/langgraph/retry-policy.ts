/** LangGraph's retry policy, read without LangGraph: when to try again, and after how long. */
import type { RetryPolicy } from "@langchain/langgraph";
import { sha256 } from "../core/ids.ts";
import { thrownBy } from "./thrown.ts";

const DEFAULTS = { initialInterval: 500, backoffFactor: 2, maxInterval: 128_000, maxAttempts: 3 } as const;
const JITTER_MS = 1000;
/** Answers of an HTTP service that do not change when they are asked for again. */
const FINAL_STATUS = new Set([400, 401, 402, 403, 404, 405, 406, 407, 409]);

/** True if the policy wants another attempt after so many have failed. */
export function wantsAnother(policy: RetryPolicy, failures: number, error: unknown): boolean {
  if (failures >= (policy.maxAttempts ?? DEFAULTS.maxAttempts)) return false;
  const thrown = thrownBy(error);
  return policy.retryOn ? policy.retryOn(thrown) : isTransient(thrown);
}

/** How long to wait after so many failures. `seed` makes the jitter: one task never meets another at the same moment. */
export function backoffMs(policy: RetryPolicy, failures: number, seed: string): number {
  const initial = policy.initialInterval ?? DEFAULTS.initialInterval;
  const grown = initial * (policy.backoffFactor ?? DEFAULTS.backoffFactor) ** (failures - 1);
  const interval = Math.min(policy.maxInterval ?? DEFAULTS.maxInterval, grown);
  return interval + ((policy.jitter ?? true) ? jitterOf(`${seed} ${failures}`) : 0);
}

const jitterOf = (seed: string): number => (Number.parseInt(sha256(seed).slice(0, 8), 16) / 2 ** 32) * JITTER_MS;

/** LangGraph's own default: everything, but what was cancelled, refused for good, or is a mistake of the graph. */
function isTransient(thrown: unknown): boolean {
  const { message, name, code, status, response, error } = fields(thrown);
  const text = typeof message === "string" ? message : "";
  if (text.startsWith("Cancel") || text.startsWith("AbortError")) return false;
  if (name === "AbortError" || name === "GraphValueError" || code === "ECONNABORTED") return false;
  return (
    !FINAL_STATUS.has(Number(fields(response)["status"] ?? status)) && fields(error)["code"] !== "insufficient_quota"
  );
}

const fields = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {}; // any of them may be missing
