/** Other checkpoint savers, as the checkpointer benchmark takes them. */
import { join } from "node:path";
import type { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import { startDynamoDbLocal, whyNoDynamoDbLocal } from "../../test/support/dynamodb-local.ts";
import { testFolder } from "../../test/support/process.ts";
import type { Entrant } from "./contender.ts";
import { databaseBytes, oursCounted, oursOnSqlite } from "./ours.ts";
import { createRwaiTables, openPeerDatabase, requirePeer } from "./peer-packages.ts";
import type { PeerDatabase, RwaiTables } from "./peer-packages.ts";
import { startUnitProxy } from "./unit-proxy.ts";

interface SqliteModule {
  readonly SqliteSaver: new (db: PeerDatabase) => BaseCheckpointSaver;
}

/** LangChain's own saver on SQLite. */
export const sqliteSaver: Entrant = {
  name: "LangGraph SQLite",
  beside: { name: oursOnSqlite.name, inTime: true },
  async open() {
    const { SqliteSaver } = (await requirePeer("@langchain/langgraph-checkpoint-sqlite")) as SqliteModule;
    await using opening = new AsyncDisposableStack();
    const path = join(opening.use(await testFolder()).path, "checkpoints.db");
    const db = opening.adopt(openPeerDatabase(path), (opened) => opened.close());
    const opened = opening.move();
    return {
      saver: () => new SqliteSaver(db),
      bytes: async () => databaseBytes(path),
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    };
  },
};

interface DynamoOptions extends RwaiTables {
  readonly clientConfig: object;
}
type DynamoSaver = BaseCheckpointSaver & { readonly client: DynamoDBClient };
interface DynamoModule {
  readonly DynamoDBSaver: new (options: DynamoOptions) => DynamoSaver;
}

const TABLES = { checkpointsTableName: "checkpoints", writesTableName: "writes" } as const;

/** The saver on DynamoDB that others publish, on DynamoDB Local behind a proxy that computes its units. */
export const dynamoSaver: Entrant = {
  name: "@rwai DynamoDB",
  // DynamoDB Local is neither as fast nor as slow as what it stands for.
  beside: { name: oursCounted.name, inTime: false },
  async open() {
    const missing = await whyNoDynamoDbLocal();
    if (missing !== undefined) throw new Error(`DynamoDB Local cannot run here: ${missing}`);
    const { DynamoDBSaver } = (await requirePeer("@rwai/langgraphjs-checkpoint-dynamodb")) as DynamoModule;
    await using opening = new AsyncDisposableStack();
    const server = opening.use(await startDynamoDbLocal());
    const proxy = opening.use(await startUnitProxy(server.endpoint));
    const clientConfig = {
      endpoint: proxy.endpoint,
      region: "us-east-1",
      credentials: { accessKeyId: "local", secretAccessKey: "local" },
    };
    await createRwaiTables(clientConfig, TABLES);
    const before = proxy.calls.length;
    let last: DynamoSaver | undefined;
    opening.defer(() => last?.client.destroy());
    const options = { clientConfig, ...TABLES };
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
