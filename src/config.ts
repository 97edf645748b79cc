/**
 * Environment and flags → Config. The only reader of `process.env`; flags win over the environment.
 * What settings there are, and the words for them, stands in settings.ts.
 */
import { parseArgs } from "node:util";
import { HoldpointError } from "./core/errors.ts";
import { DEFAULT_LIMITS, LIMIT_SETTINGS } from "./core/limits.ts";
import type { Limits } from "./core/limits.ts";
import type { SnsSignatures } from "./core/sns-signature.ts";
import { EMBEDDER_FORM, environment } from "./settings.ts";
import type { Environment } from "./settings.ts";

/** An OpenSearch, and the index of all documents in it. */
export interface OpenSearchPlace {
  readonly url: string;
  readonly index: string;
  /** What requests are signed for; undefined: as the host's name says. */
  readonly service: "es" | "aoss" | "none" | undefined;
  /** Of a service whose host does not name its own. */
  readonly region: string | undefined;
}

/** Where a service of AWS is reached. */
interface Endpoint {
  readonly endpoint: string | undefined;
  readonly region: string | undefined;
}

/** What content is encrypted with. With both kinds of keys, those of KMS wrap new data keys. */
export interface Encryption {
  readonly kms: ({ readonly keyId: string } & Endpoint) | undefined;
  /** Texts of keys, newest first. */
  readonly localKeys: readonly string[];
  readonly required: boolean;
  readonly dataKeyMs: number;
}

/** Everything that one process needs to know, parsed. */
export interface Config {
  /** `dev` may create a missing table on a local endpoint; `start` never does. */
  readonly mode: "dev" | "start";
  readonly role: "api" | "worker" | "all";
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  /** Path of langgraph.json. */
  readonly graphsFile: string;
  readonly keysFile: string | undefined;
  /** Undefined: embedded, in one SQLite file under `dataDir`. */
  readonly dynamo: ({ readonly tableName: string } & Endpoint) | undefined;
  /** Undefined: large bodies are kept in the table, or in a folder. */
  readonly s3:
    | ({ readonly bucket: string; readonly prefix: string; readonly kmsKeyId: string | undefined } & Endpoint)
    | undefined;
  /** The catalogue of models; undefined: there is only the offline one. */
  readonly modelsFile: string | undefined;
  readonly bedrock: Endpoint;
  /** The model of Bedrock that makes vectors; undefined: documents are found by their words alone. */
  readonly embedder: { readonly model: string; readonly dimensions: number | undefined } | undefined;
  /** Undefined: documents are kept and searched on this machine. */
  readonly openSearch: OpenSearchPlace | undefined;
  /** Undefined: content is stored as it is. */
  readonly encryption: Encryption | undefined;
  /** What signs the tokens of callbacks, newest first. */
  readonly callbackKeys: readonly string[];
  readonly pool: string;
  readonly leaseMs: number;
  readonly concurrency: number;
  readonly shards: number;
  readonly limits: Limits;
  /** The agent of Amazon ECS, when this process is one of its tasks. */
  readonly ecsAgentUri: string | undefined;
  readonly logLevel: "debug" | "info" | "warn" | "error" | "silent";
  readonly corsOrigins: readonly string[];
  /** Hosts that webhooks may reach wherever they are. */
  readonly webhookHosts: readonly string[];
  readonly snsSignatures: SnsSignatures;
  readonly documents: string | undefined;
  readonly ledgerUrl: string | undefined;
}

/** One setting as `--help` and the documentation show it. */
export interface Setting {
  readonly name: string;
  readonly flag: string | undefined;
  readonly description: string;
  readonly fallback: string | undefined;
}

/** Every setting, in the order in which it is documented. */
export const SETTINGS: readonly Setting[] = Object.entries(environment.shape).map(([name, schema]) => {
  const meta = schema.meta() as { readonly flag?: string; readonly description?: string } | undefined;
  const parsed = schema.safeParse(undefined);
  const fallback: unknown = parsed.success ? parsed.data : undefined;
  return {
    name,
    flag: meta?.flag,
    description: meta?.description ?? "",
    fallback: typeof fallback === "string" || typeof fallback === "number" ? `${fallback}` : undefined,
  };
});

/**
 * What the command line and the environment ask for.
 * @throws HoldpointError `invalid`, with one line that names the flag or the variable
 */
export function readConfig(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>> = process.env,
): { readonly kind: "help"; readonly text: string } | { readonly kind: "run"; readonly config: Config } {
  const line = readCommandLine(argv);
  if (line.help) return { kind: "help", text: helpText() };
  const raw: Record<string, string | undefined> = {};
  for (const { name, flag } of SETTINGS) {
    const given = (flag === undefined ? undefined : line.flags[flag]) ?? env[name];
    // A variable that is set to nothing is not set: compose files and shells write it that way.
    raw[name] = given === "" ? undefined : given;
  }
  const parsed = environment.safeParse(raw);
  if (parsed.success) return { kind: "run", config: toConfig(line.mode, parsed.data) };
  const issue = parsed.error.issues[0];
  const setting = SETTINGS.find((one) => one.name === issue?.path[0]);
  const named =
    setting?.flag !== undefined && line.flags[setting.flag] !== undefined ? `--${setting.flag}` : setting?.name;
  throw new HoldpointError(
    "invalid",
    `${named ?? "configuration"}: ${issue?.message ?? "not understood"} (see --help)`,
  );
}

