/** The part of the composition root that opens search, and fills it at the start. What embeds is loaded only if it is set. */
import type { Config, OpenSearchPlace } from "./config.ts";
import type { Clock } from "./core/clock.ts";
import { systemClock } from "./core/clock.ts";
import { HoldpointError, errorInfo, isHoldpointError, namingSetting } from "./core/errors.ts";
import { systemIds } from "./core/ids.ts";
import type { TenantId } from "./core/ids.ts";
import type { EmbeddingCall } from "./models/embedder.ts";
import type { PassageEmbedder } from "./retrieval/embedding.ts";
import type { DocumentFolder } from "./retrieval/folder.ts";
import type { Retriever } from "./retrieval/retriever.ts";
import type { Log } from "./runtime/deps.ts";
import type { Metrics } from "./telemetry/metrics.ts";

/** Where it is told what search does. */
export interface Telling {
  readonly log: Log;
  readonly metrics: Pick<Metrics, "modelCalled">;
}

/** Opens search as the configuration says. @throws HoldpointError, one line, when it cannot be had */
export async function openRetriever(config: Config, { log, metrics }: Telling): Promise<Retriever & AsyncDisposable> {
  await using opening = new AsyncDisposableStack();
  const embedder =
    config.embedder === undefined
      ? undefined
      : opening.use(await openEmbedder(config, config.embedder, { log, metrics }));
  const retriever =
    config.openSearch === undefined
      ? opening.use(await openSqlite(config.dataDir, embedder))
      : await openOpenSearch(config.openSearch, embedder);
  const opened = opening.move();
  return { ...retriever, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

async function openSqlite(
  dataDir: string,
  embedder: PassageEmbedder | undefined,
): Promise<Retriever & AsyncDisposable> {
  const { createSqliteRetriever } = await import("./local/sqlite-search.ts");
  if (embedder === undefined) return createSqliteRetriever({ dataDir });
  const { vectorExtension } = await import("./local/sqlite-vec.ts");
  return createSqliteRetriever({ dataDir, meaning: { embedder, extension: await vectorExtension() } });
}

/** @throws HoldpointError `invalid` for a service whose region nobody says */
async function openOpenSearch(
  { url, index, ...given }: OpenSearchPlace,
  embedder: PassageEmbedder | undefined,
): Promise<Retriever> {
  const [{ createOpenSearchRetriever }, { amazonEndpoint }] = await Promise.all([
    import("./aws/opensearch-retriever.ts"),
    import("./aws/opensearch-endpoint.ts"),
  ]);
  const named = amazonEndpoint(url);
  const { service = named?.service ?? "none" } = given;
  const options = { url, index, embedder, clock: systemClock, ids: systemIds };
  if (service === "none") return createOpenSearchRetriever(options);
  const region = named?.region ?? given.region;
  if (region === undefined)
    throw new HoldpointError("invalid", "HOLDPOINT_OPENSEARCH_SERVICE is set but AWS_REGION is not");
  const { createRequestSigner } = await import("./aws/opensearch-signing.ts");
  return createOpenSearchRetriever({ ...options, sign: createRequestSigner({ service, region, clock: systemClock }) });
}

/** Attempts at one request, requests of one call at once, and milliseconds of silence after which one has failed. */
const EMBEDDING = { attempts: 5, concurrency: 8, silenceMs: 30_000 } as const;

/** The embedder that is set. @throws HoldpointError `invalid` without a region, `unsupported` for another model */
async function openEmbedder(
  { bedrock: { region, endpoint } }: Config,
  { model, dimensions }: NonNullable<Config["embedder"]>,
  { log, metrics }: Telling,
): Promise<PassageEmbedder & Disposable> {
  if (region === undefined) throw new HoldpointError("invalid", "HOLDPOINT_EMBEDDER is set but AWS_REGION is not");
  const [{ createBedrockClient }, { createBedrockEmbeddings }, { createEmbedder }, { createAttempts }] =
    await Promise.all([
      import("./aws/bedrock-chat.ts"),
      import("./aws/bedrock-embeddings.ts"),
      import("./models/embedder.ts"),
      import("./models/policies.ts"),
    ]);
  const { concurrency, silenceMs } = EMBEDDING;
  const bedrock = createBedrockClient({ endpoint, region, requestTimeoutMs: silenceMs });
  const size = dimensions === undefined ? {} : { dimensions };
  const client = await namingSetting("HOLDPOINT_EMBEDDER", () =>
    createBedrockEmbeddings(bedrock, { model, region, ...size }),
  );
  const attempts = createAttempts({
    attempts: EMBEDDING.attempts,
    onBreaker: (place, state, reason) => log.warn({ place, state, reason }, "an embedder's breaker has changed"),
  });
  const record = (call: EmbeddingCall): void =>
    metrics.modelCalled({ operation: "embeddings", provider: "aws.bedrock", ...call });
  const embedder = createEmbedder({ client, attempts, clock: systemClock, concurrency, silenceMs, record });
  return { ...embedder, [Symbol.dispose]: () => bedrock.destroy() };
}

/** Lists a folder of documents. @throws HoldpointError `invalid` when it is none */
export async function openFolder(path: string): Promise<DocumentFolder> {
  const folder = await import("./retrieval/folder.ts");
  return namingSetting("HOLDPOINT_DOCUMENTS", () => folder.openFolder(path));
}

export interface FolderIngestion {
  readonly folder: DocumentFolder;
  readonly retriever: Retriever;
  readonly tenant: TenantId;
  readonly collection?: string;
  readonly log: Log;
  readonly stopping: AbortSignal;
}

/** The collection that a folder is ingested into unless another is named. */
export const DOCUMENTS = "documents";

/** Ingests a folder, and says how far it is. @throws HoldpointError as the retriever does; the signal's reason */
export async function ingestFolder(ingestion: FolderIngestion): Promise<void> {
  tellSkipped(ingestion);
  await ingestOnce(ingestion);
}

function tellSkipped({ folder, log }: FolderIngestion): void {
  for (const { path, reason } of folder.skipped) log.warn({ path, reason }, "document skipped");
}

async function ingestOnce(ingestion: FolderIngestion): Promise<void> {
  const { folder, retriever, tenant, collection = DOCUMENTS, log, stopping } = ingestion;
  const { total } = folder;
  const report = await retriever.ingest(folder.documents(stopping), {
    tenant,
    collection,
    total,
    complete: true,
    onProgress: ({ documents, passages }) => log.info({ documents, total, passages }, "ingesting documents"),
    signal: stopping,
  });
  log.info({ ...report }, "documents ingested");
}

const AGAIN_MS = 30_000;
/** What may be otherwise in a while: also credentials, which others renew. */
const PASSING = ["unavailable", "limit", "forbidden"] as const;

/** Of a service, beside its work: what embeds or keeps may be away, and it goes on when that is back, from where it was. */
export async function ingestPatiently(ingestion: FolderIngestion, clock: Clock): Promise<void> {
  const { log, stopping } = ingestion;
  tellSkipped(ingestion);
  while (!stopping.aborted) {
    try {
      return await ingestOnce(ingestion);
    } catch (error) {
      if (stopping.aborted) return;
      if (!PASSING.some((code) => isHoldpointError(error, code))) throw error;
      log.warn({ reason: errorInfo(error).message, againMs: AGAIN_MS }, "documents cannot be ingested at present");
      await clock.sleep(AGAIN_MS, stopping);
    }
  }
}
