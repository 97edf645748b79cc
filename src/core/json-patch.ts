/** What changed between two JSON values, as a JSON Patch (RFC 6902). */
import type { Json, JsonObject } from "./json.ts";
import { jsonPointer } from "./json-pointer.ts";

export type PatchOperation =
  | { readonly op: "add" | "replace"; readonly path: string; readonly value: Json }
  | { readonly op: "remove"; readonly path: string };

/** Operations that turn `before` into `after`, in the order in which they are to be applied; empty when they are equal. */
export function jsonPatch(before: Json, after: Json, path = ""): readonly PatchOperation[] {
  if (isList(before) && isList(after)) return listPatch(before, after, path);
  if (isObject(before) && isObject(after)) return objectPatch(before, after, path);
  return Object.is(before, after) ? [] : [{ op: "replace", path, value: after }];
}

function objectPatch(before: JsonObject, after: JsonObject, path: string): readonly PatchOperation[] {
  const at = (key: string): string => `${path}${jsonPointer([key])}`;
  const removed = Object.keys(before)
    .filter((key) => !Object.hasOwn(after, key))
    .map((key): PatchOperation => ({ op: "remove", path: at(key) }));
  const written = Object.entries(after).flatMap(([key, value]): readonly PatchOperation[] => {
    const old = Object.hasOwn(before, key) ? before[key] : undefined;
    return old === undefined ? [{ op: "add", path: at(key), value }] : jsonPatch(old, value, at(key));
  });
  return [...removed, ...written];
}

function listPatch(before: readonly Json[], after: readonly Json[], path: string): readonly PatchOperation[] {
  const shared = after
    .slice(0, before.length)
    .flatMap((value, i) => jsonPatch(before[i] ?? null, value, `${path}/${i}`));
  const added = after.slice(before.length).map((value): PatchOperation => ({ op: "add", path: `${path}/-`, value }));
  // From the end, so that the numbers of those before stay what they are.
  const removed = Array.from({ length: Math.max(0, before.length - after.length) }, (_, i): PatchOperation => ({
    op: "remove",
    path: `${path}/${before.length - 1 - i}`,
  }));
  return [...shared, ...added, ...removed];
}

const isList = (value: Json): value is readonly Json[] => Array.isArray(value);
const isObject = (value: Json): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
