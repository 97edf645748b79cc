import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createS3Blobs } from "../../src/aws/s3-blobs.ts";
import { systemClock } from "../../src/core/clock.ts";
import { HoldpointError } from "../../src/core/errors.ts";
import { systemIds, tenantId, threadId } from "../../src/core/ids.ts";
import { createFolderBlobs } from "../../src/local/folder-blobs.ts";
import { createItemBlobs } from "../../src/storage/item-blobs.ts";
import { movedBlobs } from "../../src/storage/blobs.ts";
import type { BlobOwner, Blobs } from "../../src/storage/blobs.ts";
import { engines } from "../support/engines.ts";
import { startFakeS3 } from "../support/fake-s3.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { testFolder } from "../support/process.ts";

interface Place {
  readonly name: string;
  open(): Promise<AsyncDisposable & { readonly blobs: Blobs }>;
}

/** Bodies that went to a folder first, and now go to memory. */
const moved: Place = {
  name: "memory, and a folder before",
  async open() {
    const folder = await testFolder();
    return {
      blobs: movedBlobs(createMemoryBlobs(), createFolderBlobs({ dir: folder.path })),
      [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
    };
  },
};

const places: readonly Place[] = [
  moved,
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
  {
    name: "S3",
    async open() {
      await using opening = new AsyncDisposableStack();
      const { endpoint } = opening.use(await startFakeS3("bodies"));
      const at = { bucket: "bodies", prefix: "here/", region: "us-east-1", endpoint };
      const blobs = opening.use(createS3Blobs({ ...at, clock: systemClock, ids: systemIds }));
      const opened = opening.move();
      return { blobs, [Symbol.asyncDispose]: () => opened.disposeAsync() };
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

/** Owners of a generation, unlike those of older versions. */
type Placed = BlobOwner & { readonly generation: number };

const ownerOf = (tenant: string, thread: string, generation = 0): Placed => ({
  tenant: tenantId(tenant),
  threadId: threadId(thread),
  generation,
});
const freshOwner = (): Placed => ownerOf("tenant", systemIds.token(6));
/** The owner as versions named it that knew no generation. */
const unplaced = ({ tenant, threadId }: BlobOwner): BlobOwner => ({ tenant, threadId });
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
      ownerOf("", "a/t"),
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

  it("of threads with long names that differ only at their ends are not one another's, nor removed together", async () => {
    const name = "x".repeat(1000);
    const [one, other] = [ownerOf("tenant", `${name}1`), ownerOf("tenant", `${name}2`)];
    const stored = await blobs.put(one, bytesOf(30));
    await expect(blobs.get(other, stored)).rejects.toMatchObject({ code: "corrupt" });
    await blobs.put(other, bytesOf(30));
    await blobs.removeOld(other, { before: 1, unplaced: true });
    expect(await blobs.get(one, stored)).toEqual(bytesOf(30));
  });

  it("are all removed with the older generations of their thread, and nothing else is", async () => {
    const [owner, other] = [freshOwner(), freshOwner()];
    const names: string[] = [];
    for (let n = 1; n <= 5; n++) names.push(await blobs.put({ ...owner, generation: n % 3 }, bytesOf(800_000, n)));
    const [kept, alive] = [await blobs.put(other, bytesOf(5)), { ...owner, generation: 3 }];
    const living = await blobs.put(alive, bytesOf(6));
    for (let times = 0; times < 2; times++) await blobs.removeOld(owner, { before: 3, unplaced: true });
    for (const [n, name] of names.entries()) {
      const place = { ...owner, generation: (n + 1) % 3 };
      await expect(blobs.get(place, name)).rejects.toMatchObject({ code: "corrupt" });
    }
    expect(await blobs.get(other, kept)).toEqual(bytesOf(5));
    expect(await blobs.get(alive, living)).toEqual(bytesOf(6));
    expect(await blobs.put(owner, bytesOf(5))).toBe(kept);
  });

  it("of one generation are not found under another", async () => {
    const owner = freshOwner();
    const name = await blobs.put(owner, bytesOf(10));
    for (const place of [{ ...owner, generation: 1 }, unplaced(owner)]) {
      await expect(blobs.get(place, name)).rejects.toMatchObject({ code: "corrupt" });
    }
  });

  it("of a thread that is created again while the deleted one is removed are all still there", async () => {
    const owner = freshOwner();
    for (let n = 1; n <= 10; n++) await blobs.put(owner, bytesOf(30, n));
    const again = { ...owner, generation: 1 };
    const [names] = await Promise.all([
      Promise.all(Array.from({ length: 10 }, (_, n) => blobs.put(again, bytesOf(30, n + 1)))),
      blobs.removeOld(owner, { before: 1, unplaced: true }),
    ]);
    await blobs.removeOld(owner, { before: 1, unplaced: true });
    for (const [n, name] of names.entries()) expect(await blobs.get(again, name)).toEqual(bytesOf(30, n + 1));
  });

  it("are lost to that removal when they bear no generation (negative control)", async () => {
    const owner = unplaced(freshOwner());
    const name = await blobs.put(owner, bytesOf(30));
    await blobs.removeOld(owner, { before: 1, unplaced: true });
    await expect(blobs.get(owner, name)).rejects.toMatchObject({ code: "corrupt" });
  });

  it("that bear no generation, as older versions wrote them, are found under any, and kept until they may go", async () => {
    const owner = freshOwner();
    const name = await blobs.put(unplaced(owner), bytesOf(30));
    expect(await blobs.get({ ...owner, generation: 7 }, name)).toEqual(bytesOf(30));
    await blobs.removeOld(owner, { before: 9, unplaced: false });
    expect(await blobs.get(owner, name)).toEqual(bytesOf(30));
    await blobs.removeOld(owner, { before: 0, unplaced: true });
    await expect(blobs.get(owner, name)).rejects.toMatchObject({ code: "corrupt" });
  });

  it("are `corrupt` under a name that no body can have", async () => {
    for (const name of ["", "..", "../x", "z".repeat(64)]) {
      await expect(blobs.get(freshOwner(), name)).rejects.toMatchObject({ code: "corrupt" });
    }
  });
});

describe("bodies that are kept elsewhere now", () => {
  it("are found where they were, and removed there too; what is away is not missing", async () => {
    const [before, now] = [createMemoryBlobs(), createMemoryBlobs()];
    const blobs = movedBlobs(now, before);
    const owner = freshOwner();
    const name = await before.put(owner, bytesOf(10));
    expect(await blobs.get(owner, name)).toEqual(bytesOf(10));
    await blobs.put(owner, bytesOf(20));
    expect([now.size, before.size]).toEqual([1, 1]);
    const away: Blobs = { ...before, get: () => Promise.reject(new HoldpointError("unavailable", "away")) };
    await expect(movedBlobs(now, away).get(owner, name)).rejects.toMatchObject({ code: "unavailable" });
    await expect(movedBlobs(away, before).get(owner, name)).rejects.toMatchObject({ code: "unavailable" });
    await blobs.removeOld(owner, { before: 1, unplaced: true });
    expect([now.size, before.size]).toEqual([0, 0]);
  });
});
