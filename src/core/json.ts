import canonicalize from "canonicalize";
import { HoldpointError } from "./errors.ts";

export type Json = string | number | boolean | null | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

/** RFC 8785 JSON: one text for one value, whatever the order of its keys. `undefined` counts as `null`. */
export function canonicalJson(value: unknown): string {
  const text = canonicalize(value === undefined ? null : value);
  if (text === undefined) throw new HoldpointError("invalid", "the value cannot be written as JSON");
  return text;
}

const FORBIDDEN_KEYS = new Set(["__proto__", "constructor", "prototype"]);

/**
 * Refuses what parsed JSON must never contain: keys that reach a prototype, and nesting deeper than `maxDepth`.
 * @throws HoldpointError `invalid`
 */
export function assertSafeJson(value: unknown, maxDepth = 64): void {
  const stack: { readonly node: unknown; readonly depth: number }[] = [{ node: value, depth: 1 }];
  for (let top = stack.pop(); top; top = stack.pop()) {
    if (typeof top.node !== "object" || top.node === null) continue;
    if (top.depth > maxDepth) throw new HoldpointError("invalid", `the body is nested deeper than ${maxDepth} levels`);
    const depth = top.depth + 1;
    if (Array.isArray(top.node)) {
      for (const node of top.node) stack.push({ node, depth });
      continue;
    }
    for (const [key, node] of Object.entries(top.node)) {
      if (FORBIDDEN_KEYS.has(key)) throw new HoldpointError("invalid", `the key ${key} is not allowed`);
      stack.push({ node, depth });
    }
  }
}
