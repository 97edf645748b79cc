/** Damage that the Blob port has to notice, done behind its back. */
import { mkdir, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tenantId, threadId } from "../../src/core/ids.ts";
import { createFolderBlobs } from "../../src/local/folder-blobs.ts";
import { createItemBlobs } from "../../src/storage/item-blobs.ts";
import { threadKeys } from "../../src/storage/keys.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { testFolder } from "../support/process.ts";

const owner = { tenant: tenantId("acme"), threadId: threadId("case-1") };
const bytes = new Uint8Array(900_000).fill(7);

describe("a body in a folder", () => {
  it("lies under its tenant and its thread, whole, with nothing beside it", async () => {
    await using folder = await testFolder();
    const name = await createFolderBlobs({ dir: folder.path }).put(owner, bytes);
    expect(await readdir(join(folder.path, "acme", "case-1"))).toEqual([name]);
    expect((await stat(join(folder.path, "acme", "case-1", name))).size).toBe(bytes.length);
  });

  it("is `corrupt` when it was cut short, changed or taken away, and whole again once it is put again", async () => {
    await using folder = await testFolder();
    const blobs = createFolderBlobs({ dir: folder.path });
    const path = join(folder.path, "acme", "case-1", await blobs.put(owner, bytes));
    const name = path.slice(-64);
    const damages = [
      () => truncate(path, 100),
      async () => writeFile(path, (await readFile(path)).fill(8, 10, 11)),
      () => rm(path),
    ];
    for (const damage of damages) {
      await damage();
      await expect(blobs.get(owner, name)).rejects.toMatchObject({ code: "corrupt" });
      await blobs.put(owner, bytes);
      expect(await blobs.get(owner, name)).toEqual(bytes);
    }
  });

  it("is not disturbed by what a killed process left behind", async () => {
    await using folder = await testFolder();
    const blobs = createFolderBlobs({ dir: folder.path });
    const name = await blobs.put(owner, bytes);
    await writeFile(join(folder.path, "acme", "case-1", `${name}.${process.pid}.0`), "half");
    await blobs.put(owner, bytes);
    expect(await blobs.get(owner, name)).toEqual(bytes);
  });

  it("that cannot be written or read is `unavailable`, with its path", async () => {
    await using folder = await testFolder();
    await writeFile(join(folder.path, "acme"), "in the way");
    const blobs = createFolderBlobs({ dir: folder.path });
    await expect(blobs.put(owner, bytes)).rejects.toMatchObject({ code: "unavailable" });
    await expect(blobs.put(owner, bytes)).rejects.toThrow(join(folder.path, "acme"));
    await rm(join(folder.path, "acme"));
    const name = await blobs.put(owner, bytes);
    await rm(join(folder.path, "acme", "case-1", name));
    await mkdir(join(folder.path, "acme", "case-1", name));
    await expect(blobs.get(owner, name)).rejects.toMatchObject({ code: "unavailable" });
  });
});

describe("a body kept as items", () => {
  it("is cut into pieces of its thread's partition", async () => {
    const table = createMemoryTable();
    const name = await createItemBlobs({ table }).put(owner, bytes);
    const sizes = table.dump().map(({ sk, attributes }) => [sk, (attributes["bytes"] as Uint8Array).length]);
    expect(sizes).toEqual([
      [`B#${name}.0`, 358_400],
      [`B#${name}.1`, 358_400],
      [`B#${name}.2`, 183_200],
    ]);
  });

  it("is `corrupt` when a piece is missing or is not what it was", async () => {
    for (const n of [0, 1, 2]) {
      const table = createMemoryTable();
      const blobs = createItemBlobs({ table });
      const name = await blobs.put(owner, bytes);
      const key = threadKeys.blob(owner, name, n);
      const piece = await table.get(key);
      await table.remove(key, "any");
      await expect(blobs.get(owner, name)).rejects.toMatchObject({ code: "corrupt" });
      await table.put({ ...key, attributes: { ...piece?.attributes, bytes: Uint8Array.of(1) } }, "any");
      await expect(blobs.get(owner, name)).rejects.toMatchObject({ code: "corrupt" });
    }
  });
});
