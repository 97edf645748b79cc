/** Schemas of a review's arguments: the type that an author's code gets, and the JSON Schema that a reviewer is shown. */
import { z } from "zod";
import { HoldpointError } from "../core/errors.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { strictJson } from "../core/plain-json.ts";

/** A zod schema (version 4), or a JSON Schema. */
export type ArgsSchema = z.ZodType | object;

/** The type that edited arguments have: what the zod schema makes of them, or what the JSON Schema says where it is a literal. */
export type ArgsOf<S> = S extends z.ZodType
  ? z.output<S>
  : S extends { readonly type: "object"; readonly properties: object }
    ? FromJsonSchema<S>
    : JsonObject;

type FromJsonSchema<S> = S extends { readonly const: infer C }
  ? C
  : S extends { readonly enum: readonly (infer E)[] }
    ? E
    : S extends { readonly type: "array"; readonly items: infer Item }
      ? readonly FromJsonSchema<Item>[]
      : S extends { readonly type: "object"; readonly properties: infer P }
        ? Properties<P, S extends { readonly required: readonly (infer R)[] } ? R : never>
        : S extends { readonly type: infer T }
          ? Primitive<T>
          : Json;

type Properties<P, Required> = {
  readonly [K in keyof P as K extends Required ? K : never]: FromJsonSchema<P[K]>;
} & { readonly [K in keyof P as K extends Required ? never : K]?: FromJsonSchema<P[K]> };

type Primitive<T> = T extends "string"
  ? string
  : T extends "number" | "integer"
    ? number
    : T extends "boolean"
      ? boolean
      : T extends "null"
        ? null
        : Json;

const isZod = (schema: ArgsSchema): schema is z.ZodType => "_zod" in schema;

/** What a reviewer is shown, and what an edit must fit. @throws HoldpointError `invalid` for what is no schema */
export function shownSchema(schema: ArgsSchema): JsonObject {
  const shown = isZod(schema) ? z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) : schema;
  const json = strictJson(isZod(schema) ? JSON.parse(JSON.stringify(shown)) : shown);
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw new HoldpointError("invalid", "a review's argsSchema must be an object");
  return json as JsonObject; // neither null nor a list
}

export type Parsed =
  | { readonly success: true; readonly args: unknown }
  | { readonly success: false; readonly problem: string };

/** Edited arguments as a zod schema makes them. A JSON Schema has been checked before the answer was taken. */
export async function parsedArgs(schema: ArgsSchema | undefined, args: JsonObject): Promise<Parsed> {
  if (schema === undefined || !isZod(schema)) return { success: true, args };
  const parsed = await schema.safeParseAsync(args);
  return parsed.success
    ? { success: true, args: parsed.data }
    : { success: false, problem: z.prettifyError(parsed.error) };
}
