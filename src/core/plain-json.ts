/** Values of graphs (messages, dates, maps, whatever an author keeps in state) as plain JSON. */
import { HoldpointError } from "./errors.ts";
import type { Json, JsonObject } from "./json.ts";

const MAX_DEPTH = 256;

/**
 * JSON for showing: messages flattened to `{…data, type}`, dates as ISO 8601, big integers as text, maps as objects,
 * sets as lists, bytes as base64; functions and `undefined` are left out.
 * @throws HoldpointError `invalid` for a value that contains itself
 */
export function plainJson(value: unknown): Json {
  return new Walk(false).visit(value) ?? null;
}

/**
 * JSON for keeping: refuses what would not come back as it was. `undefined` counts as `null`.
 * @throws HoldpointError `invalid`, naming the place
 */
export function strictJson(value: unknown): Json {
  return new Walk(true).visit(value) ?? null;
}

/** One pass over a value. It keeps the way from the top to where it stands. */
class Walk {
  readonly #strict: boolean;
  readonly #path: (string | number)[] = [];
  readonly #above: object[] = [];

  constructor(strict: boolean) {
    this.#strict = strict;
  }

  visit(value: unknown): Json | undefined {
    switch (typeof value) {
      case "string":
      case "boolean":
        return value;
      case "number":
        if (Number.isFinite(value)) return value;
        return this.#strict ? this.#refuse(`the number ${value}`) : null;
      case "bigint":
        return this.#strict ? this.#refuse("a big integer") : value.toString();
      case "object":
        return value === null ? null : this.#enter(value);
      case "function":
      case "symbol":
        return this.#strict ? this.#refuse(`a ${typeof value}`) : undefined;
      case "undefined":
        return undefined;
    }
  }

  #enter(value: object): Json | undefined {
    if (this.#above.includes(value)) return this.#refuse("a value that contains itself");
    if (this.#above.length >= MAX_DEPTH) return this.#refuse(`a value nested deeper than ${MAX_DEPTH} levels`);
    this.#above.push(value);
    const json = this.#convert(value);
    this.#above.pop();
    return json;
  }

  #convert(value: object): Json | undefined {
    if (Array.isArray(value)) return this.#list(value);
    if (this.#strict) {
      if (!isPlain(value)) return this.#refuse(`an instance of ${value.constructor.name}`);
    } else {
      if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
      if (value instanceof Uint8Array) return base64(value);
      if (value instanceof Map) return this.#map(value);
      if (value instanceof Set) return this.#list([...value]);
      if (value instanceof Error) return { name: value.name, message: value.message };
      if ("toDict" in value && isFunction(value.toDict)) return this.visit(flattened(value.toDict()));
      if ("toJSON" in value && isFunction(value.toJSON)) return this.visit(value.toJSON());
    }
    return this.#object(Object.entries(value));
  }

  #list(values: readonly unknown[]): Json[] {
    return values.map((inner, i) => this.#at(i, inner) ?? null);
  }

  #map(value: ReadonlyMap<unknown, unknown>): Json {
    const entries = [...value];
    const keyed = entries.filter((entry): entry is [string, unknown] => typeof entry[0] === "string");
    return keyed.length === entries.length ? this.#object(keyed) : this.#list(entries);
  }

  #object(entries: readonly (readonly [string, unknown])[]): JsonObject {
    const out: Record<string, Json> = {};
    for (const [key, inner] of entries) {
      if (key === "__proto__") continue;
      const json = this.#at(key, inner);
      if (json !== undefined) out[key] = json;
    }
    return out;
  }

  #at(key: string | number, inner: unknown): Json | undefined {
    this.#path.push(key);
    const json = this.visit(inner);
    this.#path.pop();
    return json;
  }

  #refuse(what: string): never {
    const place = this.#path.length === 0 ? "" : ` at ${this.#path.join(".")}`;
    throw new HoldpointError("invalid", `${what}${place} cannot be written as JSON`);
  }
}

const isFunction = (value: unknown): value is () => unknown => typeof value === "function";

const base64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");

/** A message as the LangGraph API shows it. */
function flattened(dict: unknown): unknown {
  if (typeof dict !== "object" || dict === null || !("data" in dict) || !("type" in dict)) return dict;
  return { ...(typeof dict.data === "object" ? dict.data : {}), type: dict.type };
}

function isPlain(value: object): boolean {
  const proto: unknown = Object.getPrototypeOf(value);
  return proto === null || proto === Object.prototype;
}
