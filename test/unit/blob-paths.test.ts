/**
 * Where bodies stand, in folders and in buckets. Never to be changed: what was written under these paths is looked for
 * under them.
 */
import { readdir } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { tenantId, threadId } from "../../src/core/ids.ts";
import { ownerPath, threadPath } from "../../src/storage/blobs.ts";
import { contentName } from "../../src/storage/keys.ts";
import { createFolderBlobs } from "../../src/local/folder-blobs.ts";
import { testFolder } from "../support/process.ts";

const pathOf = (tenant: string, thread: string): string =>
  threadPath({ tenant: tenantId(tenant), threadId: threadId(thread) });

describe("the path of a thread's bodies", () => {
  it.each([
    ["acme", "0190-ab_c", "acme/0190-ab_c"],
    ["Acme", "Case 7/é", "%41cme/%43ase%207%2f%c3%a9"],
    ["..", "a.b#c%d", "%2e%2e/a%2eb%23c%25d"],
    ["", "\u0000", "%/%00"],
    ["👩", "~", "%f0%9f%91%a9/%7e"],
    ["a", "x".repeat(200), `a/${"x".repeat(200)}`],
    ["a", "x".repeat(201), "a/%~84a0678c90937f5dcf9994d5866668da6b995109c8ad845410559b48a4ecafed"],
    ["a", "x".repeat(900), "a/%~2309ecdd32c45f3b6a744cf99c76d203823a5a80836616b34c828d40bf623655"],
    // Its escaped form is too long, not its text.
    ["a", "É".repeat(34), "a/%~60a1c0060feb56977b8d1df4f44a55b70b8d2d7644b3657858c86f81ac46d74c"],
  ])("of %j and %j is always the same", (tenant, thread, path) => {
    expect(pathOf(tenant, thread)).toBe(path);
  });

  it("ends with the generation, where there is one", () => {
    const owner = { tenant: tenantId("a"), threadId: threadId("T") };
    expect(ownerPath(owner)).toBe("a/%54");
    expect(ownerPath({ ...owner, generation: 12 })).toBe("a/%54/000012");
  });

  it("is another for every name: neither case, escapes, nor the end of a long name can make two the same", () => {
    const long = "x".repeat(1000);
    const names = [
      "a",
      "A",
      "%41",
      "%61",
      "",
      "%",
      `${long}1`,
      `${long}2`,
      "x".repeat(200),
      long,
      `%~${contentName(Buffer.from(long))}`,
    ];
    const paths = names.flatMap((name) => [pathOf(name, "t"), pathOf("t", name)]);
    expect(new Set(paths.map((path) => path.toLowerCase())).size).toBe(paths.length);
    for (const path of paths) expect(path.split("/").map(({ length }) => length <= 200)).toEqual([true, true]);
  });

  it("is where the folder keeps them", async () => {
    await using folder = await testFolder();
    const owner = { tenant: tenantId("Acme"), threadId: threadId("x".repeat(900)), generation: 1 };
    const name = await createFolderBlobs({ dir: folder.path }).put(owner, Buffer.from("a body"));
    const found = await readdir(folder.path, { recursive: true });
    expect(found).toContain(`%41cme/%~2309ecdd32c45f3b6a744cf99c76d203823a5a80836616b34c828d40bf623655/000001/${name}`);
  });
});
