/** Text of words, so that compression finds in it what it finds in a conversation: neither nothing nor everything. */

/** Numbers from 0 up to 1; the same seed gives the same ones. */
export function randomOf(seed: number): () => number {
  let state = (seed % 2_147_483_646) + 1;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

const BY_FREQUENCY = "etaoinshrdlucmfwypvbgkjqxz";

function wordOf(random: () => number): string {
  const length = 2 + Math.floor(random() * 7);
  return Array.from({ length }, () => BY_FREQUENCY[Math.floor(random() ** 1.8 * BY_FREQUENCY.length)] ?? "e").join("");
}

const VOCABULARY = ((random) => Array.from({ length: 3000 }, () => wordOf(random)))(randomOf(7));

/** Words of which a few are frequent and most are rare, of exactly that many characters. */
export function wordsOf(length: number, random: () => number): string {
  const words: string[] = [];
  for (let size = 0; size < length;) {
    const word = `${VOCABULARY[Math.floor(random() ** 2 * VOCABULARY.length)] ?? ""} `;
    words.push(word);
    size += word.length;
  }
  // As if it had been read from somewhere: a string that V8 has in one piece.
  return Buffer.from(words.join("").slice(0, length)).toString();
}
