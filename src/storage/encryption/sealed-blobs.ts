import type { BlobOwner, Blobs } from "../blobs.ts";
import type { Place } from "./envelope.ts";
import type { Sealers } from "./sealer.ts";

/**
 * Bodies that are sealed before they are stored. Their names are those of the sealed bytes, so the same body has another
 * name each time that it is put.
 */
export function sealedBlobs(blobs: Blobs, sealers: Sealers): Blobs {
  return {
    async put(owner, bytes) {
      const sealer = sealers(owner.tenant);
      if (sealer.encrypts) await sealer.ready();
      return blobs.put(owner, sealer.seal(bytes, placeOf(owner)));
    },
    async get(owner, name) {
      const stored = await blobs.get(owner, name);
      const bytes = await sealers(owner.tenant).open(stored, placeOf(owner));
      return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    },
    removeOld: (thread, which) => blobs.removeOld(thread, which),
  };
}

/** Within a thread a body is told apart by its name, which what refers to it has. */
const placeOf = ({ tenant, threadId }: BlobOwner): Place => ({
  tenant,
  threadId,
  ns: "",
  checkpointId: "",
  part: "blob",
});
