import { z } from "zod";
import type { Json, JsonObject } from "./json.ts";

/** What is wrong with a value by a JSON Schema, each with its pointer; a schema that cannot be checked is such a thing too. */
export function schemaProblems(schema: JsonObject, value: Json): readonly string[] {
  let checkable: z.ZodType;
  try {
    checkable = z.fromJSONSchema(schema);
  } catch {
    return ["/: its schema cannot be checked"];
  }
  const parsed = checkable.safeParse(value);
  return parsed.success ? [] : parsed.error.issues.map(({ path, message }) => `/${path.join("/")}: ${message}`);
}
