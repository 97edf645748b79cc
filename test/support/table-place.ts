/** Where a table is, as data that can be handed to another process, and how to open it there. */
import { createDynamoTable } from "../../src/aws/dynamodb-table.ts";
import type { DynamoTableOptions } from "../../src/aws/dynamodb-table.ts";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";
import { createSqliteTable } from "../../src/local/sqlite-table.ts";
import type { Table } from "../../src/storage/table.ts";

export interface SqlitePlace {
  readonly kind: "sqlite";
  readonly path: string;
}
export interface DynamoPlace {
  readonly kind: "dynamo";
  readonly endpoint: string;
  readonly tableName: string;
}
export type TablePlace = SqlitePlace | DynamoPlace;

/** A new handle on the table, as another process would have. */
export async function openPlace(place: TablePlace): Promise<Table> {
  if (place.kind === "sqlite") return createSqliteTable({ path: place.path, clock: systemClock, ids: systemIds });
  return createDynamoTable(dynamoOptions(place));
}

/** What it takes to talk to a local engine. */
export function dynamoOptions({ endpoint, tableName }: Omit<DynamoPlace, "kind">): DynamoTableOptions {
  return { tableName, endpoint, region: "us-east-1", clock: systemClock, ids: systemIds };
}
