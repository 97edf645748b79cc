/** Search by words and meaning together, in the embedded retriever. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import fc from "fast-check";
import { createSqliteRetriever } from "../../src/local/sqlite-search.ts";
import { vectorExtension } from "../../src/local/sqlite-vec.ts";
import type { PassageEmbedder } from "../../src/retrieval/embedding.ts";
import type { Passage, Retriever, SourceDocument } from "../../src/retrieval/retriever.ts";
import { countingEmbedder } from "../support/counting-embedder.ts";
import { fakeVector } from "../support/fake-embeddings.ts";

const POLICIES = { tenant: "acme", collection: "policies" } as const;
const extension = await vectorExtension();

let dataDir = "";
let opened = new AsyncDisposableStack();
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "holdpoint-hybrid-"));
  opened = new AsyncDisposableStack();
});
afterEach(async () => {
  await opened.disposeAsync();
  await rm(dataDir, { recursive: true });
});

const withEmbedder = (embedder: PassageEmbedder): Retriever =>
  opened.use(createSqliteRetriever({ dataDir, meaning: { embedder, extension } }));
const withWordsAlone = (): Retriever => opened.use(createSqliteRetriever({ dataDir }));

const CONCEPTS = [
  ["boots", "shoes", "footwear"],
  ["refund", "reimbursed", "repaid"],
  ["tent", "shelter", "camping"],
];

/** Knows what a few words mean: one number for each concept. A text without any of them has no meaning. */
const concepts: PassageEmbedder = {
  model: "concepts",
  dimensions: CONCEPTS.length,
  embed: (texts) =>
    Promise.resolve(
      texts.map((text) => Float32Array.from(CONCEPTS, (words) => words.filter((word) => text.includes(word)).length)),
    ),
};

const document = (id: string, text: string, more: Partial<SourceDocument> = {}): SourceDocument => ({
  id,
  title: "",
  text,
  format: "text",
  labels: {},
  ...more,
});

async function* each(...documents: readonly SourceDocument[]): AsyncGenerator<SourceDocument> {
  yield* documents;
}

const idsOf = (passages: readonly Passage[]): readonly string[] => passages.map(({ documentId }) => documentId);

