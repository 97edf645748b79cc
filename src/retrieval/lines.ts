import { HoldpointError } from "../core/errors.ts";

/** One line of a file, without its end; lines count from 1. */
export interface Line {
  readonly line: number;
  readonly text: string;
}

/**
 * The lines of a text that comes in pieces, never holding more than one line.
 * @throws HoldpointError `too_large` for a line of more than `mostChars`, naming it as `<name>:<line>`
 */
export async function* linesOf(
  pieces: AsyncIterable<string>,
  { name, mostChars }: { readonly name: string; readonly mostChars: number },
): AsyncGenerator<Line> {
  let line = 1;
  let rest = "";
  for await (const piece of pieces) {
    const parts = piece.split("\n");
    for (const [index, part] of parts.entries()) {
      rest += part;
      if (rest.length > mostChars) {
        throw new HoldpointError("too_large", `${name}:${line}: the line has more than ${mostChars} characters`);
      }
      if (index === parts.length - 1) break;
      yield { line, text: rest };
      line += 1;
      rest = "";
    }
  }
  if (rest !== "") yield { line, text: rest };
}
