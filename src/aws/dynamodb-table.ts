/**
 * The table on Amazon DynamoDB, or on a server that speaks its protocol.
 *
 * Must stay true:
 * - Every conditional write carries a write id, also when the SDK repeats it. A failed condition on an item that bears
 *   this id was our own success, whose reply was lost.
 * - A version is never given twice under one key: it is one more than the version it replaces, or drawn at random.
 * - Expired items are absent everywhere, whether DynamoDB has removed them yet or not.
 */
import {
  ConditionalCheckFailedException,
  DeleteItemCommand,
  GetItemCommand,
  PutItemCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { HoldpointError } from "../core/errors.ts";
import type { IdSource } from "../core/ids.ts";
import { assertStorable } from "../storage/item-size.ts";
import type { Draft, Item, Key, PutResult, RemoveResult, Table, When } from "../storage/table.ts";
import { newVersion, newWriteId } from "../storage/write-ids.ts";
import { batchGet, batchPut } from "./dynamodb-batches.ts";
import { fieldName, isOurs, liveItem, storedItem, storedKey, storedNumber } from "./dynamodb-items.ts";
import type { StoredItem } from "./dynamodb-items.ts";
import { queryIndexPage, queryPage } from "./dynamodb-queries.ts";
import { createRequests } from "./dynamodb-requests.ts";
import type { DynamoContext, DynamoOptions } from "./dynamodb-requests.ts";

/** Whoever loads the SDK for a table also has what makes or checks one. */
export { assertTableExists, ensureTable } from "./table-definition.ts";

export interface DynamoTableOptions extends DynamoOptions {
  readonly ids: IdSource;
}

/** How often a write is tried anew because the item changed between its condition and the look at what failed it. */
const MAX_RACES = 8;

/** Opens a table that exists; nothing is sent until it is used. See `ensureTable` and `assertTableExists`. */
export function createDynamoTable(options: DynamoTableOptions): Table {
  const requests = createRequests(options);
  const context: DynamoContext = {
    tableName: options.tableName,
    requests,
    clock: options.clock,
    ids: options.ids,
  };
  return {
    get: async (key) => liveItem(await getStored(context, key), requests.now()),
    put: (draft, when, writeOptions) => put(context, draft, when, writeOptions?.writeId ?? newWriteId(options.ids)),
    remove: (key, when) => (when === "any" ? removeAny(context, key) : removeVersion(context, key, when.version)),
    query: (pk, range) => queryPage(context, pk, range),
    queryIndex: (index, pk, range) => queryIndexPage(context, { index, pk, range }),
    batchGet: (keys) => batchGet(context, keys),
    batchPut: (drafts) => batchPut(context, drafts),
    add: (key, field, delta, ceiling) => add(context, key, { field, delta, ceiling: ceiling ?? Infinity }),
    now: () => requests.now(),
    async [Symbol.asyncDispose]() {
      requests[Symbol.dispose]();
    },
  };
}

async function getStored({ tableName, requests }: DynamoContext, key: Key): Promise<StoredItem | undefined> {
  const { Item } = await requests.call("get", (client) =>
    client.send(
      new GetItemCommand({ TableName: tableName, Key: storedKey(key), ConsistentRead: true, ...requests.metering }),
    ),
  );
  return Item;
}

/** Conditions, as fragments. Table time stands in `:now`. */
const NOT_EXPIRED = "(attribute_not_exists(xm) OR xm > :now)";
const ABSENT = "(attribute_not_exists(pk) OR xm <= :now)";

async function put(context: DynamoContext, draft: Draft, when: When, writeId: string): Promise<PutResult> {
  assertStorable(draft);
  const { tableName, requests, ids } = context;
  const version = newVersion(when, ids);
  const input = { TableName: tableName, Item: storedItem(draft, version, writeId), ...requests.metering };
  for (let race = 0; race < MAX_RACES; race++) {
    const condition = conditionOf(when, requests.now());
    const failure = await unlessConditionFails(() =>
      requests.call("put", (client) => client.send(new PutItemCommand({ ...input, ...condition }))),
    );
    if (failure === undefined) return { won: true, version };
    const current = await currentAt(context, draft, failure);
    if (current?.writeId === writeId) return { won: true, version: current.version };
    // Nothing there is what `absent` asked for: the item that was in the way has gone or expired since.
    if (current !== undefined || when !== "absent") return { won: false, current };
  }
  throw contended(draft);
}

function conditionOf(when: When, now: number) {
  if (when === "any") return {};
  const condition = when === "absent" ? ABSENT : `v = :v AND ${NOT_EXPIRED}`;
  return {
    ConditionExpression: condition,
    ExpressionAttributeValues: {
      ":now": storedNumber(now),
      ...(when === "absent" ? {} : { ":v": storedNumber(when.version) }),
    },
    ReturnValuesOnConditionCheckFailure: "ALL_OLD" as const,
  };
}

async function unlessConditionFails(
  work: () => Promise<unknown>,
): Promise<ConditionalCheckFailedException | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (error instanceof ConditionalCheckFailedException) return error;
    throw error;
  }
}

