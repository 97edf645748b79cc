/** Edits and pieces: whatever changes between two byte strings, what they give is the second one, in little. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { settled, wornOut } from "../../src/checkpoint/layout.ts";
import { applied, isKept, isLiteral, joined } from "../../src/checkpoint/pieces.ts";
import type { Edit, Pieces, Segment } from "../../src/checkpoint/pieces.ts";
import { splice } from "../../src/checkpoint/splice.ts";
import { noise } from "../support/checkpoints.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text);
const none = (): Uint8Array => {
  throw new Error("no segment is needed");
};

const inserted = (edits: readonly Edit[]): number =>
  edits.reduce((sum, edit) => sum + (!isKept(edit) && isLiteral(edit) ? edit.bytes.byteLength : 0), 0);

describe("a splice", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b", "é", "\u0000"), maxLength: 200 });

  it("turns the one into the other, whatever they are", () => {
    fc.assert(
      fc.property(text, text, text, (front, middle, back) => {
        const before = bytes(front + back);
        const after = bytes(front + middle + back);
        for (const [from, to] of [
          [before, after],
          [after, before],
          [after, after],
          [before, bytes(middle)],
        ] as const) {
          expect(Buffer.from(joined(applied([{ bytes: from }], splice(from, to)), none)).equals(to)).toBe(true);
        }
      }),
    );
  });

  it.each([
    ["an end that grows", (old: string) => `${old}${noise(100)}`],
    ["a front that is trimmed", (old: string) => old.slice(5000)],
    ["a change in the middle", (old: string) => `${old.slice(0, 70_000)}!${old.slice(70_001)}`],
    ["a cut in the middle", (old: string) => `${old.slice(0, 70_000)}${old.slice(90_000)}`],
  ])("of 140,000 bytes holds what was inserted, and little else: %s", (_, change) => {
    const before = noise(140_000);
    const edits = splice(bytes(before), bytes(change(before)));
    expect(inserted(edits)).toBeLessThanOrEqual(100);
  });

  it("holds on to neither of them", () => {
    const [before, after] = [bytes(noise(10_000)), bytes(`${noise(10_000)}new`)];
    const literal = splice(before, after).find((edit) => !isKept(edit));
    expect(literal !== undefined && !isKept(literal) && isLiteral(literal) && literal.bytes.buffer).not.toBe(
      after.buffer,
    );
  });
});

const segment = (id: string, size: number): Segment => ({ kind: "item", id, n: 0, size });
const cell = (pieces: Pieces) => ({
  type: "json",
  size: pieces.reduce((sum, piece) => sum + (isLiteral(piece) ? piece.bytes.byteLength : piece.length), 0),
  digest: "d",
  pieces,
});

describe("pieces", () => {
  const held = bytes(noise(1000));
  const content = (one: Segment): Uint8Array => (one.id === "a" ? held.subarray(0, 600) : held.subarray(600));
  const start: Pieces = [
    { segment: segment("a", 600), offset: 0, length: 600 },
    { segment: segment("b", 400), offset: 0, length: 400 },
  ];

  it("follow any series of edits without anything being read", () => {
    const at = fc.nat(1200);
    const edit = fc.record({ at, cut: fc.nat(300), insert: fc.string({ maxLength: 40 }) });
    fc.assert(
      fc.property(fc.array(edit, { maxLength: 30 }), (edits) => {
        let [pieces, whole] = [start, Buffer.from(held)];
        for (const { at: wanted, cut, insert } of edits) {
          const from = Math.min(wanted, whole.length);
          const next = Buffer.concat([whole.subarray(0, from), bytes(insert), whole.subarray(from + cut)]);
          pieces = applied(pieces, splice(whole, next));
          whole = next;
        }
        expect(Buffer.from(joined(pieces, content)).equals(whole)).toBe(true);
      }),
    );
  });

  it("are corrupt where an edit keeps what is not there, and where a segment is too short", () => {
    expect(() => applied(start, [{ keep: [900, 200] }])).toThrow(/does not have/);
    expect(() => joined(start, () => new Uint8Array(10))).toThrow(/shorter/);
  });
});

describe("a base", () => {
  const limits = { inlineBytes: 1e5, insertBytes: 1e5, channelBytes: 100, recordBytes: 1e6 };
  const small = (n: number): Pieces => [{ segment: segment(`s${n}`, 1000), offset: 0, length: 1000 }];

  it("leaves a few small segments as they are, and writes many of them anew", () => {
    expect(wornOut([cell(Array.from({ length: 8 }, (_, n) => small(n)).flat())])).toEqual(new Set());
    expect(wornOut([cell(Array.from({ length: 9 }, (_, n) => small(n)).flat())]).size).toBe(9);
  });

  it("leaves large segments alone, unless hardly anything of many of them is in use", () => {
    const large = (n: number, length: number): Pieces => [{ segment: segment(`l${n}`, 100_000), offset: 0, length }];
    expect(wornOut([cell(Array.from({ length: 50 }, (_, n) => large(n, 50_000)).flat())])).toEqual(new Set());
    expect(wornOut([cell(Array.from({ length: 50 }, (_, n) => large(n, 20_000)).flat())]).size).toBe(50);
  });

  it("writes a value anew that has crumbled into too many pieces", () => {
    const crumbs = Array.from({ length: 401 }, (_, n) => ({
      segment: segment("l", 1e6),
      offset: n * 2000,
      length: 1500,
    }));
    expect(wornOut([cell(crumbs)])).toEqual(new Set(["l.0"]));
  });

  it("joins what stands side by side and is to be written", () => {
    const pieces: Pieces = [{ bytes: bytes("one ") }, ...small(1), { bytes: bytes("two ") }, ...small(2)];
    const whole = Buffer.concat([bytes("one "), Buffer.alloc(1000, "x"), bytes("two "), Buffer.alloc(1000, "y")]);
    const all = settled(cell(pieces), whole, { worn: new Set(["s1.0"]), limits }).edits;
    expect(all).toEqual([{ bytes: whole.subarray(0, 1008) }, ...small(2)]);
    const some = settled(cell(pieces), undefined, { worn: new Set(), limits }).edits;
    expect(some).toEqual([{ bytes: bytes("one ") }, ...small(1), { bytes: bytes("two ") }, ...small(2)]);
  });
});
