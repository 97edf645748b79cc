/** Capacity units of DynamoDB requests, computed by its rules from bodies: for a server that does not charge. */
import { readUnitsOf } from "../support/counting-table.ts";

/** A value in DynamoDB's JSON: an object of one type tag. */
type DynamoValue = Readonly<Record<string, unknown>>;
type DynamoItem = Readonly<Record<string, DynamoValue>>;

export interface Units {
  readonly writeUnits: number;
  readonly readUnits: number;
}

export interface UnitMeter {
  /** Units of one request that was answered; a request of another kind costs none. */
  units(operation: string, request: Body, answer: Body): Units;
  /** Bytes of all items that are there. */
  bytes(): number;
}

type Body = Readonly<Record<string, unknown>>;

/** Bytes of an item: names in UTF-8 and values, 3 for a container and 1 for each of its elements. */
const itemBytes = (item: DynamoItem): number =>
  Object.entries(item).reduce((sum, [name, value]) => sum + Buffer.byteLength(name) + valueBytes(value), 0);

function valueBytes(tagged: DynamoValue): number {
  const [[tag, value] = []] = Object.entries(tagged);
  switch (tag) {
    case "S":
      return Buffer.byteLength(String(value));
    case "B":
      return Buffer.byteLength(String(value), "base64");
    case "N":
      return Math.ceil(String(value).length / 2) + 1;
    case "L":
      return (value as readonly DynamoValue[]).reduce((sum, element) => sum + 1 + valueBytes(element), 3);
    case "M":
      return 3 + Object.keys(value as DynamoItem).length + itemBytes(value as DynamoItem);
    default:
      return 1;
  }
}

/** A meter that remembers what was written, since a write costs as much as the larger of what was there and what is. */
export function createUnitMeter(): UnitMeter {
  const schemas = new Map<string, readonly string[]>();
  const sizes = new Map<string, number>();
  const idOf = (table: string, item: DynamoItem): string =>
    JSON.stringify([table, ...(schemas.get(table) ?? []).map((name) => item[name])]);

  function written(table: string, item: DynamoItem): number {
    const id = idOf(table, item);
    const now = itemBytes(item);
    const units = writeUnitsOf(Math.max(now, sizes.get(id) ?? 0));
    sizes.set(id, now);
    return units;
  }
  function deleted(table: string, key: DynamoItem): number {
    const id = idOf(table, key);
    const units = writeUnitsOf(sizes.get(id) ?? 0);
    sizes.delete(id);
    return units;
  }
  function batchWritten(request: Body): number {
    let units = 0;
    for (const [table, entries] of Object.entries(request["RequestItems"] as Readonly<Record<string, BatchEntries>>)) {
      for (const { PutRequest: put, DeleteRequest: removal } of entries) {
        if (put !== undefined) units += written(table, put.Item);
        if (removal !== undefined) units += deleted(table, removal.Key);
      }
    }
    return units;
  }

  return {
    units(operation, request, answer) {
      const table = String(request["TableName"]);
      const strong = request["ConsistentRead"] === true ? 1 : 1 / 2;
      const writes = (writeUnits: number): Units => ({ writeUnits, readUnits: 0 });
      const reads = (readUnits: number): Units => ({ writeUnits: 0, readUnits });
      switch (operation) {
        case "CreateTable":
          schemas.set(
            table,
            (request["KeySchema"] as readonly KeyPart[]).map(({ AttributeName }) => AttributeName),
          );
          return writes(0);
        case "PutItem":
          return writes(written(table, request["Item"] as DynamoItem));
        case "DeleteItem":
          return writes(deleted(table, request["Key"] as DynamoItem));
        case "BatchWriteItem":
          return writes(batchWritten(request));
        case "GetItem":
          return reads(strong * readUnitsOf(itemBytes((answer["Item"] ?? {}) as DynamoItem)));
        case "Query": {
          const items = (answer["Items"] ?? []) as readonly DynamoItem[];
          return reads(strong * readUnitsOf(items.reduce((sum, item) => sum + itemBytes(item), 0)));
        }
        default:
          // Counting it as nothing would flatter whoever sends it.
          if (/^(?:Update|Batch|Transact|Scan)/.test(operation)) throw new Error(`${operation} is not metered`);
          return writes(0);
      }
    },
    bytes: () => [...sizes.values()].reduce((sum, size) => sum + size, 0),
  };
}

interface KeyPart {
  readonly AttributeName: string;
}
type BatchEntries = readonly {
  readonly PutRequest?: { readonly Item: DynamoItem };
  readonly DeleteRequest?: { readonly Key: DynamoItem };
}[];

const writeUnitsOf = (bytes: number): number => Math.max(1, Math.ceil(bytes / 1024));
