/**
 * The composition root: reads the configuration, opens the adapters, starts the roles, waits for a signal, and unwinds.
 *
 * What cannot be started is said in one line on standard error, with exit code 1. SIGTERM and SIGINT stop picking,
 * let running graphs stop at their next superstep under a kept lease, give the leases up, and only then close HTTP, so
 * that who waits for a run still gets its answer. A second signal ends the process at once.
 */
import { once } from "node:events";
import { dirname } from "node:path";
import { isLoopback, offerEnvironment, readConfig, unknownSettings } from "./config.ts";
import type { Config } from "./config.ts";
import { systemClock } from "./core/clock.ts";
import { HoldpointError, errorInfo } from "./core/errors.ts";
import { systemIds, tenantId } from "./core/ids.ts";
import { readGraphConfig } from "./langgraph/graph-config.ts";
import { loadGraphs } from "./langgraph/load.ts";
import { loadStoreSettings } from "./langgraph/store-config.ts";
import { openModels } from "./open-models.ts";
import { openSns } from "./open-sns.ts";
import { ingestPatiently, openFolder, openRetriever } from "./open-retrieval.ts";
import { openEncryption, openStorage, present } from "./open-storage.ts";
import { processOwner } from "./local/owner.ts";
import type { ProcessOwner } from "./local/owner.ts";
import { createLog } from "./log.ts";
import { startTelemetry } from "./telemetry.ts";
import type { Authenticator } from "./http/auth.ts";
import type { Readiness } from "./http/langgraph/system.ts";
import { createDeps, createRuntime } from "./runtime/create.ts";
import type { GivenDeps } from "./runtime/create.ts";
import type { Assistants } from "./runtime/assistants.ts";
import type { Deps, Log } from "./runtime/deps.ts";
import { langGraphEngine } from "./runtime/engine.ts";
import type { GraphServices } from "./runtime/delivery/graph-context.ts";
import { limitRepeats } from "./runtime/log-limit.ts";
import type { Runtime } from "./runtime/runtime.ts";
import { watchTable } from "./runtime/table-health.ts";
import type { TableHealth } from "./runtime/table-health.ts";
import type { Retriever } from "./retrieval/retriever.ts";
import { blame } from "./runtime/delivery/strays.ts";
import { noProtection } from "./runtime/worker/task-protection.ts";
import type { TaskProtection } from "./runtime/worker/task-protection.ts";
import { createWorker } from "./runtime/worker/worker.ts";
import type { Worker } from "./runtime/worker/worker.ts";
import type { Courier } from "./runtime/webhooks/courier.ts";
import { stopSignal } from "./signals.ts";
import { sealedBlobs } from "./storage/encryption/sealed-blobs.ts";
import { agreeOnShards } from "./storage/shards.ts";
import { versions } from "./versions.ts";

/** The tenant of a service without keys; documents that are ingested at start are its own. */
const LOCAL_TENANT = tenantId("default");

/** A start that cannot succeed, in one line. */
function refusal(message: string, cause?: unknown): HoldpointError {
  return new HoldpointError("invalid", message, { cause });
}

/** Loads the graphs and what their store embeds with, with the variables that langgraph.json gives them. */
async function openGraphs(config: Config, log: Log): Promise<Pick<GivenDeps, "graphs" | "store" | "threadTtl">> {
  const { env, store, threadTtl, path } = await readGraphConfig(config.graphsFile);
  offerEnvironment(env);
  const graphs = await loadGraphs({ configPath: config.graphsFile, log });
  const given = threadTtl === undefined ? {} : { threadTtl };
  return { graphs, store: await loadStoreSettings(store, dirname(path)), ...given };
}

/** How long `dev` waits for runs before it stops, or loads the graphs anew. */
const DEV_DRAIN_MS = 5000;

interface Core extends AsyncDisposable {
  readonly deps: Deps;
  readonly health: TableHealth;
  readonly place: string;
}

