/**
 * Vectors as they are kept: of length 1, then a signed byte for each number. That is a quarter of what they need as
 * floats, which is what a search reads; a cosine is off by about a thousandth.
 */

/**
 * How many standard deviations of its numbers a vector of length 1 may have in one of them; what is beyond is cut. Where
 * a model has a number that is always far out, all vectors are cut alike, and their differences stay.
 */
const MOST_DEVIATIONS = 6.5;
const MOST = 127;

/** By what the numbers of a vector of length 1 are multiplied. The same for all, so that their distances compare. */
const scaleOf = (dimensions: number): number => (MOST * Math.sqrt(dimensions)) / MOST_DEVIATIONS;

/** Undefined for a vector of nothing but zeros, which points nowhere and is near to nothing. */
export function quantized(vector: Float32Array): Uint8Array | undefined {
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  if (!(length > 0)) return undefined;
  const factor = scaleOf(vector.length) / length;
  const bytes = Int8Array.from(vector, (value) => Math.max(-MOST, Math.min(MOST, Math.round(value * factor))));
  return new Uint8Array(bytes.buffer);
}

/** The cosine between two vectors, from the Euclidean distance of what is kept of them. */
export function cosineOf(distance: number, dimensions: number): number {
  return 1 - (distance / scaleOf(dimensions)) ** 2 / 2;
}
