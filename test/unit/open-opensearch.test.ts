/** What of the environment decides that search is on OpenSearch, and what its requests are signed for. */
import { createServer } from "node:http";
import { afterEach, describe, expect, it, vi } from "vitest";
import { amazonEndpoint } from "../../src/aws/opensearch-endpoint.ts";
import { readConfig } from "../../src/config.ts";
import { openRetriever } from "../../src/open-retrieval.ts";
import { noMetrics } from "../../src/telemetry/metrics.ts";
import { createMemoryLog, listen } from "../support/http.ts";
import { startOpenSearchProxy } from "../support/opensearch-proxy.ts";

const open = async (env: Readonly<Record<string, string>>) => {
  const read = readConfig(["start"], env);
  if (read.kind !== "run") throw new Error("help was not asked for");
  return openRetriever(read.config, { log: createMemoryLog(), metrics: noMetrics });
};

it.each([
  ["https://search-docs-abc123.eu-central-1.es.amazonaws.com", { service: "es", region: "eu-central-1" }],
  ["https://vpc-docs-abc123.us-gov-west-1.es.amazonaws.com", { service: "es", region: "us-gov-west-1" }],
  ["https://docs.cn-north-1.es.amazonaws.com.cn", { service: "es", region: "cn-north-1" }],
  ["https://search-docs-abc123.aos.eu-west-1.on.aws", { service: "es", region: "eu-west-1" }],
  ["https://0a1b2c.us-east-1.aoss.amazonaws.com", { service: "aoss", region: "us-east-1" }],
  ["https://0a1b2c.aoss.us-east-1.on.aws", { service: "aoss", region: "us-east-1" }],
  ["http://127.0.0.1:9200", undefined],
  ["https://search.example.com", undefined],
  ["https://es.amazonaws.com.example.com", undefined],
  ["https://a.eu-central-1.es.amazonaws.com.example.com", undefined],
])("%s is what its name says", (url, expected) => {
  expect(amazonEndpoint(url)).toEqual(expected);
});

const NOWHERE = "http://127.0.0.1:1";

it.each<[string, Readonly<Record<string, string>>, RegExp]>([
  ["no URL", { HOLDPOINT_OPENSEARCH_URL: "search" }, /HOLDPOINT_OPENSEARCH_URL: the URL of an OpenSearch is expected/],
  ["another protocol", { HOLDPOINT_OPENSEARCH_URL: "ftp://search" }, /HOLDPOINT_OPENSEARCH_URL: the URL of/],
  ["a password", { HOLDPOINT_OPENSEARCH_URL: "https://a:b@search" }, /nothing is expected after the host, and no/],
  ["a path", { HOLDPOINT_OPENSEARCH_URL: "https://search/os" }, /nothing is expected after the host/],
  ["a bad name", { HOLDPOINT_OPENSEARCH_URL: NOWHERE, HOLDPOINT_OPENSEARCH_INDEX: "A,b" }, /the name of an index/],
  ["an index alone", { HOLDPOINT_OPENSEARCH_INDEX: "a" }, /is set but HOLDPOINT_OPENSEARCH_URL is not/],
  ["a service alone", { HOLDPOINT_OPENSEARCH_SERVICE: "es" }, /is set but HOLDPOINT_OPENSEARCH_URL is not/],
  [
    "a service without a region",
    { HOLDPOINT_OPENSEARCH_URL: "https://search.example.com", HOLDPOINT_OPENSEARCH_SERVICE: "es" },
    /HOLDPOINT_OPENSEARCH_SERVICE is set but AWS_REGION is not/,
  ],
])("refuses to start with %s, in one line", async (_, env, words) => {
  await expect(open(env)).rejects.toThrow(words);
});

it("says when what answers is not OpenSearch", async () => {
  await using site = await startOpenSearchProxy(NOWHERE, () => ({ status: 200, body: "<h1>Welcome</h1>" }));
  await using retriever = await open({ HOLDPOINT_OPENSEARCH_URL: site.endpoint });
  const search = retriever.search("refund", { tenant: "acme", collection: "documents", k: 3 });
  await expect(search).rejects.toThrow(/not OpenSearch.*HOLDPOINT_OPENSEARCH_URL/);
});

it("is led nowhere else by what answers there", async () => {
  await using elsewhere = await startOpenSearchProxy(NOWHERE, () => ({ status: 404 }));
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(307, { location: `${elsewhere.endpoint}${request.url}` }).end();
  });
  await using site = await listen(server);
  await using retriever = await open({ HOLDPOINT_OPENSEARCH_URL: site.url });
  const search = retriever.search("refund", { tenant: "acme", collection: "documents", k: 3 });
  await expect(search).rejects.toMatchObject({ code: "unavailable" });
  expect(elsewhere.seen).toEqual([]);
});

describe("requests", () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  const asked = async (env: Readonly<Record<string, string>>) => {
    await using server = await startOpenSearchProxy(NOWHERE, () => ({ status: 404 }));
    await using retriever = await open({ HOLDPOINT_OPENSEARCH_URL: `${server.endpoint}/`, ...env });
    expect(retriever.semantic).toBe(false);
    expect(await retriever.search("refund", { tenant: "acme", collection: "documents", k: 3 })).toEqual([]);
    return server.seen[0];
  };

  it("go to the index that is named, unsigned to a host that is not Amazon's", async () => {
    const first = await asked({});
    expect(first?.url).toBe("/holdpoint/_msearch");
    expect(first?.headers.authorization).toBeUndefined();
    const other = await asked({ HOLDPOINT_OPENSEARCH_INDEX: "documents" });
    expect(other?.url).toBe("/documents/_msearch");
  });

  it("are signed for the service that is named, with the credentials that the SDK finds", async () => {
    vi.stubEnv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "example");
    const signed = await asked({ HOLDPOINT_OPENSEARCH_SERVICE: "aoss", AWS_REGION: "eu-west-1" });
    expect(signed?.headers.authorization).toMatch(/^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d{8}\/eu-west-1\/aoss\//);
  });

  it("that cannot be signed, for want of credentials, are not sent, and say why", async () => {
    const none = { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined, AWS_PROFILE: undefined };
    const nowhere = {
      AWS_EC2_METADATA_DISABLED: "true",
      AWS_SHARED_CREDENTIALS_FILE: "/none",
      AWS_CONFIG_FILE: "/none",
    };
    for (const [name, value] of Object.entries({ ...none, ...nowhere })) vi.stubEnv(name, value);
    await using retriever = await open({
      HOLDPOINT_OPENSEARCH_URL: NOWHERE,
      HOLDPOINT_OPENSEARCH_SERVICE: "es",
      AWS_REGION: "eu-west-1",
    });
    const search = retriever.search("refund", { tenant: "acme", collection: "documents", k: 3 });
    await expect(search).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringMatching(/the request cannot be signed: .*credentials/i) as string,
    });
  });
});
