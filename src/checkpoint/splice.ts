/** What changed between two byte strings: what both begin with and what both end with is kept. */
import type { Edit } from "./pieces.ts";

/** Compared at once: the engine does it many times faster than a loop over bytes. */
const BLOCK = 4096;
/** Keeping less than this is not worth its description. */
const LEAST_KEPT = 32;

function commonPrefix(a: Uint8Array, b: Uint8Array): number {
  const most = Math.min(a.byteLength, b.byteLength);
  let same = 0;
  while (same + BLOCK <= most && Buffer.compare(a.subarray(same, same + BLOCK), b.subarray(same, same + BLOCK)) === 0)
    same += BLOCK;
  while (same < most && a[same] === b[same]) same += 1;
  return same;
}

function commonSuffix(a: Uint8Array, b: Uint8Array, most: number): number {
  const [endA, endB] = [a.byteLength, b.byteLength];
  let same = 0;
  while (
    same + BLOCK <= most &&
    Buffer.compare(a.subarray(endA - same - BLOCK, endA - same), b.subarray(endB - same - BLOCK, endB - same)) === 0
  )
    same += BLOCK;
  while (same < most && a[endA - same - 1] === b[endB - same - 1]) same += 1;
  return same;
}

/** Edits that turn one into the other. Literal bytes are copies: they hold on to neither. */
export function splice(before: Uint8Array, after: Uint8Array): readonly Edit[] {
  const prefix = commonPrefix(before, after);
  const suffix = commonSuffix(before, after, Math.min(before.byteLength, after.byteLength) - prefix);
  const [front, back] = [prefix >= LEAST_KEPT ? prefix : 0, suffix >= LEAST_KEPT ? suffix : 0];
  // A copy: `slice` of a Buffer is not one.
  const inserted = new Uint8Array(after.subarray(front, after.byteLength - back));
  return [
    ...(front > 0 ? [{ keep: [0, front] } as const] : []),
    ...(inserted.byteLength > 0 ? [{ bytes: inserted }] : []),
    ...(back > 0 ? [{ keep: [before.byteLength - back, back] } as const] : []),
  ];
}
