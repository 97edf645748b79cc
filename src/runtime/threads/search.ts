/** What the searches of assistants and threads have in common. */
import { canonicalJson } from "../../core/json.ts";
import type { Json } from "../../core/json.ts";

/**
 * Containment as PostgreSQL's `@>` has it, which is what clients of the LangGraph API expect: every key of an object,
 * every element of a list, and scalars that are equal.
 */
export function contains(value: Json | undefined, wanted: Json): boolean {
  if (isList(wanted)) {
    return isList(value) && wanted.every((one) => value.some((other) => contains(other, one)));
  }
  if (typeof wanted === "object" && wanted !== null) {
    if (typeof value !== "object" || value === null || isList(value)) return false;
    return Object.entries(wanted).every(([key, inner]) => Object.hasOwn(value, key) && contains(value[key], inner));
  }
  return value !== undefined && canonicalJson(value) === canonicalJson(wanted);
}

const isList = (value: Json | undefined): value is readonly Json[] => Array.isArray(value);

export interface Sort<T> {
  readonly by: (item: T) => string | number;
  /** Decides between equals, so that pages neither repeat nor skip. */
  readonly id: (item: T) => string;
  readonly order: "asc" | "desc";
}

export function sorted<T>(items: readonly T[], { by, id, order }: Sort<T>): T[] {
  const sign = order === "asc" ? 1 : -1;
  const compare = (a: string | number, b: string | number): number => (a < b ? -1 : a > b ? 1 : 0);
  return items.toSorted((a, b) => sign * (compare(by(a), by(b)) || compare(id(a), id(b))));
}
