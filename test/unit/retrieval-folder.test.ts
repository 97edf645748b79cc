import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { mkdir, mkdtemp, rename, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { openFolder } from "../../src/retrieval/folder.ts";
import type { SourceDocument } from "../../src/retrieval/retriever.ts";

let root = "";
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "holdpoint-folder-"));
});
afterEach(() => rm(root, { recursive: true }));

async function write(files: Readonly<Record<string, string | Uint8Array>>): Promise<void> {
  for (const [path, body] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), body);
  }
}

async function read(folder = root): Promise<readonly SourceDocument[]> {
  return Array.fromAsync((await openFolder(folder)).documents());
}

it("reads Markdown, text and JSON lines, however deep, in the order of their paths", async () => {
  await write({
    "b.md": "\uFEFFintro\n\n# The Title\n\nbody",
    "a/deep/er/c.txt": "plain",
    "z/corpus.jsonl":
      '{"_id":"7","title":"T","text":"x","metadata":{"year":2024,"open":true,"tags":["no"]}}\n\n{"_id":8,"text":"y"}',
  });
  const folder = await openFolder(root);
  expect(folder.total).toBe(4);
  expect(folder.skipped).toEqual([]);
  expect(await Array.fromAsync(folder.documents())).toEqual([
    {
      id: "a/deep/er/c.txt",
      title: "c",
      text: "plain",
      format: "text",
      labels: { source: "a/deep/er/c.txt", folder: "a/deep/er" },
    },
    {
      id: "b.md",
      title: "The Title",
      text: "intro\n\n# The Title\n\nbody",
      format: "markdown",
      labels: { source: "b.md", folder: "" },
    },
    {
      id: "7",
      title: "T",
      text: "x",
      format: "record",
      labels: { source: "z/corpus.jsonl", folder: "z", year: "2024", open: "true" },
    },
    { id: "8", title: "", text: "y", format: "record", labels: { source: "z/corpus.jsonl", folder: "z" } },
  ]);
});

it("can be read again from the same listing", async () => {
  await write({ "a.md": "# A\n\none" });
  const folder = await openFolder(root);
  expect(await Array.fromAsync(folder.documents())).toEqual(await Array.fromAsync(folder.documents()));
});

it("takes the queries beside a corpus for what they are, and other JSON lines for documents", async () => {
  await write({
    "beir/corpus.jsonl": '{"_id":"1","text":"x"}',
    "beir/queries.jsonl": '{"_id":"q","text":"?"}',
    "other/notes.jsonl": '{"_id":"2","text":"x"}',
  });
  const folder = await openFolder(root);
  expect((await Array.fromAsync(folder.documents())).map(({ id }) => id)).toEqual(["1", "2"]);
  expect(folder.skipped.map(({ path }) => path)).toEqual(["beir/queries.jsonl"]);
});

describe("a malformed line is named by file and line", () => {
  const fine = '{"_id":"1","text":"x"}\n';
  it.each([
    ["not JSON", `${fine}\n{"_id":`, "sub/corpus.jsonl:3: this line is not JSON"],
    ["without a text", `${fine}{"_id":"2"}`, "sub/corpus.jsonl:2: text: "],
    ["without an id", '{"text":"x"}', "sub/corpus.jsonl:1: _id: "],
    ["an id that is empty", '{"_id":"","text":"x"}', "sub/corpus.jsonl:1: _id: "],
    ["not an object", "[1]", "sub/corpus.jsonl:1: the line: "],
    [
      "an id that was there already",
      fine + fine,
      "sub/corpus.jsonl:2: the id 1 is already taken by sub/corpus.jsonl:1",
    ],
  ])("%s", async (_name, body, message) => {
    await write({ "sub/corpus.jsonl": body });
    await expect(read()).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringContaining(message) as string,
    });
  });

  it("also one that never ends", async () => {
    await write({ "corpus.jsonl": `${fine}{"_id":"2","text":"${"x".repeat(5_000_000)}` });
    await expect(openFolder(root)).rejects.toMatchObject({
      code: "too_large",
      message: expect.stringMatching(/^corpus\.jsonl:2: /) as string,
    });
  });
});

it("skips, with a reason, what is binary, huge, hidden from readers or of another kind", async () => {
  await write({
    "ok.md": "fine",
    "photo.md": Uint8Array.of(0x89, 0x50, 0, 1, 2),
    "huge.txt": "x".repeat(4 * 1024 * 1024 + 1),
    "table.csv": "a,b",
    ".hidden/secret.md": "not to be read",
  });
  const folder = await openFolder(root);
  expect((await Array.fromAsync(folder.documents())).map(({ id }) => id)).toEqual(["ok.md"]);
  expect(Object.fromEntries(folder.skipped.map(({ path, reason }) => [path, reason]))).toEqual({
    "photo.md": "binary",
    "huge.txt": "larger than 4 MB",
    "table.csv": "not Markdown, text or JSON lines",
  });
});

