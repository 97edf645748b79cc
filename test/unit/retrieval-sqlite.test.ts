/** What is of the embedded retriever alone; what every adapter promises is in test/contract/retriever.test.ts. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { createSqliteRetriever } from "../../src/local/sqlite-search.ts";
import type { Retriever, SourceDocument } from "../../src/retrieval/retriever.ts";

const POLICIES = { tenant: "acme", collection: "policies" } as const;

let dataDir = "";
let retriever: Retriever & AsyncDisposable;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "holdpoint-search-"));
  retriever = createSqliteRetriever({ dataDir });
});
afterEach(async () => {
  await retriever[Symbol.asyncDispose]();
  await rm(dataDir, { recursive: true });
});

const document = (id: string, text: string, more: Partial<SourceDocument> = {}): SourceDocument => ({
  id,
  title: id,
  text,
  format: "text",
  labels: {},
  ...more,
});

async function* each(...documents: readonly SourceDocument[]): AsyncGenerator<SourceDocument> {
  yield* documents;
}

const found = async (query: string, more: object = {}): Promise<readonly string[]> =>
  (await retriever.search(query, { ...POLICIES, k: 10, ...more })).map(({ documentId }) => documentId);
it("makes no file for what was never ingested, and one for each tenant, inside of its folder", async () => {
  expect(await found("anything")).toEqual([]);
  expect(await retriever.remove({ ...POLICIES, documentId: "a" })).toBe(false);
  expect(await readdir(join(dataDir, "search"))).toEqual([]);
  for (const tenant of ["acme", "ACME", "../acme", "a/b", "", "x".repeat(300)])
    await retriever.ingest(each(document("a", "refund")), { ...POLICIES, tenant });
  expect(await readdir(dataDir)).toEqual(["search"]);
  const files = (await readdir(join(dataDir, "search"))).filter((name) => name.endsWith(".sqlite"));
  expect(files).toHaveLength(6);
});

it("how rare a word is, is counted within its collection", async () => {
  const documents = [document("a", "common rare"), document("b", "common")];
  await retriever.ingest(each(...documents), POLICIES);
  const before = await retriever.search("rare common", { ...POLICIES, k: 10 });
  await retriever.ingest(each(...Array.from({ length: 50 }, (_, n) => document(`n${n}`, "rare"))), {
    ...POLICIES,
    collection: "noise",
  });
  expect(await retriever.search("rare common", { ...POLICIES, k: 10 })).toEqual(before);
});

it("a tenant's file that is no index makes its searches fail with a clear error, and no one else's", async () => {
  await retriever.ingest(each(document("a", "refund")), { ...POLICIES, tenant: "fine" });
  await writeFile(join(dataDir, "search", "t-acme.sqlite"), "x".repeat(5_000));
  await expect(found("refund")).rejects.toMatchObject({ code: "unavailable" });
  expect(await found("refund", { tenant: "fine" })).toEqual(["a"]);
});

it("a tenant's file of a newer version is refused with both versions, and left as it is", async () => {
  await retriever.ingest(each(document("a", "refund")), POLICIES);
  await retriever[Symbol.asyncDispose]();
  using file = new DatabaseSync(join(dataDir, "search", "t-acme.sqlite"));
  file.exec("PRAGMA user_version = 3");
  retriever = createSqliteRetriever({ dataDir });
  const refused = {
    code: "unsupported",
    message: expect.stringMatching(/t-acme\.sqlite has version 3, and this Holdpoint knows 2$/) as unknown,
  };
  for (const _ of [1, 2]) await expect(found("refund")).rejects.toMatchObject(refused);
  await expect(retriever.ingest(each(document("b", "refund")), POLICIES)).rejects.toMatchObject(refused);
  expect(file.prepare("PRAGMA user_version").get()).toEqual({ user_version: 3 });
});

it("once closed, it answers no more", async () => {
  await retriever[Symbol.asyncDispose]();
  await expect(found("x")).rejects.toMatchObject({ code: "unavailable" });
});
