import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { createSqliteRetriever } from "../../src/local/sqlite-search.ts";
import type { IngestProgress, Retriever, SourceDocument } from "../../src/retrieval/retriever.ts";

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

describe("searching", () => {
  it("finds the words of a query in any of their forms, best first", async () => {
    await retriever.ingest(
      each(
        document("a", "Boots can be repaired."),
        document("b", "We repair boots and boots only."),
        document("c", "Tents."),
      ),
      POLICIES,
    );
    expect(await found("repairing a boot")).toEqual(["b", "a"]);
    expect(await found("kayak")).toEqual([]);
  });

  it("gives offsets that are those of the passage in its source", async () => {
    const text = Array.from(
      { length: 40 },
      (_, n) => `## Part ${n}\n\nSentence about topic${n}. ${"More. ".repeat(30)}`,
    ).join("\n\n");
    await retriever.ingest(each(document("a", text, { format: "markdown" })), POLICIES);
    const passages = await retriever.search("topic17", { ...POLICIES, k: 3 });
    expect(passages[0]).toMatchObject({ section: "Part 17", documentId: "a", title: "a" });
    for (const { offsets, text: said } of passages) expect(text.slice(offsets.start, offsets.end)).toBe(said);
    expect(passages[0]?.text).toContain("topic17");
  });

  it("counts a word in the title for more", async () => {
    await retriever.ingest(
      each(
        document("a", "warranty in passing here", { title: "Shipping" }),
        document("b", "nothing in passing here", { title: "Warranty" }),
      ),
      POLICIES,
    );
    expect(await found("warranty")).toEqual(["b", "a"]);
  });

  it("takes any text whatsoever for a query", async () => {
    await retriever.ingest(each(document("a", "AND OR NOT NEAR title text refunds 1,000")), POLICIES);
    for (const query of [
      '"',
      "a AND",
      "NEAR(x",
      "title:refunds",
      "refunds*",
      "^refunds",
      "-",
      "",
      "{a b}:",
      "'; DROP TABLE documents",
      "\0",
      "\uD800",
    ]) {
      await expect(retriever.search(query, { ...POLICIES, k: 3 })).resolves.toBeInstanceOf(Array);
    }
    expect(await found("title:refunds")).toEqual(["a"]);
    expect(await found("not")).toEqual(["a"]);
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "binary", maxLength: 300 }), async (query) => {
        await retriever.search(query, { ...POLICIES, k: 3 });
      }),
    );
    expect(await found("refund")).toEqual(["a"]);
  });

  it("a very long query is cut, not refused", async () => {
    await retriever.ingest(each(document("a", "word1 and others")), POLICIES);
    expect(await found(Array.from({ length: 5_000 }, (_, n) => `word${n}`).join(" "))).toEqual(["a"]);
  });

  it("filters by labels: every label named, any of its values", async () => {
    await retriever.ingest(
      each(
        document("a", "refund", { labels: { audience: "consumer", year: "2024" } }),
        document("b", "refund", { labels: { audience: "business", year: "2024" } }),
        document("c", "refund", { labels: { audience: "staff" } }),
      ),
      POLICIES,
    );
    const filtered = async (filter: object) => (await found("refund", { filter })).toSorted();
    expect(await filtered({ audience: "consumer" })).toEqual(["a"]);
    expect(await filtered({ audience: ["consumer", "staff"] })).toEqual(["a", "c"]);
    expect(await filtered({ audience: ["consumer", "business"], year: "2024" })).toEqual(["a", "b"]);
    expect(await filtered({ "odd'\"label": "x" })).toEqual([]);
    expect(await filtered({})).toEqual(["a", "b", "c"]);
  });

  it("refuses a k that makes no sense", async () => {
    for (const k of [0, -1, 1.5, 1_001, Number.NaN])
      await expect(found("x", { k })).rejects.toMatchObject({ code: "invalid" });
  });

  it("of what was never ingested finds nothing, and makes no file", async () => {
    expect(await found("anything")).toEqual([]);
    expect(await retriever.remove({ ...POLICIES, documentId: "a" })).toBe(false);
    expect(await readdir(join(dataDir, "search"))).toEqual([]);
  });
});

