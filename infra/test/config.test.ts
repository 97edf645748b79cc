/** What may stand in a file of infra/environments, and what is refused with words that help. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { environmentConfig } from "../lib/config.ts";

const read = (name: string): Record<string, unknown> =>
  JSON.parse(readFileSync(join(import.meta.dirname, "../environments", `${name}.json`), "utf8")) as Record<
    string,
    unknown
  >;
const DEVELOPMENT = read("development");
const PRODUCTION = read("production");

const OPENSEARCH = {
  url: "https://search.example.com",
  arn: "arn:aws:es:eu-central-1:111122223333:domain/documents",
  index: "holdpoint",
};

const catalogueOf = (target: object) => ({
  targets: { one: { provider: "bedrock", model: "amazon.nova-lite-v1:0", contextTokens: 10_000, ...target } },
  models: { default: { targets: ["one"] } },
});

const problems = (config: unknown): readonly string[] =>
  environmentConfig.safeParse(config).error?.issues.map(({ path, message }) => `${path.join(".")}: ${message}`) ?? [];

describe("the configuration of an environment", () => {
  it("is taken as the files have it", () => {
    expect([problems(DEVELOPMENT), problems(PRODUCTION)]).toEqual([[], []]);
    expect(problems({ ...PRODUCTION, openSearch: OPENSEARCH })).toEqual([]);
    const settings = { HOLDPOINT_CORS_ORIGINS: "https://app.example.com", HOLDPOINT_MAX_STEPS: "50" };
    expect(problems({ ...PRODUCTION, settings })).toEqual([]);
  });

  it.each([
    ["a name that is not known", { imageTga: "1" }, /Unrecognized key: "imageTga"/],
    [
      "memory that Fargate does not give",
      { api: { ...(PRODUCTION["api"] as object), memoryMiB: 16_384 } },
      /^api.memoryMiB: Fargate gives 2048 to 8192/,
    ],
    [
      "more tasks at least than at most",
      { api: { ...(PRODUCTION["api"] as object), minTasks: 20 } },
      /^api.minTasks: more than maxTasks/,
    ],
    [
      "one task of what is protected",
      { worker: { ...(PRODUCTION["worker"] as object), minTasks: 1 } },
      /^worker.minTasks: two at least/,
    ],
    ["a tag that moves, of what is protected", { imageTag: "latest" }, /^imageTag: a digest/],
    ["a public image without a way out", { natGateways: 0 }, /^collectorImage: without a NAT gateway/],
    ["a region that there is not", { region: "eu-centrl-1" }, /^region: a region such as/],
    [
      "an OpenSearch in two regions",
      { openSearch: { ...OPENSEARCH, url: "https://search-a-b.us-east-1.es.amazonaws.com" } },
      /^openSearch.arn: es in .*, and the URL is of es in us-east-1/,
    ],
    ["a certificate of another region", { region: "us-east-1" }, /^certificateArn: of another region/],
    [
      "an OpenSearch without TLS",
      { openSearch: { ...OPENSEARCH, url: "http://search.example.com" } },
      /^openSearch.url: an https URL/,
    ],
    [
      "an OpenSearch whose ARN is none",
      { openSearch: { ...OPENSEARCH, arn: "arn:aws:s3:::a" } },
      /^openSearch.arn: the ARN/,
    ],
    [
      "a catalogue that the service refuses",
      { catalogue: { targets: {}, models: { a: { targets: ["b"] } } } },
      /^catalogue: .*called b/,
    ],
    [
      "a model that is a pattern",
      { catalogue: catalogueOf({ model: "anthropic.*" }) },
      /^catalogue: targets.one.model/,
    ],
    [
      "a guardrail that is a pattern",
      { catalogue: catalogueOf({ guardrail: { id: "*", version: "1" } }) },
      /^catalogue: targets.one.guardrail/,
    ],
    [
      "a model that cannot be reached",
      { natGateways: 0, catalogue: catalogueOf({ region: "us-east-1" }) },
      /^catalogue: targets.one.region: without a NAT gateway/,
    ],
    [
      "a catalogue too long for a task",
      { catalogue: catalogueOf({ extra: { x: "x".repeat(16_384) } }) },
      /^catalogue: longer/,
    ],
    [
      "a setting that is misspelt",
      { settings: { HOLDPOINT_MAX_STEP: "10" } },
      /^settings.HOLDPOINT_MAX_STEP: .* no setting/,
    ],
    [
      "a setting that the service refuses",
      { settings: { HOLDPOINT_MAX_STEPS: "ten" } },
      /^settings.HOLDPOINT_MAX_STEPS: a whole number/,
    ],
    [
      "a setting that the stacks say",
      { settings: { HOLDPOINT_TABLE: "mine" } },
      /^settings.HOLDPOINT_TABLE: the stacks/,
    ],
    ["models that nothing is granted for", { settings: { HOLDPOINT_MODELS: "/a" } }, /^settings.HOLDPOINT_MODELS: say/],
    [
      "an OpenSearch that nothing is granted for",
      { settings: { HOLDPOINT_OPENSEARCH_URL: "https://search.example.com" } },
      /^settings.HOLDPOINT_OPENSEARCH_URL: say/,
    ],
    ["an embedder that is none", { embedder: "titan" }, /^embedder: bedrock:<model id>/],
    [
      "an embedder of a family that the service does not know",
      { embedder: "bedrock:cohere.embed-v4:0" },
      /^embedder: cohere.embed-v4:0 is no embedding model/,
    ],
    [
      "an embedder of a size that its model has not",
      { embedder: "bedrock:amazon.titan-embed-text-v2:0@777" },
      /^embedder: .* 1024, 512, 256 dimensions, not of 777/,
    ],
    [
      "an embedder that is a pattern",
      { embedder: "bedrock:amazon.titan-embed-text-v2:?" },
      /^embedder: the id of a model/,
    ],
    ["one zone", { zones: ["a"] }, /^zones/],
    ["one zone twice", { zones: ["a", "a"] }, /^zones: one is named twice/],
    ["an address that is none", { allowedCidrs: ["10.0.0.0"] }, /^allowedCidrs.0/],
  ])("is refused with %s", (_, change, message) => {
    expect(problems({ ...PRODUCTION, ...change })).toContainEqual(expect.stringMatching(message));
  });

  it.each(["HOLDPOINT_ENCRYPTION_KEYS", "HOLDPOINT_CALLBACK_KEYS", "LANGGRAPH_AES_KEY"])(
    "is refused with a secret in plain sight: %s",
    (name) => {
      const settings = { [name]: "k".repeat(32) };
      expect(problems({ ...PRODUCTION, settings })).toEqual([
        expect.stringMatching(new RegExp(`^settings.${name}: a secret`)),
      ]);
    },
  );
});
