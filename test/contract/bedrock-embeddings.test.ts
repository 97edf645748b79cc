/** The embedding models of Titan and Cohere, through the real SDK: the vectors, the batches, and what fails. */
import { createServer } from "node:http";
import type { ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createBedrockClient } from "../../src/aws/bedrock-chat.ts";
import { createBedrockEmbeddings } from "../../src/aws/bedrock-embeddings.ts";
import { systemClock } from "../../src/core/clock.ts";
import { createEmbedder } from "../../src/models/embedder.ts";
import type { Embedder, EmbeddingCall } from "../../src/models/embedder.ts";
import { reasonOf } from "../../src/models/failure.ts";
import { createAttempts } from "../../src/models/policies.ts";
import { startFakeBedrock } from "../support/fake-bedrock.ts";
import type { FakeBedrock } from "../support/fake-bedrock.ts";
import { fakeVector } from "../support/fake-embeddings.ts";

const TITAN = "amazon.titan-embed-text-v2:0";
const COHERE = "cohere.embed-multilingual-v3";
const CONCURRENCY = 4;

interface Settings {
  readonly dimensions?: number;
  readonly silenceMs?: number;
}

/** What was recorded of each request. */
let calls: EmbeddingCall[] = [];
let bedrock: FakeBedrock;
let client: ReturnType<typeof createBedrockClient>;
beforeAll(async () => {
  bedrock = await startFakeBedrock({ models: (model) => model !== "amazon.titan-embed-text-v2:9" });
  client = createBedrockClient({ endpoint: bedrock.endpoint, region: bedrock.region, requestTimeoutMs: 10_000 });
});
afterAll(async () => {
  client.destroy();
  await bedrock[Symbol.asyncDispose]();
});
beforeEach(() => {
  calls = [];
  bedrock.fault(() => undefined);
});

function embedder(model: string, { dimensions, silenceMs = 10_000 }: Settings = {}): Embedder {
  const options = { model, region: bedrock.region, ...(dimensions === undefined ? {} : { dimensions }) };
  return createEmbedder({
    client: createBedrockEmbeddings(client, options),
    attempts: createAttempts({ attempts: 3, backoffMs: 1 }),
    clock: systemClock,
    concurrency: CONCURRENCY,
    silenceMs,
    record: (call) => calls.push(call),
  });
}

const texts = (count: number): readonly string[] => Array.from({ length: count }, (_, n) => `text number ${n}`);
const sent = (from: number): readonly Readonly<Record<string, unknown>>[] =>
  bedrock.seen.slice(from).map(({ body }) => ({ ...body }));

describe.each([
  [TITAN, 1024, 250],
  [COHERE, 1024, 3],
])("%s", (model, dimensions, requests) => {
  it("has a vector for each of many texts, in their order, in as few requests as it takes", async () => {
    const before = bedrock.seen.length;
    const many = texts(250);
    const vectors = await embedder(model).embed(many, { purpose: "document" });
    expect(vectors).toEqual(many.map((text) => Float32Array.from(fakeVector(text, dimensions, true))));
    expect(bedrock.seen.length - before).toBe(requests);
  });

  it("takes the longest text that is ever embedded, and a character that stands where it is cut", async () => {
    const long = `${"word ".repeat(409)}ab${"\u{1f600}".repeat(2_950)}`;
    const vectors = await embedder(model).embed([long], { purpose: "document" });
    expect(vectors).toHaveLength(1);
    expect(JSON.stringify(bedrock.seen.at(-1)?.body)).not.toContain("\\ud83d");
  });

  it("asks again for what fails in passing, each request by itself", async () => {
    const before = bedrock.seen.length;
    bedrock.fault(({ index }) => (index === before ? { kind: "throttle" } : undefined));
    expect(await embedder(model).embed(texts(2), { purpose: "query" })).toHaveLength(2);
  });

  it.each([
    ["throttled", { kind: "throttle" }],
    ["timeout", { kind: "hang" }],
    ["cut", { kind: "reset" }],
    ["credentials", { kind: "refuse", status: 403, type: "AccessDeniedException" }],
  ] as const)("says %s", async (reason, fault) => {
    bedrock.fault(() => fault);
    const silenceMs = 200;
    expect(await embedder(model, { silenceMs }).embed(["a"], { purpose: "query" }).catch(reasonOf)).toBe(reason);
    expect(calls).toEqual([{ model, ms: expect.any(Number) as unknown, error: reason }]);
  });

  it("refuses a blank text by its number, and embeds none as none", async () => {
    await expect(embedder(model).embed(["a", " "], { purpose: "query" })).rejects.toThrow(/text 1 of 2 is blank/);
    expect(await embedder(model).embed([], { purpose: "query" })).toEqual([]);
  });
});

