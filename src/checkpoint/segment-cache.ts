/** Segments that were read or written lately. They never change, so that memory is as good as the table (I7). */
export interface SegmentCache {
  get(key: string): Uint8Array | undefined;
  set(key: string, bytes: Uint8Array): void;
}

const MAX_BYTES = 32 * 1024 * 1024;

/** Bounded by bytes; the least recently used go first, and none may take more than a quarter. */
export function createSegmentCache(maxBytes = MAX_BYTES): SegmentCache {
  const kept = new Map<string, Uint8Array>();
  let total = 0;
  const drop = (key: string): void => {
    total -= kept.get(key)?.byteLength ?? 0;
    kept.delete(key);
  };
  return {
    get(key) {
      const bytes = kept.get(key);
      if (bytes === undefined) return undefined;
      kept.delete(key);
      kept.set(key, bytes);
      return bytes;
    },
    set(key, bytes) {
      drop(key);
      if (bytes.byteLength > maxBytes / 4) return;
      kept.set(key, bytes);
      total += bytes.byteLength;
      for (const oldest of kept.keys()) {
        if (total <= maxBytes) return;
        drop(oldest);
      }
    },
  };
}
