import { expect, it } from "vitest";
import { jsonPointer } from "../../src/core/json-pointer.ts";

it.each([
  [[], ""],
  [[""], "/"],
  [["a", 0, "b"], "/a/0/b"],
  [["a/b", "m~n"], "/a~1b/m~0n"],
])("%j is %j", (path, pointer) => {
  expect(jsonPointer(path)).toBe(pointer);
});