describe("an encoding", () => {
  const TEXT = "# Größe\n\nCafé, naïve, 尺寸 and 😀.";
  const utf16 = (text: string, bigEndian: boolean): Uint8Array => {
    const bytes = Buffer.from(`\uFEFF${text}`, "utf16le");
    return bigEndian ? bytes.swap16() : bytes;
  };
  const skippedOf = async (): Promise<Readonly<Record<string, string>>> =>
    Object.fromEntries((await openFolder(root)).skipped.map(({ path, reason }) => [path, reason]));

  it("is recognised by its byte order mark, and UTF-8 without one", async () => {
    const record = JSON.stringify({ _id: "r", text: TEXT });
    await write({
      "a-bom.md": `\uFEFF${TEXT}`,
      "b-plain.md": TEXT,
      "c-le.md": utf16(TEXT, false),
      "d-be.md": utf16(TEXT, true),
      "e.jsonl": utf16(`${record}\n`, false),
    });
    expect(await skippedOf()).toEqual({});
    const documents = await read();
    expect(documents.map(({ text }) => text)).toEqual(Array.from({ length: 5 }, () => TEXT));
    expect(documents[2]?.title).toBe("Größe");
  });

  it("that is another one is skipped with a reason, and never read as other characters", async () => {
    const latin1 = Buffer.from("Größe", "latin1");
    const late = Buffer.concat([Buffer.from("x".repeat(200_000)), latin1]);
    await write({
      "latin1.md": latin1,
      "late.txt": late,
      "windows.jsonl": Buffer.from('{"_id":"1","text":"Größe"}', "latin1"),
      "half.md": utf16("ab", false).subarray(0, 5),
      "utf16-without-mark.txt": Buffer.from("plain", "utf16le"),
      "utf32.txt": Uint8Array.of(0xff, 0xfe, 0, 0, 0x41, 0, 0, 0),
      "shift-jis.txt": Uint8Array.of(0x8e, 0xa1, 0x96, 0x40),
      "good.md": "fine",
    });
    expect(await skippedOf()).toEqual({
      "latin1.md": "not UTF-8: convert it to UTF-8",
      "late.txt": "not UTF-8: convert it to UTF-8",
      "windows.jsonl": "not UTF-8: convert it to UTF-8",
      "half.md": "not UTF-16LE: convert it to UTF-8",
      "utf16-without-mark.txt": "binary",
      "utf32.txt": "binary",
      "shift-jis.txt": "not UTF-8: convert it to UTF-8",
    });
    expect((await read()).map(({ id }) => id)).toEqual(["good.md"]);
  });

  it("that a file has only after the listing is refused, and not read as other characters", async () => {
    await write({ "a.md": "fine" });
    const folder = await openFolder(root);
    await write({ "a.md": Buffer.from("Größe", "latin1") });
    await expect(Array.fromAsync(folder.documents())).rejects.toMatchObject({
      code: "invalid",
      message: "a.md: not UTF-8",
    });
  });

  it("holds across the pieces in which a file is read", async () => {
    const text = `x${"😀".repeat(100_000)}`;
    await write({ "a.txt": text, "b.txt": utf16(text, false) });
    expect((await read()).map((document) => document.text === text)).toEqual([true, true]);
  });
});

it("a document of 200 MB is skipped without being read", async () => {
  await write({ "huge.md": "", "fine.md": "fine" });
  await truncate(join(root, "huge.md"), 200 * 1024 * 1024);
  const folder = await openFolder(root);
  expect(folder.skipped).toEqual([{ path: "huge.md", reason: "larger than 4 MB" }]);
  expect((await Array.fromAsync(folder.documents())).map(({ id }) => id)).toEqual(["fine.md"]);
});

it("a PDF is skipped and said to be one, encrypted or not, also under another name", async () => {
  const pdf = (trailer: string) =>
    `%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< ${trailer} >>\n%%EOF\n`;
  await write({
    "plain.pdf": pdf("/Root 1 0 R"),
    "encrypted.PDF": pdf("/Root 1 0 R /Encrypt 5 0 R"),
    "named.md": pdf("/Root 1 0 R /Encrypt 5 0 R"),
  });
  const folder = await openFolder(root);
  expect(folder.total).toBe(0);
  expect(new Set(folder.skipped.map(({ path }) => path))).toEqual(new Set(["plain.pdf", "encrypted.PDF", "named.md"]));
  for (const { reason } of folder.skipped)
    expect(reason).toBe("a PDF, whose text is not read: convert it to Markdown or text");
});

describe("links", () => {
  it("are not followed, wherever they lead", async () => {
    await write({ "in/a.md": "inside", "outside/b.md": "outside" });
    const inside = join(root, "in");
    await symlink(join(root, "outside"), join(inside, "folder"));
    await symlink(join(root, "outside/b.md"), join(inside, "b.md"));
    await symlink(join(inside, "a.md"), join(inside, "again.md"));
    await symlink(inside, join(inside, "loop"));
    await symlink(join(root, "nothing"), join(inside, "gone.md"));
    const folder = await openFolder(inside);
    expect((await Array.fromAsync(folder.documents())).map(({ id }) => id)).toEqual(["a.md"]);
    expect(Object.fromEntries(folder.skipped.map(({ path, reason }) => [path, reason]))).toEqual({
      folder: "a link that leads out of the folder",
      "b.md": "a link that leads out of the folder",
      "again.md": "a link to what is read in its own place",
      loop: "a link to what is read in its own place",
      "gone.md": "a link that leads nowhere",
    });
  });

  it("are refused also when one takes the place of a file after the listing", async () => {
    await write({ "in/a.md": "inside", "secret.md": "outside" });
    const folder = await openFolder(join(root, "in"));
    await rename(join(root, "in/a.md"), join(root, "moved.md"));
    await symlink(join(root, "secret.md"), join(root, "in/a.md"));
    await expect(Array.fromAsync(folder.documents())).rejects.toMatchObject({ code: "invalid" });
  });

  it("may name the folder itself", async () => {
    await write({ "in/a.md": "inside" });
    await symlink(join(root, "in"), join(root, "named"));
    expect((await read(join(root, "named"))).map(({ id }) => id)).toEqual(["a.md"]);
  });
});

it("says so when the folder is not there or is a file", async () => {
  await write({ "a.md": "x" });
  await expect(openFolder(join(root, "none"))).rejects.toMatchObject({ code: "invalid" });
  await expect(openFolder(join(root, "a.md"))).rejects.toMatchObject({ code: "invalid" });
});
