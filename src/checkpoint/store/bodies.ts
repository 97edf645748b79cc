/**
 * Where values and vectors stand: in their item, or, when that would be too large, in bodies.
 *
 * - Bodies are written before the item that names them, and belong to that one write: nothing else names them. Whoever
 *   replaces or removes the item removes them afterwards. A crash in between leaves garbage, never a dangling name.
 * - A reader that finds a body gone looks at the item again: it was replaced meanwhile.
 */
import { HoldpointError, isHoldpointError } from "../../core/errors.ts";
import { threadId } from "../../core/ids.ts";
import type { IdSource } from "../../core/ids.ts";
import type { BlobOwner, Blobs } from "../../storage/blobs.ts";
import { whyUnreadable } from "../../storage/encryption/sealed-content.ts";
import { itemBytes } from "../../storage/item-size.ts";
import type { Records, Stored } from "../../storage/records.ts";
import { storeItemCodec } from "../../storage/store-items.ts";
import type { StoreBodies, StoreItem } from "../../storage/store-items.ts";

/** Leaves room below the limit of an item for its key, and for what later versions add. */
const MAX_ITEM_BYTES = 350 * 1024;

export type JsonValue = Record<string, unknown>;

/** An item with its value. */
export interface Read {
  readonly stored: Stored<StoreItem>;
  readonly value: JsonValue;
}

export interface BodiesOptions {
  readonly blobs: Blobs;
  readonly ids: IdSource;
  readonly items: Records<StoreItem>;
}

export interface Bodies {
  /** The item as it fits, once what does not fit is kept elsewhere. */
  fitted(item: StoreItem): Promise<StoreItem>;
  /** The item with its value, or as it is now if it was replaced; undefined if it is gone. */
  read(stored: Stored<StoreItem>): Promise<Read | undefined>;
  /** Bytes of its vectors, or of those that it has now; undefined if there are none. */
  vectors(stored: Stored<StoreItem>): Promise<Uint8Array | undefined>;
  /** Removes what an item kept elsewhere, after it was replaced or removed. */
  drop(item: StoreItem): Promise<void>;
}

export function createBodies({ blobs, ids, items }: BodiesOptions): Bodies {
  /** What `read` makes of the item, or of its successor when a body has gone with the item. */
  async function fromCurrent<T>(
    stored: Stored<StoreItem>,
    read: (stored: Stored<StoreItem>) => Promise<T>,
  ): Promise<T | undefined> {
    let current: Stored<StoreItem> | undefined = stored;
    while (current) {
      const { version }: Stored<StoreItem> = current;
      try {
        return await read(current);
      } catch (error) {
        if (!isHoldpointError(error, "corrupt") || current.value.bodies === undefined) throw error;
        current = await items.get(storeItemCodec.key(current.value));
        if (current?.version === version) throw error;
      }
    }
    return undefined;
  }
  const bodyOf = (item: StoreItem, which: "json" | "vectors"): Promise<Uint8Array> | undefined => {
    const name = item.bodies?.[which];
    return item.bodies && name !== undefined ? blobs.get(ownerOf(item, item.bodies), name) : undefined;
  };

  return {
    async fitted(item) {
      if (fits(item)) return item;
      const owner = `store~${ids.token(16)}`;
      const keep = (bytes: Uint8Array): Promise<string> => blobs.put(ownerOf(item, { owner }), bytes);
      const { json = "", ...rest } = item;
      const kept: StoreItem = { ...rest, bodies: { owner, json: await keep(new TextEncoder().encode(json)) } };
      if (fits(kept) || !kept.vectors?.bytes) return kept;
      const { dims, bytes } = kept.vectors;
      return { ...kept, vectors: { dims }, bodies: { owner, ...kept.bodies, vectors: await keep(bytes) } };
    },
    read: (stored) =>
      fromCurrent(stored, async (current) => {
        const unreadable = whyUnreadable(current.value);
        if (unreadable) throw unreadable;
        const body = await bodyOf(current.value, "json");
        const json = body ? new TextDecoder().decode(body) : current.value.json;
        if (json === undefined) throw new HoldpointError("corrupt", `the item ${current.value.key} has no value`);
        // Written by `put`, which takes objects only.
        return { stored: current, value: JSON.parse(json) as JsonValue };
      }),
    vectors: (stored) =>
      fromCurrent(stored, async ({ value }) => (await bodyOf(value, "vectors")) ?? value.vectors?.bytes),
    async drop(item) {
      if (item.bodies) await blobs.removeOld(ownerOf(item, item.bodies), { before: 1, unplaced: true });
    },
  };
}

/** No thread's: a thread's id is a UUID. */
const ownerOf = ({ tenant }: StoreItem, { owner }: Pick<StoreBodies, "owner">): BlobOwner => ({
  tenant,
  threadId: threadId(owner),
});

const fits = (item: StoreItem): boolean =>
  itemBytes({ ...storeItemCodec.key(item), attributes: storeItemCodec.encode(item) }) <= MAX_ITEM_BYTES;
