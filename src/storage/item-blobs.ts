/**
 * Bodies as items of the table, in the partition of their thread: for DynamoDB without a bucket.
 * A body is cut into pieces `B#<generation>#<sha256>.<n>`, without the generation where older versions wrote; each
 * holds `bytes` and the `count` of pieces.
 */
import { HoldpointError } from "../core/errors.ts";
import { assertBodyName, isOld, readPlaced } from "./blobs.ts";
import type { BlobOwner, Blobs } from "./blobs.ts";
import { contentName, threadKeys } from "./keys.ts";
import { readable } from "./records.ts";
import type { Item, Table } from "./table.ts";

/** Leaves room for the key below the limit of an item. */
const PIECE_BYTES = 350 * 1024;
const REMOVALS_AT_ONCE = 16;

/** A Blob port on the table; a body is complete once `put` has resolved. */
export function createItemBlobs({ table }: { readonly table: Table }): Blobs {
  return {
    async put(owner, bytes) {
      const name = contentName(bytes);
      const count = Math.max(1, Math.ceil(bytes.byteLength / PIECE_BYTES));
      await table.batchPut(
        Array.from({ length: count }, (_, n) => ({
          ...threadKeys.blob(owner, name, n),
          attributes: { bytes: bytes.subarray(n * PIECE_BYTES, (n + 1) * PIECE_BYTES), count },
        })),
      );
      return name;
    },
    async get(owner, name) {
      assertBodyName(name);
      return readPlaced(owner, (place) => readBody(table, place, name));
    },
    async removeOld(thread, which) {
      let after: string | undefined;
      do {
        const page = await table.query(threadKeys.partition(thread), {
          prefix: threadKeys.blobPrefix,
          ...(after === undefined ? {} : { after }),
        });
        // Below the prefix stands the generation, or the name of a body that has none.
        const old = page.items.filter(({ sk }) => isOld(sk.split("#")[1] ?? "", which));
        for (let at = 0; at < old.length; at += REMOVALS_AT_ONCE) {
          const some = old.slice(at, at + REMOVALS_AT_ONCE);
          await Promise.all(some.map((item) => table.remove(item, "any")));
        }
        after = page.next;
      } while (after !== undefined);
    },
  };
}

async function readBody(table: Table, owner: BlobOwner, name: string): Promise<Uint8Array> {
  const pieces = await readPieces(table, owner, name);
  const body = Buffer.concat(pieces.map((piece) => bytesOf(piece, name)));
  const bytes = new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  if (contentName(bytes) !== name) throw corrupt(name, "is not what its name says");
  return bytes;
}

/** The first piece says how many there are; the others are read together. */
async function readPieces(table: Table, owner: BlobOwner, name: string): Promise<readonly Item[]> {
  const first = readable(await table.get(threadKeys.blob(owner, name, 0)));
  const count = first?.attributes["count"];
  if (first === undefined || typeof count !== "number") throw corrupt(name, "is missing");
  if (count === 1) return [first];
  const keys = Array.from({ length: count - 1 }, (_, n) => threadKeys.blob(owner, name, n + 1));
  const found = new Map((await table.batchGet(keys)).map((item) => [item.sk, item]));
  const others = keys.map((key) => found.get(key.sk)).filter((item) => item !== undefined);
  if (others.length < keys.length) throw corrupt(name, "is torn");
  return [first, ...others];
}

function bytesOf(piece: Item, name: string): Uint8Array {
  const { bytes } = piece.attributes;
  if (bytes instanceof Uint8Array) return bytes;
  throw corrupt(name, "has a piece that is not bytes");
}

const corrupt = (name: string, what: string): HoldpointError =>
  new HoldpointError("corrupt", `the body ${name} ${what}`);
