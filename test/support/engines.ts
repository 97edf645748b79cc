/** The engines that every adapter test runs on. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject } from "vitest";
import { ensureTable } from "../../src/aws/table-definition.ts";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";
import type { Table } from "../../src/storage/table.ts";
import { startDynalite } from "./dynalite.ts";
import type { DynamoServer } from "./dynalite.ts";
import { createMemoryTable } from "./memory-table.ts";
import { dynamoOptions, openPlace } from "./table-place.ts";
import type { DynamoPlace, SqlitePlace, TablePlace } from "./table-place.ts";

/** A table of its own, empty at first; disposing closes every handle and removes what can be removed. */
export interface Handles extends AsyncDisposable {
  readonly table: Table;
  /** Another handle on the same table, as another process has. */
  another(): Promise<Table>;
}

export interface OpenTable<P extends TablePlace = TablePlace> extends Handles {
  /** For handing the table to another process. */
  readonly place: P;
}

export interface Engine<P extends TablePlace = TablePlace> {
  readonly name: string;
  open(): Promise<OpenTable<P>>;
}

export const sqliteEngine: Engine<SqlitePlace> = {
  name: "SQLite",
  async open() {
    const dir = await mkdtemp(join(tmpdir(), "holdpoint-sqlite-"));
    return openTable({ kind: "sqlite", path: join(dir, "table.db") }, () => rm(dir, { recursive: true, force: true }));
  },
};

const dynalite: Engine<DynamoPlace> = {
  name: "dynalite",
  async open() {
    const server = await startDynalite();
    return openDynamo(server);
  },
};

const dynamoDbLocal = (launcher: string): Engine<DynamoPlace> => ({
  name: "DynamoDB Local",
  async open() {
    const answer = await fetch(launcher);
    const endpoint = await answer.text();
    if (!answer.ok) throw new Error(endpoint);
    return openDynamo({ endpoint, [Symbol.asyncDispose]: async () => {} });
  },
});

/** Those that speak DynamoDB's protocol: dynalite always, DynamoDB Local where it can run. Call it outside of tests. */
export function dynamoEngines(): readonly Engine<DynamoPlace>[] {
  const launcher = inject("dynamoDbLocalLauncher");
  return launcher === null ? [dynalite] : [dynalite, dynamoDbLocal(launcher)];
}

/** Also the table that unit tests and the simulation trust: it has to keep the same promises. */
export const everyTable = (): readonly { readonly name: string; open(): Promise<Handles> }[] => [
  ...engines(),
  { name: "memory", open: async () => memoryHandles(createMemoryTable({ now: () => systemClock.wall() })) },
];

const memoryHandles = (table: Table): Handles => ({
  table,
  another: async () => table,
  [Symbol.asyncDispose]: async () => {},
});

/** What the service runs on: dynalite stands in for DynamoDB where every statement of an adapter is checked. */
export const serviceEngines = (): readonly Engine[] => engines().filter(({ name }) => name !== "dynalite");

/** All that keep what they are given. */
export const engines = (): readonly Engine[] => [sqliteEngine, ...dynamoEngines()];

async function openDynamo(server: DynamoServer): Promise<OpenTable<DynamoPlace>> {
  const place: DynamoPlace = { kind: "dynamo", endpoint: server.endpoint, tableName: `test-${systemIds.token(8)}` };
  await ensureTable(dynamoOptions(place));
  return openTable(place, () => server[Symbol.asyncDispose]());
}

async function openTable<P extends TablePlace>(place: P, cleanUp: () => PromiseLike<void>): Promise<OpenTable<P>> {
  const handles = new AsyncDisposableStack();
  handles.defer(cleanUp);
  const another = async (): Promise<Table> => handles.use(await openPlace(place));
  return { table: await another(), another, place, [Symbol.asyncDispose]: () => handles.disposeAsync() };
}
