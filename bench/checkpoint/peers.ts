/** Other checkpoint savers, installed outside the product from the lockfile in `peers`. */
import { execFile } from "node:child_process";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { SQLInputValue } from "node:sqlite";
import { promisify } from "node:util";
import { BillingMode, CreateTableCommand, DynamoDBClient, KeyType } from "@aws-sdk/client-dynamodb";
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import { startDynamoDbLocal, whyNoDynamoDbLocal } from "../../test/support/dynamodb-local.ts";
import { testFolder } from "../../test/support/process.ts";
import type { Entrant } from "./contender.ts";
import { databaseBytes, oursCounted, oursOnSqlite } from "./ours.ts";
import { startUnitProxy } from "./unit-proxy.ts";

const here = join(import.meta.dirname, "peers");
const folder = resolve(import.meta.dirname, "../../.cache/bench-checkpointer");

/** Installs them once; without their scripts, since nothing of them is compiled here. */
async function install(): Promise<(name: string) => unknown> {
  await mkdir(folder, { recursive: true });
  const lock = await readFile(join(here, "package-lock.json"), "utf8");
  const stamp = join(folder, "installed-lock.json");
  if ((await readFile(stamp, "utf8").catch(() => "")) !== lock) {
    console.log("Installing the other savers into .cache (once) ...");
    for (const file of ["package.json", "package-lock.json"]) await cp(join(here, file), join(folder, file));
    await promisify(execFile)("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: folder });
    await writeFile(stamp, lock);
  }
  return createRequire(join(folder, "package.json"));
}

/** Node's own SQLite with as much of better-sqlite3's interface as the saver calls, and with its default of syncing. */
function openDatabase(path: string): object {
  const db = new DatabaseSync(path);
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
  const bound = (values: readonly (SQLInputValue | undefined)[]): SQLInputValue[] =>
    values.map((value) => value ?? null);
  return {
    pragma: (text: string) => db.exec(`PRAGMA ${text}`),
    exec: (sql: string) => db.exec(sql),
    close: () => db.close(),
    prepare(sql: string) {
      const statement = db.prepare(sql);
      return {
        get: (...values: readonly (SQLInputValue | undefined)[]) => statement.get(...bound(values)),
        run: (...values: readonly (SQLInputValue | undefined)[]) => statement.run(...bound(values)),
      };
    },
    transaction:
      <Values extends readonly unknown[]>(work: (...values: Values) => void) =>
      (...values: Values): void => {
        db.exec("BEGIN");
        work(...values);
        db.exec("COMMIT");
      },
  };
}

interface SqliteModule {
  readonly SqliteSaver: new (db: object) => BaseCheckpointSaver;
}

/** LangChain's own saver on SQLite. */
export const sqliteSaver: Entrant = {
  name: "LangGraph SQLite",
  beside: { name: oursOnSqlite.name, inTime: true },
  async open() {
    const { SqliteSaver } = (await install())("@langchain/langgraph-checkpoint-sqlite") as SqliteModule;
    await using opening = new AsyncDisposableStack();
    const path = join(opening.use(await testFolder()).path, "checkpoints.db");
    const db = opening.adopt(openDatabase(path) as { close(): void }, (opened) => opened.close());
    const opened = opening.move();
    return {
      saver: () => new SqliteSaver(db),
      bytes: async () => databaseBytes(path),
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    };
  },
};

interface DynamoOptions {
  readonly clientConfig: object;
  readonly checkpointsTableName: string;
  readonly writesTableName: string;
}
type DynamoSaver = BaseCheckpointSaver & { readonly client: DynamoDBClient };
interface DynamoModule {
  readonly DynamoDBSaver: new (options: DynamoOptions) => DynamoSaver;
}

const TABLES = {
  checkpoints: ["thread_id", "checkpoint_id"],
  writes: ["thread_id_checkpoint_id_checkpoint_ns", "task_id_idx"],
} as const;

/** The saver on DynamoDB that others publish, on DynamoDB Local behind a proxy that computes its units. */
export const dynamoSaver: Entrant = {
  name: "@rwai DynamoDB",
  // DynamoDB Local is neither as fast nor as slow as what it stands for.
  beside: { name: oursCounted.name, inTime: false },
  async open() {
    const missing = await whyNoDynamoDbLocal();
    if (missing !== undefined) throw new Error(`DynamoDB Local cannot run here: ${missing}`);
    const { DynamoDBSaver } = (await install())("@rwai/langgraphjs-checkpoint-dynamodb") as DynamoModule;
    await using opening = new AsyncDisposableStack();
    const server = opening.use(await startDynamoDbLocal());
    const proxy = opening.use(await startUnitProxy(server.endpoint));
    const clientConfig = {
      endpoint: proxy.endpoint,
      region: "us-east-1",
      credentials: { accessKeyId: "local", secretAccessKey: "local" },
    };
    await createTables(clientConfig);
    const before = proxy.calls.length;
    let last: DynamoSaver | undefined;
    opening.defer(() => last?.client.destroy());
    const options = { clientConfig, checkpointsTableName: "checkpoints", writesTableName: "writes" };
    const opened = opening.move();
    return {
      saver() {
        // Each has a client of its own, and so connections of its own.
        last?.client.destroy();
        return (last = new DynamoDBSaver(options));
      },
      get calls() {
        return proxy.calls.slice(before);
      },
      bytes: async () => proxy.bytes(),
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    };
  },
};

async function createTables(config: object): Promise<void> {
  const client = new DynamoDBClient(config);
  for (const [TableName, [partition, sort]] of Object.entries(TABLES)) {
    await client.send(
      new CreateTableCommand({
        TableName,
        KeySchema: [
          { AttributeName: partition, KeyType: KeyType.HASH },
          { AttributeName: sort, KeyType: KeyType.RANGE },
        ],
        AttributeDefinitions: [partition, sort].map((AttributeName) => ({ AttributeName, AttributeType: "S" })),
        BillingMode: BillingMode.PAY_PER_REQUEST,
      }),
    );
  }
  client.destroy();
}
