/** What a task is told: the settings of docs/configuration.md. A test compares them with the schema of src/settings.ts. */
import type { EnvironmentConfig } from "./config.ts";
import type { Data } from "./data.ts";
import { CONTAINER_PORT } from "./network.ts";

export type Role = "api" | "worker";

/** The only two folders that a task may write to; both are volumes of the image. */
export const DATA_FOLDER = "/var/lib/holdpoint";
export const FILES_FOLDER = "/run/holdpoint";
export const KEYS_FILE = `${FILES_FOLDER}/keys.json`;
export const CATALOGUE_FILE = `${FILES_FOLDER}/models.json`;

/** Where the collector beside the service listens: OTLP over HTTP. */
export const COLLECTOR_PORT = 4318;

/** In plain sight: nothing of this is secret. */
export function taskEnvironment(
  role: Role,
  config: EnvironmentConfig,
  { table, bodies, contentKey }: Pick<Data, "table" | "bodies" | "contentKey">,
): Readonly<Record<string, string>> {
  return {
    // The certificates of Amazon SNS are public, and out of reach without a way out. Callbacks are still known by their token.
    ...(config.natGateways === 0 ? { HOLDPOINT_SNS_SIGNATURES: "ignored" } : {}),
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
      : {
          HOLDPOINT_CONCURRENCY: String(config.worker.concurrency),
          ...openSearchSettings(config),
          ...modelSettings(config),
        }),
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${COLLECTOR_PORT}`,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf",
    // CloudWatch adds up what it is told. Of what only ever grows, the collector's awsemf takes the first value for a
    // baseline, so that the first run that is parked would not count; of histograms it never makes differences.
    OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: "delta",
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

/** Of workers alone: graphs are executed there. */
function modelSettings({ catalogue, embedder }: EnvironmentConfig): Readonly<Record<string, string>> {
  return {
    ...(catalogue === undefined ? {} : { HOLDPOINT_MODELS: CATALOGUE_FILE }),
    ...(embedder === undefined ? {} : { HOLDPOINT_EMBEDDER: embedder }),
  };
}

/** Settings that come from a secret, by the name of the secret. */
export const SECRET_SETTINGS = { HOLDPOINT_CALLBACK_KEYS: "callbackKeys" } as const satisfies Readonly<
  Record<string, keyof Data>
>;

/** Settings that no task is given unless `settings` of its environment have them, and why. */
export const LEFT_OUT: Readonly<Record<string, string>> = {
  HOLDPOINT_CONFIG: "the image says where its graphs are",
  HOLDPOINT_DOCUMENTS: "for one machine: the folder's index is not shared",
  HOLDPOINT_WEBHOOK_HOSTS: "for development: webhooks reach public hosts only",
  HOLDPOINT_SNS_SIGNATURES: "checked, unless an environment says otherwise or has no NAT gateway",
  HOLDPOINT_LEDGER_URL: "of the shipped example",
  HOLDPOINT_POOL: "one pool, unless an environment sets another",
  HOLDPOINT_CORS_ORIGINS: "no browser, unless an environment names origins",
};
