import { HoldpointError } from "../core/errors.ts";
import { tableKey } from "./keys.ts";
import { numberOf, readable } from "./records.ts";
import type { Table } from "./table.ts";

/**
 * Writes down how many partitions the index of due work has, once per table: a process that counted otherwise would
 * look for work where none is put.
 * @throws HoldpointError `conflict` when the table was first used with another number
 */
export async function agreeOnShards(table: Table, shards: number): Promise<void> {
  const put = await table.put({ ...tableKey("shards"), attributes: { n: shards } }, "absent");
  if (put.won || !put.current) return;
  const agreed = numberOf(readable(put.current), "n");
  if (agreed === shards) return;
  throw new HoldpointError(
    "conflict",
    `the table was first used with HOLDPOINT_SHARDS=${agreed} and cannot be used with ${shards}`,
  );
}