describe("searching", () => {
  it("finds what means the same in other words, and says how each passage was found", async () => {
    const retriever = withEmbedder(concepts);
    expect(retriever.semantic).toBe(true);
    await retriever.ingest(
      each(document("a", "You are repaid in three days."), document("b", "The refund policy of shoes.")),
      POLICIES,
    );
    const passages = await retriever.search("refund", { ...POLICIES, k: 10 });
    expect(idsOf(passages)).toEqual(["b", "a"]);
    expect(passages[0]?.parts.lexical?.rank).toBe(1);
    expect(passages[0]?.parts.vector).toEqual({ rank: 2, score: expect.closeTo(Math.SQRT1_2, 1) as number });
    expect(passages[0]?.score).toBeCloseTo(1 / 61 + 1 / 62, 12);
    expect(passages[1]?.parts).toEqual({ vector: { rank: 1, score: expect.closeTo(1, 1) as number } });
  });

  it("finds by words alone, and says so, where there is no embedder", async () => {
    const retriever = withWordsAlone();
    expect(retriever.semantic).toBe(false);
    await retriever.ingest(each(document("a", "repaid"), document("b", "refund")), POLICIES);
    const [found, ...others] = await retriever.search("refund", { ...POLICIES, k: 10 });
    expect(others).toEqual([]);
    expect(found?.parts).toEqual({ lexical: { rank: 1, score: found?.score } });
  });

  it("orders as reciprocal rank fusion of BM25 and of cosines does, computed independently", async () => {
    const vocabulary = fc.constantFrom("tent", "boot", "refund", "policy", "water", "storm", "return", "damage");
    const texts = fc.array(
      fc.array(vocabulary, { minLength: 1, maxLength: 6 }).map((words) => words.join(" ")),
      {
        minLength: 1,
        maxLength: 30,
      },
    );
    const hybrid = withEmbedder(countingEmbedder());
    const lexical = withWordsAlone();
    await fc.assert(
      fc.asyncProperty(texts, texts, fc.uuid(), async (bodies, [query = ""], collection) => {
        const place = { ...POLICIES, collection };
        await hybrid.ingest(each(...bodies.map((body, at) => document(`d${at}`, body))), place);
        const byWords = idsOf(await lexical.search(query, { ...place, k: 100 }));
        const fused = await hybrid.search(query, { ...place, k: 100 });
        const cosine = (body: string): number => {
          const to = fakeVector(query, 64, true);
          return fakeVector(body, 64, true).reduce((sum, value, at) => sum + value * (to[at] ?? 0), 0);
        };
        expect(new Set(idsOf(fused))).toEqual(new Set(bodies.map((_, at) => `d${at}`)));
        const nearest = bodies.map(cosine).toSorted((a, b) => b - a);
        // What is kept of a vector are bytes.
        const about = (value: number): unknown => expect.closeTo(value, 1);
        for (const { documentId, score, parts, text } of fused) {
          const { lexical: words, vector } = parts;
          expect(words?.rank ?? 0).toBe(byWords.indexOf(documentId) + 1);
          // Those that are equally near may have each other's rank.
          expect(nearest[(vector?.rank ?? 0) - 1]).toEqual(about(cosine(text)));
          expect(vector?.score).toEqual(about(cosine(text)));
          const sum = (words === undefined ? 0 : 1 / (60 + words.rank)) + 1 / (60 + (vector?.rank ?? 0));
          expect(score).toBeCloseTo(sum, 12);
        }
        const scores = fused.map(({ score }) => score);
        expect(scores).toEqual(scores.toSorted((a, b) => b - a));
        expect(new Set(fused.map(({ parts }) => parts.vector?.rank)).size).toBe(bodies.length);
      }),
      { numRuns: 30 },
    );
  });

  it("filters by labels before it ranks: what is near and has them not, takes nobody's place", async () => {
    const retriever = withEmbedder(concepts);
    const near = Array.from({ length: 300 }, (_, n) =>
      document(`near${n}`, `refund ${n}`, { labels: { for: "staff" } }),
    );
    const far = document("far", "refund of camping shelter boots", { labels: { for: "consumer" } });
    await retriever.ingest(each(...near, far), POLICIES);
    const found = await retriever.search("repaid", { ...POLICIES, k: 5, filter: { for: "consumer" } });
    expect(idsOf(found)).toEqual(["far"]);
    expect(found[0]?.parts.vector?.rank).toBe(1);
    expect(await retriever.search("repaid", { ...POLICIES, k: 5, filter: { for: "nobody" } })).toEqual([]);
  });

  it("takes any text whatsoever for a query; a blank one, or one without a meaning, is near to nothing", async () => {
    const retriever = withEmbedder(concepts);
    await retriever.ingest(each(document("a", "refund of tents"), document("b", "nothing")), POLICIES);
    for (const query of ["", " \n", "?!", "\0", "\uD800", "unknown"])
      expect(await retriever.search(query, { ...POLICIES, k: 3 })).toEqual([]);
    expect(idsOf(await retriever.search("nothing", { ...POLICIES, k: 3 }))).toEqual(["b"]);
    await expect(retriever.search("x", { ...POLICIES, k: 0 })).rejects.toMatchObject({ code: "invalid" });
  });

  it("says what the embedder says when that is away", async () => {
    const embedder = countingEmbedder();
    const retriever = withEmbedder(embedder);
    await retriever.ingest(each(document("a", "refund")), POLICIES);
    embedder.requestsLeft = 0;
    await expect(retriever.search("refund", { ...POLICIES, k: 3 })).rejects.toThrow("the embedder is away");
  });
});

