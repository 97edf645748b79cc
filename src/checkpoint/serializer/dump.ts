/**
 * A value as the JSON text that LangGraph's serializer would write.
 *
 * `JSON.stringify` with a replacer is slow, without one it is fast: so what the replacer would have changed is changed
 * first, and only there is anything copied. The rules are those of the replacer: `toJSON` first, then the replacer once,
 * then the properties of what it answered. Within a message they are those of LangChain's `toJSON`, which copies objects
 * field by field and escapes those that could be taken for its own records; `escaping` says so.
 */
import { types } from "node:util";
import { DeltaSnapshot } from "@langchain/langgraph-checkpoint";
import { isHoldpointError } from "../../core/errors.ts";
import { messageId, nameInJson } from "./messages.ts";
import type { OrdinaryMessage } from "./messages.ts";
import { createWalk, deeper, enter, leave, refuse } from "./walk.ts";
import type { Key, Walk } from "./walk.ts";

const UNDEFINED = { lc: 2, type: "undefined" } as const;

type Fields = Readonly<Record<string, unknown>>;

/** @throws HoldpointError `invalid` that names the path of what cannot be written */
export function dumpText(value: unknown): string {
  try {
    return written(value, createWalk());
  } catch {
    // Once more, and this time with a trail that knows where it was.
    return explained(value);
  }
}