describe("ingesting", () => {
  it("again changes nothing and says so", async () => {
    const documents = [document("a", "refunds"), document("b", "returns")];
    expect(await retriever.ingest(each(...documents), POLICIES)).toEqual({
      documents: 2,
      unchanged: 0,
      removed: 0,
      passages: 2,
      embedded: 0,
    });
    const before = await retriever.search("refunds returns", { ...POLICIES, k: 10 });
    expect(await retriever.ingest(each(...documents), POLICIES)).toEqual({
      documents: 2,
      unchanged: 2,
      removed: 0,
      passages: 2,
      embedded: 0,
    });
    expect(await retriever.search("refunds returns", { ...POLICIES, k: 10 })).toEqual(before);
  });

  it("a changed document replaces all of its former self", async () => {
    const long = `${"oldword ".repeat(300)}\n\n${"otherword ".repeat(300)}`;
    await retriever.ingest(each(document("a", long), document("b", "oldword")), POLICIES);
    await retriever.ingest(each(document("a", "newword")), POLICIES);
    expect(await found("oldword otherword")).toEqual(["b"]);
    expect(await found("newword")).toEqual(["a"]);
  });

  it("a change of labels or title alone is a change", async () => {
    await retriever.ingest(each(document("a", "refund", { labels: { x: "1" } })), POLICIES);
    const { unchanged } = await retriever.ingest(each(document("a", "refund", { labels: { x: "2" } })), POLICIES);
    expect(unchanged).toBe(0);
    expect(await found("refund", { filter: { x: "2" } })).toEqual(["a"]);
    await retriever.ingest(each(document("a", "refund", { title: "Zebra", labels: { x: "2" } })), POLICIES);
    expect(await found("zebra")).toEqual(["a"]);
  });

  it("reports progress after every batch", async () => {
    const seen: IngestProgress[] = [];
    const documents = Array.from({ length: 300 }, (_, n) => document(`d${n}`, `text ${n}`));
    await retriever.ingest(each(...documents), {
      ...POLICIES,
      total: 300,
      onProgress: (progress) => seen.push(progress),
    });
    expect(seen.length).toBeGreaterThan(1);
    expect(seen.at(-1)).toEqual({ documents: 300, total: 300, passages: 300 });
    expect(seen.map(({ documents: done }) => done)).toEqual(
      seen.map(({ documents: done }) => done).toSorted((a, b) => a - b),
    );
  });

  it("stops when it is told to, keeps what is done, and goes on when started again", async () => {
    const abort = new AbortController();
    const documents = Array.from({ length: 400 }, (_, n) => document(`d${n}`, `text ${n}`));
    const stopped = retriever.ingest(each(...documents), {
      ...POLICIES,
      signal: abort.signal,
      onProgress: () => abort.abort(),
    });
    await expect(stopped).rejects.toMatchObject({ name: "AbortError" });
    const { unchanged, documents: all } = await retriever.ingest(each(...documents), POLICIES);
    expect(all).toBe(400);
    expect(unchanged).toBeGreaterThan(0);
    expect(unchanged).toBeLessThan(400);
  });

  it("with `complete`, removes what did not come again, and without it does not", async () => {
    await retriever.ingest(each(document("a", "refund"), document("b", "refund")), POLICIES);
    await retriever.ingest(each(document("a", "refund")), POLICIES);
    expect(await found("refund")).toHaveLength(2);
    const report = await retriever.ingest(each(document("a", "refund")), { ...POLICIES, complete: true });
    expect(report).toMatchObject({ documents: 1, unchanged: 1, removed: 1 });
    expect(await found("refund")).toEqual(["a"]);
  });

  it("refuses a document without an id", async () => {
    await expect(retriever.ingest(each(document("", "x")), POLICIES)).rejects.toMatchObject({ code: "invalid" });
  });
});

it("removing a document removes everything of it and nothing else", async () => {
  await retriever.ingest(each(document("a", "refund ".repeat(500)), document("b", "refund")), POLICIES);
  expect(await retriever.remove({ ...POLICIES, documentId: "a" })).toBe(true);
  expect(await found("refund")).toEqual(["b"]);
  expect(await retriever.remove({ ...POLICIES, documentId: "a" })).toBe(false);
});

it("neither another tenant nor another collection sees a document, whatever they are called", async () => {
  const tenants = ["acme", "ACME", "../acme", "a/b", "", "x".repeat(300)];
  for (const tenant of tenants)
    await retriever.ingest(each(document(tenant || "none", "refund")), { ...POLICIES, tenant });
  for (const tenant of tenants) expect(await found("refund", { tenant })).toEqual([tenant || "none"]);
  expect(await found("refund", { collection: "other" })).toEqual([]);
  expect(await readdir(dataDir)).toEqual(["search"]);
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

it("two retrievers on one folder see each other's documents, also when both write", async () => {
  await using other = createSqliteRetriever({ dataDir });
  const half = (from: number) =>
    each(...Array.from({ length: 500 }, (_, n) => document(`d${from + n}`, `refund ${from + n}`)));
  await Promise.all([retriever.ingest(half(0), POLICIES), other.ingest(half(500), POLICIES)]);
  expect(await found("refund", { k: 1_000 })).toHaveLength(1_000);
  expect(await other.search("refund", { ...POLICIES, k: 1_000 })).toHaveLength(1_000);
});

it("a tenant's file that is no index makes its searches fail with a clear error, and no one else's", async () => {
  await retriever.ingest(each(document("a", "refund")), { ...POLICIES, tenant: "fine" });
  await writeFile(join(dataDir, "search", "t-acme.sqlite"), "x".repeat(5_000));
  await expect(found("refund")).rejects.toMatchObject({ code: "unavailable" });
  expect(await found("refund", { tenant: "fine" })).toEqual(["a"]);
});

it("once closed, it answers no more", async () => {
  await retriever[Symbol.asyncDispose]();
  await expect(found("x")).rejects.toMatchObject({ code: "unavailable" });
});
