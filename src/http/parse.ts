import { z } from "zod";
import { HoldpointError } from "../core/errors.ts";
import { isUuid } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import { jsonPointer } from "../core/json-pointer.ts";

const SHOWN_ISSUES = 3;

/** What the schema makes of `value`. @throws HoldpointError `invalid`, naming each path (`body.limit: …`) */
export function parse<T>(schema: z.ZodType<T>, value: unknown, where: "body" | "query" | "path" | "header"): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const shown = parsed.error.issues.slice(0, SHOWN_ISSUES);
  throw new HoldpointError(
    "invalid",
    shown.map((issue) => `${[where, ...issue.path.map(String)].join(".")}: ${issue.message}`).join("; "),
    { detail: { errors: shown.map(({ path, message }) => ({ pointer: jsonPointer(path), message })) } },
  );
}

type Present<T> = { readonly [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  readonly [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** The same object without the keys whose value is undefined. */
export function present<T extends object>(value: T): Present<T> {
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined)) as Present<T>;
}

/** Any value of a parsed body: it came from JSON, so it is JSON. */
export const json = z.custom<Json>((value) => value !== undefined, "required");
export const jsonObject = z.record(z.string(), z.custom<Json>());

/** An optional field; `null` counts as absent, since clients send both. */
export function optional<T extends z.ZodType>(schema: T) {
  return schema.nullish().transform((value) => value ?? undefined);
}

/** A UUID in its one spelling. */
export const uuid = z
  .string()
  .refine(isUuid, "not a UUID")
  .transform((text) => text.toLowerCase());

/** A name of something, such as a graph or a node. */
export const name = z.string().min(1).max(512);

const TRUE = new Set(["true", "1", "yes"]);
const FALSE = new Set(["false", "0", "no", ""]);

/** A boolean of a query string, in any of the spellings that clients use. Absent: false. */
export const queryFlag = z
  .string()
  .optional()
  .transform((text, context) => {
    const lower = text?.toLowerCase() ?? "";
    if (TRUE.has(lower)) return true;
    if (!FALSE.has(lower)) context.addIssue("not a boolean: send true or false");
    return false;
  });

/** A repeated query parameter; one alone counts as a list of one. */
export const queryList = z
  .union([z.string(), z.array(z.string())])
  .optional()
  .transform((value) => (value === undefined ? undefined : [value].flat()));

export const MAX_LIMIT = 1000;
export const limit = (otherwise: number) => optional(z.int().min(1).max(MAX_LIMIT)).transform((n) => n ?? otherwise);
export const offset = optional(z.int().min(0)).transform((n) => n ?? 0);

const digits = z
  .string()
  .regex(/^-?\d{1,15}$/, "not a whole number")
  .transform(Number);
export const queryLimit = (otherwise: number) =>
  digits
    .pipe(z.int().min(1).max(MAX_LIMIT))
    .optional()
    .transform((n) => n ?? otherwise);
export const queryOffset = digits
  .pipe(z.int().min(0))
  .optional()
  .transform((n) => n ?? 0);

export const sortOrder = optional(z.enum(["asc", "desc"])).transform((order) => order ?? "desc");
export const select = optional(z.array(z.string()));

/** Only the named keys of each object; all of them when none are named. */
export function selected<T extends object>(keys: readonly string[] | undefined, value: T): Partial<T> {
  if (!keys) return value;
  return Object.fromEntries(Object.entries(value).filter(([key]) => keys.includes(key))) as Partial<T>;
}