/** Whoever answers at the endpoint in place of Bedrock. */
async function answeredBy(answer: (response: ServerResponse) => void) {
  const server = createServer((request, response) => {
    request.resume().on("end", () => answer(response));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const own = createBedrockClient({
    endpoint: `http://127.0.0.1:${port}`,
    region: bedrock.region,
    requestTimeoutMs: 10_000,
  });
  const attempts = createAttempts({ attempts: 3, backoffMs: 1 });
  const titan = createBedrockEmbeddings(own, { model: TITAN, region: bedrock.region });
  const limits = { concurrency: CONCURRENCY, silenceMs: 10_000 };
  const settings = { client: titan, attempts, clock: systemClock, ...limits, record: () => undefined };
  return {
    embed: () => createEmbedder(settings).embed(["a text"], { purpose: "document" }),
    [Symbol.dispose]() {
      own.destroy();
      server.close();
    },
  };
}

const PAGE = "<html>SECRET</html>";

it("tells nothing of a body that is not Bedrock's, and once it is left alone still says why", async () => {
  using stranger = await answeredBy((response) => void response.writeHead(200).end(PAGE));
  const refused = expect.objectContaining({ message: expect.not.stringContaining("SEC") as unknown }) as unknown;
  for (const _ of [1, 2]) await expect(stranger.embed()).rejects.toEqual(refused);
  await expect(stranger.embed()).rejects.toThrow(/left alone; the last time: the model's answer broke off/);
});

it("takes a 5xx for a service that is away, whatever its body is", async () => {
  using stranger = await answeredBy((response) => void response.writeHead(502).end(PAGE));
  await expect(stranger.embed()).rejects.toThrow(/^the model is not available \(.*\): .*HTTP 502$/);
});

it("refuses a vector of zeros, which is near to nothing", async () => {
  using stranger = await answeredBy((response) => {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ embedding: Array.from({ length: 1024 }, () => 0), inputTextTokenCount: 2 }));
  });
  await expect(stranger.embed()).rejects.toThrow(/vector of zeros/);
});

it("records the tokens of each request, where its model tells of them", async () => {
  await embedder(TITAN).embed(["a text of 20 letters", "word"], { purpose: "document" });
  await embedder(COHERE).embed(["a", "b"], { purpose: "document" });
  expect(calls.map(({ model, inputTokens }) => [model, inputTokens])).toEqual([
    [TITAN, 5],
    [TITAN, 1],
    [COHERE, undefined],
  ]);
});

it("tells Cohere whether a text is searched or searches, and Titan how long its vectors are", async () => {
  const before = bedrock.seen.length;
  await embedder(COHERE).embed(["a"], { purpose: "query" });
  await embedder(COHERE).embed(["a"], { purpose: "document" });
  const [vector] = await embedder(TITAN, { dimensions: 256 }).embed(["a"], { purpose: "query" });
  expect(sent(before)).toMatchObject([
    { input_type: "search_query" },
    { input_type: "search_document" },
    { dimensions: 256 },
  ]);
  expect(vector).toHaveLength(256);
});

it("sends nothing more once one request has failed", async () => {
  const before = bedrock.seen.length;
  bedrock.fault(({ index }) =>
    index === before ? { kind: "refuse", status: 403, type: "AccessDeniedException" } : { kind: "hang" },
  );
  expect(await embedder(TITAN).embed(texts(200), { purpose: "query" }).catch(reasonOf)).toBe("credentials");
  expect(bedrock.seen.length - before).toBeLessThanOrEqual(CONCURRENCY);
});

it("gives out what was answered also when a later request fails, so that it need not be paid for again", async () => {
  const before = bedrock.seen.length;
  bedrock.fault(({ index }) =>
    index === before + 6 ? { kind: "refuse", status: 403, type: "AccessDeniedException" } : undefined,
  );
  const many = texts(20);
  const arrived: (Float32Array | undefined)[] = [];
  const onVectors = (start: number, vectors: readonly Float32Array[]): void => {
    for (const [at, vector] of vectors.entries()) arrived[start + at] = vector;
  };
  const failed = embedder(TITAN).embed(many, { purpose: "document", onVectors });
  expect(await failed.catch(reasonOf)).toBe("credentials");
  const answered = many.filter((_, at) => arrived[at] !== undefined);
  expect(answered.length).toBeGreaterThan(0);
  for (const [at, vector] of arrived.entries()) {
    if (vector !== undefined) expect(vector).toEqual(Float32Array.from(fakeVector(many[at] ?? "", 1024, true)));
  }
});

it("has so many requests under way at once, and no more", async () => {
  let most = 0;
  let underWay = 0;
  const counted = createEmbedder({
    client: {
      place: "counted",
      model: "counted",
      dimensions: 1,
      batchSize: 1,
      async embed() {
        most = Math.max(most, (underWay += 1));
        await systemClock.sleep(1);
        underWay -= 1;
        return { vectors: [[1]] };
      },
    },
    attempts: createAttempts({ attempts: 1 }),
    clock: systemClock,
    concurrency: CONCURRENCY,
    silenceMs: 1_000,
    record: () => undefined,
  });
  await counted.embed(texts(30), { purpose: "query" });
  expect(most).toBe(CONCURRENCY);
});

it("refuses a size that its model does not have and a model that embeds nothing at once; one that is not there, when asked", async () => {
  const before = bedrock.seen.length;
  expect(() => embedder(TITAN, { dimensions: 300 })).toThrow(/1024, 512, 256 dimensions, not of 300/);
  expect(() => embedder(COHERE, { dimensions: 512 })).toThrow(/1024 dimensions, not of 512/);
  expect(bedrock.seen.length).toBe(before);
  const gone = embedder("amazon.titan-embed-text-v2:9");
  expect(await gone.embed(["a"], { purpose: "query" }).catch(reasonOf)).toBe("unknown_model");
  expect(() => embedder("amazon.nova-pro-v1:0")).toThrow(/no embedding model/);
});
