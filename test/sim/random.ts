/** A seeded source of everything that is drawn: the same seed gives the same numbers on every machine. */
export interface Random {
  /** In [0, 1). */
  next(): number;
  /** A whole number in [0, below). */
  int(below: number): number;
  chance(probability: number): boolean;
  pick<T>(from: readonly T[]): T;
  /** Exponentially distributed with this mean: where it stands for delays, any order of waiting calls is likely. */
  exponential(mean: number): number;
  /** A source of its own, so that drawing more here does not change what is drawn there. */
  fork(label: string): Random;
}

/** The generator sfc32 (Chris Doty-Humphrey's small fast counting generator). */
export function createRandom(seed: number | string): Random {
  let [a, b, c, counter] = [0x9e3779b9, 0x243f6a88, hash(String(seed)), 1];
  const word = (): number => {
    const t = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return t >>> 0;
  };
  for (let i = 0; i < 15; i++) word();
  const next = (): number => word() / 2 ** 32;
  return {
    next,
    int: (below) => Math.floor(next() * below),
    chance: (probability) => next() < probability,
    pick: (from) => {
      const index = Math.floor(next() * from.length);
      const found = from[index];
      if (found === undefined && index >= from.length) throw new RangeError("nothing to pick from");
      return found as (typeof from)[number];
    },
    exponential: (mean) => -Math.log(1 - next()) * mean,
    fork: (label) => createRandom(`${word()} ${label}`),
  };
}

/** FNV-1a. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value | 0;
}
