/**
 * No passage of one tenant is ever found by another (I8): many tenants with the same and with nearly the same documents,
 * and queries that try to be something else. With the tenant taken out of either clause on the way, the same check finds
 * passages of others, so it can fail.
 */
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import fc from "fast-check";
import { createOpenSearchRetriever } from "../../src/aws/opensearch-retriever.ts";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";
import type { Retriever, SearchOptions } from "../../src/retrieval/retriever.ts";
import { countingEmbedder } from "../support/counting-embedder.ts";
import { eachDocument, textDocument } from "../support/documents.ts";
import { startOpenSearchProxy } from "../support/opensearch-proxy.ts";
import type { Passing } from "../support/opensearch-proxy.ts";
import { OPENSEARCH_START_MS } from "../support/opensearch.ts";
import { newIndexName, openSearchEndpoint, retrieverEngines } from "../support/retriever-engines.ts";
import type { RetrieverPlace } from "../support/retriever-engines.ts";

const ODD_TENANTS = [
  "acme",
  "ACME",
  "acme ",
  "acme*",
  "*",
  "",
  "../acme",
  "acme OR globex",
  '"',
  "a,b",
  "null",
  "_all",
];
const TENANTS = [...ODD_TENANTS, "a".repeat(200), ...Array.from({ length: 12 }, (_, n) => `tenant-${n}`)];
const COLLECTIONS = ["policies", "policies2"];
const WORDS = ["refund", "tent", "boots", "policy", "storm", "return"];
const RUNS = process.env["HOLDPOINT_NIGHTLY"] === "1" ? 3_000 : 120;

interface Place {
  readonly tenant: string;
  readonly collection: string;
}

const PLACES: readonly Place[] = TENANTS.flatMap((tenant) => COLLECTIONS.map((collection) => ({ tenant, collection })));

/** Its id says whose it is; all else is the same for everybody, and each word is in it. */
const documentsOf = (place: Place) =>
  WORDS.map((word, n) =>
    textDocument(`${JSON.stringify(place)} ${n}`, `${word} ${WORDS.join(" ")}`, {
      title: word,
      labels: { year: String(2020 + (n % 3)), tenant: "acme", kind: "passage" },
    }),
  );

async function fill(retriever: Retriever, places = PLACES): Promise<void> {
  for (const place of places) await retriever.ingest(eachDocument(...documentsOf(place)), place);
}

const OPERATORS = ["tenant:globex", "*", "*:*", "refund OR tenant:*", '" OR 1=1', "_all:refund", "(refund", "a+b -c"];
const INJECTIONS = [
  '{"match_all":{}}',
  '"}}]}},"match_all":{}',
  "refund\n{}\n",
  "\\",
  "\0refund",
  "refund^100",
  "re?und",
];
const odd = fc.constantFrom(...OPERATORS, ...INJECTIONS);
const query = fc.oneof(
  fc.array(fc.constantFrom(...WORDS), { minLength: 1, maxLength: 4 }).map((words) => words.join(" ")),
  fc.tuple(odd, fc.constantFrom(...WORDS)).map((parts) => parts.join(" ")),
  fc.string({ unit: "binary", maxLength: 40 }),
);
const value = fc.oneof(fc.constantFrom("2020", "2021", "*", "acme", "passage"), fc.string({ maxLength: 8 }));
const filter = fc.option(
  fc.dictionary(fc.constantFrom("year", "tenant", "kind", "tenant.keyword", "_id"), fc.oneof(value, fc.array(value))),
  { nil: {} },
);
const search = fc.record({
  place: fc.constantFrom(...PLACES),
  text: query,
  k: fc.constantFrom(1, 3, 10, 1_000),
  filter,
});

type Asked = Place & { readonly text: string; readonly k: number; readonly filter: SearchOptions["filter"] };

/** What a search found that is not its own. */
async function strangers(retriever: Retriever, { tenant, collection, text, k, filter = {} }: Asked) {
  const passages = await retriever.search(text, { tenant, collection, k, filter });
  const own = `${JSON.stringify({ tenant, collection })} `;
  return passages.map(({ documentId }) => documentId).filter((id) => !id.startsWith(own));
}

describe.each(retrieverEngines())("on $name", (engine) => {
  let place: RetrieverPlace;
  let retriever: Retriever;
  beforeAll(async () => {
    place = await engine.place();
    retriever = place.open(countingEmbedder());
    await fill(retriever);
  }, OPENSEARCH_START_MS);
  afterAll(() => place[Symbol.asyncDispose]());

  it(`no search of any kind finds what is not its own (${engine.name})`, { timeout: 600_000 }, async () => {
    let found = 0;
    await fc.assert(
      fc.asyncProperty(search, async ({ place: own, ...asked }) => {
        expect(await strangers(retriever, { ...own, ...asked })).toEqual([]);
        found += (await retriever.search(asked.text, { ...own, k: 3 })).length;
      }),
      { numRuns: RUNS },
    );
    expect(found).toBeGreaterThan(RUNS);
  });
});

const launcher = inject("openSearchLauncher");

describe.skipIf(launcher === null)("with the tenant taken out on the way to OpenSearch", () => {
  it.each([
    ["words", 1],
    ["vectors", 3],
  ])("the clause of %s finds what belongs to others", async (_, line) => {
    const url = await openSearchEndpoint(launcher ?? "");
    const index = newIndexName();
    await using proxy = await startOpenSearchProxy(url, ({ operation }: Passing) =>
      operation === "_msearch" ? { rewrite: (body) => withoutTenant(body, line) } : undefined,
    );
    const options = { index, clock: systemClock, ids: systemIds, embedder: countingEmbedder() };
    await fill(createOpenSearchRetriever({ ...options, url }), PLACES.slice(0, 6));
    const asked = { tenant: "acme", collection: "policies", text: "refund", k: 1_000, filter: {} };
    expect(await strangers(createOpenSearchRetriever({ ...options, url }), asked)).toEqual([]);
    expect(await strangers(createOpenSearchRetriever({ ...options, url: proxy.endpoint }), asked)).not.toEqual([]);
    await fetch(`${url}/${index}`, { method: "DELETE" });
  });
});

function withoutTenant(body: string, line: number): string {
  const lines = body.split("\n");
  const clause = lines[line] ?? "";
  const without = clause.replace('{"term":{"tenant":"acme"}},', "");
  if (without === clause) throw new Error("there is no tenant to take out");
  return lines.with(line, without).join("\n");
}