/** Variables that look like settings, and that nobody reads: misspelt ones would do nothing in silence. */
export function unknownSettings(env: Readonly<Record<string, string | undefined>> = process.env): readonly string[] {
  const known = new Set<string>(SETTINGS.map(({ name }) => name));
  return Object.keys(env).filter((name) => name.startsWith("HOLDPOINT_") && !known.has(name));
}

/** Sets what langgraph.json gives to its graphs; what is set already stays as it is. */
export function offerEnvironment(env: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(env)) process.env[name] ??= value;
}

interface CommandLine {
  readonly mode: "dev" | "start";
  readonly help: boolean;
  readonly flags: Readonly<Record<string, string | undefined>>;
}

function readCommandLine(argv: readonly string[]): CommandLine {
  const valued = SETTINGS.flatMap(({ flag }) => (flag === undefined ? [] : [[flag, { type: "string" }] as const]));
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: { help: { type: "boolean", short: "h" }, ...Object.fromEntries(valued) },
    });
    const [mode = "start", extra] = positionals;
    if (extra !== undefined) throw new Error(`Unexpected argument '${extra}'`);
    if (mode !== "dev" && mode !== "start") throw new Error(`Unknown command '${mode}': use dev or start`);
    const { help, ...flags } = values;
    return { mode, help: help === true, flags };
  } catch (cause) {
    const said = cause instanceof Error ? (cause.message.split(". ")[0] ?? "") : String(cause);
    throw new HoldpointError("invalid", `${said} (see --help)`, { cause });
  }
}

function toConfig(mode: "dev" | "start", env: Environment): Config {
  const table = env.HOLDPOINT_TABLE;
  for (const [name, needed, advice] of NEEDED) {
    if (env[name] === undefined || needed.some((one) => env[one] !== undefined)) continue;
    const missing = needed.length === 1 ? `${needed[0]} is not` : `neither ${needed.join(" nor ")} is`;
    throw new HoldpointError("invalid", `${name} is set but ${missing}: ${advice}`);
  }
  return {
    mode,
    role: env.HOLDPOINT_ROLE,
    host: env.HOLDPOINT_HOST,
    port: env.HOLDPOINT_PORT,
    dataDir: env.HOLDPOINT_DATA_DIR,
    graphsFile: env.HOLDPOINT_CONFIG,
    keysFile: env.HOLDPOINT_KEYS,
    dynamo: table === undefined ? undefined : { tableName: table, ...endpointOf(env, env.DYNAMODB_ENDPOINT) },
    s3: env.HOLDPOINT_BUCKET === undefined ? undefined : s3Of(env, env.HOLDPOINT_BUCKET),
    modelsFile: env.HOLDPOINT_MODELS,
    bedrock: endpointOf(env, env.BEDROCK_ENDPOINT),
    embedder: embedderOf(env.HOLDPOINT_EMBEDDER),
    openSearch: openSearchOf(env),
    encryption: encryptionOf(env),
    callbackKeys: callbackKeysOf(env),
    pool: env.HOLDPOINT_POOL,
    leaseMs: env.HOLDPOINT_LEASE_MS ?? (table === undefined ? 5_000 : 30_000),
    concurrency: env.HOLDPOINT_CONCURRENCY,
    shards: env.HOLDPOINT_SHARDS ?? (table === undefined ? 1 : 4),
    limits: limitsOf(mode, env),
    ecsAgentUri: env.ECS_AGENT_URI,
    logLevel: env.HOLDPOINT_LOG_LEVEL,
    corsOrigins: listOf(env.HOLDPOINT_CORS_ORIGINS),
    webhookHosts: listOf(env.HOLDPOINT_WEBHOOK_HOSTS),
    snsSignatures: env.HOLDPOINT_SNS_SIGNATURES,
    documents: env.HOLDPOINT_DOCUMENTS,
    ledgerUrl: env.HOLDPOINT_LEDGER_URL,
  };
}

const listOf = (text: string | undefined): readonly string[] =>
  text?.split(",").flatMap((one) => one.trim() || []) ?? [];

