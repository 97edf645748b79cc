/** What the retriever on OpenSearch promises beyond the port: what is sent, and what becomes of it when it goes wrong. */
import { beforeAll, describe, expect, inject, it } from "vitest";
import { createRequestSigner } from "../../src/aws/opensearch-signing.ts";
import { createOpenSearchRetriever } from "../../src/aws/opensearch-retriever.ts";
import type { OpenSearchRetrieverOptions } from "../../src/aws/opensearch-retriever.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { Clock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";
import type { Retriever } from "../../src/retrieval/retriever.ts";
import { countingEmbedder } from "../support/counting-embedder.ts";
import { conceptEmbedder, eachDocument as each, idsOf, textDocument as document } from "../support/documents.ts";
import { eventually } from "../support/eventually.ts";
import { startOpenSearchProxy } from "../support/opensearch-proxy.ts";
import type { Fate, OpenSearchProxy, Passing } from "../support/opensearch-proxy.ts";
import { whatIsWrong } from "../support/opensearch-signature.ts";
import { OPENSEARCH_START_MS } from "../support/opensearch.ts";
import { newIndexName, openSearchEndpoint } from "../support/retriever-engines.ts";

const POLICIES = { tenant: "acme", collection: "policies" } as const;

/** Pauses between attempts are short, and time-outs are what they are. */
const LONGEST_PAUSE_MS = 5_000;
const hurried: Clock = {
  ...systemClock,
  sleep: (ms, signal) => systemClock.sleep(ms > LONGEST_PAUSE_MS + 1 ? ms : Math.min(ms, 2), signal),
};

/** What OpenSearch says of an index. */
interface Made {
  readonly mappings: object;
  readonly settings: { readonly index: { readonly analysis: object } };
}

const launcher = inject("openSearchLauncher");

