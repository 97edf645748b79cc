import { HoldpointError } from "../../src/core/errors.ts";
import type { BlobOwner, Blobs } from "../../src/storage/blobs.ts";
import { contentName } from "../../src/storage/keys.ts";

/** Blobs in memory, without faults: a body is written before what names it, so its loss is a lost write of the table. */
export function createMemoryBlobs(): Blobs {
  const bodies = new Map<string, Uint8Array>();
  const keyOf = (owner: BlobOwner, name: string): string => `${owner.tenant}/${owner.threadId}/${name}`;
  return {
    async put(owner, bytes) {
      const name = contentName(bytes);
      bodies.set(keyOf(owner, name), Uint8Array.from(bytes));
      return name;
    },
    async get(owner, name) {
      const bytes = bodies.get(keyOf(owner, name));
      if (!bytes) throw new HoldpointError("corrupt", `the body ${name} is missing`);
      return bytes;
    },
    async removeAll(owner) {
      for (const key of bodies.keys()) if (key.startsWith(keyOf(owner, ""))) bodies.delete(key);
    },
  };
}
