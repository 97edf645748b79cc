import { createDynamoTable as create } from "../../src/aws/dynamodb-table.ts";
import type { DynamoTableOptions } from "../../src/aws/dynamodb-table.ts";
import type { Table } from "../../src/storage/table.ts";
import { createNextVersionTable } from "./next-version-table.ts";

export { assertTableExists, ensureTable } from "../../src/aws/dynamodb-table.ts";

export function createDynamoTable(options: DynamoTableOptions): Table {
  return createNextVersionTable(create(options), { writes: 2 });
}
