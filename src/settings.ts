/** The settings: names, bounds, defaults, and the words that `--help` and the documentation share. */
import { z } from "zod";
import { DEFAULT_LIMITS, MAX_QUEUE } from "./core/limits.ts";
import type { Limits } from "./core/limits.ts";
import { SNS_SIGNATURES } from "./core/sns-signature.ts";

const wholeNumber = (least: number, most: number) => {
  const error = `a whole number from ${least} to ${most} is expected`;
  return z.coerce.number({ error }).int({ error }).min(least, { error }).max(most, { error });
};
const text = z.string().trim().min(1);
const limit = (name: keyof Limits, least: number, most: number, description: string) =>
  wholeNumber(least, most).default(DEFAULT_LIMITS[name]).meta({ description });
const DAY_MS = 24 * 3_600_000;
const GIB = 1024 ** 3;

/** What embeds, its model, and the size of its vectors where that is given. */
export const EMBEDDER_FORM = /^(?<provider>bedrock):(?<model>[^\s@]+)(?:@(?<dimensions>[1-9]\d{0,4}))?$/;

/** Every setting, in the order in which it is documented. */
export const environment = z.object({
  HOLDPOINT_ROLE: z.enum(["api", "worker", "all"]).default("all").meta({
    flag: "role",
    description: "What this process does: serve HTTP (api), execute runs (worker), or both (all).",
  }),
  HOLDPOINT_HOST: text
    .default("127.0.0.1")
    .meta({ flag: "host", description: "Address to listen on. Anything but loopback needs HOLDPOINT_KEYS." }),
  HOLDPOINT_PORT: wholeNumber(0, 65_535)
    .default(2024)
    .meta({ flag: "port", description: "Port to listen on; 0 takes any free one." }),
  HOLDPOINT_DATA_DIR: text.default(".holdpoint").meta({
    flag: "data-dir",
    description: "Folder of everything that is kept on this machine: table, blobs, search index.",
  }),
  HOLDPOINT_CONFIG: text
    .default("langgraph.json")
    .meta({ flag: "config", description: "Path of langgraph.json, which names the graphs." }),
  HOLDPOINT_KEYS: text.optional().meta({
    flag: "keys",
    description: "File of API keys. Without it every caller is tenant `default`, and only loopback is served.",
  }),
  HOLDPOINT_TABLE: text.optional().meta({
    flag: "table",
    description: "Name of the DynamoDB table. Without it everything is kept in one SQLite file.",
  }),
  DYNAMODB_ENDPOINT: z
    .url()
    .optional()
    .meta({ description: "URL of a DynamoDB-compatible server other than Amazon's, such as DynamoDB Local." }),
  HOLDPOINT_BUCKET: z
    .string()
    .trim()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](\/[\w./-]*)?$/, "the name of a bucket is expected, or name/prefix")
    .optional()
    .meta({
      flag: "bucket",
      description:
        "S3 bucket of bodies too large for an item, or bucket/prefix; only with HOLDPOINT_TABLE, which keeps them without it.",
    }),
  HOLDPOINT_BUCKET_KMS_KEY_ID: text.optional().meta({
    description:
      "KMS key with which S3 encrypts the bucket's bodies (SSE-KMS). Without it the bucket's own default holds.",
  }),
  S3_ENDPOINT: z
    .url()
    .optional()
    .meta({ description: "URL of an S3-compatible server other than Amazon's; buckets are then part of the path." }),
  AWS_REGION: text.optional().meta({
    description:
      "Region of table, bucket, KMS key, embedder and models that name none (us-east-1 for those whose endpoint is set).",
  }),
  HOLDPOINT_MODELS: text.optional().meta({
    flag: "models",
    description:
      "File of the model catalogue (docs/models.md). Without it there is only the offline model, which is no language model.",
  }),
  HOLDPOINT_EMBEDDER: text
    .regex(
      EMBEDDER_FORM,
      "bedrock:<model id> or bedrock:<model id>@<dimensions> is expected, such as bedrock:amazon.titan-embed-text-v2:0@512",
    )
    .optional()
    .meta({
      flag: "embedder",
      description:
        "Model with which documents are also searched by meaning (docs/retrieval.md): bedrock:<model id>, of Titan (v2) or Cohere (v3), with @<dimensions> where it has several. Without it they are found by their words alone.",
    }),
  HOLDPOINT_OPENSEARCH_URL: z
    .url({ protocol: /^https?$/, error: "the URL of an OpenSearch is expected, such as https://search.example.com" })
    .refine(
      (url) => URL.parse(url)?.origin === url.replace(/\/$/, ""),
      "nothing is expected after the host, and no credentials",
    )
    .optional()
    .meta({
      flag: "opensearch-url",
      description:
        "OpenSearch in which documents are kept and searched (docs/retrieval.md). Without it they are in files on this machine.",
    }),
  HOLDPOINT_OPENSEARCH_INDEX: z
    .string()
    .trim()
    .regex(/^[a-z0-9][a-z0-9_-]{0,99}$/, "the name of an index is expected: lower-case letters, digits, - and _")
    .optional()
    .meta({ description: "Index of the documents of all tenants; `holdpoint` unless this says otherwise." }),
  HOLDPOINT_OPENSEARCH_SERVICE: z.enum(["es", "aoss", "none"]).optional().meta({
    description:
      "What requests to OpenSearch are signed for: a domain of Amazon OpenSearch Service (es), a collection of its Serverless (aoss), or nothing (none). By default as the host's name says.",
  }),
  BEDROCK_ENDPOINT: z.url().optional().meta({
    description: "URL at which Amazon Bedrock is reached in place of its public one, such as a VPC endpoint.",
  }),
  HOLDPOINT_KMS_KEY_ID: text.optional().meta({
    description: "KMS key (id, ARN or alias) that encrypts the data keys of tenants; content is then encrypted.",
  }),
  KMS_ENDPOINT: z.url().optional().meta({ description: "URL of a KMS-compatible server other than Amazon's." }),
  HOLDPOINT_ENCRYPTION_KEYS: text.optional().meta({
    description:
      "Keys that encrypt the data keys of tenants where there is no KMS, newest first, separated by commas: base64 of 32 bytes, or 16, 24 or 32 characters.",
  }),
  LANGGRAPH_AES_KEY: text.optional().meta({
    description: "One such key under the name that LangGraph uses; older than those of HOLDPOINT_ENCRYPTION_KEYS.",
  }),
  HOLDPOINT_ENCRYPTION_REQUIRED: z
    .enum(["true", "false"])
    .default("false")
    .meta({ description: "Whether content that is not encrypted is refused: true once nothing older is left." }),
  HOLDPOINT_DATA_KEY_MS: wholeNumber(60_000, 365 * DAY_MS)
    .default(DAY_MS)
    .meta({ description: "Milliseconds after which a tenant's data is encrypted with a new data key." }),
  HOLDPOINT_CALLBACK_KEYS: text.optional().meta({
    description:
      "Secrets of at least 32 characters that sign the tokens of callbacks, newest first, separated by commas; one that is kept in the table when there are none.",
  }),
  HOLDPOINT_POOL: text
    .max(32)
    .default("default")
    .meta({ flag: "pool", description: "The pool whose runs this worker executes." }),
  HOLDPOINT_LEASE_MS: wholeNumber(200, 3_600_000).optional().meta({
    flag: "lease-ms",
    description: "Milliseconds after which a silent worker is taken to be dead (5000 on SQLite, 30000 on DynamoDB).",
  }),
  HOLDPOINT_CONCURRENCY: wholeNumber(1, 1000)
    .default(10)
    .meta({ flag: "concurrency", description: "Runs that one worker executes at once." }),
  HOLDPOINT_SHARDS: wholeNumber(1, 256).optional().meta({
    description:
      "Partitions of the index of due work, per pool; fixed when a table is first used (1 on SQLite, 4 on DynamoDB).",
  }),
  HOLDPOINT_LOG_LEVEL: z
    .enum(["debug", "info", "warn", "error", "silent"])
    .default("info")
    .meta({ flag: "log-level", description: "Least severity that is logged: debug, info, warn, error or silent." }),
  HOLDPOINT_CORS_ORIGINS: text
    .optional()
    .meta({ description: "Origins that browsers may call from, separated by commas; `*` for any. None by default." }),
  HOLDPOINT_WEBHOOK_HOSTS: text.optional().meta({
    description:
      "Hosts that webhooks may reach although they are not public, without TLS as well, separated by commas; for development and tests. None by default.",
  }),
  HOLDPOINT_SNS_SIGNATURES: z.enum(SNS_SIGNATURES).default("checked").meta({
    description:
      "Signatures of messages of Amazon SNS that answer callbacks: ignored, checked where a message has one, or required. Their certificates are fetched from Amazon SNS.",
  }),
  HOLDPOINT_DOCUMENTS: text.optional().meta({
    flag: "documents",
    description: "Folder of documents (Markdown, text, JSONL) that are ingested at start.",
  }),
  ECS_AGENT_URI: z.url().optional().meta({
    description: "Set by Amazon ECS: while runs are executed, the task asks there not to be stopped by scaling in.",
  }),
  HOLDPOINT_RUN_TIMEOUT_MS: limit(
    "runTimeoutMs",
    100,
    30 * DAY_MS,
    "Milliseconds from a run's first delivery until it must have ended; a graph may set its own in langgraph.json.",
  ),
  HOLDPOINT_NODE_TIMEOUT_MS: limit(
    "nodeTimeoutMs",
    100,
    DAY_MS,
    "Milliseconds that one attempt of one node may take, for nodes that set no time-out of their own.",
  ),
  HOLDPOINT_MAX_STEPS: limit(
    "steps",
    1,
    1_000_000,
    "Supersteps of a run, those before a crash or a review included; recursion_limit of a request, an assistant or a graph wins.",
  ),
  HOLDPOINT_MAX_STATE_BYTES: limit(
    "stateBytes",
    1024,
    GIB,
    "Bytes of the state of a thread, and of each of its subgraphs, as it is stored; the writes of each task are bounded by themselves.",
  ),
  HOLDPOINT_MAX_PARALLEL_TASKS: limit("parallelTasks", 1, 100_000, "Tasks of one superstep."),
  HOLDPOINT_MAX_EVENT_BYTES: limit(
    "eventBytes",
    1024,
    GIB,
    "Bytes of streamed frames that are kept of one run; what comes after is dropped, and marked so.",
  ),
  HOLDPOINT_EVENT_RETENTION_MS: limit(
    "eventRetentionMs",
    60_000,
    3650 * DAY_MS,
    "Milliseconds that frames stay readable.",
  ),
  HOLDPOINT_MAX_QUEUE: limit("queuePerThread", 1, MAX_QUEUE, "Runs that may wait in the queue of one thread."),
  HOLDPOINT_TENANT_CONCURRENCY: limit(
    "tenantConcurrency",
    1,
    1000,
    "Runs of one tenant that one worker executes at once.",
  ),
  HOLDPOINT_GRAPH_WAIT_MS: wholeNumber(0, 30 * DAY_MS)
    .optional()
    .meta({
      description:
        "Milliseconds that a run waits for a worker with its graph, in a version that may go on with it, before it fails (3600000 for start, 0 for dev).",
    }),
  HOLDPOINT_MAX_TENANT_BACKLOG: limit(
    "backlogPerTenant",
    1,
    1_000_000,
    "Threads of one tenant that may wait for a worker; beyond it new runs are refused with 429.",
  ),
  HOLDPOINT_MAX_BACKLOG: limit("backlog", 1, 10_000_000, "Threads of all tenants that may wait for a worker."),
  HOLDPOINT_MAX_REQUESTS: limit(
    "requestsInFlight",
    1,
    100_000,
    "Requests that one process works on at once; those that only wait or stream are not counted.",
  ),
  HOLDPOINT_MAX_LOOP_DELAY_MS: limit(
    "eventLoopDelayMs",
    10,
    60_000,
    "Milliseconds by which the event loop may be late before new runs are refused.",
  ),
  HOLDPOINT_LEDGER_URL: z.url().optional().meta({ description: "Where the shipped refund tool sends its payments." }),
});

export type Environment = z.output<typeof environment>;
