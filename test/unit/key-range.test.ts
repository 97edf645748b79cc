import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  afterKey,
  compareKeys,
  intervalOf,
  readIndexCursor,
  successor,
  writeIndexCursor,
} from "../../src/storage/key-range.ts";

const text = fc.string({ unit: "binary", maxLength: 6 });

describe("keys", () => {
  it("compare as their UTF-8 bytes do", () => {
    fc.assert(
      fc.property(text, text, (a, b) => {
        expect(Math.sign(compareKeys(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
    );
  });

  it("that start with a prefix are exactly those from it to its successor", () => {
    fc.assert(
      fc.property(text, text, (prefix, key) => {
        const end = successor(prefix);
        const within = compareKeys(key, prefix) >= 0 && (end === undefined || compareKeys(key, end) < 0);
        expect(within).toBe(key.startsWith(prefix));
      }),
    );
  });

  it("have nothing between them and the one right after", () => {
    fc.assert(
      fc.property(text, text, (a, b) => {
        expect(compareKeys(b, a) > 0).toBe(compareKeys(b, afterKey(a)) >= 0);
      }),
    );
  });

  it("are in an interval exactly when prefix and both bounds allow them", () => {
    const bound = fc.option(text, { nil: undefined });
    fc.assert(
      fc.property(bound, bound, bound, text, (prefix, from, to, key) => {
        const interval = intervalOf({
          ...(prefix === undefined ? {} : { prefix }),
          ...(from === undefined ? {} : { from }),
          ...(to === undefined ? {} : { to }),
        });
        const within =
          compareKeys(key, interval.from) >= 0 &&
          (interval.before === undefined || compareKeys(key, interval.before) < 0);
        const allowed =
          key.startsWith(prefix ?? "") &&
          compareKeys(key, from ?? "") >= 0 &&
          (to === undefined || compareKeys(key, to) <= 0);
        expect(within).toBe(allowed);
      }),
    );
  });
});

describe("the cursor of an index page", () => {
  it("says where the page ended, whatever the keys hold", () => {
    fc.assert(
      fc.property(text, text, text, (sort, pk, sk) => {
        expect(readIndexCursor(writeIndexCursor({ sort, key: { pk, sk } }))).toEqual([sort, pk, sk]);
      }),
    );
  });

  it.each(["", "r#1", "[]", '["a","b"]', '["a","b",3]', '{"sort":"a"}'])("is refused when it is %j", (cursor) => {
    expect(() => readIndexCursor(cursor)).toThrow(expect.objectContaining({ code: "invalid" }));
  });
});
