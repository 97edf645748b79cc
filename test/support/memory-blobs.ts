import { HoldpointError } from "../../src/core/errors.ts";
import { isOld, ownerPath, readPlaced, threadPath } from "../../src/storage/blobs.ts";
import type { Blobs } from "../../src/storage/blobs.ts";
import { contentName } from "../../src/storage/keys.ts";

/** The Blob port in memory, with the number of bodies it holds. */
export interface MemoryBlobs extends Blobs {
  readonly size: number;
}

export function createMemoryBlobs(): MemoryBlobs {
  const bodies = new Map<string, Uint8Array>();
  return {
    get size() {
      return bodies.size;
    },
    put: async (owner, bytes) => {
      const name = contentName(bytes);
      bodies.set(`${ownerPath(owner)}/${name}`, Uint8Array.from(bytes));
      return name;
    },
    get: (owner, name) =>
      readPlaced(owner, async (place) => {
        const bytes = bodies.get(`${ownerPath(place)}/${name}`);
        if (bytes === undefined) throw new HoldpointError("corrupt", `body ${name} is missing`);
        return Uint8Array.from(bytes);
      }),
    removeOld: async (thread, which) => {
      const above = `${threadPath(thread)}/`;
      for (const key of bodies.keys()) {
        const [entry = ""] = key.startsWith(above) ? key.slice(above.length).split("/") : [];
        if (isOld(entry, which)) bodies.delete(key);
      }
    },
  };
}
