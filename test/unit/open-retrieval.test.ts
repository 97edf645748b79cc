/** What a process opens for search, from the environment on, and how it fills it at the start. */
import { spawnSync } from "node:child_process";
import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readConfig } from "../../src/config.ts";
import { tenantId } from "../../src/core/ids.ts";
import { createSqliteRetriever } from "../../src/local/sqlite-search.ts";
import { modelFailure } from "../../src/models/failure.ts";
import { vectorExtension } from "../../src/local/sqlite-vec.ts";
import { ingestPatiently, openFolder, openRetriever } from "../../src/open-retrieval.ts";
import type { Retriever, SourceDocument } from "../../src/retrieval/retriever.ts";
import { METRICS } from "../../src/telemetry/metric-names.ts";
import { noMetrics } from "../../src/telemetry/metrics.ts";
import type { Metrics } from "../../src/telemetry/metrics.ts";
import { countingEmbedder } from "../support/counting-embedder.ts";
import { eventually } from "../support/eventually.ts";
import { startFakeBedrock } from "../support/fake-bedrock.ts";
import { createMemoryLog } from "../support/http.ts";
import { otelEnv, startOtlpReceiver } from "../support/otlp-receiver.ts";
import { startTelling } from "../support/telling.ts";
import { createManualClock } from "../support/manual-clock.ts";

const PROJECT = resolve(import.meta.dirname, "../..");
const TITAN = "bedrock:amazon.titan-embed-text-v2:0";
const PLACE = { tenant: tenantId("acme"), collection: "documents" };

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "holdpoint-retrieval-"));
});
afterEach(() => rm(dir, { recursive: true }));

async function open(env: Readonly<Record<string, string>>, metrics: Pick<Metrics, "modelCalled"> = noMetrics) {
  const read = readConfig(["start"], { HOLDPOINT_DATA_DIR: dir, ...env });
  if (read.kind !== "run") throw new Error("help was not asked for");
  return openRetriever(read.config, { log: createMemoryLog(), metrics });
}

async function* each(...texts: readonly string[]): AsyncGenerator<SourceDocument> {
  for (const text of texts) yield { id: text, title: "", text, format: "text", labels: {} };
}

/** The packages that a process has loaded once its search is open. */
function loaded(env: Readonly<Record<string, string>>): string {
  const script = `
    import { registerHooks } from "node:module";
    registerHooks({ load(url, context, next) { const [, name] = /node_modules\\/((?:@[^/]+\\/)?[^/]+)\\//.exec(url) ?? []; if (name) globalThis.seen.add(name); return next(url, context); } });
    globalThis.seen = new Set();
    const { readConfig } = await import("./src/config.ts");
    const { openRetriever } = await import("./src/open-retrieval.ts");
    const retriever = await openRetriever(readConfig(["start"]).config, { log: { warn() {}, info() {} }, metrics: { modelCalled() {} } });
    await retriever[Symbol.asyncDispose]();
    process.stdout.write([...globalThis.seen].join(" "));
  `;
  const run = spawnSync(process.execPath, ["--conditions=holdpoint-source", "--input-type=module", "-e", script], {
    cwd: PROJECT,
    encoding: "utf8",
    env: { ...process.env, HOLDPOINT_DATA_DIR: dir, ...env },
  });
  expect(run.stderr).toBe("");
  return run.stdout;
}

it("loads neither sqlite-vec nor anything of AWS without an embedder", () => {
  expect(loaded({})).not.toMatch(/sqlite-vec|aws|smithy|cockatiel/);
  // The control: with one, they are seen.
  expect(loaded({ HOLDPOINT_EMBEDDER: TITAN, AWS_REGION: "us-east-1" })).toMatch(/aws.*sqlite-vec|sqlite-vec.*aws/);
});

it("embeds documents and queries with the model that is set, in vectors of the size that is set", async () => {
  await using bedrock = await startFakeBedrock();
  const env = { AWS_REGION: bedrock.region, BEDROCK_ENDPOINT: bedrock.endpoint };
  await using retriever = await open({ ...env, HOLDPOINT_EMBEDDER: `${TITAN}@256` });
  expect(retriever.semantic).toBe(true);
  expect(await retriever.ingest(each("refund of tents", "boots"), PLACE)).toMatchObject({ embedded: 2 });
  const [first] = await retriever.search("refund", { ...PLACE, k: 2 });
  expect(first).toMatchObject({ text: "refund of tents", parts: { lexical: { rank: 1 }, vector: { rank: 1 } } });
  expect(bedrock.seen.map(({ model, body }) => ({ model, ...body }))).toEqual(
    ["refund of tents", "boots", "refund"].map((inputText) => ({
      model: "amazon.titan-embed-text-v2:0",
      inputText,
      dimensions: 256,
      normalize: true,
    })),
  );
});

it("counts the tokens of what is embedded beside those of other models", async () => {
  await using bedrock = await startFakeBedrock();
  await using receiver = await startOtlpReceiver();
  {
    await using telling = await startTelling(otelEnv(receiver.url));
    const env = { AWS_REGION: bedrock.region, BEDROCK_ENDPOINT: bedrock.endpoint, HOLDPOINT_EMBEDDER: TITAN };
    await using retriever = await open(env, telling.telemetry.metrics);
    await retriever.ingest(each("refund of tents"), PLACE);
  }
  const tokens = receiver.metrics.findLast(({ name }) => name === METRICS.modelTokens.name);
  expect(tokens?.points).toMatchObject([
    {
      value: 4,
      attributes: {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "aws.bedrock",
        "gen_ai.request.model": "amazon.titan-embed-text-v2:0",
        "gen_ai.token.type": "input",
      },
    },
  ]);
});

