import { HoldpointError } from "../../src/core/errors.ts";
import { contentName } from "../../src/storage/keys.ts";
import type { BlobOwner, Blobs } from "../../src/storage/blobs.ts";

/** The Blob port in memory, with the number of bodies it holds. */
export interface MemoryBlobs extends Blobs {
  readonly size: number;
}

export function createMemoryBlobs(): MemoryBlobs {
  const bodies = new Map<string, Uint8Array>();
  const prefix = (owner: BlobOwner): string => `${JSON.stringify([owner.tenant, owner.threadId])}/`;
  return {
    get size() {
      return bodies.size;
    },
    put: async (owner, bytes) => {
      const name = contentName(bytes);
      bodies.set(prefix(owner) + name, Uint8Array.from(bytes));
      return name;
    },
    get: async (owner, name) => {
      const bytes = bodies.get(prefix(owner) + name);
      if (bytes === undefined) throw new HoldpointError("corrupt", `body ${name} is missing`);
      return Uint8Array.from(bytes);
    },
    removeAll: async (owner) => {
      for (const key of bodies.keys()) if (key.startsWith(prefix(owner))) bodies.delete(key);
    },
  };
}