function explained(value: unknown): string {
  const walk = createWalk([]);
  try {
    return written(value, walk);
  } catch (cause) {
    if (isHoldpointError(cause, "invalid")) throw cause;
    return refuse(walk, cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

function written(value: unknown, walk: Walk): string {
  const text: string | undefined = JSON.stringify(plainOf(value, "", walk, false));
  return text ?? refuse(walk, `a ${typeof value} has no JSON`);
}

/** A value of which `JSON.stringify` makes the right text: itself when it is one; undefined for what JSON leaves out. */
function plainOf(value: unknown, key: Key, walk: Walk, escaping: boolean): unknown {
  switch (typeof value) {
    case "string":
    case "number":
    case "boolean":
      return value;
    case "undefined":
      return UNDEFINED;
    case "symbol":
      return undefined;
    case "function":
      return hasToJson(value) ? settled(value.toJSON(String(key)), key, walk) : undefined;
    case "bigint":
      return hasToJson(value) ? settled(value.toJSON(String(key)), key, walk) : refuse(walk, NO_BIGINT, { key });
    case "object":
      if (value === null) return null;
  }
  enter(walk, value, key);
  const plain = escaping ? escaped(value, key, walk) : plainObject(value, key, walk);
  leave(walk);
  return plain;
}

const NO_BIGINT = "JSON has no bigint";

interface HasToJson {
  toJSON(key: string): unknown;
}

// A bigint has a toJSON when a program has put one into its prototype, which some do.
const hasToJson = <T extends object | bigint>(value: T): value is T & HasToJson =>
  typeof (value as Partial<HasToJson>).toJSON === "function";

function plainObject(value: object, key: Key, walk: Walk): unknown {
  if (!hasToJson(value)) return settledObject(value, walk, false);
  const id = messageId(value);
  // Who has an identifier is one.
  if (id !== undefined) return plainMessage(value as unknown as OrdinaryMessage, id, walk);
  return settled(value.toJSON(String(key)), key, walk);
}

/** What `toJSON` answered: it is not asked again. */
function settled(value: unknown, key: Key, walk: Walk): unknown {
  if (typeof value === "object" && value !== null) return settledObject(value, walk, false);
  return typeof value === "function" ? undefined : plainOf(value, key, walk, false);
}

function settledObject(value: object, walk: Walk, escaping: boolean): unknown {
  if (Array.isArray(value)) return plainItems(hasToJson(value) ? Array.from(value) : value, walk, escaping);
  return builtIn(value, walk, escaping) ?? plainFields(value, walk, escaping);
}

function builtIn(value: object, walk: Walk, escaping: boolean): unknown {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return undefined;
  if (value instanceof DeltaSnapshot)
    return { lc: 2, type: "delta_snapshot", value: plainOf(value.value, "value", walk, escaping) };
  if (value instanceof Set || value instanceof Map) {
    const name = plainOf(value.constructor.name, "name", walk, false);
    return record(name, null, [deeper(walk, 2, () => plainItems(Array.from(value), walk, escaping))]);
  }
  if (value instanceof RegExp) return record("RegExp", null, [value.source, value.flags]);
  if (value instanceof Error) return record("Error", null, [plainOf(value.message, "message", walk, escaping)]);
  if (value instanceof Uint8Array) return record("Uint8Array", "from", [Array.from(value)]);
  if (!types.isBoxedPrimitive(value)) return undefined;
  return typeof value.valueOf() === "bigint" ? refuse(walk, NO_BIGINT) : value;
}

/** What a value of a built-in class is made from. */
const record = (name: unknown, method: string | null, args: readonly unknown[]): Fields => ({
  lc: 2,
  type: "constructor",
  id: [name],
  method,
  args,
  kwargs: {},
});

function plainItems(items: readonly unknown[], walk: Walk, escaping: boolean): readonly unknown[] {
  let copy: unknown[] | undefined;
  // By index: what is missing from a sparse array is written as undefined.
  for (let index = 0; index < items.length; index += 1) {
    const item = items[index];
    if (typeof item === "string" || typeof item === "number") continue;
    const plain = plainOf(item, index, walk, escaping);
    if (plain === item) continue;
    copy ??= items.slice();
    copy[index] = plain;
  }
  return copy ?? items;
}

function plainFields(value: object, walk: Walk, escaping: boolean): Fields {
  const fields = value as Fields;
  if (fields["lg_name"] === "Send") return plainSend(fields, walk, escaping);
  // A copy has no prototype's toJSON, and one of its own is a function, which is left out.
  let copy: Record<string, unknown> | undefined = hasToJson(fields) ? { ...fields } : undefined;
  for (const key of Object.keys(fields)) {
    const field = fields[key];
    if (typeof field === "string" || typeof field === "number") continue;
    const plain = plainOf(field, key, walk, escaping);
    if (plain === field) continue;
    copy ??= { ...fields };
    // Every key is one of the copy already, `__proto__` too: setting it changes no prototype.
    copy[key] = plain;
  }
  return copy ?? fields;
}

/** Only what makes one is written, and a plain object that looks like one is treated alike. */
function plainSend({ node, args, timeout }: Fields, walk: Walk, escaping: boolean): Fields {
  return plainFields({ node, args, ...(timeout === undefined ? {} : { timeout }) }, walk, escaping);
}

function plainMessage(message: OrdinaryMessage, id: readonly string[], walk: Walk): unknown {
  const { lc_kwargs: kwargs } = message;
  walk.depth += 1;
  let copy: Record<string, unknown> | undefined;
  let renamed = false;
  for (const key of Object.keys(kwargs)) {
    const given = kwargs[key];
    const field = key in message ? message[key] : given;
    // Under `__proto__` every object has something, and it is no field.
    const plain = key === "__proto__" ? undefined : plainOf(field, key, walk, true);
    renamed ||= nameInJson(key) !== key;
    if (plain === given) continue;
    copy ??= { ...kwargs };
    copy[key] = plain;
  }
  walk.depth -= 1;
  const fields = copy ?? kwargs;
  return { lc: 1, type: "constructor", id, kwargs: renamed ? withNamesInJson(fields) : fields };
}

/** Of two names that become one in JSON the first has the place and the last the value. */
const withNamesInJson = (fields: Fields): Fields =>
  Object.fromEntries(Object.entries(fields).map(([key, value]) => [nameInJson(key), value]));

/** What stands in a message: LangChain copies it field by field before JSON is made of it, so most classes are forgotten. */
function escaped(value: object, key: Key, walk: Walk): unknown {
  if (Array.isArray(value)) return settledObject(value, walk, true);
  const withToJson = hasToJson(value);
  if (withToJson && "lc_serializable" in value) return plainObject(value, key, walk);
  if ("lc" in value || isAlone(value, ESCAPED))
    return { [ESCAPED]: deeper(walk, 1, () => plainObject(value, key, walk)) };
  if (Object.getPrototypeOf(value) === Object.prototype && !withToJson) return plainFields(value, walk, true);
  if (withToJson && (Object.hasOwn(value, "toJSON") || wouldBeEmpty(value)))
    return settled(value.toJSON(String(key)), key, walk);
  return isBuiltIn(value) ? settledObject(value, walk, true) : plainFields(value, walk, true);
}

const ESCAPED = "__lc_escaped__";

const isAlone = (value: object, key: string): boolean => key in value && Object.keys(value).length === 1;

/** Nothing would be left of a date or a URL, and of bytes something else. */
const wouldBeEmpty = (value: object): boolean => isBuiltIn(value) || Object.keys(value).length === 0;

const isBuiltIn = (value: object): boolean =>
  value instanceof Set ||
  value instanceof Map ||
  value instanceof RegExp ||
  value instanceof Error ||
  value instanceof Uint8Array;
