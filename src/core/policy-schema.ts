/**
 * The part of JSON Schema in which policies say which arguments they are about. Whatever a checker might pass over is a
 * mistake here: a misspelt keyword, or one without the type to which it applies, would approve everything. So is what
 * contradicts itself at one place: it would approve nothing.
 */
import { z } from "zod";
import type { JsonObject } from "./json.ts";
import { jsonPointer } from "./json-pointer.ts";
import type { Problem } from "./json-schema.ts";

const KEYWORDS: Readonly<Record<string, readonly string[]>> = {
  object: ["properties", "required", "additionalProperties"],
  array: ["items", "minItems", "maxItems"],
  string: ["minLength", "maxLength"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
  integer: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
  boolean: [],
  null: [],
};
const REMARKS = ["title", "description"];
/** Each stands alone: the other keywords beside it would be passed over. */
const ALONE = ["enum", "const", "anyOf"];
const MAX_DEPTH = 8;
/** To be said of every object: without it a misspelt name in `properties` would leave the argument that was meant free. */
const OTHERS = "additionalProperties";
const OPEN = "is missing: false, or true where every other argument is approved, whatever it is";

/** Every mistake in a policy's schema, with its pointer. */
export function policySchemaProblems(schema: JsonObject, pointer: string): readonly Problem[] {
  const found = [
    ...(schema["type"] === "object" ? [] : [at(`${pointer}/type`, 'must be "object"')]),
    ...within(schema, pointer, 0),
  ];
  return found.length > 0 || isCheckable(schema) ? found : [at(pointer, "cannot be checked")];
}

const at = (pointer: string, message: string): Problem => ({ pointer, message });

function within(schema: unknown, pointer: string, depth: number): readonly Problem[] {
  if (!isObject(schema)) return [at(pointer, "must be a schema")];
  if (depth > MAX_DEPTH) return [at(pointer, `is nested deeper than ${MAX_DEPTH} levels`)];
  const alone = ALONE.find((keyword) => keyword in schema);
  if (alone !== undefined) return ofAlone(alone, schema, { pointer, depth });
  const type = schema["type"];
  const known = typeof type === "string" ? KEYWORDS[type] : undefined;
  if (known === undefined) return [at(`${pointer}/type`, `must be one of ${Object.keys(KEYWORDS).join(", ")}`)];
  const keys = Object.keys(schema).filter((key) => key !== "type" && !REMARKS.includes(key));
  const wrong = keys.flatMap((key) =>
    known.includes(key)
      ? ofKeyword(key, schema[key], { pointer: `${pointer}${jsonPointer([key])}`, depth })
      : [at(`${pointer}${jsonPointer([key])}`, `is nothing that a policy can say of a value of type ${String(type)}`)],
  );
  const all = [...wrong, ...emptyBounds(schema, pointer), ...closedOut(schema, pointer)];
  return type === "object" && !(OTHERS in schema) ? [...all, at(`${pointer}/${OTHERS}`, OPEN)] : all;
}

const BOUNDS = [
  ["minimum", "maximum"],
  ["minimum", "exclusiveMaximum"],
  ["exclusiveMinimum", "maximum"],
  ["exclusiveMinimum", "exclusiveMaximum"],
  ["minLength", "maxLength"],
  ["minItems", "maxItems"],
] as const;

/** Bounds with nothing between them. */
function emptyBounds(schema: Readonly<Record<string, unknown>>, pointer: string): readonly Problem[] {
  return BOUNDS.flatMap(([low, high]) => {
    const [from, to] = [schema[low], schema[high]];
    if (typeof from !== "number" || typeof to !== "number") return [];
    const isExclusive = low === "exclusiveMinimum" || high === "exclusiveMaximum";
    const isEmpty = isExclusive ? from >= to : from > to;
    return isEmpty ? [at(`${pointer}/${low}`, `leaves nothing within ${high}: no value fits both`)] : [];
  });
}

/** Names that an object must have, and may not. */
function closedOut(schema: Readonly<Record<string, unknown>>, pointer: string): readonly Problem[] {
  const { required, properties = {}, [OTHERS]: others } = schema;
  if (others !== false || !Array.isArray(required) || !isObject(properties)) return [];
  return required.flatMap((name: unknown, i) =>
    typeof name !== "string" || Object.hasOwn(properties, name)
      ? []
      : [at(`${pointer}/required/${i}`, `is not among properties, and ${OTHERS} is false: no value fits both`)],
  );
}

interface Place {
  readonly pointer: string;
  readonly depth: number;
}

function ofAlone(
  keyword: string,
  schema: Readonly<Record<string, unknown>>,
  { pointer, depth }: Place,
): readonly Problem[] {
  const others = Object.keys(schema).filter((key) => key !== keyword && !REMARKS.includes(key));
  const beside = others.map((key) => at(`${pointer}${jsonPointer([key])}`, `does not stand beside ${keyword}`));
  const value = schema[keyword];
  switch (keyword) {
    case "anyOf":
      return [...beside, ...listOf(value, `${pointer}/anyOf`, (each, where) => within(each, where, depth + 1))];
    case "enum":
      return [...beside, ...listOf(value, `${pointer}/enum`, scalar)];
    default:
      return [...beside, ...scalar(value, `${pointer}/const`)];
  }
}

const scalar = (value: unknown, pointer: string): readonly Problem[] =>
  value === null || ["string", "number", "boolean"].includes(typeof value)
    ? []
    : [at(pointer, "must be a text, a number, a boolean or null")];

function ofKeyword(key: string, value: unknown, { pointer, depth }: Place): readonly Problem[] {
  switch (key) {
    case "properties":
      if (!isObject(value)) return [at(pointer, "must be an object of schemas")];
      return Object.entries(value).flatMap(([name, each]) =>
        within(each, `${pointer}${jsonPointer([name])}`, depth + 1),
      );
    case "items":
      return within(value, pointer, depth + 1);
    case "required":
      return listOf(value, pointer, (each, where) => (typeof each === "string" ? [] : [at(where, "must be a text")]));
    case "additionalProperties":
      return typeof value === "boolean" ? [] : [at(pointer, "must be true or false")];
    case "multipleOf":
      return typeof value === "number" && value > 0 ? [] : [at(pointer, "must be a number above 0")];
    case "maxLength":
    case "maxItems":
      return typeof value === "number" && value >= 0 ? [] : [at(pointer, "must be a number that is not below 0")];
    default:
      return typeof value === "number" ? [] : [at(pointer, "must be a number")];
  }
}

function listOf(
  value: unknown,
  pointer: string,
  each: (item: unknown, pointer: string) => readonly Problem[],
): readonly Problem[] {
  if (!Array.isArray(value) || value.length === 0) return [at(pointer, "must be a list that is not empty")];
  return value.flatMap((item: unknown, i) => each(item, `${pointer}/${i}`));
}

function isCheckable(schema: JsonObject): boolean {
  try {
    return z.fromJSONSchema(schema) !== undefined;
  } catch {
    return false;
  }
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