/** What every role is made of: storage, records, graphs. */
async function openCore(
  config: Config,
  owner: ProcessOwner,
  { log, telemetry }: Pick<Deps, "log" | "telemetry">,
): Promise<Core> {
  await using opening = new AsyncDisposableStack();
  const storage = opening.use(await openStorage(config));
  const { table, health } = watchTable(storage.table, { clock: systemClock, log });
  opening.use(table);
  await agreeOnShards(table, config.shards);
  const { sealers } = opening.use(await openEncryption(config.encryption, table));
  const loaded = await openGraphs(config, log);
  const { shards, leaseMs, concurrency, pool, limits, callbackKeys, webhookHosts } = config;
  const settings = { leaseMs, concurrency, pool, shards, limits, webhookHosts, owner: owner.id };
  const blobs = sealedBlobs(storage.blobs, sealers);
  const deps = createDeps({
    ...loaded,
    callbackKeys,
    ...(await openSns(config)),
    table,
    blobs,
    sealers,
    clock: systemClock,
    ids: systemIds,
    log,
    telemetry,
    settings,
  });
  const opened = opening.move();
  return { deps, health, place: storage.place, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

async function authenticator(config: Config, log: Log): Promise<Authenticator> {
  const { keyAuthenticator, loopbackAuthenticator } = await import("./http/auth.ts");
  if (config.keysFile === undefined) {
    log.warn(
      { tenant: LOCAL_TENANT },
      "no API keys: every caller on this machine is one tenant, and nobody else is served",
    );
    return loopbackAuthenticator({ origins: config.corsOrigins });
  }
  const { openKeyFile } = await import("./local/key-file.ts");
  const onInvalid = (error: unknown): void =>
    log.error({ err: error }, "the changed file of API keys was not taken over");
  const keys = await openKeyFile({ path: config.keysFile, clock: systemClock, onInvalid }).catch((error: unknown) => {
    throw refusal(`the API keys in ${config.keysFile} cannot be used: ${errorInfo(error).message}`, error);
  });
  return keyAuthenticator(keys);
}

interface Http extends AsyncDisposable {
  readonly url: string;
}

interface HttpOptions {
  readonly config: Config;
  readonly deps: Deps;
  readonly health: TableHealth;
  readonly runtime: Runtime;
  /** Aborts as soon as the process is asked to end. */
  readonly stopping: AbortSignal;
}

async function openHttp({ config, deps, health, runtime, stopping }: HttpOptions): Promise<Http> {
  const { log, graphs, clock, ids, telemetry } = deps;
  const auth = await authenticator(config, log);
  const [{ createApp }, { measuredAdmission }, { createHttpServer }, { listen, closeServer }, info] = await Promise.all(
    [
      import("./http/app.ts"),
      import("./http/admission.ts"),
      import("./http/server.ts"),
      import("./http/listen.ts"),
      versions(),
    ],
  );
  const closing = new AbortController();
  const ready = async (): Promise<Readiness> => {
    if (stopping.aborted) return { ready: false, reason: "stopping" };
    return (await health.look()) ? { ready: true } : { ready: false, reason: "the table cannot be reached" };
  };
  const admission = measuredAdmission(deps, health);
  const app = createApp({
    runtime,
    auth,
    info: { ...info, graphs },
    ready,
    admission,
    log,
    clock,
    ids,
    telemetry,
    closing: closing.signal,
    ...(config.corsOrigins.length === 0 ? {} : { cors: { origins: config.corsOrigins } }),
  });
  const server = createHttpServer(app);
  const url = await listen(server, config);
  return {
    url,
    async [Symbol.asyncDispose]() {
      // Who still waits for an answer gets it from any other process.
      closing.abort(new HoldpointError("unavailable", "the server is stopping; join the run again"));
      await closeServer(server, clock);
      admission[Symbol.dispose]();
    },
  };
}

interface WorkerOptions {
  readonly config: Config;
  readonly deps: Deps;
  readonly assistants: Assistants;
  readonly owner: ProcessOwner;
}

interface Working extends AsyncDisposable {
  readonly worker: Worker;
  readonly retriever: Retriever;
}

/** A worker, and what its graphs reach as tools. */
async function openWorker({ config, deps, assistants, owner }: WorkerOptions): Promise<Working> {
  await using opening = new AsyncDisposableStack();
  const modelsOf = await openModels(config, deps.log);
  const retriever = opening.use(await openRetriever(config, { log: deps.log, metrics: deps.telemetry.metrics }));
  const settings = present({ ledgerUrl: config.ledgerUrl });
  const services: GraphServices = (tenant) => ({
    tenant,
    settings,
    ...modelsOf(tenant),
    retriever: (collection) => ({
      search: (query, options) => retriever.search(query, { ...options, tenant, collection }),
    }),
  });
  const protection =
    config.ecsAgentUri === undefined ? noProtection : opening.use(await openProtection(config.ecsAgentUri, deps.log));
  const isKnownDead = (id: string): boolean => owner.isKnownDead(id);
  const worker = opening.use(
    createWorker({
      deps,
      engine: langGraphEngine,
      assistants,
      services,
      isKnownDead,
      protection,
      // A graph is being edited: what does not stop is what is being looked at.
      ...(config.mode === "dev" ? { drainMs: DEV_DRAIN_MS } : {}),
    }),
  );
  const opened = opening.move();
  return { worker, retriever, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** Sends webhooks and fires schedules, in the processes that execute runs and beside them. */
async function openCourier({ config, deps, assistants }: WorkerOptions): Promise<Courier> {
  const [{ createCourier }, { createWebhookSender }] = await Promise.all([
    import("./runtime/webhooks/courier.ts"),
    import("./local/webhook-sender.ts"),
  ]);
  return createCourier({ deps, assistants, sender: createWebhookSender({ allowed: config.webhookHosts }) });
}

async function openProtection(agentUri: string, log: Log): Promise<TaskProtection & AsyncDisposable> {
  const { createEcsTaskProtection } = await import("./aws/task-protection.ts");
  return createEcsTaskProtection({ agentUri, clock: systemClock, log });
}

/** Opens everything, serves until `stopping`, and unwinds in the opposite order. */
async function serve(
  config: Config,
  { log, telemetry }: Pick<Deps, "log" | "telemetry">,
  stopping: AbortSignal,
): Promise<void> {
  if (config.role !== "worker" && config.keysFile === undefined && !isLoopback(config.host)) {
    throw refusal(
      `without API keys only this machine is served: set HOLDPOINT_KEYS, or listen on 127.0.0.1 instead of ${config.host}`,
    );
  }
  await using stack = new AsyncDisposableStack();
  const owner = processOwner(systemIds);
  const { deps, health, place } = stack.use(await openCore(config, owner, { log, telemetry }));
  const runtime = createRuntime(deps);
  const { assistants } = runtime;
  const http =
    config.role === "worker" ? undefined : stack.use(await openHttp({ config, deps, health, runtime, stopping }));
  const working = config.role === "api" ? undefined : stack.use(await openWorker({ config, deps, assistants, owner }));
  const folder = working && config.documents !== undefined ? await openFolder(config.documents) : undefined;
  const courier = config.role === "api" ? undefined : stack.use(await openCourier({ config, deps, assistants, owner }));
  working?.worker.start();
  courier?.start();
  log.info(
    {
      ...present({ url: http?.url }),
      role: config.role,
      storage: place,
      graphs: deps.graphs.list().map((graph) => graph.graphId),
      failed: deps.graphs.failures().map(({ graphId, file, error }) => `${graphId} (${file}): ${error.message}`),
    },
    "ready",
  );
  if (working && folder) {
    const { retriever } = working;
    await ingestPatiently({ folder, retriever, tenant: LOCAL_TENANT, log, stopping }, systemClock);
  }
  if (!stopping.aborted) await once(stopping, "abort");
  await working?.worker.drain();
}

async function main(): Promise<void> {
  const read = readConfig(process.argv.slice(2));
  if (read.kind === "help") {
    process.stdout.write(`${read.text}\n`);
    return;
  }
  using log = createLog({ level: read.config.logLevel, format: process.stdout.isTTY ? "text" : "json" });
  const unknown = unknownSettings();
  if (unknown.length > 0) log.warn({ unknown }, "there are no settings of these names (see --help)");
  // A promise that nobody awaits, in somebody's graph, must not end the runs of everybody else.
  process.on("unhandledRejection", (error) => log.error({ err: error }, "a rejection that nobody handled"));
  process.on("uncaughtException", (error) => {
    const run = blame(error);
    log.error({ err: error, ...present({ run }) }, "thrown outside of any promise");
    // Nobody's: what the process is worth is unknown. Another worker takes its runs over.
    if (run !== undefined) return;
    log[Symbol.dispose]();
    process.exit(1);
  });
  const { version } = await versions();
  // Ends last, so that it has all that was told on the way.
  await using told = await startTelemetry({ clock: systemClock, log, version });
  const { telemetry } = told;
  await serve(read.config, { log: limitRepeats(log, systemClock), telemetry }, stopSignal(systemClock, log));
}

try {
  await main();
} catch (error) {
  process.stderr.write(`holdpoint: ${errorInfo(error).message}\n`);
  process.exitCode = 1;
}
// Everything has unwound. What a graph left open (a pool of connections, an interval) must not keep the process.
process.exit();