it("has one layer that tries again: a request that is throttled is sent once more, and then it is there", async () => {
  await using bedrock = await startFakeBedrock();
  bedrock.fault(({ index }) =>
    index === 0 ? { kind: "refuse", status: 429, type: "ThrottlingException" } : undefined,
  );
  const env = { AWS_REGION: bedrock.region, BEDROCK_ENDPOINT: bedrock.endpoint };
  await using retriever = await open({ ...env, HOLDPOINT_EMBEDDER: TITAN });
  expect(await retriever.ingest(each("boots"), PLACE)).toMatchObject({ embedded: 1 });
  expect(bedrock.seen).toHaveLength(2);
});

it.each<[string, Readonly<Record<string, string>>, RegExp]>([
  ["of no known form", { HOLDPOINT_EMBEDDER: "titan" }, /HOLDPOINT_EMBEDDER: bedrock:<model id> or .*@<dimensions>/],
  ["without a model", { HOLDPOINT_EMBEDDER: "bedrock:" }, /HOLDPOINT_EMBEDDER: bedrock:<model id>/],
  ["with a size that is none", { HOLDPOINT_EMBEDDER: `${TITAN}@many` }, /HOLDPOINT_EMBEDDER: bedrock:<model id>/],
  ["whose region nobody says", { HOLDPOINT_EMBEDDER: TITAN }, /HOLDPOINT_EMBEDDER is set but AWS_REGION is not/],
  [
    "of another family",
    { HOLDPOINT_EMBEDDER: "bedrock:amazon.nova-pro-v1:0", AWS_REGION: "us-east-1" },
    /no embedding model of Titan \(v2\) or Cohere \(v3\)/,
  ],
  [
    "of a size that its model has not",
    { HOLDPOINT_EMBEDDER: `${TITAN}@384`, AWS_REGION: "us-east-1" },
    /^HOLDPOINT_EMBEDDER: .*vectors of 1024, 512, 256 dimensions, not of 384/,
  ],
  [
    "that is not there, but its endpoint is",
    { BEDROCK_ENDPOINT: "http://127.0.0.1:1" },
    /BEDROCK_ENDPOINT is set but neither HOLDPOINT_MODELS nor HOLDPOINT_EMBEDDER is/,
  ],
])("refuses to start with an embedder %s, in one line", async (_what, env, words) => {
  await expect(open(env)).rejects.toThrow(words);
});

it("refuses a folder that is none by its setting", async () => {
  await expect(openFolder(join(dir, "nowhere"))).rejects.toThrow(/^HOLDPOINT_DOCUMENTS: .*nowhere is not a folder/);
});

describe("documents that are ingested at the start", () => {
  async function filling() {
    const path = join(dir, "documents");
    await mkdir(path);
    for (let n = 0; n < 40; n += 1) await writeFile(join(path, `${n}.md`), `# Text ${n}\n\nrefund ${n}`);
    const embedder = countingEmbedder();
    const retriever = createSqliteRetriever({
      dataDir: dir,
      meaning: { embedder, extension: await vectorExtension() },
    });
    const stopping = new AbortController();
    const [clock, log] = [createManualClock(), createMemoryLog()];
    const told = (words: string) => log.lines.filter(({ message }) => message === words);
    const start = async (into: Retriever = retriever) =>
      ingestPatiently(
        {
          folder: await openFolder(path),
          retriever: into,
          tenant: PLACE.tenant,
          log,
          stopping: stopping.signal,
        },
        clock,
      );
    return { embedder, retriever, stopping, clock, told, start };
  }

  it("wait for an embedder that is away, and go on from where they were", async () => {
    const { embedder, retriever, clock, told, start } = await filling();
    await using _ = retriever;
    embedder.requestsLeft = 3;
    const done = start();
    await eventually(() => clock.sleepers() === 1, "the ingestion waiting");
    expect(told("documents cannot be ingested at present")[0]?.fields).toMatchObject({
      reason: "the embedder is away",
    });
    embedder.requestsLeft = Number.POSITIVE_INFINITY;
    clock.advance(30_000);
    await done;
    expect(told("documents ingested")[0]?.fields).toMatchObject({ documents: 40, unchanged: 12, embedded: 28 });
    expect(new Set(embedder.paid).size).toBe(embedder.paid.length);
  });

  it("wait for credentials to be renewed, and end no process for them", async () => {
    const { retriever, clock, told, start } = await filling();
    await using _ = retriever;
    let areValid = false;
    const done = start({
      ...retriever,
      ingest: async (...given) => {
        if (!areValid) throw modelFailure("credentials", "they have expired");
        return retriever.ingest(...given);
      },
    });
    await eventually(() => clock.sleepers() === 1, "the ingestion waiting");
    expect(told("documents cannot be ingested at present")[0]?.fields).toMatchObject({ reason: "they have expired" });
    areValid = true;
    clock.advance(30_000);
    await done;
    expect(told("documents ingested")).toHaveLength(1);
  });

  it("are given up without a word when the process is to end", async () => {
    const { embedder, retriever, stopping, clock, told, start } = await filling();
    await using _ = retriever;
    embedder.requestsLeft = 0;
    const done = start();
    await eventually(() => clock.sleepers() === 1, "the ingestion waiting");
    stopping.abort();
    await done;
    expect(told("documents ingested")).toEqual([]);
  });

  it("fail when it is they that are wrong", async () => {
    const { retriever, start } = await filling();
    await using _ = retriever;
    await writeFile(join(dir, "documents", "bad.jsonl"), "{");
    await expect(start()).rejects.toMatchObject({ code: "invalid" });
  });
});