it("no passage of another tenant or collection is found, whatever they are called and however near it is", async () => {
  const retriever = withEmbedder(countingEmbedder());
  const places = ["acme", "ACME", "../acme", "a/b", "", "t-acme"].flatMap((tenant) =>
    ["policies", "policies'; --", "1"].map((collection) => ({ tenant, collection })),
  );
  for (const place of places) await retriever.ingest(each(document(JSON.stringify(place), "refund of a tent")), place);
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...places),
      fc.constantFrom("refund of a tent", "tent", "shelter"),
      async (place, query) => {
        const found = await retriever.search(query, { ...place, k: 1_000 });
        expect(idsOf(found)).toEqual([JSON.stringify(place)]);
      },
    ),
    { numRuns: 60 },
  );
});

describe("an index with vectors of another embedder", () => {
  it.each([
    ["of another model", countingEmbedder({ model: "others" })],
    ["of another size", countingEmbedder({ dimensions: 32 })],
  ])(
    "%s is refused with what to do, stays as it is, and is searched again once it was ingested again",
    async (_name, other) => {
      const first = withEmbedder(countingEmbedder());
      const documents = [document("a", "refund"), document("b", "tent")];
      await first.ingest(each(...documents), POLICIES);
      const before = await first.search("refund", { ...POLICIES, k: 5 });
      const second = withEmbedder(other);
      await expect(second.search("refund", { ...POLICIES, k: 5 })).rejects.toMatchObject({
        code: "conflict",
        message: expect.stringMatching(/with words, 64 dimensions, .*ingest them again/) as string,
      });
      expect(await first.search("refund", { ...POLICIES, k: 5 })).toEqual(before);
      expect(await second.ingest(each(...documents), POLICIES)).toMatchObject({ unchanged: 0, embedded: 2 });
      const after = await second.search("refund", { ...POLICIES, k: 5 });
      expect(idsOf(after)).toEqual(["a", "b"]);
      await expect(first.search("refund", { ...POLICIES, k: 5 })).rejects.toMatchObject({ code: "conflict" });
    },
  );

  it("half of which was ingested again compares vectors of the present embedder only", async () => {
    await withEmbedder(countingEmbedder()).ingest(each(document("a", "refund"), document("b", "refund")), POLICIES);
    const second = withEmbedder(countingEmbedder({ model: "others", dimensions: 32 }));
    await second.ingest(each(document("b", "refund")), POLICIES);
    const found = await second.search("refund", { ...POLICIES, k: 5 });
    expect(Object.fromEntries(found.map(({ documentId, parts }) => [documentId, Object.keys(parts)]))).toEqual({
      b: ["lexical", "vector"],
      a: ["lexical"],
    });
  });
});

describe("an index without vectors", () => {
  it("is refused with what to do, and searched once its documents were ingested again", async () => {
    await withWordsAlone().ingest(each(document("a", "refund")), POLICIES);
    const retriever = withEmbedder(concepts);
    await expect(retriever.search("repaid", { ...POLICIES, k: 5 })).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringMatching(/without an embedder.*ingest them again/) as string,
    });
    expect(await retriever.ingest(each(document("a", "refund")), POLICIES)).toMatchObject({ embedded: 1 });
    expect(idsOf(await retriever.search("repaid", { ...POLICIES, k: 5 }))).toEqual(["a"]);
  });

  it("written by the version before vectors, is brought up to date", async () => {
    await mkdir(join(dataDir, "search"));
    using db = new DatabaseSync(join(dataDir, "search", "t-acme.sqlite"));
    db.exec(FIRST_VERSION);
    expect(idsOf(await withWordsAlone().search("refund", { ...POLICIES, k: 5 }))).toEqual(["a"]);
    const retriever = withEmbedder(concepts);
    await retriever.ingest(each(document("a", "refund"), document("b", "repaid")), POLICIES);
    expect(idsOf(await retriever.search("refund", { ...POLICIES, k: 5 }))).toEqual(["a", "b"]);
  });

  it("of which nothing is left finds nothing", async () => {
    const retriever = withEmbedder(concepts);
    await retriever.ingest(each(document("a", "refund")), POLICIES);
    await retriever.remove({ ...POLICIES, documentId: "a" });
    expect(await retriever.search("refund", { ...POLICIES, k: 5 })).toEqual([]);
  });
});

