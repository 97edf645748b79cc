import type { TenantId, ThreadId } from "../core/ids.ts";

/** Who a body belongs to: the first two parts of every blob's key (I8). */
export interface BlobOwner {
  readonly tenant: TenantId;
  readonly threadId: ThreadId;
}

/**
 * Bodies too large for an item, named by their content. A body is written before the item that names it
 * and never changed, so a crash in between leaves garbage and never a dangling name.
 */
export interface Blobs {
  /** Stores the bytes and returns their name, the SHA-256 as hex. Idempotent. */
  put(owner: BlobOwner, bytes: Uint8Array): Promise<string>;
  /** @throws HoldpointError `corrupt` when the body is missing, torn, or is not what its name says */
  get(owner: BlobOwner, name: string): Promise<Uint8Array>;
  /** Removes every body of the owner. */
  removeAll(owner: BlobOwner): Promise<void>;
}
