/**
 * How well and how fast a retriever finds documents: the embedded one, or that on OpenSearch, on a collection in the BEIR layout. Everything goes
 * through the product's own path: folder reader, chunking, ingestion, index thread, search. Where the collection has
 * vectors, search by meaning is measured beside search by words.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSqliteRetriever } from "../src/local/sqlite-search.ts";
import { vectorExtension } from "../src/local/sqlite-vec.ts";
import type { Retriever } from "../src/retrieval/retriever.ts";
import { readCollection } from "./retrieval-collection.ts";
import type { Collection } from "./retrieval-collection.ts";
import { openOpenSearch } from "./retrieval-opensearch.ts";
import { measureQuality } from "./retrieval-quality.ts";
import { measureTenants } from "./retrieval-tenants.ts";
import { report } from "./support/figures.ts";
import type { Figure } from "./support/figures.ts";
import { readOptions } from "./support/options.ts";
import { percentile } from "./support/stats.ts";

const PLACE = { tenant: "bench", collection: "beir" } as const;

const COMMAND = {
  name: "retrieval",
  about:
    "nDCG@10, Recall@100 and MRR@10 of search by words, by vectors and by both on a collection in the BEIR layout, and how long a tenant's query takes.",
  options: {
    data: { fallback: "", says: "the folder of the collection, which must be given" },
    opensearch: {
      fallback: "",
      says: "search on OpenSearch instead, without the second part: its URL, or `own` for one that is started",
    },
    tenants: { fallback: 50, says: "tenants of the second part; 0 leaves it out" },
    documents: { fallback: 2_000, says: "documents that each of them has" },
    queries: { fallback: 2_000, says: "queries of each kind" },
    dimensions: { fallback: 0, says: "size of the vectors of the second part; 0 is that of the collection's" },
  },
} as const;

/** Exit code 1 when a bar is missed. */
export async function main(argv: readonly string[]): Promise<number> {
  const options = readOptions(COMMAND, argv);
  if (options === undefined) return 0;
  if (options.data === "") throw new Error("Usage: retrieval --data <folder in the BEIR layout>");
  const collection = await readCollection(options.data);
  const { embedder } = collection;
  if (options.opensearch !== "") {
    await using retriever = await openOpenSearch(options.opensearch, embedder);
    return report([...(await measureRanking(retriever, collection)), ...(await measureQueries(retriever, collection))]);
  }
  const dataDir = await mkdtemp(join(tmpdir(), "holdpoint-bench-"));
  try {
    const extension = await vectorExtension();
    const figures = [...(await measureEmbedded(collection, join(dataDir, "one"), extension))];
    const { tenants, documents, queries, dimensions } = options;
    if (tenants > 0 && embedder !== undefined) {
      const sized = dimensions === 0 ? {} : { dimensions };
      const many = { dataDir: join(dataDir, "many"), extension, tenants, documents, queries, ...sized };
      figures.push(...(await measureTenants({ ...collection, embedder }, many)));
    }
    return report(figures);
  } finally {
    await rm(dataDir, { recursive: true });
  }
}

async function measureEmbedded(collection: Collection, dataDir: string, extension: string): Promise<readonly Figure[]> {
  const { embedder } = collection;
  await using retriever = createSqliteRetriever({
    dataDir,
    ...(embedder === undefined ? {} : { meaning: { embedder, extension } }),
  });
  return await measureRanking(retriever, collection);
}

async function measureRanking(retriever: Retriever, collection: Collection): Promise<readonly Figure[]> {
  const { embedder } = collection;
  const figures = [...(await measureIngestion(retriever, collection))];
  const { lexical, vector, fused } = await measureQuality(retriever, PLACE, collection);
  const rankings = embedder === undefined ? { lexical } : { lexical, vector, hybrid: fused };
  for (const [name, { ndcg, recall, mrr }] of Object.entries(rankings))
    figures.push(
      { what: `${name} nDCG@10`, value: thousandths(ndcg), unit: "‰", ...BARS[name] },
      { what: `${name} Recall@100`, value: thousandths(recall), unit: "‰" },
      { what: `${name} MRR@10`, value: thousandths(mrr), unit: "‰" },
    );
  return figures;
}

/** Of SciFact. */
const BARS: Readonly<Record<string, Pick<Figure, "bar">>> = { lexical: { bar: { atLeast: 678 } } };

const thousandths = (share: number): number => Math.round(share * 10_000) / 10;

async function measureIngestion(retriever: Retriever, { documents }: Collection): Promise<readonly Figure[]> {
  const each = { [Symbol.asyncIterator]: () => ReadableStream.from(documents)[Symbol.asyncIterator]() };
  const timed = async () => {
    const started = performance.now();
    const done = await retriever.ingest(each, PLACE);
    return { done, ms: performance.now() - started };
  };
  const [first, again] = [await timed(), await timed()];
  return [
    { what: "documents", value: first.done.documents, unit: "" },
    { what: "passages", value: first.done.passages, unit: "" },
    { what: "ingestion", value: first.ms / 1_000, unit: "s" },
    { what: `ingestion again, ${again.done.unchanged} unchanged`, value: again.ms / 1_000, unit: "s" },
  ];
}

/** How long the collection's own queries take for ten passages, one after the other; their vectors are at hand. */
async function measureQueries(retriever: Retriever, { queries }: Collection): Promise<readonly Figure[]> {
  const times = await Array.fromAsync(queries, async ({ text }) => {
    const started = performance.now();
    await retriever.search(text, { ...PLACE, k: 10 });
    return performance.now() - started;
  });
  return [
    { what: "query p50", value: percentile(times, 0.5), unit: "ms" },
    { what: "query p99", value: percentile(times, 0.99), unit: "ms" },
  ];
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
