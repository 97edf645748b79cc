/** Savers of others as the hard suite takes them, installed outside the product from the lockfile next to this file. */
import { execFile } from "node:child_process";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { CreateTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import { clientOptions } from "../../src/aws/client-options.ts";
import { systemIds } from "../../src/core/ids.ts";
import type { Subject } from "../../test/support/hard-suite/suite.ts";
import { createWriteGate } from "../../test/support/write-gate.ts";
import type { WriteGate } from "../../test/support/write-gate.ts";

const here = import.meta.dirname;
const folder = resolve(here, "../../.cache/bench-savers");

/** The part of better-sqlite3 that is used here. */
interface Database {
  prepare(sql: string): { readonly run: (...values: readonly unknown[]) => unknown };
  close(): unknown;
}
interface SqliteModule {
  readonly SqliteSaver: new (db: Database) => BaseCheckpointSaver;
}
interface DatabaseModule {
  readonly default: new (path: string) => Database;
}
type Middleware = (next: Next, context: { readonly commandName?: string }) => Next;
type Next = (args: unknown) => Promise<unknown>;
interface RwaiSaver extends BaseCheckpointSaver {
  readonly client: {
    readonly middlewareStack: { add(middleware: Middleware, at: { readonly step: "initialize" }): void };
  };
}
interface RwaiModule {
  readonly DynamoDBSaver: new (options: {
    readonly checkpointsTableName: string;
    readonly writesTableName: string;
    readonly clientConfig: object;
  }) => RwaiSaver;
}

/** Installs the peers if need be. */
async function install(): Promise<NodeJS.Require> {
  await mkdir(folder, { recursive: true });
  for (const file of ["package.json", "package-lock.json"]) await cp(join(here, file), join(folder, file));
  const lock = await readFile(join(here, "package-lock.json"), "utf8");
  const stamp = join(folder, "installed-lock.json");
  if ((await readFile(stamp, "utf8").catch(() => "")) !== lock) {
    console.log("Installing other checkpoint savers into .cache (once) ...");
    await promisify(execFile)("npm", ["ci", "--no-audit", "--no-fund"], { cwd: folder });
    await writeFile(stamp, lock);
  }
  return createRequire(join(folder, "package.json"));
}

/** A database whose changes pass a gate first. SQLite does not wait: only failing is possible. */
const gated = (db: Database, pass: () => void): Database =>
  new Proxy(db, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (name === "prepare") {
        return (sql: string) => {
          const statement = db.prepare(sql);
          if (!/^\s*(?:INSERT|DELETE)/i.test(sql)) return statement;
          const run = (...values: readonly unknown[]): unknown => {
            pass();
            return statement.run(...values);
          };
          return { run };
        };
      }
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });

/** LangChain's own saver on SQLite, on a file in this folder. */
export async function sqliteSubject(dir: string): Promise<Subject & Disposable> {
  const find = await install();
  const load = async (name: string): Promise<unknown> => import(pathToFileURL(find.resolve(name)).href);
  // What these packages export, as their own types say.
  const { SqliteSaver } = (await load("@langchain/langgraph-checkpoint-sqlite")) as SqliteModule;
  const { default: Sqlite } = (await load("better-sqlite3")) as DatabaseModule;
  const path = join(dir, "peer.db");
  const handles = [new Sqlite(path), new Sqlite(path)] as const;
  let opened = 0;
  const next = (): Database => handles[(opened += 1) % 2 === 0 ? 0 : 1];
  return {
    name: "LangChain, SQLite",
    open: async () => new SqliteSaver(next()),
    failing: async (nth) => {
      let writes = 0;
      const pass = (): void => {
        writes += 1;
        if (writes >= nth) throw new Error("the storage is away");
      };
      return new SqliteSaver(gated(next(), pass));
    },
    [Symbol.dispose]: () => {
      for (const db of handles) db.close();
    },
  };
}

/** `@rwai/langgraphjs-checkpoint-dynamodb`, on the two tables that it asks for. */
export async function rwaiSubject(endpoint: string): Promise<Subject> {
  const load = await install();
  // Its ES modules import without extensions, which Node refuses.
  const { DynamoDBSaver } = load("@rwai/langgraphjs-checkpoint-dynamodb") as RwaiModule;
  const token = systemIds.token(8);
  const names = { checkpointsTableName: `rwai-${token}`, writesTableName: `rwai-writes-${token}` };
  await createTables(endpoint, names);
  const clientConfig = clientOptions({ region: "us-east-1", endpoint, requestTimeoutMs: 60_000 });
  const open = async (gate?: WriteGate): Promise<RwaiSaver> => {
    const saver = new DynamoDBSaver({ ...names, clientConfig });
    if (gate !== undefined) {
      const middleware: Middleware =
        (next, { commandName = "" }) =>
        async (args) => {
          if (/Put|Write|Update|Delete/.test(commandName)) await gate.pass();
          return next(args);
        };
      saver.client.middlewareStack.add(middleware, { step: "initialize" });
    }
    return saver;
  };
  return {
    name: "rwai 0.1.6, DynamoDB",
    open: () => open(),
    failing: (nth) => open(createWriteGate({ failsFrom: nth })),
    holding: async (nth) => {
      const gate = createWriteGate({ holds: nth });
      return { saver: await open(gate), reached: gate.reached, release: gate.release };
    },
  };
}

async function createTables(
  endpoint: string,
  names: { readonly checkpointsTableName: string; readonly writesTableName: string },
): Promise<void> {
  const client = new DynamoDBClient(clientOptions({ region: "us-east-1", endpoint }));
  const tables = [
    [names.checkpointsTableName, "thread_id", "checkpoint_id"],
    [names.writesTableName, "thread_id_checkpoint_id_checkpoint_ns", "task_id_idx"],
  ] as const;
  for (const [TableName, hash, range] of tables) {
    const command = new CreateTableCommand({
      TableName,
      BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: [hash, range].map((AttributeName) => ({ AttributeName, AttributeType: "S" as const })),
      KeySchema: [
        { AttributeName: hash, KeyType: "HASH" },
        { AttributeName: range, KeyType: "RANGE" },
      ],
    });
    await client.send(command);
  }
  client.destroy();
}
