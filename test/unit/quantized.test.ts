import { expect, it } from "vitest";
import fc from "fast-check";
import { cosineOf, quantized } from "../../src/local/quantized.ts";

const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0);
const cosine = (a: Float32Array, b: Float32Array): number => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));

function kept(a: Float32Array, b: Float32Array): number {
  const [one, other] = [a, b].map((vector) => new Int8Array(quantized(vector)?.buffer ?? new ArrayBuffer(0)));
  if (one === undefined || other === undefined) return Number.NaN;
  return cosineOf(Math.hypot(...one.map((value, at) => value - (other[at] ?? 0))), a.length);
}

/** Sums of uniform numbers are near enough to what embeddings are. */
const number = fc
  .tuple(...Array.from({ length: 4 }, () => fc.integer({ min: -1_000, max: 1_000 })))
  .map((four) => four.reduce((sum, one) => sum + one, 0));
const vector = fc
  .array(number, { minLength: 256, maxLength: 256 })
  .map((values) => Float32Array.from(values))
  .filter((values) => dot(values, values) > 0);

it("keeps cosines to within a hundredth, whatever the length of the vectors", () => {
  fc.assert(
    fc.property(vector, vector, fc.double({ min: 0.001, max: 1_000, noNaN: true }), (a, b, factor) => {
      const longer = a.map((value) => value * factor);
      expect(Math.abs(kept(longer, b) - cosine(a, b))).toBeLessThan(0.01);
    }),
    // Vectors that shrink to a single number are not what embeddings are.
    { endOnFailure: true },
  );
});

it("keeps how near vectors are to each other where one number is far out in all of them", () => {
  const out = (values: readonly number[]): Float32Array => Float32Array.from([50, ...values]);
  const [a, near, far] = [
    out(Array.from({ length: 255 }, (_, n) => Math.sin(n))),
    out(Array.from({ length: 255 }, (_, n) => Math.sin(n + 0.3))),
    out(Array.from({ length: 255 }, (_, n) => Math.cos(n * 7))),
  ];
  expect(kept(a, near)).toBeGreaterThan(kept(a, far));
  expect(kept(a, near)).toBeCloseTo(cosine(a, near), 2);
  expect(kept(a, far)).toBeCloseTo(cosine(a, far), 2);
});

it("has nothing for a vector that points nowhere", () => {
  expect(quantized(new Float32Array(8))).toBeUndefined();
  expect(quantized(Float32Array.of(Number.NaN, 1))).toBeUndefined();
});
