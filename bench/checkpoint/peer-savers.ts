/** Savers of others as the hard suite takes them. */
import { join } from "node:path";
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import { clientOptions } from "../../src/aws/client-options.ts";
import { systemIds } from "../../src/core/ids.ts";
import type { Subject } from "../../test/support/hard-suite/suite.ts";
import { createWriteGate } from "../../test/support/write-gate.ts";
import type { WriteGate } from "../../test/support/write-gate.ts";
import { createRwaiTables, openPeerDatabase, requirePeer } from "./peer-packages.ts";
import type { PeerDatabase, RwaiTables } from "./peer-packages.ts";

interface SqliteModule {
  readonly SqliteSaver: new (db: PeerDatabase) => BaseCheckpointSaver;
}
type Middleware = (next: Next, context: { readonly commandName?: string }) => Next;
type Next = (args: unknown) => Promise<unknown>;
interface RwaiSaver extends BaseCheckpointSaver {
  readonly client: {
    readonly middlewareStack: { add(middleware: Middleware, at: { readonly step: "initialize" }): void };
  };
}
interface RwaiModule {
  readonly DynamoDBSaver: new (options: RwaiTables & { readonly clientConfig: object }) => RwaiSaver;
}

/** A database whose changes pass a gate first. SQLite does not wait: only failing is possible. */
const gated = (db: PeerDatabase, pass: () => void): PeerDatabase => ({
  ...db,
  prepare(sql) {
    const statement = db.prepare(sql);
    if (!/^\s*(?:INSERT|DELETE)/i.test(sql)) return statement;
    return {
      ...statement,
      run: (...values) => {
        pass();
        return statement.run(...values);
      },
    };
  },
});

/** LangChain's own saver on SQLite, on a file in this folder. */
export async function sqliteSubject(dir: string): Promise<Subject & Disposable> {
  const { SqliteSaver } = (await requirePeer("@langchain/langgraph-checkpoint-sqlite")) as SqliteModule;
  const path = join(dir, "peer.db");
  const handles = [openPeerDatabase(path), openPeerDatabase(path)] as const;
  let opened = 0;
  const next = (): PeerDatabase => handles[(opened += 1) % 2 === 0 ? 0 : 1];
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
  const { DynamoDBSaver } = (await requirePeer("@rwai/langgraphjs-checkpoint-dynamodb")) as RwaiModule;
  const token = systemIds.token(8);
  const names = { checkpointsTableName: `rwai-${token}`, writesTableName: `rwai-writes-${token}` };
  const clientConfig = clientOptions({ region: "us-east-1", endpoint, requestTimeoutMs: 60_000 });
  await createRwaiTables(clientOptions({ region: "us-east-1", endpoint }), names);
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