it("vectors go with their document, and come with its next version", async () => {
  const retriever = withEmbedder(concepts);
  await retriever.ingest(each(document("a", "boots"), document("b", "boots tent"), document("c", "tent")), POLICIES);
  await retriever.remove({ ...POLICIES, documentId: "a" });
  await retriever.ingest(each(document("b", "camping")), POLICIES);
  const found = await retriever.search("footwear", { ...POLICIES, k: 5 });
  expect(found.map(({ parts }) => parts.vector?.score)).toEqual(
    [0, 0].map((zero) => expect.closeTo(zero, 1) as number),
  );
  expect(idsOf(found).toSorted()).toEqual(["b", "c"]);
});

it("vectors that were paid for outlive an ingestion without an embedder", async () => {
  const embedder = countingEmbedder();
  await withEmbedder(embedder).ingest(each(document("a", "refund")), POLICIES);
  expect(await withWordsAlone().ingest(each(document("a", "refund")), POLICIES)).toMatchObject({ unchanged: 1 });
  const again = withEmbedder(embedder);
  expect(await again.ingest(each(document("a", "refund")), POLICIES)).toMatchObject({ unchanged: 1, embedded: 0 });
  expect((await again.search("refund", { ...POLICIES, k: 1 }))[0]?.parts.vector?.rank).toBe(1);
  expect(embedder.paid).toEqual(["refund", "refund"]);
});

it("an embedder that goes away in the middle of an ingestion is not paid twice for anything", async () => {
  const embedder = countingEmbedder();
  const retriever = withEmbedder(embedder);
  const documents = Array.from({ length: 200 }, (_, n) => document(`d${n}`, `text number ${n}`));
  embedder.requestsLeft = 13;
  await expect(retriever.ingest(each(...documents), POLICIES)).rejects.toThrow("away");
  embedder.requestsLeft = Number.POSITIVE_INFINITY;
  expect(await retriever.ingest(each(...documents), POLICIES)).toMatchObject({ unchanged: 52, embedded: 148 });
  expect(embedder.paid).toHaveLength(200);
  expect(new Set(embedder.paid).size).toBe(200);
});

describe("the extension", () => {
  it("that is not installed for this platform is named, with what to do", async () => {
    const missing = vectorExtension(() => Promise.reject(new Error("Cannot find package")));
    await expect(missing).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringMatching(/sqlite-vec-\w+-\w+.*Cannot find package.*install it/) as string,
    });
    await expect(vectorExtension(() => Promise.resolve(join(dataDir, "none")))).rejects.toMatchObject({
      code: "unsupported",
    });
  });
});

const FIRST_VERSION = `
  CREATE TABLE collections (key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE documents (
    key INTEGER PRIMARY KEY, collection INTEGER NOT NULL REFERENCES collections (key), id TEXT NOT NULL,
    title TEXT NOT NULL, labels TEXT NOT NULL, digest TEXT NOT NULL, UNIQUE (collection, id)) STRICT;
  CREATE TABLE passages (
    key INTEGER PRIMARY KEY, document INTEGER NOT NULL REFERENCES documents (key) ON DELETE CASCADE,
    id TEXT NOT NULL, section TEXT NOT NULL, "start" INTEGER NOT NULL, "end" INTEGER NOT NULL,
    text TEXT NOT NULL) STRICT;
  CREATE INDEX passages_of_document ON passages (document);
  CREATE VIRTUAL TABLE terms_1 USING fts5(
    title, text, content = '', contentless_delete = 1, tokenize = 'porter unicode61');
  INSERT INTO collections VALUES (1, 'policies');
  INSERT INTO documents VALUES (1, 1, 'a', '', '{}', 'then');
  INSERT INTO passages VALUES (1, 1, 'p', '', 0, 6, 'refund');
  INSERT INTO terms_1 (rowid, title, text) VALUES (1, '', 'refund');
  PRAGMA user_version = 1;
`;
