/** Processes of the service that share one table, on either engine. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "@langchain/langgraph-sdk";
import type { Service } from "../../scripts/demo/service.ts";
import { dynamoEngines } from "./engines.ts";
import type { OpenTable } from "./engines.ts";
import { startTestService, testFolder } from "./process.ts";
import type { TestServiceOptions } from "./process.ts";
import type { TablePlace } from "./table-place.ts";

export type FleetStart = Omit<TestServiceOptions, "dataDir">;

/** One table, and any number of processes on it; all of them are killed when it is disposed. */
export interface Fleet extends AsyncDisposable {
  readonly dataDir: string;
  /** For looking at the table past every process. */
  readonly place: TablePlace;
  start(options: FleetStart): Service;
  /** Starts a process that serves HTTP, and a client for it. */
  startApi(
    options?: Omit<FleetStart, "role">,
  ): Promise<{ readonly service: Service; readonly url: string; readonly client: Client }>;
}

export interface FleetEngine {
  readonly name: string;
  open(env?: Readonly<Record<string, string>>): Promise<Fleet>;
}

/** SQLite, and every DynamoDB-compatible server that can run here. Call it outside of tests. */
export function fleetEngines(): readonly FleetEngine[] {
  const sqlite: FleetEngine = { name: "one SQLite file", open: (env = {}) => openFleet(env) };
  const dynamo = dynamoEngines().map((engine): FleetEngine => ({
    name: engine.name,
    async open(env = {}) {
      const opened = await engine.open();
      const { endpoint, tableName } = opened.place;
      return openFleet({ ...env, HOLDPOINT_TABLE: tableName, DYNAMODB_ENDPOINT: endpoint }, opened);
    },
  }));
  return [sqlite, ...dynamo];
}

async function openFleet(env: Readonly<Record<string, string>>, table?: OpenTable): Promise<Fleet> {
  const stack = new AsyncDisposableStack();
  const folder = stack.use(await testFolder());
  if (table) stack.use(table);
  const dataDir = join(folder.path, "data");
  await mkdir(dataDir);
  const start = (options: FleetStart): Service =>
    stack.use(startTestService({ ...options, dataDir, env: { ...env, ...options.env } }));
  return {
    dataDir,
    place: table?.place ?? { kind: "sqlite", path: join(dataDir, "holdpoint.db") },
    start,
    async startApi(options = {}) {
      const service = start({ ...options, role: "api" });
      const { url = "" } = await service.ready;
      return { service, url, client: new Client({ apiUrl: url }) };
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
