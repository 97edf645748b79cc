/** Batches: cut to DynamoDB's sizes, and what comes back unprocessed tried again until all of it is done. */
import { BatchGetItemCommand, BatchWriteItemCommand } from "@aws-sdk/client-dynamodb";
import { HoldpointError } from "../core/errors.ts";
import { pauseMs } from "../storage/backoff.ts";
import { assertStorable } from "../storage/item-size.ts";
import type { Draft, Item, Key } from "../storage/table.ts";
import { newVersion, newWriteId } from "../storage/write-ids.ts";
import { liveItem, storedItem, storedKey, textOf } from "./dynamodb-items.ts";
import type { StoredItem } from "./dynamodb-items.ts";
import type { DynamoContext } from "./dynamodb-requests.ts";

const MAX_GETS = 100;
const MAX_PUTS = 25;
const FIRST_PAUSE_MS = 25;
const LONGEST_PAUSE_MS = 1000;
/** A batch of which nothing at all was processed for this long has failed. */
const PATIENCE_MS = 10_000;

/** The items there are, in the order of the keys; a key that is named twice counts once. */
export async function batchGet(context: DynamoContext, keys: readonly Key[]): Promise<readonly Item[]> {
  const { requests, tableName } = context;
  const found = new Map<string, StoredItem>();
  const wanted = new Map(keys.map((key) => [nameOf(key), storedKey(key)]));
  await inBatches(context, [...wanted.values()], MAX_GETS, async (batch) => {
    const { Responses, UnprocessedKeys } = await requests.call("batchGet", (client) =>
      client.send(
        new BatchGetItemCommand({
          RequestItems: { [tableName]: { Keys: batch, ConsistentRead: true } },
          ...requests.metering,
        }),
      ),
    );
    for (const stored of Responses?.[tableName] ?? []) {
      found.set(nameOf({ pk: textOf(stored, "pk"), sk: textOf(stored, "sk") }), stored);
    }
    return UnprocessedKeys?.[tableName]?.Keys ?? [];
  });
  const now = requests.now();
  return [...wanted.keys()].flatMap((name) => liveItem(found.get(name), now) ?? []);
}

/** Of two drafts under one key the later one lands. */
export async function batchPut(context: DynamoContext, drafts: readonly Draft[]): Promise<void> {
  const { requests, tableName, ids } = context;
  const items = new Map<string, StoredItem>();
  for (const draft of drafts) {
    assertStorable(draft);
    items.set(nameOf(draft), storedItem(draft, newVersion("any", ids), newWriteId(ids)));
  }
  await inBatches(context, [...items.values()], MAX_PUTS, async (batch) => {
    const { UnprocessedItems } = await requests.call("batchPut", (client) =>
      client.send(
        new BatchWriteItemCommand({
          RequestItems: { [tableName]: batch.map((Item) => ({ PutRequest: { Item } })) },
          ...requests.metering,
        }),
      ),
    );
    return (UnprocessedItems?.[tableName] ?? []).flatMap(({ PutRequest }) =>
      PutRequest?.Item === undefined ? [] : [PutRequest.Item],
    );
  });
}

const nameOf = (key: Key): string => `${key.pk}\u0000${key.sk}`;

/** Hands everything to `process` in batches, all at the same time; what that returns is still to be done. */
async function inBatches<T>(
  context: DynamoContext,
  all: readonly T[],
  size: number,
  process: (batch: T[]) => Promise<T[]>,
): Promise<void> {
  const batches = Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size));
  await Promise.all(batches.map((batch) => untilProcessed(context, batch, process)));
}

async function untilProcessed<T>(
  { clock, ids }: DynamoContext,
  batch: T[],
  process: (batch: T[]) => Promise<T[]>,
): Promise<void> {
  let rest = batch;
  let attempt = 0;
  let progressAt = clock.monotonic();
  for (;;) {
    const left = await process(rest);
    if (left.length === 0) return;
    if (left.length < rest.length) {
      attempt = 0;
      progressAt = clock.monotonic();
    } else if (clock.monotonic() - progressAt >= PATIENCE_MS) {
      throw new HoldpointError(
        "unavailable",
        `${left.length} items of a batch stayed unprocessed for ${PATIENCE_MS} ms`,
      );
    }
    rest = left;
    await clock.sleep(pauseMs(attempt++, FIRST_PAUSE_MS, LONGEST_PAUSE_MS, ids));
  }
}
