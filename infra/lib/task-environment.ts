/** What a task is told: the settings of docs/configuration.md. A test compares them with the schema of src/settings.ts. */
import type { EnvironmentConfig } from "./config.ts";
import type { Data } from "./data.ts";
import { CONTAINER_PORT } from "./network.ts";

export type Role = "api" | "worker";

/** The only two folders that a task may write to; both are volumes of the image. */
export const DATA_FOLDER = "/var/lib/holdpoint";
export const KEYS_FOLDER = "/run/holdpoint";
export const KEYS_FILE = `${KEYS_FOLDER}/keys.json`;

/** Where the collector beside the service listens: OTLP over HTTP. */
export const COLLECTOR_PORT = 4318;

/** In plain sight: nothing of this is secret. */
export function taskEnvironment(
  role: Role,
  config: EnvironmentConfig,
  { table, bodies, contentKey }: Pick<Data, "table" | "bodies" | "contentKey">,
): Readonly<Record<string, string>> {
  return {
    ...config.settings,
    HOLDPOINT_ROLE: role,
    HOLDPOINT_HOST: "0.0.0.0",
    HOLDPOINT_PORT: String(CONTAINER_PORT),
    HOLDPOINT_DATA_DIR: DATA_FOLDER,
    HOLDPOINT_TABLE: table.tableName,
    HOLDPOINT_BUCKET: bodies.bucketName,
    HOLDPOINT_KMS_KEY_ID: contentKey.keyArn,
    HOLDPOINT_ENCRYPTION_REQUIRED: "true",
    HOLDPOINT_SHARDS: String(config.shards),
    ...(role === "api"
      ? { HOLDPOINT_KEYS: KEYS_FILE }
      : { HOLDPOINT_CONCURRENCY: String(config.worker.concurrency), ...openSearchSettings(config) }),
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${COLLECTOR_PORT}`,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf",
    OTEL_SERVICE_NAME: `holdpoint-${role}`,
    OTEL_RESOURCE_ATTRIBUTES: `deployment.environment.name=${config.name}`,
  };
}

/** Of workers alone: they are who searches. */
function openSearchSettings({ openSearch }: EnvironmentConfig): Readonly<Record<string, string>> {
  if (openSearch === undefined) return {};
  const { url, index, arn } = openSearch;
  return {
    HOLDPOINT_OPENSEARCH_URL: url,
    HOLDPOINT_OPENSEARCH_INDEX: index,
    // Also where the domain has a name of its own.
    HOLDPOINT_OPENSEARCH_SERVICE: arn.split(":")[2] ?? "es",
  };
}

/** Settings that come from a secret, by the name of the secret. */
export const SECRET_SETTINGS = { HOLDPOINT_CALLBACK_KEYS: "callbackKeys" } as const satisfies Readonly<
  Record<string, keyof Data>
>;

/** Settings that no task is given, and why. An environment may still set one in `settings`. */
export const LEFT_OUT: Readonly<Record<string, string>> = {
  HOLDPOINT_CONFIG: "the image says where its graphs are",
  DYNAMODB_ENDPOINT: "Amazon's own",
  S3_ENDPOINT: "Amazon's own",
  KMS_ENDPOINT: "Amazon's own",
  AWS_REGION: "set by AWS Fargate",
  ECS_AGENT_URI: "set by Amazon ECS",
  HOLDPOINT_BUCKET_KMS_KEY_ID: "the bucket's default encryption names the key",
  HOLDPOINT_ENCRYPTION_KEYS: "data keys are wrapped by AWS KMS",
  LANGGRAPH_AES_KEY: "data keys are wrapped by AWS KMS",
  HOLDPOINT_DOCUMENTS: "for one machine: the folder's index is not shared",
  HOLDPOINT_OPENSEARCH_URL: "with openSearch, of an environment that has a domain or a collection",
  HOLDPOINT_OPENSEARCH_INDEX: "with openSearch",
  HOLDPOINT_OPENSEARCH_SERVICE: "with openSearch",
  HOLDPOINT_WEBHOOK_HOSTS: "for development: webhooks reach public hosts only",
  HOLDPOINT_SNS_SIGNATURES: "checked, unless an environment says otherwise",
  HOLDPOINT_LEDGER_URL: "of the shipped example",
  HOLDPOINT_MODELS: "the offline model, unless an environment names a catalogue that its image has",
  BEDROCK_ENDPOINT: "Amazon's own",
  HOLDPOINT_EMBEDDER: "documents are found by their words, unless an environment names an embedder",
  HOLDPOINT_POOL: "one pool, unless an environment sets another",
  HOLDPOINT_CORS_ORIGINS: "no browser, unless an environment names origins",
};
