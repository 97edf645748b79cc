import { createSqliteTable as create } from "../../src/local/sqlite-table.ts";
import type { SqliteTableOptions } from "../../src/local/sqlite-table.ts";
import type { Table } from "../../src/storage/table.ts";
import { createNextVersionTable } from "./next-version-table.ts";

export async function createSqliteTable(options: SqliteTableOptions): Promise<Table> {
  return createNextVersionTable(await create(options), { writes: 2 });
}
