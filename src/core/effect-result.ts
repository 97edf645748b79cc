import type { Json, JsonObject } from "./json.ts";

/**
 * What stands in the journal for a result that could not be kept. The effect has happened and must not be repeated, so
 * this is as definite as a result; `reason` reads on after "but".
 */
export function resultNotKept(reason: string): Json {
  return { holdpoint: "result_not_kept", reason };
}

/** The reason, if this value stands for a result that could not be kept. */
export function notKept(value: Json): string | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const { holdpoint, reason } = value as JsonObject;
  return holdpoint === "result_not_kept" && typeof reason === "string" ? reason : undefined;
}
