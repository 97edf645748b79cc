/** From bytes to text, or not at all: what is not of its encoding is never turned into other characters. */
import { HoldpointError } from "../core/errors.ts";

export type Encoding = "utf-8" | "utf-16le" | "utf-16be";

/** What the byte order mark at the beginning says; UTF-8 without one. */
export function encodingOf(head: Uint8Array): Encoding {
  const [first, second] = head;
  if (first === 0xff && second === 0xfe) return "utf-16le";
  return first === 0xfe && second === 0xff ? "utf-16be" : "utf-8";
}

/**
 * The text of bytes that come in pieces, without its byte order mark.
 * @throws HoldpointError `invalid` where the bytes are not of the encoding, with the name of what they are of
 */
export async function* decoded(
  pieces: AsyncIterable<Uint8Array>,
  { encoding, name }: { readonly encoding: Encoding; readonly name: string },
): AsyncGenerator<string> {
  const decoder = new TextDecoder(encoding, { fatal: true });
  const textOf = (piece: Uint8Array | undefined): string => {
    try {
      return piece === undefined ? decoder.decode() : decoder.decode(piece, { stream: true });
    } catch (cause) {
      throw new HoldpointError("invalid", `${name}: not ${encoding.toUpperCase()}`, { cause });
    }
  };
  for await (const piece of pieces) yield textOf(piece);
  yield textOf(undefined);
}