/** Settings that mean nothing without one of others. */
const NEEDED: readonly (readonly [keyof Environment, readonly (keyof Environment)[], string])[] = [
  ["DYNAMODB_ENDPOINT", ["HOLDPOINT_TABLE"], "name the table, or unset the endpoint"],
  ["HOLDPOINT_BUCKET", ["HOLDPOINT_TABLE"], "name the table, or unset the bucket"],
  ["HOLDPOINT_BUCKET_KMS_KEY_ID", ["HOLDPOINT_BUCKET"], "name the bucket, or unset its key"],
  ["S3_ENDPOINT", ["HOLDPOINT_BUCKET"], "name the bucket, or unset the endpoint"],
  ["BEDROCK_ENDPOINT", ["HOLDPOINT_MODELS", "HOLDPOINT_EMBEDDER"], "name what is reached there, or unset the endpoint"],
  ["HOLDPOINT_OPENSEARCH_INDEX", ["HOLDPOINT_OPENSEARCH_URL"], "name the OpenSearch, or unset its index"],
  ["HOLDPOINT_OPENSEARCH_SERVICE", ["HOLDPOINT_OPENSEARCH_URL"], "name the OpenSearch, or unset its service"],
  ["KMS_ENDPOINT", ["HOLDPOINT_KMS_KEY_ID"], "name the key, or unset the endpoint"],
];

const DEFAULT_INDEX = "holdpoint";

function openSearchOf(env: Environment): OpenSearchPlace | undefined {
  const url = env.HOLDPOINT_OPENSEARCH_URL;
  if (url === undefined) return undefined;
  const index = env.HOLDPOINT_OPENSEARCH_INDEX ?? DEFAULT_INDEX;
  return { url: new URL(url).origin, index, service: env.HOLDPOINT_OPENSEARCH_SERVICE, region: env.AWS_REGION };
}

/** What HOLDPOINT_EMBEDDER names; undefined for nothing, and for a text that has not its form. */
export function embedderOf(text: string | undefined): Config["embedder"] {
  const { model, dimensions } = EMBEDDER_FORM.exec(text ?? "")?.groups ?? {};
  if (model === undefined) return undefined;
  return { model, dimensions: dimensions === undefined ? undefined : Number(dimensions) };
}

const endpointOf = (env: Environment, endpoint: string | undefined): Endpoint => ({
  endpoint,
  region: env.AWS_REGION ?? (endpoint === undefined ? undefined : "us-east-1"),
});

/** The name of a bucket ends at the first slash. */
function s3Of(env: Environment, place: string): Config["s3"] {
  const [bucket = "", ...prefix] = place.replace(/\/+$/, "").split("/");
  return {
    bucket,
    prefix: prefix.map((name) => `${name}/`).join(""),
    kmsKeyId: env.HOLDPOINT_BUCKET_KMS_KEY_ID,
    ...endpointOf(env, env.S3_ENDPOINT),
  };
}

function encryptionOf(env: Environment): Encryption | undefined {
  const keyId = env.HOLDPOINT_KMS_KEY_ID;
  const localKeys = [...(env.HOLDPOINT_ENCRYPTION_KEYS?.split(",") ?? []), env.LANGGRAPH_AES_KEY ?? ""]
    .map((text) => text.trim())
    .filter((text) => text !== "");
  const required = env.HOLDPOINT_ENCRYPTION_REQUIRED === "true";
  if (keyId !== undefined || localKeys.length > 0) {
    const kms = keyId === undefined ? undefined : { keyId, ...endpointOf(env, env.KMS_ENDPOINT) };
    return { kms, localKeys, required, dataKeyMs: env.HOLDPOINT_DATA_KEY_MS };
  }
  if (!required) return undefined;
  throw new HoldpointError(
    "invalid",
    "HOLDPOINT_ENCRYPTION_REQUIRED is true but there is no key: set HOLDPOINT_KMS_KEY_ID or HOLDPOINT_ENCRYPTION_KEYS",
  );
}

function callbackKeysOf(env: Environment): readonly string[] {
  const keys = (env.HOLDPOINT_CALLBACK_KEYS?.split(",") ?? []).map((text) => text.trim());
  if (keys.every((key) => key.length >= LEAST_KEY_LENGTH)) return keys;
  throw new HoldpointError("invalid", `HOLDPOINT_CALLBACK_KEYS: each has at least ${LEAST_KEY_LENGTH} characters`);
}

const LEAST_KEY_LENGTH = 32;

/** In development the graph changes under its threads all the time: there is no other worker to wait for. */
function limitsOf(mode: "dev" | "start", env: Environment): Limits {
  const { graphWaitMs: _, ...settings } = LIMIT_SETTINGS;
  const entries = Object.entries(settings).map(([limit, name]): [string, number] => [limit, env[name]]);
  const graphWaitMs = env.HOLDPOINT_GRAPH_WAIT_MS ?? (mode === "dev" ? 0 : DEFAULT_LIMITS.graphWaitMs);
  return { ...DEFAULT_LIMITS, ...Object.fromEntries(entries), graphWaitMs };
}

function helpText(): string {
  const rows = SETTINGS.map(({ name, flag, description, fallback }) => {
    const heading = flag === undefined ? `  ${name}` : `  --${flag} <value>, ${name}`;
    return `${heading}${fallback === undefined ? "" : ` (default: ${fallback})`}\n      ${description}`;
  });
  return [
    "Holdpoint runs LangGraph.js agents as durable, supervised work.",
    "",
    "Usage: holdpoint dev|start [flags]",
    "",
    "Flags and the environment variables that they win over:",
    ...rows,
    "  --help",
    "      Shows this.",
  ].join("\n");
}

/** Whether this host name means this machine only. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);
}
