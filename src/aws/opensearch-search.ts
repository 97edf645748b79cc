/**
 * Searching: by words and by vectors in one request, each clause bound to the tenant, fused by rank. What the passages
 * say is fetched for those alone that are wanted: the rankings are much deeper than what comes of them.
 */
import { z } from "zod";
import { fuseRankings, rankingDepth } from "../retrieval/fusion.ts";
import type { RankingEntry } from "../retrieval/fusion.ts";
import type { Collection, Passage, SearchOptions } from "../retrieval/retriever.ts";
import { searchTerms } from "../retrieval/terms.ts";
import { PARTIAL, checkWhole, fromJson, searchSpan } from "./opensearch-answers.ts";
import { labelTerm, placeFilter, shortNumbers } from "./opensearch-documents.ts";
import { errorReason, isForNow } from "./opensearch-requests.ts";
import type { OpenSearchRequests } from "./opensearch-requests.ts";

export interface PassageQuery extends Collection {
  /** Any text whatsoever. */
  readonly text: string;
  /** Of the text; undefined when it has none, or nothing makes vectors. */
  readonly vector: Float32Array | undefined;
  readonly k: number;
  readonly filter: NonNullable<SearchOptions["filter"]>;
}

/** Where a passage stands, by the id of its item, which is another one for the same content of another tenant. */
type Ranked = Pick<Passage, "score" | "parts"> & { readonly id: string };

/** Passages, best first; none when the index is not there. @throws HoldpointError as `OpenSearchRequests.send` */
export async function findPassages(
  requests: OpenSearchRequests,
  query: PassageQuery,
  signal: AbortSignal | undefined,
): Promise<readonly Passage[]> {
  const ranked = await rank(requests, query, signal);
  if (ranked.length === 0) return [];
  const body = JSON.stringify({ docs: ranked.map(({ id: _id }) => ({ _id, _source: ["about", "text"] })) });
  const { status, json } = await requests.send({ method: "POST", path: "_mget", body, signal, expected: [404] });
  if (status === 404) return [];
  const parsed = itemsAnswer.safeParse(json);
  if (!parsed.success) throw requests.failed("unavailable", "answered with passages that cannot be read", parsed.error);
  const items = new Map(parsed.data.docs.map(({ _id, _source }) => [_id, _source]));
  return ranked.flatMap(({ id, score, parts }) => {
    const item = items.get(id);
    // It may have been removed meanwhile.
    return item === undefined ? [] : [{ ...item.about, text: item.text, score, parts }];
  });
}

async function rank(
  requests: OpenSearchRequests,
  query: PassageQuery,
  signal: AbortSignal | undefined,
): Promise<readonly Ranked[]> {
  const { vector, k } = query;
  const depth = vector === undefined ? k : rankingDepth(k);
  const lexical = lexicalQuery(query, depth);
  const nearest = vector === undefined ? undefined : vectorQuery(query, vector, depth);
  const queries = [lexical, nearest].filter((one) => one !== undefined);
  if (queries.length === 0) return [];
  const answers = await searchAll(requests, queries, signal);
  const byWords = lexical === undefined ? [] : (answers[0] ?? []);
  if (vector === undefined)
    return byWords.map(({ id, score }, index) => ({ id, score, parts: { lexical: { rank: index + 1, score } } }));
  const byVector = (answers.at(-1) ?? []).map(({ id, score }) => ({ id, score: cosineOf(score) }));
  return fuseRankings([
    { name: "lexical", entries: byWords },
    { name: "vector", entries: byVector },
  ]).slice(0, k);
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

const searched = (query: object, size: number): object => ({ size, query, _source: false, track_total_hits: false });

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
      searchSpan.extend({
        hits: z.object({ hits: z.array(z.object({ _id: z.string(), _score: z.number() })) }),
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

const itemsAnswer = z.object({
  docs: z.array(
    z.object({
      _id: z.string(),
      _source: z.object({ about: fromJson.pipe(aboutPassage), text: z.string() }).optional(),
    }),
  ),
});

/** What each query finds, best first; nothing when the index is not there. */
async function searchAll(
  requests: OpenSearchRequests,
  queries: readonly object[],
  signal: AbortSignal | undefined,
): Promise<readonly (readonly RankingEntry[])[]> {
  const body = queries.map((query) => `${JSON.stringify({ [PARTIAL]: false })}\n${JSON.stringify(query)}\n`).join("");
  const { status, json } = await requests.send({ method: "POST", path: "_msearch", body, signal, expected: [404] });
  if (status === 404) return [];
  const parsed = searchAnswer.safeParse(json);
  if (!parsed.success) throw requests.failed("unavailable", "answered a search with something else", parsed.error);
  return parsed.data.responses.map((response) => {
    if ("hits" in response) {
      checkWhole(requests, response);
      return response.hits.hits.map(({ _id: id, _score: score }) => ({ id, score })).toSorted(byScore);
    }
    if (response.status === 404) return [];
    const reason = errorReason.safeParse(response).data ?? String(response.status);
    throw requests.failed(isForNow(response.status) ? "unavailable" : "internal", `a search failed: ${reason}`);
  });
}

/** Copies of an index order what ties as they happen to hold it. */
const byScore = (a: RankingEntry, b: RankingEntry): number => b.score - a.score || (a.id < b.id ? -1 : 1);