/** The item that made a condition fail; read anew when the engine does not return it. */
async function currentAt(
  context: DynamoContext,
  key: Key,
  failure: ConditionalCheckFailedException,
): Promise<Item | undefined> {
  const stored = failure.Item ?? (await getStored(context, key));
  if (stored !== undefined && !isOurs(stored)) {
    throw new HoldpointError("corrupt", `something else wrote the item ${key.pk} ${key.sk}, which is left as it is`);
  }
  return liveItem(stored, context.requests.now());
}

async function removeVersion(context: DynamoContext, key: Key, version: number): Promise<RemoveResult> {
  const { tableName, requests } = context;
  const condition = conditionOf({ version }, requests.now());
  const failure = await unlessConditionFails(() =>
    requests.call("remove", (client) =>
      client.send(
        new DeleteItemCommand({ TableName: tableName, Key: storedKey(key), ...condition, ...requests.metering }),
      ),
    ),
  );
  if (failure === undefined) return { outcome: "removed" };
  const current = await currentAt(context, key, failure);
  return current === undefined ? { outcome: "gone" } : { outcome: "lost", current };
}

async function removeAny({ tableName, requests }: DynamoContext, key: Key): Promise<RemoveResult> {
  const input = { TableName: tableName, Key: storedKey(key), ReturnValues: "ALL_OLD" as const, ...requests.metering };
  const { Attributes } = await requests.call("remove", (client) => client.send(new DeleteItemCommand(input)));
  return { outcome: liveItem(Attributes, requests.now()) === undefined ? "gone" : "removed" };
}

interface Addition {
  readonly field: string;
  readonly delta: number;
  readonly ceiling: number;
}

async function add(context: DynamoContext, key: Key, addition: Addition): Promise<number | undefined> {
  const { field, delta, ceiling } = addition;
  for (let race = 0; race < MAX_RACES; race++) {
    const sum = await addToLive(context, key, addition);
    if (sum !== undefined) return sum;
    const stored = await getStored(context, key);
    const current = liveItem(stored, context.requests.now());
    const before = current?.attributes[field];
    if ((typeof before === "number" ? before : 0) + delta > ceiling) return undefined;
    if (stored === undefined || current !== undefined) continue;
    const draft = { pk: key.pk, sk: key.sk, attributes: { [field]: delta } };
    if ((await put(context, draft, "absent", newWriteId(context.ids))).won) return delta;
  }
  throw contended(key);
}

/** The new value; undefined when the ceiling is in the way, or an item that has expired. */
async function addToLive(context: DynamoContext, key: Key, addition: Addition): Promise<number | undefined> {
  const { tableName, requests, ids } = context;
  const { field, delta, ceiling } = addition;
  const room = ceiling === Infinity ? undefined : storedNumber(ceiling - delta);
  const absentFits = delta <= ceiling ? "attribute_not_exists(#f) OR " : "";
  const input = {
    TableName: tableName,
    Key: storedKey(key),
    UpdateExpression: "SET v = :v, w = :w ADD #f :delta",
    ConditionExpression: room === undefined ? NOT_EXPIRED : `${NOT_EXPIRED} AND (${absentFits}#f <= :room)`,
    ExpressionAttributeNames: { "#f": fieldName(field) },
    ExpressionAttributeValues: {
      ":v": storedNumber(newVersion("any", ids)),
      ":w": { S: newWriteId(ids) },
      ":delta": storedNumber(delta),
      ":now": storedNumber(requests.now()),
      ...(room === undefined ? {} : { ":room": room }),
    },
    ReturnValues: "UPDATED_NEW" as const,
    ...requests.metering,
  };
  let sum: number | undefined;
  await unlessConditionFails(async () => {
    const { Attributes } = await requests.call("add", (client) => client.send(new UpdateItemCommand(input)));
    sum = Number(Attributes?.[fieldName(field)]?.N);
  });
  return sum;
}

const contended = (key: Key): HoldpointError =>
  new HoldpointError("unavailable", `the item ${key.sk} changed ${MAX_RACES} times while it was being written`);
