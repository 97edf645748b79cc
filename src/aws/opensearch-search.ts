/** Searching: by words and by vectors in one request, each clause bound to the tenant, fused by rank. */
import { z } from "zod";
import { fuseRankings, rankingDepth } from "../retrieval/fusion.ts";
import type { Collection, Passage, SearchOptions } from "../retrieval/retriever.ts";
import { searchTerms } from "../retrieval/terms.ts";
import { labelTerm, placeFilter, shortNumbers } from "./opensearch-documents.ts";
import { errorReason } from "./opensearch-requests.ts";
import type { OpenSearchRequests } from "./opensearch-requests.ts";

export interface PassageQuery extends Collection {
  /** Any text whatsoever. */
  readonly text: string;
  /** Of the text; undefined when it has none, or nothing makes vectors. */
  readonly vector: Float32Array | undefined;
  readonly k: number;
  readonly filter: NonNullable<SearchOptions["filter"]>;
}

interface Hit {
  /** Of the item, which is another one for the same content of another tenant. */
  readonly item: string;
  readonly score: number;
  readonly passage: Omit<Passage, "score" | "parts">;
}

/** Passages, best first; undefined when the index is not there. @throws HoldpointError as `OpenSearchRequests.send` */
export async function findPassages(
  requests: OpenSearchRequests,
  query: PassageQuery,
  signal: AbortSignal | undefined,
): Promise<readonly Passage[] | undefined> {
  const { vector, k } = query;
  const lexical = lexicalQuery(query, vector === undefined ? k : rankingDepth(k));
  const nearest = vector === undefined ? undefined : vectorQuery(query, vector, rankingDepth(k));
  const queries = [lexical, nearest].filter((one) => one !== undefined);
  if (queries.length === 0) return [];
  const answers = await searchAll(requests, queries, signal);
  if (answers === undefined) return undefined;
  const words = lexical === undefined ? [] : (answers[0] ?? []);
  const near = nearest === undefined ? [] : (answers.at(-1) ?? []);
  if (vector === undefined)
    return words.map(({ passage, score }, index) => ({
      ...passage,
      score,
      parts: { lexical: { rank: index + 1, score } },
    }));
  return fused(
    words,
    near.map((hit) => ({ ...hit, score: cosineOf(hit.score) })),
    k,
  );
}

function fused(lexical: readonly Hit[], vector: readonly Hit[], k: number): readonly Passage[] {
  const passages = new Map([...lexical, ...vector].map(({ item, passage }) => [item, passage]));
  const entries = (hits: readonly Hit[]) => hits.map(({ item, score }) => ({ id: item, score }));
  return fuseRankings([
    { name: "lexical", entries: entries(lexical) },
    { name: "vector", entries: entries(vector) },
  ])
    .slice(0, k)
    .flatMap(({ id, score, parts }) => {
      const passage = passages.get(id);
      return passage === undefined ? [] : [{ ...passage, score, parts }];
    });
}

/** Lucene scores the cosine as (1 + cosine) / 2. */
const cosineOf = (score: number): number => 2 * score - 1;

/** What each clause is bound to by itself: what one of them finds is never looked at again (I8). */
function passageFilter({ filter, ...place }: PassageQuery): readonly object[] {
  const labels = Object.entries(filter).map(([name, wanted]) => ({
    terms: { labels: [wanted].flat().map((value) => labelTerm(name, value)) },
  }));
  return [{ term: { kind: "passage" } }, ...placeFilter(place), ...labels];
}

const searched = (query: object, size: number): object => ({
  size,
  query,
  _source: ["about", "text"],
  track_total_hits: false,
});

function lexicalQuery(query: PassageQuery, size: number): object | undefined {
  const terms = searchTerms(query.text).join(" ").toWellFormed();
  if (terms === "") return undefined;
  return searched({ bool: { must: [{ match: { words: terms } }], filter: passageFilter(query) } }, size);
}

function vectorQuery(query: PassageQuery, vector: Float32Array, size: number): object {
  const filter = { bool: { filter: passageFilter(query) } };
  return searched({ knn: { vector: { vector: shortNumbers(vector), k: size, filter } } }, size);
}

const searchAnswer = z.object({
  responses: z.array(
    z.union([
      z.object({
        hits: z.object({
          hits: z.array(
            z.object({
              _id: z.string(),
              _score: z.number(),
              _source: z.object({ about: z.string(), text: z.string() }),
            }),
          ),
        }),
      }),
      z.object({ status: z.number(), error: z.unknown() }),
    ]),
  ),
});

const aboutPassage = z.object({
  id: z.string(),
  documentId: z.string(),
  title: z.string(),
  section: z.string(),
  offsets: z.object({ start: z.number(), end: z.number() }),
  labels: z.record(z.string(), z.string()),
});

/** What each query finds, best first; undefined when the index is not there. */
async function searchAll(
  requests: OpenSearchRequests,
  queries: readonly object[],
  signal: AbortSignal | undefined,
): Promise<readonly (readonly Hit[])[] | undefined> {
  const body = queries.map((query) => `{}\n${JSON.stringify(query)}\n`).join("");
  const { status, json } = await requests.send({ method: "POST", path: "_msearch", body, signal, expected: [404] });
  if (status === 404) return undefined;
  const parsed = searchAnswer.safeParse(json);
  if (!parsed.success) throw requests.failed("unavailable", "answered a search with something else", parsed.error);
  const found: (readonly Hit[])[] = [];
  for (const response of parsed.data.responses) {
    if ("error" in response) {
      if (response.status === 404) return undefined;
      const code = response.status === 429 || response.status >= 500 ? "unavailable" : "internal";
      throw requests.failed(code, `a search failed: ${errorReason.safeParse(response).data ?? response.status}`);
    }
    found.push(response.hits.hits.map(hitOf).toSorted(byScore));
  }
  return found;
}

type RawHit = { readonly _id: string; readonly _score: number; readonly _source: { about: string; text: string } };

const hitOf = ({ _id: item, _score: score, _source: { about, text } }: RawHit): Hit => ({
  item,
  score,
  passage: { ...aboutPassage.parse(JSON.parse(about)), text },
});

/** Copies of an index order what ties as they happen to hold it. */
const byScore = (a: Hit, b: Hit): number => b.score - a.score || (a.item < b.item ? -1 : 1);