describe.skipIf(launcher === null)("on OpenSearch", () => {
  let url = "";
  beforeAll(async () => {
    url = await openSearchEndpoint(launcher ?? "");
  }, OPENSEARCH_START_MS);

  const open = (index: string, more: Partial<OpenSearchRetrieverOptions> = {}): Retriever =>
    createOpenSearchRetriever({ url, index, clock: hurried, ids: systemIds, ...more });

  interface Stage extends AsyncDisposable {
    readonly proxy: OpenSearchProxy;
    readonly index: string;
    /** Through the proxy. */
    open(more?: Partial<OpenSearchRetrieverOptions>): Retriever;
    /** Past it. */
    direct(more?: Partial<OpenSearchRetrieverOptions>): Retriever;
  }

  async function stage(fateOf?: (passing: Passing) => Fate | undefined): Promise<Stage> {
    const index = newIndexName();
    const proxy = await startOpenSearchProxy(url, fateOf);
    return {
      proxy,
      index,
      open: (more) => open(index, { url: proxy.endpoint, ...more }),
      direct: (more) => open(index, more),
      async [Symbol.asyncDispose]() {
        await proxy[Symbol.asyncDispose]();
        await fetch(`${url}/${index}`, { method: "DELETE" });
      },
    };
  }

  async function countItems(index: string, collection: string): Promise<number> {
    const body = JSON.stringify({ query: { term: { collection } } });
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`${url}/${index}/_count`, { method: "POST", headers, body });
    return ((await answer.json()) as { readonly count: number }).count;
  }

  describe("searching", () => {
    it("ranks with one request of two queries, each of which is bound to the tenant by itself", async () => {
      await using s = await stage();
      await s
        .direct({ embedder: conceptEmbedder })
        .ingest(each(document("a", "refund", { labels: { year: "2024" } })), POLICIES);
      const retriever = s.open({ embedder: conceptEmbedder });
      await retriever.search("refund", { ...POLICIES, k: 3 });
      await retriever.search("refund", { ...POLICIES, k: 3, filter: { year: "2024" } });
      const operations = s.proxy.seen.map(({ operation }) => operation);
      expect(operations).toEqual(["_mapping", "_msearch", "_mget", "_msearch", "_mget"]);
      const lines = (s.proxy.seen.at(-2)?.body ?? "").trim().split("\n");
      const [, lexical, , vector] = lines.map((line) => JSON.parse(line) as Record<string, never>);
      const bound = [
        { term: { kind: "passage" } },
        { term: { tenant: "acme" } },
        { term: { collection: "policies" } },
        { terms: { labels: [expect.stringMatching(/^[0-9a-f]{64}$/)] } },
      ];
      expect(lines).toHaveLength(4);
      expect(lexical).toMatchObject({ query: { bool: { filter: bound } } });
      expect(vector).toMatchObject({ query: { knn: { vector: { filter: { bool: { filter: bound } } } } } });
    });

    it("of an index that is not there makes none", async () => {
      await using s = await stage();
      for (const embedder of [undefined, conceptEmbedder]) {
        expect(await s.open({ embedder }).search("x", { ...POLICIES, k: 3 })).toEqual([]);
        expect(await s.open({ embedder }).remove({ ...POLICIES, documentId: "a" })).toBe(false);
      }
      expect((await fetch(`${url}/${s.index}`)).status).toBe(404);
    });

    it("whose vectors have no direction finds by words", async () => {
      await using s = await stage();
      const retriever = s.open({ embedder: conceptEmbedder });
      await retriever.ingest(each(document("a", "nothing at all"), document("b", "refund")), POLICIES);
      expect(idsOf(await retriever.search("nothing", { ...POLICIES, k: 3 }))).toEqual(["a"]);
    });
  });

  describe("ingesting", () => {
    it("sends requests that every instance takes, and makes all of it visible once", async () => {
      await using s = await stage();
      const documents = Array.from({ length: 300 }, (_, n) => document(`d${n}`, `refund ${n} `.repeat(20)));
      await s.open({ embedder: countingEmbedder({ dimensions: 1_024 }) }).ingest(each(...documents), POLICIES);
      const bulks = s.proxy.seen.filter(({ operation }) => operation === "_bulk");
      const sizes = bulks.map(({ body }) => Buffer.byteLength(body));
      expect(Math.max(...sizes)).toBeLessThan(5 * 1024 * 1024);
      expect(s.proxy.seen.filter(({ operation }) => operation === "_refresh")).toHaveLength(1);
      expect(await s.direct().search("refund", { ...POLICIES, k: 1_000 })).toHaveLength(300);
    });

    it("sends only what was refused again, and nothing twice that was taken", async () => {
      const refused = new Set<string>();
      await using s = await stage(({ operation }) =>
        operation === "_bulk"
          ? {
              refuse: ({ id }) => {
                if (refused.has(id) || !/^[0-5]/.test(id)) return undefined;
                refused.add(id);
                return refused.size % 2 === 0 ? 429 : 503;
              },
            }
          : undefined,
      );
      const documents = Array.from({ length: 100 }, (_, n) => document(`d${n}`, `refund ${n}`));
      await s.open().ingest(each(...documents), POLICIES);
      const counts = new Map<string, number>();
      for (const { id, lines } of s.proxy.actions())
        if (lines.includes('"passage"')) counts.set(id, (counts.get(id) ?? 0) + 1);
      expect(counts.size).toBe(100);
      expect(refused.size).toBeGreaterThan(30);
      for (const [id, count] of counts) expect([id, count]).toEqual([id, refused.has(id) ? 2 : 1]);
      expect(await s.direct().search("refund", { ...POLICIES, k: 1_000 })).toHaveLength(100);
      expect(await s.direct().ingest(each(...documents), POLICIES)).toMatchObject({ unchanged: 100 });
    });

    it("gives up on what is refused again and again, and finishes what was taken", async () => {
      const never = new Set<string>();
      await using s = await stage(({ operation }) =>
        operation === "_bulk"
          ? {
              refuse: ({ id, lines }) => {
                if (!lines.includes("unlucky")) return undefined;
                never.add(id);
                return 429;
              },
            }
          : undefined,
      );
      const documents = Array.from({ length: 10 }, (_, n) => document(`d${n}`, n === 3 ? "unlucky refund" : "refund"));
      const embedder = countingEmbedder();
      const ingestion = s.open({ embedder }).ingest(each(...documents), POLICIES);
      await expect(ingestion).rejects.toMatchObject({
        code: "unavailable",
        message: expect.stringMatching(/1 of 10 documents were not written: d3: 429/) as string,
      });
      const [unlucky] = never;
      expect(s.proxy.actions().filter(({ id }) => id === unlucky)).toHaveLength(8);
      const report = await s.direct({ embedder }).ingest(each(...documents), POLICIES);
      expect(report).toMatchObject({ unchanged: 9, embedded: 1 });
    });

    it("names the document that OpenSearch refuses for good, and finishes the others", async () => {
      await using s = await stage();
      const odd = { ...conceptEmbedder, embed: async (texts: readonly string[]) => texts.map(vectorOf) };
      const vectorOf = (text: string) => Float32Array.from([text.includes("odd") ? Number.NaN : 1, 1, 1]);
      const retriever = s.open({ embedder: odd });
      const documents = [document("a", "refund"), document("b", "odd refund"), document("c", "refund")];
      const refused = { code: "internal", message: expect.stringMatching(/1 of 3 documents.*: b: 400/) as string };
      await expect(retriever.ingest(each(...documents), POLICIES)).rejects.toMatchObject(refused);
      expect(await retriever.ingest(each(document("a", "refund")), POLICIES)).toMatchObject({ unchanged: 1 });
    });

    it("goes on after replies that were lost, and has everything once", async () => {
      const lost = new Set<string>();
      await using s = await stage(({ operation, body }) => {
        if (operation !== "_bulk" || lost.has(body)) return undefined;
        lost.add(body);
        return { lose: "reply" };
      });
      const documents = Array.from({ length: 10 }, (_, n) => document(`d${n}`, `refund ${n}`));
      await s.open().ingest(each(...documents), POLICIES);
      expect(lost.size).toBeGreaterThan(2);
      expect(await s.direct().search("refund", { ...POLICIES, k: 1_000 })).toHaveLength(10);
      expect(await s.direct().ingest(each(...documents), POLICIES)).toMatchObject({ unchanged: 10 });
    });

    it("that OpenSearch left in the middle says so, and goes on without paying or sending twice", async () => {
      let isAway = false;
      await using s = await stage(({ operation, body }) => {
        // Within the writes of the second batch.
        if (operation === "_bulk" && body.includes('"passage"') && body.includes("number 200 ")) isAway = true;
        return isAway ? { lose: "request" } : undefined;
      });
      const documents = Array.from({ length: 400 }, (_, n) => document(`d${n}`, `refund number ${n} of all`));
      const embedder = countingEmbedder();
      const ingestion = s.open({ embedder }).ingest(each(...documents), POLICIES);
      await expect(ingestion).rejects.toMatchObject({
        code: "unavailable",
        message: expect.stringContaining(`${s.index} at ${s.proxy.endpoint}: cannot be reached`) as string,
      });
      expect(embedder.paid).toHaveLength(256);
      isAway = false;
      await using after = await startOpenSearchProxy(url);
      const report = await open(s.index, { url: after.endpoint, embedder }).ingest(each(...documents), POLICIES);
      // What was not in the index was paid for in vain: a batch at most.
      expect(report).toMatchObject({ documents: 400, unchanged: 128, embedded: 272 });
      const passages = after.actions().filter(({ lines }) => lines.includes('"passage"'));
      expect(passages).toHaveLength(272);
      expect(await s.direct().search("refund", { ...POLICIES, k: 1_000 })).toHaveLength(400);
    });

    it("cut off at any request leaves nothing behind that the next one does not remove", async () => {
      const long = (word: string) => `${`${word} `.repeat(400)}\n\n${`${word}2 `.repeat(400)}`;
      let left = 0;
      await using s = await stage(() => ((left -= 1) < 0 ? { lose: "request" } : undefined));
      const now = s.direct();
      let requests: number | undefined;
      for (let cut = 0; requests === undefined; cut += 1) {
        const place = { ...POLICIES, collection: `cut at ${cut}` };
        await now.ingest(each(document("a", long("first")), document("gone", long("first"))), place);
        left = cut;
        const second = s.open().ingest(each(document("a", long("second"))), { ...place, complete: true });
        requests = await second.then(
          () => cut,
          () => undefined,
        );
        // Another version yet: nothing knows of the second one but what it left.
        await now.ingest(each(document("a", long("third"))), { ...place, complete: true });
        const found = await now.search("first second third first2 second2 third2", { ...place, k: 1_000 });
        expect([cut, ...new Set(found.map(({ text }) => text.slice(0, 5)))]).toEqual([cut, "third"]);
        expect(await now.remove({ ...place, documentId: "a" })).toBe(true);
        expect([cut, await countItems(s.index, place.collection)]).toEqual([cut, 0]);
      }
      expect(requests).toBeGreaterThan(8);
    });

    it("beside another one of the same document, who ends last has written it, and nothing of the other is left", async () => {
      const [reached, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      await using s = await stage(({ operation, body }) => {
        if (operation !== "_bulk" || !body.includes('"passage"')) return undefined;
        reached.resolve();
        return { after: gate.promise };
      });
      const slow = s.open().ingest(each(document("a", "slow words")), POLICIES);
      await reached.promise;
      await s.direct().ingest(each(document("a", "quick words")), POLICIES);
      expect(idsOf(await s.direct().search("quick", { ...POLICIES, k: 10 }))).toEqual(["a"]);
      gate.resolve();
      await slow;
      const found = await s.direct().search("words", { ...POLICIES, k: 10 });
      expect(found.map(({ text }) => text)).toEqual(["slow words"]);
      expect(await countItems(s.index, POLICIES.collection)).toBe(2);
    });
  });

  describe("when OpenSearch", () => {
    it("is slow, a search fails after its time, and is not tried again", async () => {
      await using s = await stage(() => ({ lose: "silence" }));
      const search = s.open({ requestTimeoutMs: 150, clock: systemClock }).search("x", { ...POLICIES, k: 3 });
      await expect(search).rejects.toMatchObject({
        code: "unavailable",
        message: expect.stringContaining("did not answer within 150 ms") as string,
      });
      expect(s.proxy.seen).toHaveLength(1);
    });

    it("is slow, a search that nobody waits for any more ends at once", async () => {
      const reached = Promise.withResolvers<void>();
      await using s = await stage(() => {
        reached.resolve();
        return { lose: "silence" };
      });
      const abort = new AbortController();
      const search = s.open().search("x", { ...POLICIES, k: 3, signal: abort.signal });
      await reached.promise;
      abort.abort(new Error("gone"));
      await expect(search).rejects.toThrow("gone");
    });

    it.each([
      ["busy", { status: 429 }],
      ["starting", { status: 503 }],
      ["cut off", { lose: "request" }],
    ] as const)("is %s for a moment, the request is sent again, and in the end it fails", async (_, fate) => {
      let left = 2;
      await using s = await stage(() => ((left -= 1) >= 0 ? fate : undefined));
      const search = () => s.open().search("x", { ...POLICIES, k: 3 });
      expect(await search()).toEqual([]);
      expect(s.proxy.seen).toHaveLength(3);
      left = 4;
      await expect(search()).rejects.toMatchObject({ code: "unavailable" });
      expect(s.proxy.seen).toHaveLength(7);
    });

    it.each([401, 403])("does not accept who asks (%i), it says so, once", async (status) => {
      const body = { message: "User: anonymous is not authorized" };
      await using s = await stage(() => ({ status, body }));
      await expect(s.open().search("x", { ...POLICIES, k: 3 })).rejects.toMatchObject({
        code: "unavailable",
        message: expect.stringContaining(`answered ${status}: User: anonymous is not authorized`) as string,
      });
      expect(s.proxy.seen).toHaveLength(1);
    });
  });

  describe("when a part of the index is away", () => {
    const whole = { timed_out: false, _shards: { total: 5, successful: 5, skipped: 0, failed: 0 } };
    const partial = {
      code: "unavailable",
      message: expect.stringContaining("from a part of the index") as string,
    };
    const nothing = { hits: { hits: [] } };

    it.each([
      ["was too slow", { ...whole, timed_out: true }],
      ["has failed", { ...whole, _shards: { ...whole._shards, failed: 4 } }],
      ["is not there", { ...whole, _shards: { ...whole._shards, successful: 1 } }],
    ])("that it %s is not told as if nothing were there", async (_, answer) => {
      await using s = await stage(({ operation }) => {
        if (operation === "_msearch") return { status: 200, body: { responses: [{ ...answer, ...nothing }] } };
        return operation === "_search" ? { status: 200, body: { ...answer, ...nothing } } : undefined;
      });
      await expect(s.open().search("x", { ...POLICIES, k: 3 })).rejects.toMatchObject(partial);
      const ingestion = s.open().ingest(each(document("a", "x")), { ...POLICIES, complete: true });
      await expect(ingestion).rejects.toMatchObject(partial);
    });

    it("OpenSearch itself refuses to answer from the rest", async () => {
      // It would wait a minute for a shard that is away.
      await using s = await stage(({ operation }) => (operation === "_refresh" ? { status: 200 } : undefined));
      await s.direct().ingest(each(document("a", "refund")), POLICIES);
      const headers = { "content-type": "application/json" };
      const made = (await (await fetch(`${url}/${s.index}`)).json()) as Readonly<Record<string, Made>>;
      const { mappings, settings } = made[s.index] ?? {};
      await fetch(`${url}/${s.index}`, { method: "DELETE" });
      // Of its two shards this one node may have one.
      const halves = { number_of_shards: 2, "routing.allocation.total_shards_per_node": 1 };
      const index = { ...halves, knn: true, analysis: settings?.index.analysis };
      const body = JSON.stringify({ mappings, settings: { index } });
      await fetch(`${url}/${s.index}?wait_for_active_shards=0`, { method: "PUT", headers, body });
      const isHalf = async () => {
        const health = await fetch(`${url}/_cluster/health/${s.index}`);
        const { active_shards: active } = (await health.json()) as { readonly active_shards: number };
        return active === 1 || undefined;
      };
      await eventually(isHalf, "one of two shards");
      const refused = expect.objectContaining({
        code: "unavailable",
        message: expect.not.stringContaining("from a part of the index") as string,
      }) as unknown;
      await expect(s.open().search("refund", { ...POLICIES, k: 3 })).rejects.toEqual(refused);
      const ingestion = s.open().ingest(each(), { ...POLICIES, complete: true });
      await expect(ingestion).rejects.toEqual(refused);
    });
  });

  describe("an index", () => {
    it("that somebody else made is left alone, and named with what to do", async () => {
      await using s = await stage();
      const made = { mappings: { properties: { vector: { type: "text" } } } };
      const headers = { "content-type": "application/json" };
      await fetch(`${url}/${s.index}`, { method: "PUT", headers, body: JSON.stringify(made) });
      for (const embedder of [undefined, conceptEmbedder]) {
        const ingestion = s.open({ embedder }).ingest(each(document("a", "x")), POLICIES);
        await expect(ingestion).rejects.toMatchObject({
          code: "conflict",
          message: expect.stringMatching(/not made by Holdpoint.*HOLDPOINT_OPENSEARCH_INDEX/) as string,
        });
      }
      const { count } = (await (await fetch(`${url}/${s.index}/_count`)).json()) as { readonly count: number };
      expect(count).toBe(0);
    });

    it("of a newer format is not guessed at", async () => {
      await using s = await stage();
      const made = { mappings: { _meta: { holdpoint: { format: 2 } } } };
      const headers = { "content-type": "application/json" };
      await fetch(`${url}/${s.index}`, { method: "PUT", headers, body: JSON.stringify(made) });
      const ingestion = s.open().ingest(each(document("a", "x")), POLICIES);
      await expect(ingestion).rejects.toMatchObject({ code: "unsupported" });
    });

    it("with vectors of another size takes no documents: the error names both, and nothing was paid for", async () => {
      await using s = await stage();
      await s.direct({ embedder: countingEmbedder() }).ingest(each(document("a", "refund")), POLICIES);
      const other = countingEmbedder({ dimensions: 32 });
      const ingestion = s.open({ embedder: other }).ingest(each(document("b", "refund")), POLICIES);
      await expect(ingestion).rejects.toMatchObject({
        code: "conflict",
        message: expect.stringMatching(/words, 64 dimensions.*words, 32 dimensions/) as string,
      });
      expect(other.paid).toEqual([]);
      expect(idsOf(await s.direct().search("refund", { ...POLICIES, k: 3 }))).toEqual(["a"]);
    });

    it("is made once by many that start together", async () => {
      await using s = await stage();
      const reports = await Promise.all(
        Array.from({ length: 6 }, (_, n) =>
          s.open({ embedder: conceptEmbedder }).ingest(each(document(`d${n}`, "refund")), POLICIES),
        ),
      );
      expect(reports).toHaveLength(6);
      expect(await s.direct().search("refund", { ...POLICIES, k: 10 })).toHaveLength(6);
    });

    it("in which others write one document again and again, it gives up on it after a while", async () => {
      let others = 0;
      await using s = await stage(({ operation, body }) => {
        if (operation !== "_bulk" || !body.includes('"passage"')) return undefined;
        others += 1;
        return { after: s.direct().ingest(each(document("a", `words of others ${others}`)), POLICIES) };
      });
      const ingestion = s.open().ingest(each(document("a", "our words")), POLICIES);
      await expect(ingestion).rejects.toMatchObject({ code: "conflict" });
      expect(others).toBe(5);
      const found = await s.direct().search("words", { ...POLICIES, k: 10 });
      expect(found.map(({ text }) => text)).toEqual(["words of others 5"]);
    });

    it("refuses names that it would keep as others", async () => {
      await using s = await stage();
      const half = { ...POLICIES, tenant: "a\uD800" };
      await expect(s.open().search("x", { ...half, k: 3 })).rejects.toMatchObject({ code: "invalid" });
      await expect(s.open().ingest(each(), half)).rejects.toMatchObject({ code: "invalid" });
      expect(s.proxy.seen).toEqual([]);
    });
  });

  describe("signed", () => {
    const signer = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG", region: "eu-central-1" };

    it.each(["es", "aoss"] as const)(
      "every request for %s is as AWS computes it, and sent as it was",
      async (service) => {
        const wrong: (string | undefined)[] = [];
        await using s = await stage((passing) => {
          wrong.push(whatIsWrong(passing, { ...signer, service }));
          return wrong.at(-1) === undefined ? undefined : { status: 403 };
        });
        const credentials = { ...signer, sessionToken: "AQoDYXdzEPT//////////wEXAMPLE" };
        const sign = createRequestSigner({ service, region: signer.region, clock: hurried, credentials });
        const retriever = s.open({ sign, embedder: conceptEmbedder });
        await retriever.ingest(each(document("ä/ö ü", "refund of boots")), { ...POLICIES, complete: true });
        expect(idsOf(await retriever.search("réfund 日本 \uD83D\uDE00 boots", { ...POLICIES, k: 3 }))).toEqual([
          "ä/ö ü",
        ]);
        expect(await retriever.remove({ ...POLICIES, documentId: "ä/ö ü" })).toBe(true);
        expect(wrong.length).toBeGreaterThan(12);
        expect(wrong.filter((one) => one !== undefined)).toEqual([]);
        // The check can fail: a changed body, a changed path, another secret.
        const [first, ...rest] = s.proxy.seen;
        const bulk = rest.find(({ operation }) => operation === "_bulk");
        if (first === undefined || bulk === undefined) throw new Error("nothing was sent");
        const expected = { ...signer, service };
        expect(whatIsWrong({ ...bulk, body: `${bulk.body} ` }, expected)).toBe("another body");
        expect(whatIsWrong({ ...first, url: "/other/_mapping" }, expected)).toBe("another signature");
        expect(whatIsWrong({ ...first, url: `${first.url}?pretty=1` }, expected)).toBe("another signature");
        expect(whatIsWrong(first, { ...expected, secretAccessKey: "other" })).toBe("another signature");
      },
    );
  });
});
