/** Savers of others, and what they stand on, installed outside the product from the lockfile in `peers`. */
import { execFile } from "node:child_process";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { SQLInputValue, SQLOutputValue } from "node:sqlite";
import { promisify } from "node:util";
import { BillingMode, CreateTableCommand, DynamoDBClient, KeyType } from "@aws-sdk/client-dynamodb";
import type { DynamoDBClientConfig } from "@aws-sdk/client-dynamodb";

const here = join(import.meta.dirname, "peers");
const folder = resolve(import.meta.dirname, "../../.cache/bench-peers");

/**
 * Installs the peers once, without their scripts, since nothing of them is compiled here; and requires one of them, since
 * the ES modules of some import without extensions, which Node refuses.
 */
export async function requirePeer(name: string): Promise<unknown> {
  await mkdir(folder, { recursive: true });
  const lock = await readFile(join(here, "package-lock.json"), "utf8");
  const stamp = join(folder, "installed-lock.json");
  if ((await readFile(stamp, "utf8").catch(() => "")) !== lock) {
    console.log("Installing the other savers into .cache (once) ...");
    for (const file of ["package.json", "package-lock.json"]) await cp(join(here, file), join(folder, file));
    await promisify(execFile)("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: folder });
    await writeFile(stamp, lock);
  }
  return createRequire(join(folder, "package.json"))(name) as unknown;
}

type Value = SQLInputValue | undefined;
type SQLBytes = Extract<SQLOutputValue, Uint8Array>;
type Row = Readonly<Record<string, SQLOutputValue>>;

/** What LangChain's saver on SQLite calls of better-sqlite3. */
export interface PeerDatabase {
  pragma(text: string): void;
  exec(sql: string): void;
  prepare(sql: string): PeerStatement;
  transaction<Values extends readonly unknown[]>(work: (...values: Values) => void): (...values: Values) => void;
  close(): void;
}

export interface PeerStatement {
  get(...values: readonly Value[]): Row | undefined;
  all(...values: readonly Value[]): readonly Row[];
  run(...values: readonly Value[]): unknown;
}

/** Node's own SQLite as better-sqlite3 is, with its defaults of syncing and of waiting for others. */
export function openPeerDatabase(path: string): PeerDatabase {
  const db = new DatabaseSync(path, { timeout: 5000 });
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
  return {
    pragma: (text) => db.exec(`PRAGMA ${text}`),
    exec: (sql) => db.exec(sql),
    close: () => db.close(),
    prepare(sql) {
      const statement = db.prepare(sql);
      return {
        get: (...values) => {
          const row = statement.get(...bound(values));
          return row && withBuffers(row);
        },
        all: (...values) => statement.all(...bound(values)).map(withBuffers),
        run: (...values) => statement.run(...bound(values)),
      };
    },
    transaction:
      (work) =>
      (...values) => {
        db.exec("BEGIN");
        try {
          work(...values);
          db.exec("COMMIT");
        } catch (error) {
          db.exec("ROLLBACK");
          throw error;
        }
      },
  };
}

const bound = (values: readonly Value[]): readonly SQLInputValue[] => values.map((value) => value ?? null);

const withBuffers = (row: Row): Row =>
  Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, value instanceof Uint8Array ? bufferOf(value) : value]),
  );

const bufferOf = ({ buffer, byteOffset, byteLength }: SQLBytes): Buffer<ArrayBuffer> =>
  Buffer.from(buffer, byteOffset, byteLength);

export interface RwaiTables {
  readonly checkpointsTableName: string;
  readonly writesTableName: string;
}

/** Makes the two tables that `@rwai/langgraphjs-checkpoint-dynamodb` asks for. */
export async function createRwaiTables(config: DynamoDBClientConfig, names: RwaiTables): Promise<void> {
  const client = new DynamoDBClient(config);
  const tables = [
    [names.checkpointsTableName, "thread_id", "checkpoint_id"],
    [names.writesTableName, "thread_id_checkpoint_id_checkpoint_ns", "task_id_idx"],
  ] as const;
  for (const [TableName, partition, sort] of tables) {
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
