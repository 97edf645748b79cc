import { createSqliteTable as create } from "../../src/local/sqlite-table.ts";
import type { SqliteTableOptions } from "../../src/local/sqlite-table.ts";
import type { Table } from "../../src/storage/table.ts";
import { armed } from "./armed-process.ts";

export async function createSqliteTable(options: SqliteTableOptions): Promise<Table> {
  return armed(await create(options));
}
