import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemIds, tenantId, threadId } from "../../src/core/ids.ts";
import { createFolderBlobs } from "../../src/local/folder-blobs.ts";
import { createItemBlobs } from "../../src/storage/item-blobs.ts";
import type { BlobOwner, Blobs } from "../../src/storage/blobs.ts";
import { engines } from "../support/engines.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { testFolder } from "../support/process.ts";

interface Place {
  readonly name: string;
  open(): Promise<AsyncDisposable & { readonly blobs: Blobs }>;
}

const places: readonly Place[] = [
  { name: "memory", open: async () => ({ blobs: createMemoryBlobs(), [Symbol.asyncDispose]: async () => {} }) },
  {
    name: "a folder",
    async open() {
      const folder = await testFolder();
      return {
        blobs: createFolderBlobs({ dir: folder.path }),
        [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
      };
    },
  },
  ...engines().map((engine): Place => ({
    name: `items on ${engine.name}`,
    async open() {
      const opened = await engine.open();
      const blobs = createItemBlobs({ table: opened.table });
      return { blobs, [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose]() };
    },
  })),
];

const ownerOf = (tenant: string, thread: string): BlobOwner => ({
  tenant: tenantId(tenant),
  threadId: threadId(thread),
});
const freshOwner = (): BlobOwner => ownerOf("tenant", systemIds.token(6));
const bytesOf = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * seed + (i >> 8)) % 256);

describe.each(places)("bodies in $name", (place) => {
  let opened: Awaited<ReturnType<Place["open"]>>;
  let blobs: Blobs;
  beforeAll(async () => {
    opened = await place.open();
    ({ blobs } = opened);
  });
  afterAll(() => opened[Symbol.asyncDispose]());

  it.each([0, 1, 358_400, 358_401, 4_500_000])(
    "of %d bytes come back under the name of their content",
    async (length) => {
      const owner = freshOwner();
      const bytes = bytesOf(length);
      const name = await blobs.put(owner, bytes);
      expect(name).toBe(createHash("sha256").update(bytes).digest("hex"));
      const found = await blobs.get(owner, name);
      expect(Buffer.compare(found, bytes)).toBe(0);
      expect(Buffer.isBuffer(found)).toBe(false);
    },
  );

  it("may be put again, also at the same time", async () => {
    const owner = freshOwner();
    const bytes = bytesOf(400_000);
    const names = await Promise.all(Array.from({ length: 4 }, () => blobs.put(owner, bytes)));
    names.push(await blobs.put(owner, bytes));
    expect(new Set(names).size).toBe(1);
    expect(await blobs.get(owner, names[0] ?? "")).toEqual(bytes);
  });

  it("belong to one thread of one tenant", async () => {
    const bytes = bytesOf(10);
    const name = await blobs.put(ownerOf("a", "t"), bytes);
    for (const other of [
      ownerOf("b", "t"),
      ownerOf("a", "u"),
      ownerOf("a/t", ""),
      ownerOf("A", "t"),
      ownerOf("a", "T"),
    ]) {
      await expect(blobs.get(other, name)).rejects.toMatchObject({ code: "corrupt" });
    }
  });

  it("stay where they belong whatever tenant and thread are called", async () => {
    const names = ["..", ".", "../../etc", "a#b%c", "%", "é", "a b", "\u0000", "CON", "x".repeat(900), "👩‍🚀"];
    const owners = names.flatMap((name) => [ownerOf(name, "t"), ownerOf("t", name)]);
    const stored = await Promise.all(owners.map(async (owner, n) => blobs.put(owner, bytesOf(20, n + 2))));
    for (const [n, owner] of owners.entries()) {
      expect(await blobs.get(owner, stored[n] ?? "")).toEqual(bytesOf(20, n + 2));
    }
  });

  it("are all removed with their owner, and nothing else is", async () => {
    const [owner, other] = [freshOwner(), freshOwner()];
    const names = [];
    for (let n = 1; n <= 5; n++) names.push(await blobs.put(owner, bytesOf(800_000, n)));
    const kept = await blobs.put(other, bytesOf(5));
    await blobs.removeAll(owner);
    await blobs.removeAll(owner);
    for (const name of names) await expect(blobs.get(owner, name)).rejects.toMatchObject({ code: "corrupt" });
    expect(await blobs.get(other, kept)).toEqual(bytesOf(5));
    expect(await blobs.put(owner, bytesOf(5))).toBe(kept);
  });

  it("are `corrupt` under a name that no body can have", async () => {
    for (const name of ["", "..", "../x", "z".repeat(64)]) {
      await expect(blobs.get(freshOwner(), name)).rejects.toMatchObject({ code: "corrupt" });
    }
  });
});
