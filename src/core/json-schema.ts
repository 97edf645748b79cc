import { z } from "zod";
import { errorInfo } from "./errors.ts";
import type { Json, JsonObject } from "./json.ts";
import { jsonPointer } from "./json-pointer.ts";

/** What is wrong at a place of a value. */
export interface Problem {
  /** See `jsonPointer`. */
  readonly pointer: string;
  readonly message: string;
}

/** Why no value can be checked against a JSON Schema; undefined when it can be. */
export function uncheckable(schema: JsonObject): string | undefined {
  try {
    z.fromJSONSchema(schema);
    return undefined;
  } catch (error) {
    return errorInfo(error).message;
  }
}

/** What is wrong with a value by a JSON Schema; a schema that cannot be checked is such a thing too. */
export function schemaProblems(schema: JsonObject, value: Json): readonly Problem[] {
  let checkable: z.ZodType;
  try {
    checkable = z.fromJSONSchema(schema);
  } catch {
    return [{ pointer: "", message: "its schema cannot be checked" }];
  }
  const parsed = checkable.safeParse(value);
  if (parsed.success) return [];
  return parsed.error.issues.map(({ path, message }) => ({ pointer: jsonPointer(path), message }));
}
