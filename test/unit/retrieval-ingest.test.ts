import { beforeEach, describe, expect, it } from "vitest";
import { ingestDocuments } from "../../src/retrieval/ingest.ts";
import type { DocumentIndex, IndexedDocument } from "../../src/retrieval/ingest.ts";
import type { IngestOptions, IngestReport, SourceDocument } from "../../src/retrieval/retriever.ts";
import { countingEmbedder } from "../support/counting-embedder.ts";
import type { CountingEmbedder } from "../support/counting-embedder.ts";

const PLACE = { tenant: "acme", collection: "policies" } as const;

const kept = new Map<string, IndexedDocument>();
const index: DocumentIndex = {
  digests: async (_place, ids) => new Map(ids.flatMap((id) => [[id, kept.get(id)?.digest ?? ""] as const])),
  replace: async (_place, documents) => {
    for (const document of documents) kept.set(document.id, document);
  },
  remove: async (_place, ids) => ids.filter((id) => kept.delete(id)).length,
  documentIds: async () => [...kept.keys()],
};
beforeEach(() => kept.clear());

const documents = (count: number, text = "text"): readonly SourceDocument[] =>
  Array.from({ length: count }, (_, n) => ({
    id: `d${n}`,
    title: `title ${n}`,
    text: `${text} ${n}`,
    format: "text",
    labels: {},
  }));

async function* each(given: readonly SourceDocument[]): AsyncGenerator<SourceDocument> {
  yield* given;
}

const ingest = (
  given: readonly SourceDocument[],
  embedder?: CountingEmbedder,
  options: Partial<IngestOptions> = {},
): Promise<IngestReport> => ingestDocuments({ index, embedder }, each(given), { ...PLACE, ...options });

const embeddedIds = (): readonly string[] =>
  [...kept.values()].filter(({ passages }) => passages.every(({ vector }) => vector !== undefined)).map(({ id }) => id);

describe("with an embedder", () => {
  it("every passage has a vector, and what is unchanged is not paid for again", async () => {
    const embedder = countingEmbedder();
    expect(await ingest(documents(300), embedder)).toMatchObject({ documents: 300, unchanged: 0, embedded: 300 });
    expect(embeddedIds()).toHaveLength(300);
    expect(await ingest(documents(300), embedder)).toMatchObject({ unchanged: 300, embedded: 0 });
    expect(embedder.paid).toHaveLength(300);
  });

  it("of one that changed, its passages alone are paid for", async () => {
    const embedder = countingEmbedder();
    await ingest(documents(10), embedder);
    const changed = documents(10).map((one) => (one.id === "d3" ? { ...one, text: "other" } : one));
    expect(await ingest(changed, embedder)).toMatchObject({ unchanged: 9, embedded: 1 });
    expect(embedder.paid.slice(10)).toEqual(["title 3\nother"]);
  });

  it.each([
    ["model", { model: "others" }],
    ["size", { dimensions: 32 }],
  ])("another %s embeds everything anew", async (_name, other) => {
    await ingest(documents(5), countingEmbedder());
    const second = countingEmbedder(other);
    expect(await ingest(documents(5), second)).toMatchObject({ unchanged: 0, embedded: 5 });
    expect([...kept.values()][0]?.passages[0]?.vector).toHaveLength(second.dimensions);
  });

  it("that is away in the middle, what was embedded is kept, and the rest is embedded when it is back", async () => {
    const embedder = countingEmbedder({ batchSize: 4 });
    embedder.requestsLeft = 40;
    await expect(ingest(documents(300), embedder)).rejects.toThrow("the embedder is away");
    expect(embedder.paid).toHaveLength(160);
    expect(embeddedIds()).toHaveLength(160);
    embedder.requestsLeft = Number.POSITIVE_INFINITY;
    expect(await ingest(documents(300), embedder)).toMatchObject({ documents: 300, unchanged: 160, embedded: 140 });
    expect(new Set(embedder.paid).size).toBe(300);
    expect(embedder.paid).toHaveLength(300);
  });

  it("and a signal that aborts, what was embedded is kept", async () => {
    const embedder = countingEmbedder();
    const abort = new AbortController();
    const stopped = ingest(documents(300), embedder, { signal: abort.signal, onProgress: () => abort.abort() });
    await expect(stopped).rejects.toMatchObject({ name: "AbortError" });
    expect(embeddedIds()).toHaveLength(embedder.paid.length);
    await ingest(documents(300), embedder);
    expect(embedder.paid).toHaveLength(300);
  });

  it("a document half of which was embedded is not in the index at all", async () => {
    const embedder = countingEmbedder({ batchSize: 1 });
    embedder.requestsLeft = 2;
    const long = { ...documents(1)[0], text: "Long. ".repeat(1_500) } as SourceDocument;
    await expect(ingest([long], embedder)).rejects.toThrow("away");
    expect([...kept]).toEqual([]);
  });

  it("a document with nothing in it has no passage, and nothing is asked for it", async () => {
    const embedder = countingEmbedder();
    const blank: SourceDocument = { id: "blank", title: " ", text: "\n", format: "text", labels: {} };
    expect(await ingest([blank], embedder)).toMatchObject({ documents: 1, passages: 0, embedded: 0 });
    expect(embedder.paid).toEqual([]);
    expect(await ingest([blank], embedder)).toMatchObject({ unchanged: 1 });
  });
});

it("without an embedder, the vectors of what is unchanged are kept", async () => {
  await ingest(documents(5), countingEmbedder());
  expect(await ingest(documents(5))).toMatchObject({ unchanged: 5, embedded: 0 });
  expect(embeddedIds()).toHaveLength(5);
  expect(await ingest(documents(5, "changed"))).toMatchObject({ unchanged: 0, embedded: 0 });
  expect(embeddedIds()).toEqual([]);
});

it("of a document that comes twice, the last counts, also when that is the one that was there", async () => {
  const [was] = documents(1, "was");
  const [is] = documents(1, "is");
  if (was === undefined || is === undefined) throw new Error("no documents");
  await ingest([was]);
  await ingest([is, was]);
  expect(kept.get("d0")?.passages[0]?.text).toBe("was 0");
});

it("refuses a document that is far too long, and nothing that is there is lost", async () => {
  await ingest(documents(3));
  const huge = { ...documents(1)[0], id: "huge", text: "x".repeat(200 * 1024 * 1024) } as SourceDocument;
  await expect(ingest([huge], undefined, { complete: true })).rejects.toMatchObject({
    code: "too_large",
    message: expect.stringContaining("huge") as string,
  });
  expect([...kept.keys()]).toEqual(["d0", "d1", "d2"]);
});
