/**
 * Which texts of a value are embedded. The paths are those of LangGraph's InMemoryStore, whose own reader of them is not
 * exported: `field.inner`, `list[0]`, `list[-1]`, `list[*].field`, `*`, `{one,two.inner}`, and `$` for the whole.
 */

/** One or more characters of a path that stand for one step into the value. */
const TOKEN = /\[[^\]]*\]|\{[^}]*\}|[^.[{]+/g;

/** The texts that stand under any of the paths, each once, in their order. */
export function textsAt(value: unknown, paths: readonly string[]): readonly string[] {
  return [...new Set(paths.flatMap((path) => textsAtPath(value, path)))];
}

function textsAtPath(value: unknown, path: string): readonly string[] {
  const tokens = path === "$" ? [] : (path.match(TOKEN) ?? []);
  return reached([value], tokens).flatMap(textOf);
}

function reached(values: readonly unknown[], tokens: readonly string[]): readonly unknown[] {
  return tokens.reduce<readonly unknown[]>((found, token) => found.flatMap((value) => step(value, token)), values);
}

function step(value: unknown, token: string): readonly unknown[] {
  if (typeof value !== "object" || value === null) return [];
  const inner = token.slice(1, -1);
  if (token.startsWith("{"))
    return inner.split(",").flatMap((path) => reached([value], path.trim().match(TOKEN) ?? []));
  if (token.startsWith("[")) {
    if (!Array.isArray(value)) return [];
    const list: readonly unknown[] = value;
    return inner === "*" ? list : one(list, Number.parseInt(inner, 10));
  }
  if (token === "*") return Object.values(value);
  return Object.hasOwn(value, token) ? [(value as Readonly<Record<string, unknown>>)[token]] : [];
}

function one(list: readonly unknown[], index: number): readonly unknown[] {
  const at = index < 0 ? list.length + index : index;
  return at in list ? [list[at]] : [];
}

function textOf(value: unknown): readonly string[] {
  if (typeof value === "string") return [value];
  return value === null || value === undefined ? [] : [JSON.stringify(value, null, 2)];
}
