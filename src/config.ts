/**
 * Environment and flags → Config. The only reader of `process.env`; flags win over the environment.
 * Each setting carries its description, so that `--help` and the documentation are made from the same words.
 */
import { parseArgs } from "node:util";
import { z } from "zod";
import { HoldpointError } from "./core/errors.ts";
import { DEFAULT_LIMITS, LIMIT_SETTINGS, MAX_QUEUE } from "./core/limits.ts";
import type { Limits } from "./core/limits.ts";

const wholeNumber = (least: number, most: number) => {
  const error = `a whole number from ${least} to ${most} is expected`;
  return z.coerce.number({ error }).int({ error }).min(least, { error }).max(most, { error });
};
const text = z.string().trim().min(1);
const limit = (name: keyof Limits, least: number, most: number, description: string) =>
  wholeNumber(least, most).default(DEFAULT_LIMITS[name]).meta({ description });
const DAY_MS = 24 * 3_600_000;
const GIB = 1024 ** 3;

const environment = z.object({
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
  AWS_REGION: text.optional().meta({ description: "Region of the table (us-east-1 when DYNAMODB_ENDPOINT is set)." }),
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
  HOLDPOINT_MAX_STATE_BYTES: limit("stateBytes", 1024, GIB, "Bytes of a thread's state as it is stored."),
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

type Environment = z.output<typeof environment>;

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
  readonly dynamo:
    | { readonly tableName: string; readonly endpoint: string | undefined; readonly region: string | undefined }
    | undefined;
  readonly pool: string;
  readonly leaseMs: number;
  readonly concurrency: number;
  readonly shards: number;
  readonly limits: Limits;
  /** The agent of Amazon ECS, when this process is one of its tasks. */
  readonly ecsAgentUri: string | undefined;
  readonly logLevel: "debug" | "info" | "warn" | "error" | "silent";
  readonly corsOrigins: readonly string[];
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
  const endpoint = env.DYNAMODB_ENDPOINT;
  if (table === undefined && endpoint !== undefined) {
    throw new HoldpointError(
      "invalid",
      "DYNAMODB_ENDPOINT is set but HOLDPOINT_TABLE is not: name the table, or unset the endpoint",
    );
  }
  return {
    mode,
    role: env.HOLDPOINT_ROLE,
    host: env.HOLDPOINT_HOST,
    port: env.HOLDPOINT_PORT,
    dataDir: env.HOLDPOINT_DATA_DIR,
    graphsFile: env.HOLDPOINT_CONFIG,
    keysFile: env.HOLDPOINT_KEYS,
    dynamo:
      table === undefined
        ? undefined
        : { tableName: table, endpoint, region: env.AWS_REGION ?? (endpoint === undefined ? undefined : "us-east-1") },
    pool: env.HOLDPOINT_POOL,
    leaseMs: env.HOLDPOINT_LEASE_MS ?? (table === undefined ? 5_000 : 30_000),
    concurrency: env.HOLDPOINT_CONCURRENCY,
    shards: env.HOLDPOINT_SHARDS ?? (table === undefined ? 1 : 4),
    limits: limitsOf(mode, env),
    ecsAgentUri: env.ECS_AGENT_URI,
    logLevel: env.HOLDPOINT_LOG_LEVEL,
    corsOrigins: env.HOLDPOINT_CORS_ORIGINS?.split(",").flatMap((origin) => origin.trim() || []) ?? [],
    documents: env.HOLDPOINT_DOCUMENTS,
    ledgerUrl: env.HOLDPOINT_LEDGER_URL,
  };
}

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
