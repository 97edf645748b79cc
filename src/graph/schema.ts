/** Schemas of a review's arguments: the type that an author's code gets, and the JSON Schema that a reviewer is shown. */
import { z } from "zod";
import { HoldpointError } from "../core/errors.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { uncheckable } from "../core/json-schema.ts";
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

/**
 * What a reviewer is shown, and what an edit must fit.
 * @throws HoldpointError `invalid` for what is no schema, or one that no edit could be checked against, or fit
 */
export function shownSchema(schema: ArgsSchema): JsonObject {
  if (typeof schema !== "object" || schema === null) throw noSchema("it is neither a zod schema nor a JSON Schema");
  if (isZod(schema)) {
    const shown = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
    return ofObjects(strictJson(JSON.parse(JSON.stringify(shown))));
  }
  const json = ofObjects(strictJson(schema));
  const problem = uncheckable(json);
  if (problem !== undefined) throw noSchema(`no edit can be checked against it: ${problem}`);
  return json;
}

function ofObjects(json: Json): JsonObject {
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw noSchema("it is no object");
  const schema = json as JsonObject; // neither null nor a list
  const { type } = schema;
  const types = Array.isArray(type) ? (type as readonly Json[]) : [type];
  if (type !== undefined && !types.includes("object"))
    throw noSchema(`arguments are an object, and no ${JSON.stringify(type)}`);
  return schema;
}

const noSchema = (why: string): HoldpointError => new HoldpointError("invalid", `review(): \`argsSchema\`: ${why}`);

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
