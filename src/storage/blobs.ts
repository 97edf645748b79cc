import { HoldpointError, isHoldpointError } from "../core/errors.ts";
import { sha256 } from "../core/ids.ts";
import type { TenantId, ThreadId } from "../core/ids.ts";
import { generationPart } from "./keys.ts";
import type { ThreadRef } from "./keys.ts";

/** Who a body belongs to: the first parts of every blob's key (I8). */
export interface BlobOwner {
  readonly tenant: TenantId;
  readonly threadId: ThreadId;
  /** The thread's generation: bodies of an older one are never found under it. Absent where older versions wrote. */
  readonly generation?: number;
}

/** Which bodies of a thread are to go. */
export interface OldBodies {
  /** Those of every generation below this one; none of this one or of a later one. */
  readonly before: number;
  /** Also those that bear no generation. They may belong to any: only for a thread that is deleted. */
  readonly unplaced: boolean;
}

/**
 * Bodies too large for an item, named by their content. A body is written before the item that names it
 * and never changed, so a crash in between leaves garbage and never a dangling name.
 */
export interface Blobs {
  /** Stores the bytes and returns their name, the SHA-256 as hex. Idempotent. @throws HoldpointError `unavailable` */
  put(owner: BlobOwner, bytes: Uint8Array): Promise<string>;
  /**
   * The body, also one that bears no generation.
   * @throws HoldpointError `corrupt` when it is missing, torn, or is not what its name says; `unavailable`
   */
  get(owner: BlobOwner, name: string): Promise<Uint8Array>;
  /** Removes old bodies of a thread; may be repeated, and then removes what is left. @throws HoldpointError `unavailable` */
  removeOld(thread: ThreadRef, which: OldBodies): Promise<void>;
}

const NAME = /^[0-9a-f]{64}$/;
const GENERATION = /^\d{6}$/;

/** @throws HoldpointError `corrupt` for a name that no body can have */
export function assertBodyName(name: string): void {
  if (!NAME.test(name)) throw new HoldpointError("corrupt", `${name} is not the name of a body`);
}

/** Longer components are replaced by their hash: file systems end at 255 bytes, keys of S3 at 1,024. */
const MAX_COMPONENT = 200;

/** One path component, in lower case, with everything but letters, digits, `-` and `_` as `%` and two hex digits. */
function component(text: string): string {
  const encoded = Array.from(Buffer.from(text), (byte) => {
    const character = String.fromCharCode(byte);
    return /[a-z0-9_-]/.test(character) ? character : `%${byte.toString(16).padStart(2, "0")}`;
  }).join("");
  if (encoded === "") return "%";
  return encoded.length <= MAX_COMPONENT ? encoded : `%~${sha256(text)}`;
}

/** `<tenant>/<thread>`: two components that no name of a tenant or a thread can break out of, or share but for case. */
export const threadPath = ({ tenant, threadId }: ThreadRef): string => `${component(tenant)}/${component(threadId)}`;

/** `<tenant>/<thread>/<generation>`, without the last where there is none. */
export const ownerPath = (owner: BlobOwner): string =>
  owner.generation === undefined ? threadPath(owner) : `${threadPath(owner)}/${generationPart(owner.generation)}`;

/** Whether what stands directly below a thread's path, a generation or a body without one, is to go. */
export function isOld(entry: string, { before, unplaced }: OldBodies): boolean {
  if (GENERATION.test(entry)) return entry < generationPart(before);
  return unplaced && NAME.test(entry.slice(0, 64));
}

/**
 * Reads under the owner's generation, or else where versions that knew none left the body.
 * @throws what the first reading threw, when the second finds nothing either
 */
export function readPlaced<T>(owner: BlobOwner, read: (owner: BlobOwner) => Promise<T>): Promise<T> {
  if (owner.generation === undefined) return read(owner);
  const { tenant, threadId } = owner;
  return foundIn(
    () => read(owner),
    () => read({ tenant, threadId }),
  );
}

/** Bodies that are kept elsewhere than they once were: new ones go to `now`, those from before are still found. */
export function movedBlobs(now: Blobs, before: Blobs): Blobs {
  return {
    put: (owner, bytes) => now.put(owner, bytes),
    get: (owner, name) =>
      foundIn(
        () => now.get(owner, name),
        () => before.get(owner, name),
      ),
    async removeOld(thread, which) {
      await now.removeOld(thread, which);
      await before.removeOld(thread, which);
    },
  };
}

async function foundIn<T>(first: () => Promise<T>, second: () => Promise<T>): Promise<T> {
  try {
    return await first();
  } catch (error) {
    if (!isHoldpointError(error, "corrupt")) throw error;
    return second().catch((other: unknown) => {
      throw isHoldpointError(other, "corrupt") ? error : other;
    });
  }
}
