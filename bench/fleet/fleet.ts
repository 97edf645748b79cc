/** Real processes of the service on one table: API and workers apart, as in production. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Service } from "../../scripts/demo/service.ts";
import { ensureTable } from "../../src/aws/table-definition.ts";
import { systemIds } from "../../src/core/ids.ts";
import { startDynamoDbLocal, whyNoDynamoDbLocal } from "../../test/support/dynamodb-local.ts";
import { startTestService, testFolder } from "../../test/support/process.ts";
import { dynamoOptions } from "../../test/support/table-place.ts";
import { createClient } from "../server/client.ts";
import type { Client } from "../server/client.ts";

/** Where tables are made: SQLite in a folder for each, or one DynamoDB-compatible server for all. */
export interface Engine extends AsyncDisposable {
  readonly name: string;
  /** Undefined: SQLite. */
  readonly endpoint?: string;
}

export interface FleetOptions {
  readonly engine: Engine;
  /** Settings of every process. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface StartOptions {
  readonly role: "api" | "worker";
  readonly env?: Readonly<Record<string, string>>;
  /** Reports another host name than this one, so that nobody else's processes are known to be dead. */
  readonly elsewhere?: boolean;
}

/** One table, and any number of processes on it; all of them are killed when it is disposed. */
export interface Fleet extends AsyncDisposable {
  start(options: StartOptions): Service;
  /** Starts a process that serves HTTP. */
  startApi(): Promise<{ readonly port: number; client(apiKey?: string): Client }>;
  /** Starts that many workers and waits until they are ready. */
  startWorkers(count: number, options?: Omit<StartOptions, "role">): Promise<readonly Service[]>;
}

/** A real process that believes it runs on another machine: the seam is the host name, which Node reads from here. */
const ELSEWHERE = `data:text/javascript,${encodeURIComponent(`
  import { syncBuiltinESMExports } from "node:module";
  import os from "node:os";
  os.hostname = () => "elsewhere";
  syncBuiltinESMExports();
`)}`;

export const ENGINES = "sqlite, dynamodb-local, or best: the latter where Java and Maven are found";

/** Opens the engine of this name. @throws Error when it cannot run here */
export async function openEngine(name: string): Promise<Engine> {
  if (name === "sqlite") return { name: "SQLite", async [Symbol.asyncDispose]() {} };
  if (name !== "dynamodb-local" && name !== "best") throw new Error(`--engine is one of ${ENGINES}`);
  const missing = await whyNoDynamoDbLocal();
  if (missing === undefined) {
    const server = await startDynamoDbLocal();
    return {
      name: "DynamoDB Local",
      endpoint: server.endpoint,
      [Symbol.asyncDispose]: async () => server[Symbol.asyncDispose](),
    };
  }
  if (name === "best") {
    console.log(`On SQLite, since DynamoDB Local cannot run here: ${missing}.`);
    return openEngine("sqlite");
  }
  throw new Error(`DynamoDB Local cannot run here: ${missing}`);
}

/** An empty table of the engine. */
export async function openFleet({ engine, env = {} }: FleetOptions): Promise<Fleet> {
  await using opening = new AsyncDisposableStack();
  const folder = opening.use(await testFolder());
  const dataDir = join(folder.path, "data");
  await mkdir(dataDir);
  const table = await tableSettings(engine);
  const settings = { HOLDPOINT_CONFIG: join(import.meta.dirname, "langgraph.json"), ...table, ...env };
  const stack = opening.move();
  const start = (options: StartOptions): Service => {
    const away = options.elsewhere === true ? { NODE_OPTIONS: `--import=${ELSEWHERE}` } : {};
    return stack.use(startTestService({ role: options.role, dataDir, env: { ...settings, ...away, ...options.env } }));
  };
  return {
    start,
    async startApi() {
      const { url = "" } = await start({ role: "api" }).ready;
      const port = Number(new URL(url).port);
      return { port, client: (apiKey) => stack.use(createClient(port, apiKey)) };
    },
    async startWorkers(count, options = {}) {
      const workers = Array.from({ length: count }, () => start({ ...options, role: "worker" }));
      await Promise.all(workers.map(({ ready }) => ready));
      return workers;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function tableSettings({ endpoint }: Engine): Promise<Readonly<Record<string, string>>> {
  if (endpoint === undefined) return {};
  const tableName = `bench-${systemIds.token(8)}`;
  await ensureTable(dynamoOptions({ endpoint, tableName }));
  return { HOLDPOINT_TABLE: tableName, DYNAMODB_ENDPOINT: endpoint };
}
