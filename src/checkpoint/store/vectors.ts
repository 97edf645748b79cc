/** Vectors as bytes, how near two are, and the best few of many. */
import { HoldpointError } from "../../core/errors.ts";

/** Vectors of `dims` numbers each, one after the other, as little-endian Float32: what every machine we run on has. */
export function packed(vectors: readonly (readonly number[])[], dims: number): Uint8Array {
  const floats = new Float32Array(vectors.length * dims);
  for (const [n, vector] of vectors.entries()) {
    if (vector.length !== dims)
      throw new HoldpointError("invalid", `the embeddings have ${vector.length} dimensions; the index has ${dims}`);
    floats.set(vector, n * dims);
  }
  return new Uint8Array(floats.buffer);
}

/** The cosine of the angle to the nearest of the packed vectors; 0 to one without length, undefined without any. */
export function nearest(query: readonly number[], bytes: Uint8Array): number | undefined {
  const floats = new Float32Array(Uint8Array.from(bytes).buffer);
  const dims = query.length;
  const length = norm(query);
  let best: number | undefined;
  for (let start = 0; start + dims <= floats.length; start += dims) {
    let dot = 0;
    let squares = 0;
    for (const [i, x] of query.entries()) {
      const y = floats[start + i] ?? 0;
      dot += x * y;
      squares += y * y;
    }
    const lengths = length * Math.sqrt(squares);
    const score = lengths === 0 ? 0 : dot / lengths;
    if (best === undefined || score > best) best = score;
  }
  return best;
}

const norm = (vector: readonly number[]): number => Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0));

export interface Scored<T> {
  readonly score: number;
  readonly value: T;
}

/** Keeps the `size` best of whatever is offered, and nothing else; of two that are as good, the one that came first. */
export class Best<T> {
  readonly #size: number;
  /** A binary heap with the worst on top. */
  readonly #heap: (Scored<T> & { readonly order: number })[] = [];
  #offered = 0;

  constructor(size: number) {
    this.#size = size;
  }

  offer(score: number, value: T): void {
    const candidate = { score, value, order: this.#offered++ };
    if (this.#size === 0) return;
    if (this.#heap.length < this.#size) {
      this.#heap.push(candidate);
      this.#rise(this.#heap.length - 1);
    } else if (isWorse(this.#heap[0], candidate)) {
      this.#heap[0] = candidate;
      this.#sink();
    }
  }

  /** Best first. */
  sorted(): readonly Scored<T>[] {
    return this.#heap.toSorted((a, b) => b.score - a.score || a.order - b.order);
  }

  #rise(at: number): void {
    const parent = (at - 1) >> 1;
    if (at === 0 || !isWorse(this.#heap[at], this.#heap[parent])) return;
    this.#swap(at, parent);
    this.#rise(parent);
  }

  #sink(at = 0): void {
    const [left, right] = [2 * at + 1, 2 * at + 2];
    const child = isWorse(this.#heap[right], this.#heap[left]) ? right : left;
    if (!isWorse(this.#heap[child], this.#heap[at])) return;
    this.#swap(at, child);
    this.#sink(child);
  }

  #swap(a: number, b: number): void {
    const [x, y] = [this.#heap[a], this.#heap[b]];
    if (x && y) [this.#heap[a], this.#heap[b]] = [y, x];
  }
}

type Ranked = { readonly score: number; readonly order: number } | undefined;

const isWorse = (a: Ranked, b: Ranked): boolean =>
  a !== undefined && b !== undefined && (a.score < b.score || (a.score === b.score && a.order > b.order));
