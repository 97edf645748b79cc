/**
 * How long a tenant's query takes where many tenants have documents: each has a part of the collection in a file of its
 * own, and each query is another tenant's. What embeds the query is not in it: its vectors are at hand.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setImmediate } from "node:timers/promises";
import { createSqliteRetriever } from "../src/local/sqlite-search.ts";
import type { PassageEmbedder } from "../src/retrieval/embedding.ts";
import type { Passage, Retriever, SourceDocument } from "../src/retrieval/retriever.ts";
import type { Collection } from "./retrieval-collection.ts";
import type { Figure } from "./support/figures.ts";
import { createProgress } from "./support/progress.ts";
import { percentile } from "./support/stats.ts";

export interface TenantsOptions {
  readonly dataDir: string;
  /** Path of sqlite-vec. */
  readonly extension: string;
  readonly tenants: number;
  /** Documents of each tenant. */
  readonly documents: number;
  /** Of each kind of search. */
  readonly queries: number;
  /** Of the vectors; those of the collection are repeated up to there. Undefined: as they are. */
  readonly dimensions?: number;
}

/** The bar of the project on a tenant's query. */
const BAR_MS = 5;
const K = 10;
/** Milliseconds by which the loop is late are sampled so often; the sampling itself takes as long. */
const RESOLUTION_MS = 1;

interface Search {
  readonly name: string;
  readonly retriever: Retriever;
  readonly textOf: (query: number) => string;
  /** Whether the passages were found as they should be. */
  readonly isRight: (parts: Passage["parts"]) => boolean;
}

export async function measureTenants(
  collection: Collection & { readonly embedder: PassageEmbedder },
  { dataDir, extension, tenants, documents, queries, dimensions }: TenantsOptions,
): Promise<readonly Figure[]> {
  const embedder = withoutWords(repeated(collection.embedder, dimensions), collection);
  await using hybrid = createSqliteRetriever({ dataDir, meaning: { embedder, extension } });
  await using lexical = createSqliteRetriever({ dataDir });
  const placeOf = (tenant: number) => ({ tenant: `tenant-${tenant}`, collection: "documents" });
  const progress = createProgress("tenants with documents", tenants);
  let passages = 0;
  for (let tenant = 0; tenant < tenants; tenant += 1) {
    const report = await hybrid.ingest(partOf(collection, tenant * documents, documents), placeOf(tenant));
    passages += report.passages;
    progress(tenant + 1);
  }
  const textOf = (query: number): string => collection.queries[query % collection.queries.length]?.text ?? "";
  const searches: readonly Search[] = [
    { name: "lexical", retriever: lexical, textOf, isRight: ({ lexical: words, vector }) => !!words && !vector },
    {
      name: "vector",
      retriever: hybrid,
      textOf: wordless,
      isRight: ({ lexical: words, vector }) => !words && !!vector,
    },
    { name: "hybrid", retriever: hybrid, textOf, isRight: ({ lexical: words, vector }) => !!words || !!vector },
  ];
  const figures: Figure[] = [{ what: `passages of ${tenants} tenants`, value: passages, unit: "" }];
  for (const search of searches) {
    // Once around, so that no file is opened in what is measured.
    for (let tenant = 0; tenant < tenants; tenant += 1)
      await search.retriever.search(search.textOf(tenant), { ...placeOf(tenant), k: K });
    const { ms, lateMs, cpuMs } = await measure(search, queries, (query) => placeOf(query % tenants));
    const bar = search.name === "hybrid" ? { bar: { atMost: BAR_MS } } : {};
    figures.push(
      { what: `${search.name} query p50`, value: percentile(ms, 0.5), unit: "ms", ...bar },
      { what: `${search.name} query p99`, value: percentile(ms, 0.99), unit: "ms" },
      { what: `${search.name} query, processor time`, value: cpuMs, unit: "ms" },
      { what: "event loop late meanwhile, p99", value: lateMs, unit: "ms" },
    );
  }
  return figures;
}

async function measure(
  { name, retriever, textOf, isRight }: Search,
  queries: number,
  placeOf: (query: number) => { readonly tenant: string; readonly collection: string },
): Promise<{ readonly ms: readonly number[]; readonly lateMs: number; readonly cpuMs: number }> {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  const ms: number[] = [];
  const before = process.cpuUsage();
  for (let query = 0; query < queries; query += 1) {
    const started = performance.now();
    const found = await retriever.search(textOf(query), { ...placeOf(query), k: K });
    ms.push(performance.now() - started);
    if (found.length === 0 || !found.every(({ parts }) => isRight(parts)))
      throw new Error(`a ${name} query has found what it should not, or nothing`);
    await setImmediate();
  }
  const { user, system } = process.cpuUsage(before);
  delay.disable();
  return {
    ms,
    lateMs: Math.max(0, delay.percentile(99) / 1e6 - RESOLUTION_MS),
    cpuMs: (user + system) / 1e3 / queries,
  };
}

/** `count` documents from one on, and from the first on again after the last. */
async function* partOf({ documents }: Collection, from: number, count: number): AsyncGenerator<SourceDocument> {
  for (let at = from; at < from + count; at += 1) {
    const document = documents[at % documents.length];
    if (document !== undefined) yield document;
  }
}

/** The vectors with their numbers repeated until there are so many: as near to each other as they were. */
function repeated(embedder: PassageEmbedder, dimensions = embedder.dimensions): PassageEmbedder {
  return {
    model: embedder.model,
    dimensions,
    embed: async (texts, options) =>
      (await embedder.embed(texts, options)).map((vector) =>
        Float32Array.from({ length: dimensions }, (_, at) => vector[at % vector.length] ?? 0),
      ),
  };
}

/** A text without a word, which stands for the meaning of a query: nothing is found by words. */
const wordless = (query: number): string => `?${"!".repeat(query + 1)}`;

function withoutWords(embedder: PassageEmbedder, { queries }: Collection): PassageEmbedder {
  const meant = (text: string): string =>
    /^\?!+$/.test(text) ? (queries[(text.length - 2) % queries.length]?.text ?? text).trim() : text;
  return { ...embedder, embed: (texts, options) => embedder.embed(texts.map(meant), options) };
}
