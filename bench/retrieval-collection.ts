/**
 * A collection in the BEIR layout: a folder with corpus.jsonl, queries.jsonl and judgments in qrels/test.tsv or test.tsv.
 * Beside them may lie corpus.i8 and queries.i8, vectors of the same rows in the same order, a signed byte for each
 * number: with them an embedder that has the vectors of just these texts.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { chunkDocument } from "../src/retrieval/chunk.ts";
import { embeddingText } from "../src/retrieval/embedding.ts";
import type { PassageEmbedder } from "../src/retrieval/embedding.ts";
import { openFolder } from "../src/retrieval/folder.ts";
import type { SourceDocument } from "../src/retrieval/retriever.ts";
import type { Judgments } from "./retrieval-metrics.ts";

export interface Query {
  readonly id: string;
  readonly text: string;
}

export interface Collection {
  readonly documents: readonly SourceDocument[];
  /** Those that there are judgments of. */
  readonly queries: readonly Query[];
  /** By the query's id. */
  readonly judgments: ReadonlyMap<string, Judgments>;
  /** Undefined when the folder has no vectors. */
  readonly embedder: PassageEmbedder | undefined;
}

/** Reads the folder through the product's own reader. */
export async function readCollection(folder: string): Promise<Collection> {
  const documents: SourceDocument[] = [];
  for await (const document of (await openFolder(folder)).documents())
    // What lies beside the corpus, such as a README, is not of the collection.
    if (document.format === "record") documents.push(document);
  const judgments = await readJudgments(folder);
  const queries = await readQueries(folder);
  return {
    documents,
    judgments,
    queries: queries.filter(({ id }) => judgments.has(id)),
    embedder: await readVectors(folder, documents, queries),
  };
}

async function readQueries(folder: string): Promise<readonly Query[]> {
  const lines = (await readFile(join(folder, "queries.jsonl"), "utf8"))
    .split("\n")
    .filter((line) => line.trim() !== "");
  return lines.map((line) => {
    const { _id, text } = JSON.parse(line) as { readonly _id: string | number; readonly text: string };
    return { id: String(_id), text };
  });
}

async function readJudgments(folder: string): Promise<ReadonlyMap<string, Judgments>> {
  const text = await readFile(join(folder, "qrels", "test.tsv"), "utf8").catch(() =>
    readFile(join(folder, "test.tsv"), "utf8"),
  );
  const judgments = new Map<string, Map<string, number>>();
  for (const line of text.split(/\r?\n/).slice(1)) {
    const [query, document, grade] = line.split("\t");
    if (query === undefined || document === undefined || grade === undefined) continue;
    const judged = judgments.get(query) ?? new Map<string, number>();
    judgments.set(query, judged.set(document, Number(grade)));
  }
  return judgments;
}

async function readVectors(
  folder: string,
  documents: readonly SourceDocument[],
  queries: readonly Query[],
): Promise<PassageEmbedder | undefined> {
  const [ofDocuments, ofQueries] = await Promise.all(
    ["corpus.i8", "queries.i8"].map((name) => readFile(join(folder, name)).catch(() => undefined)),
  );
  if (ofDocuments === undefined || ofQueries === undefined) return undefined;
  const dimensions = ofDocuments.length / documents.length;
  if (!Number.isInteger(dimensions) || ofQueries.length / queries.length !== dimensions)
    throw new Error(`${folder}: corpus.i8 and queries.i8 have not one vector for each row`);
  const vectors = new Map<string, Float32Array>();
  const row = (bytes: Buffer, at: number): Float32Array =>
    Float32Array.from(new Int8Array(bytes.buffer, bytes.byteOffset + at * dimensions, dimensions));
  for (const [at, document] of documents.entries())
    // A document of several passages has one vector: so was the collection embedded.
    for (const chunk of chunkDocument(document))
      vectors.set(embeddingText({ ...chunk, title: document.title }), row(ofDocuments, at));
  for (const [at, { text }] of queries.entries()) vectors.set(text.trim(), row(ofQueries, at));
  return {
    model: "the collection's own vectors",
    dimensions,
    embed: async (texts) =>
      texts.map((text) => {
        const vector = vectors.get(text);
        if (vector === undefined) throw new Error(`the collection has no vector of: ${text.slice(0, 80)}`);
        return vector;
      }),
  };
}
