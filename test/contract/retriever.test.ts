/** What every adapter of the retrieval port promises, by words and by meaning. */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import fc from "fast-check";
import type { PassageEmbedder } from "../../src/retrieval/embedding.ts";
import type { IngestProgress, Retriever } from "../../src/retrieval/retriever.ts";
import { countingEmbedder } from "../support/counting-embedder.ts";
import { conceptEmbedder, eachDocument as each, idsOf, textDocument as document } from "../support/documents.ts";
import { fakeVector } from "../support/fake-embeddings.ts";
import { OPENSEARCH_START_MS } from "../support/opensearch.ts";
import { retrieverEngines } from "../support/retriever-engines.ts";
import type { RetrieverPlace } from "../support/retriever-engines.ts";

const POLICIES = { tenant: "acme", collection: "policies" } as const;

describe.each(retrieverEngines())("$name", (engine) => {
  const { runs, cosineDigits } = engine;
  let place: RetrieverPlace;
  let retriever: Retriever;
  beforeAll(async () => {
    // The first one starts a server.
    await using _first = await engine.place();
  }, OPENSEARCH_START_MS);
  beforeEach(async () => {
    place = await engine.place();
    retriever = place.open();
  });
  afterEach(() => place[Symbol.asyncDispose]());

  const found = async (query: string, more: object = {}): Promise<readonly string[]> =>
    idsOf(await retriever.search(query, { ...POLICIES, k: 10, ...more }));

  describe("searching by words", () => {
    it("finds them in any of their forms, best first, and says how", async () => {
      expect(retriever.semantic).toBe(false);
      await retriever.ingest(
        each(
          document("a", "Boots can be repaired in our own workshop, or replaced."),
          document("b", "We repair boots and boots only."),
          document("c", "Tents."),
        ),
        POLICIES,
      );
      const passages = await retriever.search("repairing a boot", { ...POLICIES, k: 10 });
      expect(idsOf(passages)).toEqual(["b", "a"]);
      for (const [index, { score, parts }] of passages.entries())
        expect(parts).toEqual({ lexical: { rank: index + 1, score } });
      expect(await found("kayak")).toEqual([]);
      expect(await found("boots", { k: 1 })).toEqual(["b"]);
    });

    it("takes letters with and without their marks for the same", async () => {
      await retriever.ingest(each(document("a", "Das Café in Zürich"), document("b", "nothing")), POLICIES);
      expect(await found("cafe zurich")).toEqual(["a"]);
      expect(await found("CAFÉ")).toEqual(["a"]);
    });

    it("gives passages with everything that is known of them", async () => {
      const part = (n: number) => `## Part ${n}\n\nSentence about topic${n}. ${"More. ".repeat(30)}`;
      const text = Array.from({ length: 40 }, (_, n) => part(n)).join("\n\n");
      const labels = { "a.b": "1", "": "x", '"': "'" };
      await retriever.ingest(each(document("a/b.md", text, { format: "markdown", title: "T", labels })), POLICIES);
      const passages = await retriever.search("topic17", { ...POLICIES, k: 3 });
      expect(passages[0]).toMatchObject({ section: "Part 17", documentId: "a/b.md", title: "T", labels });
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
      await retriever.ingest(each(document("a", "AND OR NOT NEAR title text refunds 1,000 user_name")), POLICIES);
      const odd = ['"', "a AND", "NEAR(x", "title:refunds", "refunds*", "^refunds", "-", "", "{a b}:", "\0", "\uD800"];
      for (const query of [...odd, "'; DROP TABLE documents", '{"match_all":{}}', "refunds~2 +text -(", "*:*"])
        await expect(retriever.search(query, { ...POLICIES, k: 3 })).resolves.toBeInstanceOf(Array);
      for (const query of ["title:refunds", "not", "1,000", "name", "refunds^5"])
        expect([query, ...(await found(query))]).toEqual([query, "a"]);
      expect(await found("*:*")).toEqual([]);
      await fc.assert(
        fc.asyncProperty(fc.string({ unit: "binary", maxLength: 300 }), async (query) => {
          await retriever.search(query, { ...POLICIES, k: 3 });
        }),
        { numRuns: runs * 3 },
      );
      expect(await found("refund")).toEqual(["a"]);
    });

    it("cuts a very long query, and keeps a word that is longer than any", async () => {
      await retriever.ingest(
        each(document("a", "word1 and others"), document("b", "text", { title: "x".repeat(50_000) })),
        POLICIES,
      );
      expect(await found(Array.from({ length: 5_000 }, (_, n) => `word${n}`).join(" "))).toEqual(["a"]);
      expect(await found("text")).toEqual(["b"]);
    });

    it("filters by labels: every label named, any of its values", async () => {
      await retriever.ingest(
        each(
          document("a", "refund", { labels: { audience: "consumer", year: "2024" } }),
          document("b", "refund", { labels: { audience: "business", year: "2024" } }),
          document("c", "refund", { labels: { audience: "staff", note: "consumer" } }),
        ),
        POLICIES,
      );
      const filtered = async (filter: object) => (await found("refund", { filter })).toSorted();
      expect(await filtered({ audience: "consumer" })).toEqual(["a"]);
      expect(await filtered({ audience: ["consumer", "staff"] })).toEqual(["a", "c"]);
      expect(await filtered({ audience: ["consumer", "business"], year: "2024" })).toEqual(["a", "b"]);
      expect(await filtered({ "odd'\"label": "x" })).toEqual([]);
      expect(await filtered({ audience: [] })).toEqual([]);
      expect(await filtered({ audience: "*" })).toEqual([]);
      expect(await filtered({})).toEqual(["a", "b", "c"]);
    });

    it("refuses a k that makes no sense", async () => {
      for (const k of [0, -1, 1.5, 1_001, Number.NaN])
        await expect(found("x", { k })).rejects.toMatchObject({ code: "invalid" });
    });

    it("of what was never ingested finds nothing", async () => {
      expect(await found("anything")).toEqual([]);
      expect(await retriever.remove({ ...POLICIES, documentId: "a" })).toBe(false);
    });

    it("ends with the reason of a signal that aborts", async () => {
      await retriever.ingest(each(document("a", "refund")), POLICIES);
      const abort = new AbortController();
      const search = found("refund", { signal: abort.signal });
      abort.abort(new Error("nobody asks any more"));
      await expect(search).rejects.toThrow("nobody asks any more");
      await expect(found("refund", { signal: abort.signal })).rejects.toThrow("nobody asks any more");
    });
  });

  describe("ingesting", () => {
    it("again changes nothing and says so", async () => {
      const documents = [document("a", "refunds"), document("b", "returns")];
      const report = { documents: 2, unchanged: 0, removed: 0, passages: 2, embedded: 0 };
      expect(await retriever.ingest(each(...documents), POLICIES)).toEqual(report);
      const before = await retriever.search("refunds returns", { ...POLICIES, k: 10 });
      expect(await retriever.ingest(each(...documents), POLICIES)).toEqual({ ...report, unchanged: 2 });
      expect(await retriever.search("refunds returns", { ...POLICIES, k: 10 })).toEqual(before);
    });

    it("a changed document replaces all of its former self", async () => {
      const long = `${"oldword ".repeat(300)}\n\n${"otherword ".repeat(300)}`;
      await retriever.ingest(each(document("a", long), document("b", "oldword")), POLICIES);
      expect(await found("otherword")).toContain("a");
      await retriever.ingest(each(document("a", "newword")), POLICIES);
      expect(await found("oldword otherword")).toEqual(["b"]);
      expect(await found("newword")).toEqual(["a"]);
    });

    it("a change of labels or title alone is a change", async () => {
      await retriever.ingest(each(document("a", "refund", { labels: { x: "1" } })), POLICIES);
      const { unchanged } = await retriever.ingest(each(document("a", "refund", { labels: { x: "2" } })), POLICIES);
      expect(unchanged).toBe(0);
      expect(await found("refund", { filter: { x: "2" } })).toEqual(["a"]);
      expect(await found("refund", { filter: { x: "1" } })).toEqual([]);
      await retriever.ingest(each(document("a", "refund", { title: "Zebra", labels: { x: "2" } })), POLICIES);
      expect(await found("zebra")).toEqual(["a"]);
    });

    it("reports progress after every batch", async () => {
      const seen: IngestProgress[] = [];
      const documents = Array.from({ length: 300 }, (_, n) => document(`d${n}`, `text ${n}`));
      const onProgress = (progress: IngestProgress) => seen.push(progress);
      await retriever.ingest(each(...documents), { ...POLICIES, total: 300, onProgress });
      expect(seen.length).toBeGreaterThan(1);
      expect(seen.at(-1)).toEqual({ documents: 300, total: 300, passages: 300 });
      const counts = seen.map(({ documents: done }) => done);
      expect(counts).toEqual(counts.toSorted((a, b) => a - b));
      expect(await found("text", { k: 1_000 })).toHaveLength(300);
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
    await retriever.ingest(each(document("a", "refund")), { ...POLICIES, tenant: "other" });
    expect(await retriever.remove({ ...POLICIES, documentId: "a" })).toBe(true);
    expect(await found("refund")).toEqual(["b"]);
    expect(await found("refund", { tenant: "other" })).toEqual(["a"]);
    expect(await retriever.remove({ ...POLICIES, documentId: "a" })).toBe(false);
  });

  it("neither another tenant nor another collection sees a document, whatever they are called", async () => {
    const tenants = ["acme", "ACME", "../acme", "a/b", "", "acme ", "*", "x".repeat(300)];
    for (const tenant of tenants)
      await retriever.ingest(each(document(tenant || "none", "refund")), { ...POLICIES, tenant });
    for (const tenant of tenants) expect(await found("refund", { tenant })).toEqual([tenant || "none"]);
    expect(await found("refund", { collection: "other" })).toEqual([]);
  });

  it("two retrievers on one place see each other's documents, also when both write", async () => {
    const other = place.open();
    const half = (from: number) =>
      each(...Array.from({ length: 200 }, (_, n) => document(`d${from + n}`, `refund ${from + n}`)));
    await Promise.all([retriever.ingest(half(0), POLICIES), other.ingest(half(100), POLICIES)]);
    expect(await found("refund", { k: 1_000 })).toHaveLength(300);
    expect(await other.search("refund", { ...POLICIES, k: 1_000 })).toHaveLength(300);
  });

  describe("searching by meaning", () => {
    it("finds what means the same in other words, and says how each passage was found", async () => {
      const hybrid = place.open(conceptEmbedder);
      expect(hybrid.semantic).toBe(true);
      await hybrid.ingest(
        each(document("a", "You are repaid in three days."), document("b", "The refund policy of shoes.")),
        POLICIES,
      );
      const passages = await hybrid.search("refund", { ...POLICIES, k: 10 });
      expect(idsOf(passages)).toEqual(["b", "a"]);
      expect(passages[0]?.parts.lexical?.rank).toBe(1);
      expect(passages[0]?.parts.vector).toEqual({
        rank: 2,
        score: expect.closeTo(Math.SQRT1_2, cosineDigits) as number,
      });
      expect(passages[0]?.score).toBeCloseTo(1 / 61 + 1 / 62, 12);
      expect(passages[1]?.parts).toEqual({ vector: { rank: 1, score: expect.closeTo(1, cosineDigits) as number } });
    });

    it("orders as reciprocal rank fusion of BM25 and of cosines does, computed independently", async () => {
      const vocabulary = fc.constantFrom("tent", "boot", "refund", "policy", "water", "storm", "return", "damage");
      const text = fc.array(vocabulary, { minLength: 1, maxLength: 6 }).map((words) => words.join(" "));
      const texts = fc.array(text, { minLength: 1, maxLength: 30 });
      const hybrid = place.open(countingEmbedder());
      await fc.assert(
        fc.asyncProperty(texts, text, fc.uuid(), async (bodies, query, collection) => {
          const where = { ...POLICIES, collection };
          await hybrid.ingest(each(...bodies.map((body, at) => document(`d${at}`, body))), where);
          const byWords = idsOf(await retriever.search(query, { ...where, k: 100 }));
          const fused = await hybrid.search(query, { ...where, k: 100 });
          const to = fakeVector(query, 64, true);
          const cosine = (body: string): number =>
            fakeVector(body, 64, true).reduce((sum, value, at) => sum + value * (to[at] ?? 0), 0);
          expect(new Set(idsOf(fused))).toEqual(new Set(bodies.map((_, at) => `d${at}`)));
          const nearest = bodies.map(cosine).toSorted((a, b) => b - a);
          for (const { documentId, score, parts, text: said } of fused) {
            const { lexical: words, vector } = parts;
            expect(words?.rank ?? 0).toBe(byWords.indexOf(documentId) + 1);
            // Those that are equally near may have each other's rank.
            expect(nearest[(vector?.rank ?? 0) - 1]).toBeCloseTo(cosine(said), cosineDigits);
            expect(vector?.score).toBeCloseTo(cosine(said), cosineDigits);
            const sum = (words === undefined ? 0 : 1 / (60 + words.rank)) + 1 / (60 + (vector?.rank ?? 0));
            expect(score).toBeCloseTo(sum, 12);
          }
          const scores = fused.map(({ score }) => score);
          expect(scores).toEqual(scores.toSorted((a, b) => b - a));
          expect(new Set(fused.map(({ parts }) => parts.vector?.rank)).size).toBe(bodies.length);
        }),
        { numRuns: runs },
      );
    });

    it("filters by labels before it ranks: what is near and has them not, takes nobody's place", async () => {
      const hybrid = place.open(conceptEmbedder);
      const staff = { labels: { for: "staff" } };
      const near = Array.from({ length: 300 }, (_, n) => document(`near${n}`, `refund ${n}`, staff));
      const far = document("far", "refund of camping shelter boots", { labels: { for: "consumer" } });
      await hybrid.ingest(each(...near, far), POLICIES);
      const passages = await hybrid.search("repaid", { ...POLICIES, k: 5, filter: { for: "consumer" } });
      expect(idsOf(passages)).toEqual(["far"]);
      expect(passages[0]?.parts.vector?.rank).toBe(1);
      expect(await hybrid.search("repaid", { ...POLICIES, k: 5, filter: { for: "nobody" } })).toEqual([]);
    });

    it("a query that is blank, or has no meaning, is near to nothing", async () => {
      const hybrid = place.open(conceptEmbedder);
      await hybrid.ingest(each(document("a", "refund of tents"), document("b", "nothing")), POLICIES);
      for (const query of ["", " \n", "?!", "\0", "\uD800", "unknown"])
        expect(await hybrid.search(query, { ...POLICIES, k: 3 })).toEqual([]);
      expect(idsOf(await hybrid.search("nothing", { ...POLICIES, k: 3 }))).toEqual(["b"]);
    });

    it("says what the embedder says when that is away", async () => {
      const embedder = countingEmbedder();
      const hybrid = place.open(embedder);
      await hybrid.ingest(each(document("a", "refund")), POLICIES);
      embedder.requestsLeft = 0;
      await expect(hybrid.search("refund", { ...POLICIES, k: 3 })).rejects.toThrow("the embedder is away");
    });

    it("what is unchanged is not paid for again, and an embedder that went away goes on where it was", async () => {
      const embedder = countingEmbedder({ batchSize: 4 });
      const hybrid = place.open(embedder);
      const documents = Array.from({ length: 10 }, (_, n) => document(`d${n}`, `refund number ${n}`));
      embedder.requestsLeft = 1;
      await expect(hybrid.ingest(each(...documents), POLICIES)).rejects.toThrow("the embedder is away");
      embedder.requestsLeft = Number.POSITIVE_INFINITY;
      expect(await hybrid.ingest(each(...documents), POLICIES)).toMatchObject({ unchanged: 4, embedded: 6 });
      expect(await hybrid.ingest(each(...documents), POLICIES)).toMatchObject({ unchanged: 10, embedded: 0 });
      expect(embedder.paid).toHaveLength(10);
      expect(await hybrid.search("refund", { ...POLICIES, k: 20 })).toHaveLength(10);
    });

    it("what was embedded before a signal aborts is kept, and not paid for again", async () => {
      const embedder = countingEmbedder({ batchSize: 4 });
      const abort = new AbortController();
      const stopping: PassageEmbedder = {
        ...embedder,
        async embed(texts, options) {
          return embedder.embed(texts, {
            ...options,
            onVectors(start, vectors) {
              options.onVectors?.(start, vectors);
              abort.abort(new Error("stop"));
            },
          });
        },
      };
      const documents = Array.from({ length: 10 }, (_, n) => document(`d${n}`, `refund number ${n}`));
      const ingestion = place.open(stopping).ingest(each(...documents), { ...POLICIES, signal: abort.signal });
      await expect(ingestion).rejects.toThrow("stop");
      const report = await place.open(embedder).ingest(each(...documents), POLICIES);
      expect(report).toMatchObject({ unchanged: 4, embedded: 6 });
    });

    it("documents without vectors are refused with what to do, and searched once they were ingested again", async () => {
      await retriever.ingest(each(document("a", "refund")), POLICIES);
      const hybrid = place.open(conceptEmbedder);
      const search = () => hybrid.search("repaid", { ...POLICIES, k: 3 });
      await expect(search()).rejects.toMatchObject({
        code: "conflict",
        message: expect.stringMatching(/without an embedder.*ingest them again/) as string,
      });
      expect(await hybrid.ingest(each(document("a", "refund")), POLICIES)).toMatchObject({ unchanged: 0, embedded: 1 });
      expect(idsOf(await search())).toEqual(["a"]);
    });

    it("vectors that were paid for outlive an ingestion without an embedder", async () => {
      const embedder = countingEmbedder();
      await place.open(embedder).ingest(each(document("a", "refund")), POLICIES);
      expect(await retriever.ingest(each(document("a", "refund")), POLICIES)).toMatchObject({ unchanged: 1 });
      await place.open(embedder).ingest(each(document("a", "refund")), POLICIES);
      expect(embedder.paid).toHaveLength(1);
    });

    it.each([
      ["another size", { dimensions: 32 }, /words, 64 dimensions.*words, 32 dimensions/],
      ["another model", { model: "others" }, /words, 64 dimensions.*others, 64 dimensions/],
    ])("vectors of %s are not compared: the error names both, and nothing is lost", async (_, other, names) => {
      const embedder = countingEmbedder();
      const hybrid = place.open(embedder);
      await hybrid.ingest(each(document("a", "refund")), POLICIES);
      const search = place.open(countingEmbedder(other)).search("refund", { ...POLICIES, k: 3 });
      await expect(search).rejects.toMatchObject({ code: "conflict" });
      await expect(search).rejects.toThrow(names);
      expect(idsOf(await hybrid.search("refund", { ...POLICIES, k: 3 }))).toEqual(["a"]);
      expect(await hybrid.ingest(each(document("a", "refund")), POLICIES)).toMatchObject({ unchanged: 1 });
    });
  });
});
