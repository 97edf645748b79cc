/** The whole service in this process: the real runtime and a worker, on SQLite in a temporary folder unless given another table, behind HTTP. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "@langchain/langgraph-sdk";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";
import type { AppOptions } from "../../src/http/app.ts";
import type { Services } from "../../src/graph/services.ts";
import type { GraphRegistry } from "../../src/langgraph/registry.ts";
import { createFolderBlobs } from "../../src/local/folder-blobs.ts";
import { createSqliteTable } from "../../src/local/sqlite-table.ts";
import { createDeps, createRuntime } from "../../src/runtime/create.ts";
import type { GivenDeps } from "../../src/runtime/create.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import { langGraphEngine } from "../../src/runtime/engine.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { createWorker } from "../../src/runtime/worker/worker.ts";
import { sealedBlobs } from "../../src/storage/encryption/sealed-blobs.ts";
import { plainSealers } from "../../src/storage/encryption/sealer.ts";
import type { Sealers } from "../../src/storage/encryption/sealer.ts";
import type { Table } from "../../src/storage/table.ts";
import { noTelemetry } from "../../src/telemetry/open-telemetry.ts";
import type { Telemetry } from "../../src/telemetry/open-telemetry.ts";
import type { Worker } from "../../src/runtime/worker/worker.ts";
import { createMemoryLog, startApp } from "./http.ts";
import type { TestApp } from "./http.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";

const SHARDS = 1;

export interface ServiceOptions {
  readonly graphs: GraphRegistry;
  /** Without one, runs are accepted and stay pending. */
  readonly worker?: boolean;
  readonly app?: Partial<AppOptions>;
  readonly store?: GivenDeps["store"];
  /** In place of services that only throw. */
  readonly services?: Partial<Services>;
  readonly webhookHosts?: readonly string[];
  /** The caller's to dispose of. */
  readonly table?: Table;
  /** The folder of bodies; the caller's to remove. */
  readonly bodies?: string;
  readonly sealers?: Sealers;
  readonly telemetry?: Telemetry;
  readonly sns?: NonNullable<Deps["sns"]>;
}

export interface Service extends AsyncDisposable {
  readonly app: TestApp;
  readonly runtime: Runtime;
  readonly deps: Deps;
  readonly worker: Worker | undefined;
  /** The official SDK's client, as a tenant. */
  client(of: "acme" | "globex"): Client;
}

export async function startService({
  graphs,
  worker: withWorker = true,
  app: options,
  services = {},
  ...given
}: ServiceOptions): Promise<Service> {
  await using opening = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), "holdpoint-http-"));
  opening.defer(() => rm(dir, { recursive: true, force: true }));
  const deps = await openDeps(dir, { graphs, ...given }, opening);
  const runtime = createRuntime(deps);
  const worker = withWorker ? opening.use(workerOf(deps, runtime.assistants, services)) : undefined;
  worker?.start();
  const info = { version: "0.0.0", langgraphVersion: "0.0.0", graphs };
  const app = opening.use(await startApp({ runtime, info, telemetry: deps.telemetry, ...options }));
  const opened = opening.move();
  return {
    app,
    runtime,
    deps,
    worker,
    client: (of) => new Client({ apiUrl: app.url, apiKey: app.key(of), callerOptions: { maxRetries: 0 } }),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

async function openDeps(
  dir: string,
  {
    graphs,
    store,
    webhookHosts = [],
    table: given,
    bodies = join(dir, "blobs"),
    sealers = plainSealers,
    telemetry = noTelemetry,
    sns,
  }: Omit<ServiceOptions, "worker" | "app">,
  opening: AsyncDisposableStack,
): Promise<Deps> {
  const table =
    given ?? opening.use(await createSqliteTable({ path: join(dir, "table.db"), clock: systemClock, ids: systemIds }));
  const blobs = sealedBlobs(createFolderBlobs({ dir: bodies }), sealers);
  return createDeps({
    table,
    blobs,
    sealers,
    graphs,
    clock: systemClock,
    ids: systemIds,
    log: createMemoryLog(),
    telemetry,
    ...(store && { store }),
    ...(sns && { sns }),
    settings: {
      leaseMs: 5_000,
      concurrency: 10,
      pool: "default",
      shards: SHARDS,
      limits: DEFAULT_LIMITS,
      owner: "test/owner",
      ...(webhookHosts && { webhookHosts }),
    },
  });
}

function workerOf(
  deps: Deps,
  assistants: ReturnType<typeof createRuntime>["assistants"],
  services: Partial<Services>,
): Worker {
  return createWorker({
    deps,
    engine: langGraphEngine,
    assistants,
    services: (tenant) => ({
      tenant,
      settings: {},
      models: () => {
        throw new Error("these graphs use no model");
      },
      chat(name, offline) {
        if (offline) return offline;
        throw new Error(`these graphs have no model called ${name}`);
      },
      retriever: () => {
        throw new Error("these graphs use no documents");
      },
      ...services,
    }),
    isKnownDead: () => false,
  });
}
