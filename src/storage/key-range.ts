/** Ranges of sort keys as half-open intervals, for adapters; keys are ordered by their UTF-8 bytes, that is by code points. */
import { z } from "zod";
import { HoldpointError } from "../core/errors.ts";
import type { IndexRow, Range } from "./table.ts";

/** `from` included, `before` excluded; without `before` there is no upper end. */
export interface Interval {
  readonly from: string;
  readonly before: string | undefined;
}

/** What `prefix`, `from` and `to` allow together. */
export function intervalOf(range: Range): Interval {
  const { prefix = "", from = "", to } = range;
  const ends = [successor(prefix), to === undefined ? undefined : afterKey(to)].filter((end) => end !== undefined);
  const [first, second] = ends;
  return {
    from: compareKeys(from, prefix) > 0 ? from : prefix,
    before: first !== undefined && second !== undefined && compareKeys(second, first) < 0 ? second : first,
  };
}

/** The least key that sorts after `key`. */
export const afterKey = (key: string): string => `${key}\u0000`;

/** The least key above everything that starts with `prefix`; undefined when there is none. */
export function successor(prefix: string): string | undefined {
  const points = Array.from(prefix, (character) => character.codePointAt(0) ?? 0);
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    if (last < 0x10ffff) return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1);
  }
  return undefined;
}

/** Order of two keys by their code points: negative, zero or positive. */
export function compareKeys(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    // UTF-16 puts surrogates below U+E000, UTF-8 above everything that has none.
    if (x !== y) return Number(isSurrogate(x)) - Number(isSurrogate(y)) || x - y;
  }
  return a.length - b.length;
}
const isSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdfff;

const indexCursor = z.tuple([z.string(), z.string(), z.string()]);

/** The `next` of an index page that ends at this row: several items may share a sort key there. */
export const writeIndexCursor = ({ sort, key }: IndexRow): string => JSON.stringify([sort, key.pk, key.sk]);

/**
 * Sort key, and key of the item, that an index page's `next` names.
 * @throws HoldpointError `invalid` for anything else
 */
export function readIndexCursor(text: string): readonly [sort: string, pk: string, sk: string] {
  try {
    return indexCursor.parse(JSON.parse(text));
  } catch (cause) {
    throw new HoldpointError("invalid", "`after` is not the `next` of an index page", { cause });
  }
}
