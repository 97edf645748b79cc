import { limitError } from "../core/limits.ts";
import type { Cell } from "./cells.ts";

export interface Bounded {
  /** Serialized bytes above which nothing is stored. */
  readonly maxBytes: number | undefined;
}

/** What one task writes is bounded like the state that it becomes a part of. @throws HoldpointError `limit` */
export function assertFits(cells: Iterable<Cell>, { maxBytes }: Bounded): void {
  const bytes = sizeOf(cells);
  if (maxBytes !== undefined && bytes > maxBytes)
    throw limitError("stateBytes", `the state would take ${bytes} bytes`, maxBytes);
}

export function sizeOf(cells: Iterable<Cell>): number {
  let bytes = 0;
  for (const { size } of cells) bytes += size;
  return bytes;
}
