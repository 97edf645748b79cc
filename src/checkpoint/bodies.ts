/** Bytes of items, encrypted where keys are configured. What is sealed for one item opens in no other. */
import type { Sealer } from "../storage/encryption/sealer.ts";
import type { ThreadRef } from "../storage/keys.ts";

export interface Bodies {
  /** `sk`: of the item that is to hold the bytes. */
  sealed(thread: ThreadRef, sk: string, bytes: Uint8Array): Promise<Uint8Array>;
  /** @throws HoldpointError `corrupt` when they were not sealed for that item; `gone`, `unavailable` */
  opened(thread: ThreadRef, sk: string, bytes: Uint8Array): Promise<Uint8Array>;
}

export function createBodies(sealer: Sealer): Bodies {
  // Of the namespace and the checkpoint the sort key says what there is to say.
  const placeOf = ({ tenant, threadId }: ThreadRef, sk: string) => ({
    tenant,
    threadId,
    ns: "",
    checkpointId: "",
    part: `item ${sk}`,
  });
  return {
    async sealed(thread, sk, bytes) {
      if (sealer.encrypts) await sealer.ready();
      return sealer.seal(bytes, placeOf(thread, sk));
    },
    async opened(thread, sk, bytes) {
      return sealer.open(bytes, placeOf(thread, sk));
    },
  };
}
