/** Pages of a partition and of an index. */
import { QueryCommand } from "@aws-sdk/client-dynamodb";
import type { QueryCommandInput } from "@aws-sdk/client-dynamodb";
import { compareKeys, readIndexCursor, successor, writeIndexCursor } from "../storage/key-range.ts";
import type { IndexName, IndexRow, Item, Page, Range } from "../storage/table.ts";
import { liveItem, textOf } from "./dynamodb-items.ts";
import type { StoredItem } from "./dynamodb-items.ts";
import type { DynamoContext } from "./dynamodb-requests.ts";

/**
 * One page of a partition. DynamoDB counts expired items towards `limit` and readers must not see them,
 * so it is asked again until the page is full, its own 1 MB is reached, or the range ends.
 */
export async function queryPage(context: DynamoContext, pk: string, range: Range): Promise<Page<Item>> {
  const { requests, tableName } = context;
  const condition = keyCondition({ pkName: "pk", skName: "sk", pk, range });
  if (condition === undefined) return { items: [] };
  const items: Item[] = [];
  let start = range.after === undefined ? undefined : { pk: { S: pk }, sk: { S: range.after } };
  for (;;) {
    const limit = range.limit === undefined ? undefined : range.limit - items.length;
    const input: QueryCommandInput = {
      TableName: tableName,
      ConsistentRead: true,
      ...condition,
      ...pageInput(range, limit, start),
      ...requests.metering,
    };
    const page = await requests.call("query", (client) => client.send(new QueryCommand(input)));
    const now = requests.now();
    for (const stored of page.Items ?? []) {
      const item = liveItem(stored, now);
      if (item?.sk.startsWith(range.prefix ?? "") === true) items.push(item);
    }
    const last = page.LastEvaluatedKey;
    if (last === undefined) return { items };
    const next = textOf(last, "sk");
    const endedAtLimit = limit !== undefined && (page.ScannedCount ?? 0) >= limit;
    const wantsMore = items.length === 0 || (endedAtLimit && items.length < (range.limit ?? 0));
    if (!wantsMore) return { items, next };
    start = { pk: { S: pk }, sk: { S: next } };
  }
}

export interface IndexQuery {
  readonly index: IndexName;
  readonly pk: string;
  readonly range: Range;
}

/** One page of an index. Rows of expired items stay in it until DynamoDB removes them: it is a hint. */
export async function queryIndexPage(
  { requests, tableName }: DynamoContext,
  { index, pk, range }: IndexQuery,
): Promise<Page<IndexRow>> {
  const names = { pkName: `${index}_pk`, skName: `${index}_sk` };
  const condition = keyCondition({ ...names, pk, range });
  if (condition === undefined) return { items: [] };
  const input: QueryCommandInput = {
    TableName: tableName,
    IndexName: index,
    ...condition,
    ...pageInput(range, range.limit, range.after === undefined ? undefined : indexStart(names, pk, range.after)),
    ...requests.metering,
  };
  const page = await requests.call("queryIndex", (client) => client.send(new QueryCommand(input)));
  const rowOf = (stored: StoredItem): IndexRow => ({
    sort: textOf(stored, names.skName),
    key: { pk: textOf(stored, "pk"), sk: textOf(stored, "sk") },
  });
  const items = (page.Items ?? []).map(rowOf).filter((row) => row.sort.startsWith(range.prefix ?? ""));
  const last = page.LastEvaluatedKey;
  return { items, ...(last === undefined ? {} : { next: writeIndexCursor(rowOf(last)) }) };
}

interface IndexKeyNames {
  readonly pkName: string;
  readonly skName: string;
}

function indexStart({ pkName, skName }: IndexKeyNames, indexPk: string, after: string): StoredItem {
  const [sort, pk, sk] = readIndexCursor(after);
  return { [pkName]: { S: indexPk }, [skName]: { S: sort }, pk: { S: pk }, sk: { S: sk } };
}

const pageInput = (range: Range, limit: number | undefined, start: StoredItem | undefined) => ({
  ScanIndexForward: range.descending !== true,
  ...(limit === undefined ? {} : { Limit: limit }),
  ...(start === undefined ? {} : { ExclusiveStartKey: start }),
});

interface KeyRange extends IndexKeyNames {
  readonly pk: string;
  readonly range: Range;
}

/**
 * The range as DynamoDB's one condition on the sort key; undefined when nothing can be in it.
 * A prefix together with a bound may let the one key above the prefix through, which the caller filters out.
 */
function keyCondition({ pkName, skName, pk, range }: KeyRange) {
  const { prefix = "", from = "", to } = range;
  const names = { "#pk": pkName, "#sk": skName };
  const onPartition = { ":pk": { S: pk } };
  const on = (sort: string, values: Record<string, { S: string }>) => ({
    KeyConditionExpression: `#pk = :pk AND ${sort}`,
    ExpressionAttributeNames: names,
    ExpressionAttributeValues: { ...onPartition, ...values },
  });
  if (prefix !== "" && from === "" && to === undefined)
    return on("begins_with(#sk, :prefix)", { ":prefix": { S: prefix } });
  const low = compareKeys(from, prefix) > 0 ? from : prefix;
  const high = lower(to, prefix === "" ? undefined : successor(prefix));
  if (high !== undefined && compareKeys(low, high) > 0) return undefined;
  if (high === "") return undefined;
  if (low !== "" && high !== undefined)
    return on("#sk BETWEEN :low AND :high", { ":low": { S: low }, ":high": { S: high } });
  if (low !== "") return on("#sk >= :low", { ":low": { S: low } });
  if (high !== undefined) return on("#sk <= :high", { ":high": { S: high } });
  return {
    KeyConditionExpression: "#pk = :pk",
    ExpressionAttributeNames: { "#pk": pkName },
    ExpressionAttributeValues: onPartition,
  };
}

function lower(a: string | undefined, b: string | undefined): string | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compareKeys(a, b) <= 0 ? a : b;
}
